"""Runs the command line, as a process of its own or in this one, which is faster."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from cachemere.cli.program import main

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


def here(*arguments: str | Path, **more: str) -> Done:
    """As :func:`run`, without a process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.dict(os.environ, more):
        with open(os.devnull) as nothing, mock.patch("sys.stdin", nothing):
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as end:
                # Of argparse.
                status = int(str(end.code))
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Done(status, *texts)
