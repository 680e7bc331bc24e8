"""Functions that workers of `Parallel` can import, however they are started."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import cachemere


class Unsendable(Exception):
    """Can be pickled, and not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def double(x: int) -> int:
    return 2 * x


def add(x: int, y: int) -> int:
    return x + y


def process_of(_: object) -> int:
    time.sleep(0.05)
    return os.getpid()


def fail_at_3(x: int) -> int:
    if x == 3:
        raise ZeroDivisionError("it is three")
    return x


def fail_unsendably(x: int) -> int:
    raise Unsendable("a", "b")


def killed_at_3(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def leave_at_3(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


def first_is_slow(x: int) -> int:
    if x == 0:
        time.sleep(0.3)
    return x


def write_process_and_sleep(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(60)


pp = cachemere.Parallel("spawn")


@pp.cache_func(os.environ.get("PARALLEL_STORE", "unused"))
def counted(path: str, number: int) -> int:
    """Notes each time it runs; ends its process at a number, if the file that says so exists."""
    with open(path, "a") as file:
        file.write(f"{number}\n")
    if number == 5 and Path(path + ".deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 10


if __name__ == "__main__":
    # A program that works until it is interrupted or killed.
    work = cachemere.Parallel(sys.argv[1])  # type: ignore[arg-type]
    work.map(write_process_and_sleep, [sys.argv[2]] * 3, n_processes=3)
