"""Functions for workers, in a module that spawned ones can import, and what the tests of `Parallel` share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cachemere import Parallel

METHODS: list[Any] = ["fork", "spawn", "forkserver"]

#: How work can be done: options of `Parallel.map`.
WAYS: list[dict[str, bool]] = [{}, {"use_threadpool": True}, {"is_parallel": False}]


def double(x: int) -> int:
    return 2 * x


def double_slower_at_first(x: int) -> int:
    time.sleep(0.2 if x == 0 else 0)
    return 2 * x


def process_and_thread(x: int) -> tuple[int, int]:
    time.sleep(0.05)
    return os.getpid(), threading.get_ident()


def process(x: int) -> int:
    return os.getpid()


def add(x: int, y: int) -> int:
    return x + y


def scaled(x: int, factor: int = 10) -> int:
    return x * factor


def touch(path: Path) -> object:
    """Leaves a file, and returns what cannot be sent."""
    path.touch()
    return threading.Lock()


async def coroutine(x: int) -> int:
    return x


def generator(x: int) -> Any:
    yield x


class OddError(ValueError):
    """Can be pickled, and not unpickled."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"{number}: {reason}")


def refuse_three(x: int) -> int:
    if x == 3:
        raise ValueError("no threes")
    return x


def refuse_three_oddly(x: int) -> int:
    if x == 3:
        raise OddError(x, "no threes")
    return x


def refuse_odd_numbers_later(x: int) -> int:
    """Fails at 1 after it has failed at 3."""
    if x % 2:
        time.sleep(0.5 if x == 1 else 0)
        raise ValueError(f"{x} is odd")
    return x


def fail_or_finish(given: tuple[str, Path]) -> None:
    what, path = given
    if what == "fail":
        raise ValueError("failed at once")
    time.sleep(0.7)
    path.touch()


def unsendable(x: int) -> Any:
    return threading.Lock() if x == 3 else x


class Unreadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def fail(x: object) -> None:
    raise ValueError


def unreadable(x: int) -> Any:
    return Unreadable() if x == 3 else x


def be_killed_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def close_everything_at_three(x: int) -> int:
    """Goes on without a pipe."""
    if x == 3:
        os.closerange(3, 1000)
        time.sleep(60)
    return x


def be_signalled(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(20)


def exit_at_three(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


def leave_at_three(x: int) -> int:
    if x == 3:
        sys.exit(9)
    return x


def be_killed_with_a_child_that_stays(x: int) -> int:
    """The child holds the worker's end of the pipe open."""
    if x == 3:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def be_killed_soon_after(x: int) -> int:
    """Returns, and is killed when it has nothing to do."""
    if x == 0:
        subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {os.getpid()}"])
    return os.getpid()


def nested(x: int) -> list[int]:
    return Parallel("fork").map(double, range(x), n_processes=2)
