"""A second process with the same store open, which does what it is told through a pipe."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any


class OtherProcess:
    """Calls methods of a PersistDict of its own. Exceptions come back as what they are."""

    def __init__(self, path: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, name: str, *arguments: Any) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        pickle.dump((name, arguments), self._child.stdin)
        self._child.stdin.flush()
        done, result = pickle.load(self._child.stdout)
        if done:
            return result
        raise result

    def stop(self) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        assert self._child.wait(timeout=30) == 0
        self._child.stdout.close()


def serve(path: str) -> None:
    from cachemere import PersistDict

    d: Any = PersistDict(path)
    calls = {
        "items": lambda: list(d.items()),
        "reversed": lambda: list(reversed(d)),
        "reopen": lambda: (d.close(), reopen()),
    }

    def reopen() -> None:
        nonlocal d
        d = PersistDict(path)

    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        try:
            call = calls.get(name) or getattr(d, name)
            result = True, call(*arguments)
            if name in ("reopen", "update", "clear", "__ior__"):
                result = True, None
        except Exception as error:
            result = False, error
        pickle.dump(result, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    d.close()


if __name__ == "__main__":
    serve(sys.argv[1])
