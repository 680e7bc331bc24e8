"""What runs in a worker process of `Parallel`: calls a function with the inputs that come through a pipe.

A worker must never outlive its parent, whatever it is at, and must be ended by a signal at once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from .._core.options import close_all

#: Tells a worker to end. No pickle is empty.
STOP = b""


class Job(NamedTuple):
    """What a worker does with each input."""

    #: A pickle of the function, or the function itself where workers are forked.
    function: Callable[..., Any] | bytes
    #: Whether an input is all the arguments.
    is_spread: bool
    #: Whether results are to be sent.
    is_wanted: bool


class Reply(NamedTuple):
    """What a worker sends, first when it is ready, then for each input."""

    value: Any = None
    #: What was raised; `None` beside a traceback: something that cannot be sent.
    error: BaseException | None = None
    #: Of what was raised, as text; empty if nothing was.
    traceback: str = ""


def serve(connection: Connection, job: Job) -> None:
    """The life of a worker."""
    # Not ignored, since the children of a worker would ignore it too; and handlers of the parent have no place here.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, name="cachemere-parent", daemon=True).start()
    try:
        function = pickle.loads(job.function) if isinstance(job.function, bytes) else job.function
    except Exception as error:
        connection.send_bytes(_failure(error))
        return
    connection.send_bytes(ForkingPickler.dumps(Reply()))
    try:
        while (sent := connection.recv_bytes()) != STOP:
            connection.send_bytes(_answer(function, sent, job))
            del sent
    except (EOFError, OSError):
        pass  # The parent has gone, or has let go of this worker.
    # The handlers of `atexit` do not run in all processes of `multiprocessing`.
    close_all()


def call(function: Callable[..., Any], item: Any, is_spread: bool) -> Any:
    """Calls the function with an input."""
    return function(*item) if is_spread else function(item)


def _answer(function: Callable[..., Any], sent: bytes, job: Job) -> Any:
    try:
        value = call(function, pickle.loads(sent), job.is_spread)
        return ForkingPickler.dumps(Reply(value if job.is_wanted else None))
    except BaseException as error:
        return _failure(error)


def _failure(error: BaseException) -> Any:
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        made = ForkingPickler.dumps(Reply(None, error, told))
        # Many exceptions with arguments of their own can be pickled, and not unpickled.
        pickle.loads(made)
        return made
    except Exception:
        return ForkingPickler.dumps(Reply(None, None, told))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
