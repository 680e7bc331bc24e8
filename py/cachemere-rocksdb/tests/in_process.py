"""Pieces of a program that run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

START = "from cachemere.rocksdb import *\nimport sys, os, time\npath = sys.argv[1]\n"


def run(code: str, *arguments: Any) -> str:
    """Runs it to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Running:
    """A process that goes on until its standard input ends."""

    def __init__(self, code: str, *arguments: Any) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", START + textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line it prints."""
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    def say(self, line: str) -> None:
        """Gives it a line."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def kill(self) -> None:
        """As the system does it when the memory is full."""
        self._child.kill()
        self._child.wait(timeout=60)
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._child.stdout.close()

    def end(self) -> None:
        """Lets it end by itself."""
        _, _ = self._child.communicate(timeout=60)
        assert self._child.returncode == 0


def forked(work: Callable[[], str]) -> str:
    """What a forked child says, which ends as a program does that forks by itself."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "nothing"
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said
