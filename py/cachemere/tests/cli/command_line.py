"""Runs the command line as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "cachemere"]


@dataclass(frozen=True)
class Done:
    """What a process printed, and what it ended with."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """The only document."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """A document of each line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def table(self) -> list[list[str]]:
        """The cells of each line, which two spaces are between."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """That of the tests, in which text is UTF-8."""
    return os.environ | {"PYTHONIOENCODING": "utf-8"} | more


def run(*arguments: str | Path, **more: str) -> Done:
    """What the program does with these arguments and no terminal. Others are variables of the environment."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(**more),
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def ok(*arguments: str | Path, **more: str) -> Done:
    """The same, of a program that has nothing to complain of."""
    done = run(*arguments, **more)
    assert done.status == 0 and done.err == "", done
    return done
