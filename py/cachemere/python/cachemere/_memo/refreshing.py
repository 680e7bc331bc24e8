"""Making results anew in the background, while those that are there are served.

Of all threads, tasks and processes that meet such a result, one makes it anew: in a thread, or in a task of the loop
for a coroutine function. Neither keeps a program from ending: what is not finished then is left, and the result is made
anew at a later call. If it fails, what is stored is served for as long as it may be, and the next try waits a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Hashable
from contextvars import copy_context
from time import monotonic
from typing import Any

from .._core.signals import is_of_handler
from .._core.warned import Warned

_log = logging.getLogger("cachemere")

#: So many are made anew at once in a process. Others are at a later call.
MOST = 16

#: Seconds until the next try after one that failed.
PAUSE = 1.0

#: Keys whose failures are remembered.
_REMEMBERED = 1024

_running: set[Any] = set()


class Refreshing:
    """Of one function."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._next_try: dict[Hashable, float] = {}
        self._warned = Warned(1)

    def may_begin(self, key: Hashable) -> bool:
        """Whether a result is to be made anew now."""
        return len(_running) < MOST and self._next_try.get(key, 0.0) <= monotonic()

    def in_thread(self, key: Hashable, work: Callable[[], object]) -> None:
        """Does the work in a thread of its own. It is a daemon: no program waits for it to end."""
        context, mark = copy_context(), object()

        def run() -> None:
            try:
                context.run(self._noting, key, work)
            finally:
                _running.discard(mark)

        _running.add(mark)
        try:
            threading.Thread(target=run, name="cachemere-refresh", daemon=True).start()
        except BaseException:
            _running.discard(mark)
            raise

    def _noting(self, key: Hashable, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            if is_of_handler(error):
                raise
            self._failed(key, error)
        else:
            self._next_try.pop(key, None)

    def in_task(self, key: Hashable, work: Coroutine[Any, Any, object]) -> None:
        """Does the work in a task of the running loop, which cancels it when it is closed."""

        async def run() -> None:
            try:
                await work
            except Exception as error:
                self._failed(key, error)
            else:
                self._next_try.pop(key, None)

        task = asyncio.get_running_loop().create_task(run())
        _running.add(task)
        task.add_done_callback(_running.discard)

    def _failed(self, key: Hashable, error: Exception) -> None:
        if len(self._next_try) >= _REMEMBERED:
            self._next_try.clear()
        self._next_try[key] = monotonic() + PAUSE
        _log.log(
            self._warned.level(type(error)),
            "a result of %s could not be made anew, and the one that is there is served until it expires: %s: %s",
            self._shown,
            type(error).__name__,
            error,
        )


# The threads and tasks are the parent's.
os.register_at_fork(after_in_child=_running.clear)
