"""What the tests of importing share: snapshots of sources, programs that make or hold them, and the command line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"


def snapshot(*paths: Path) -> dict[str, tuple[Any, ...]]:
    """Every file and directory at these paths: times, permissions and contents."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in paths:
        for file in [path, *sorted(path.rglob("*"))]:
            stat = file.lstat()
            data = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
            found[str(file)] = (stat.st_mtime_ns, stat.st_mode, stat.st_size, stat.st_nlink, data)
    return found


class Bomb:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


class Trap:
    """Whether a pickle was loaded."""

    def __init__(self, home: Path) -> None:
        self.mark = home / "code-was-run"
        self.pickle = pickle.dumps(Bomb(self.mark))

    @property
    def was_sprung(self) -> bool:
        return self.mark.exists()


class Holder:
    """A process that runs a program up to its line `wait()`, and goes on when it is told to, or is killed."""

    def __init__(self, program: str, *arguments: object) -> None:
        start = "import sys\ndef wait():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
        self._process = subprocess.Popen(
            [sys.executable, "-c", start + program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        self.go_on()
        assert self._process.wait(timeout=60) == 0
        self._close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)
        self._close()

    def _close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


def run_import(*arguments: object, check: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """`python -m cachemere import`, in a process of its own; `more` is added to its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "cachemere", "import", *map(str, arguments)],
        env={name: value for name, value in os.environ.items() if name != "CACHEMERE_KEY"} | more,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert check is None or done.returncode == check, (done.returncode, done.stdout, done.stderr)
    return done


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What `--json` printed."""
    made: dict[str, Any] = json.loads(done.stdout)
    return made
