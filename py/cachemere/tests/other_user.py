"""Work that is done as another user, whom permissions hold back: tests run as root, whom none do."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Whom the system knows, and whom it does not.
NOBODY, UNKNOWN = 65534, 54321


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def may_be_reached(path: Path) -> None:
    """Lets everybody come to a path in the directory of a test."""
    for parent in list(path.parents)[:3]:
        parent.chmod(0o755)


def only_readable(path: Path) -> None:
    """Takes the permission to write to a store from everybody but root."""
    for it in [*path.iterdir(), path]:
        it.chmod(0o555 if it.is_dir() else 0o444)
    may_be_reached(path)


def as_user(uid: int, work: Callable[[], Any], *, home: str | None = None) -> tuple[Any, list[str]]:
    """What `work` gives, in a child of this process that is another user's, and the warnings it logged.

    An exception is given as its class's name and its text. Without root's rights the child is this user's.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told: Any = None
        log = _Lines()
        try:
            signal.alarm(60)
            for name in ("HOME", "XDG_CACHE_HOME", "CACHEMERE_DIR"):
                os.environ.pop(name, None)
            if home is not None:
                os.environ["HOME"] = home
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            logging.getLogger("cachemere").addHandler(log)
            told = work()
        except BaseException as error:
            told = [type(error).__name__, str(error)]
        os.write(writing, json.dumps([told, log.lines]).encode())
        os._exit(0)
    os.close(writing)
    text = b""
    while chunk := os.read(reading, 65536):
        text += chunk
    os.close(reading)
    os.waitpid(child, 0)
    told, lines = json.loads(text)
    return told, lines
