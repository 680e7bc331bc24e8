"""Connections to a file of SQLite: one for each thread, none over a fork; and SQLite's errors as this package's."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._core.options import resolve
from ..errors import BusyError, ClosedError, DamagedError, DiskFullError, ReadOnlyError, StoreIOError

#: Connections of the process that this one was forked from. Closing them here could damage what it is doing.
_inherited: list[sqlite3.Connection] = []


class Connections:
    """A connection for each thread of this process, since SQLite's may be used by none but its maker."""

    def __init__(self, path: Any, timeout: float) -> None:
        self._given = path if isinstance(path, sqlite3.Connection) else None
        self.path = None if self._given is not None else resolve(path)
        self._timeout = timeout
        self._of_thread = threading.local()
        self._all: list[tuple[int, sqlite3.Connection]] = []
        self._is_closed = False
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreIOError(error.errno, f"the directory of {self.path} cannot be made: {error}") from error

    @property
    def name(self) -> str:
        return "a connection" if self.path is None else str(self.path)

    def check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("this mapping is closed: open it again")

    def get(self) -> sqlite3.Connection:
        self.check_open()
        if self._given is not None:
            return self._given
        pid, known = os.getpid(), getattr(self._of_thread, "known", None)
        if known is not None and known[0] == pid:
            connection: sqlite3.Connection = known[1]
            return connection
        if known is not None:
            _inherited.append(known[1])
        # Autocommit, so that transactions begin where they are meant to.
        made = sqlite3.connect(self.path or "", timeout=self._timeout, isolation_level=None, check_same_thread=False)
        self._of_thread.known = pid, made
        self._all.append((pid, made))
        return made

    def close(self) -> None:
        self._is_closed = True
        pid = os.getpid()
        for owner, connection in self._all:
            if owner == pid:
                connection.close()
            else:
                _inherited.append(connection)
        self._all.clear()


@contextmanager
def told(name: str) -> Iterator[None]:
    """SQLite's errors as those of this package."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text:
            raise BusyError(f"{name} is being written by another process or thread: try again") from error
        if "full" in text:
            raise DiskFullError(f"no space left on the disk of {name}: free some and try again") from error
        if "readonly" in text:
            raise ReadOnlyError(f"{name} cannot be written") from error
        if "malformed" in text or "not a database" in text:
            raise DamagedError(f"{name} is damaged, or no database of SQLite: {text}") from error
        if "closed" in text:
            raise ClosedError(f"{name} is closed: open it again") from error
        raise StoreIOError(f"SQLite refused, at {name}: {text}") from error
