"""Files of SQLite, read without a trace: no byte of them is changed, and no file appears beside them.

How a file is opened depends on how it is written:

- In the mode of a rollback journal, a reader that only reads leaves nothing behind, and takes the locks that keep it
  from seeing half a transaction (`mode=ro`). It reads some rows at a time, so that whoever writes the file can go on.
- With a write-ahead log, every ordinary reader writes into `-shm`, or makes it. A file without log that nobody has open
  is read as if it could not change (`immutable=1`). What was read is believed only if it did not; from then on, it is
  read as what is in use.
- What was not closed (a log with something in it, a journal) or is in use is copied to a temporary directory together
  with its log or journal, and opened there, where SQLite can recover it. While it is copied, a shared lock keeps
  everybody from writing into the file itself (the journal's mode) or from moving the log into it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ..errors import BusyError, DamagedError, InputFileError
from ._files import check_not_open_here, check_readable, copying

#: Seconds to wait for locks of others.
PATIENCE = 30.0

#: Rows, and bytes, that are read in one transaction.
_MOST_ROWS = 500
_MOST_BYTES = 8 << 20

#: How often a file that is written meanwhile is copied again.
_TRIES = 5

#: Where SQLite locks: bytes of the file that are never written, and one byte of `-shm`.
_PENDING, _SHARED, _SHARED_LENGTH = 0x4000_0000, 0x4000_0002, 510
_CHECKPOINTER = 121

#: The numbers that rows can have.
_FIRST, _LAST = -(2**63), 2**63 - 1

T = TypeVar("T")
Stat = tuple[int, ...]
Row = tuple[Any, ...]


class Garbled:
    """Text that is not in UTF-8."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class SqliteFile:
    """A file of SQLite that is open for reading.

    Raises:
        InputFileError: There is none, or no permission.
        DamagedError: It is not SQLite's, or damaged.
        BusyError: It is written all the time, or this program has it open.
    """

    def __init__(self, path: Path) -> None:
        check_readable(path)
        # Where its log is, if it is named by a link.
        path = Path(os.path.realpath(path))
        check_not_open_here(path, _beside(path, "-wal"), _beside(path, "-shm"))
        self.path = path
        self._home: tempfile.TemporaryDirectory[str] | None = None
        #: As the file has to stay while it is read as one that does not change.
        self._expected: tuple[Stat, ...] | None = None
        try:
            self._database = self._open()
            self.tables = self._consistent(_find_tables)
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        path = self.path
        if not _has_log(path):
            return self._connect(self._copy(), "mode=rw") if _size(path, "-journal") else self._connect(path, "mode=ro")
        if _size(path, "-wal") or _beside(path, "-shm").exists():
            return self._connect(self._copy(), "mode=rw")
        self._expected = _stats(path)
        return self._connect(path, "mode=ro&immutable=1")

    def _connect(self, place: Path, options: str) -> sqlite3.Connection:
        with self._told():
            address = f"file:{quote(str(place))}?{options}"
            database = sqlite3.connect(address, timeout=PATIENCE, isolation_level=None, uri=True)
            database.text_factory = _text
            # What a crafted file has besides tables is not to do anything.
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            return database

    def _copy(self) -> Path:
        self._home = tempfile.TemporaryDirectory(prefix="cachemere-import-")
        copy = Path(self._home.name) / "copy"
        try:
            with copying(self.path):
                _copy_whole(self.path, copy)
        except BaseException:
            self._home.cleanup()
            raise
        return copy

    def count(self, table: str) -> int:
        """The number of rows."""
        query = f"SELECT COUNT(*) FROM {quoted(table)}"
        return self._consistent(lambda database: int(database.execute(query).fetchone()[0]))

    def rows(self, table: str, columns: tuple[str, ...]) -> Iterator[Row]:
        """Rows in the order they were inserted in: their number, then these columns. Read some at a time."""
        chosen = ", ".join(map(quoted, columns))
        query = f"SELECT rowid, {chosen} FROM {quoted(table)} WHERE rowid >= ? ORDER BY rowid"
        start = _FIRST
        while start <= _LAST:
            read = self._consistent(partial(_some, query=query, start=start))
            if not read:
                return
            yield from read
            start = read[-1][0] + 1

    def _consistent(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` reads; from a copy if the file turns out to be written by now."""
        while True:
            try:
                with self._told():
                    made = work(self._database)
            except (BusyError, DamagedError):
                if not self._moved():
                    raise
            else:
                if not self._moved():
                    return made

    def _moved(self) -> bool:
        """Goes on with a copy if somebody began to write what was taken for unchanging; whether it did."""
        if self._expected is None or _stats(self.path) == self._expected:
            return False
        self._expected = None
        self._database.close()
        self._database = self._connect(self._copy(), "mode=rw")
        return True

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if any(word in text for word in ("locked", "readonly", "unable to open")):
                raise _busy(self.path) from error
            raise DamagedError(f"{self.path} is damaged, or no file of SQLite: {text}") from error

    def close(self) -> None:
        """Closes it, and removes the copy if one was made."""
        if hasattr(self, "_database"):
            self._database.close()
        if self._home is not None:
            self._home.cleanup()


def _find_tables(database: sqlite3.Connection) -> dict[str, list[str]]:
    """The names of the columns of each table."""
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    found = {}
    for (name,) in names:
        if isinstance(name, str) and not name.startswith("sqlite_"):
            rows = database.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
            found[name] = [str(row[1]) for row in rows]
    return found


def _some(database: sqlite3.Connection, query: str, start: int) -> list[Row]:
    """Rows from a number on, read in a transaction that ends, so that others can write."""
    read: list[Row] = []
    size = 0
    cursor = database.execute(query, (start,))
    try:
        for row in cursor:
            read.append(row)
            size += sum(len(field) for field in row if isinstance(field, (bytes, str)))
            if len(read) >= _MOST_ROWS or size >= _MOST_BYTES:
                break
    finally:
        cursor.close()
    return read


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def tables_of(path: Path) -> dict[str, list[str]]:
    """The tables of a file, with their columns."""
    file = SqliteFile(path)
    try:
        return file.tables
    finally:
        file.close()


def _text(data: bytes) -> str | Garbled:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return Garbled(data)


def _busy(path: Path) -> BusyError:
    return BusyError(f"{path} is being written by another process: import it again when that is done")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path, suffix: str) -> int:
    try:
        return _beside(path, suffix).stat().st_size
    except OSError:
        return 0


def _stats(path: Path) -> tuple[Stat, ...]:
    """What changes if a file, or its log, is written."""
    found: list[Stat] = []
    for suffix in ("", "-wal", "-journal"):
        try:
            stat = _beside(path, suffix).stat()
        except OSError:
            found.append((0,))
        else:
            found.append((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _has_log(path: Path) -> bool:
    """Whether it is written with a write-ahead log, as its header says."""
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error}") from error
    return header[18:20] == b"\x02\x02"


def _copy_whole(path: Path, copy: Path) -> None:
    """Copies a file with its log and its journal, as they were at one time."""
    deadline = time.monotonic() + PATIENCE
    for _ in range(_TRIES):
        with _locked(path, deadline):
            before = path.stat(), _log_header(path)
            # The time of a change is counted in ticks of some milliseconds: two in one tick look like one.
            time.sleep(0.02)
            shutil.copyfile(path, copy)
            for suffix in ("-wal", "-journal"):
                try:
                    shutil.copyfile(_beside(path, suffix), _beside(copy, suffix))
                except FileNotFoundError:
                    _beside(copy, suffix).unlink(missing_ok=True)
            after = path.stat(), _log_header(path)
        if _same(before[0], after[0]) and before[1] == after[1]:
            return
    raise _busy(path)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    fields = ("st_ino", "st_size", "st_mtime_ns")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def _log_header(path: Path) -> bytes:
    """Of the write-ahead log: it is another one each time the log is begun anew."""
    try:
        with _beside(path, "-wal").open("rb") as file:
            return file.read(32)
    except OSError:
        return b""


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Keeps everybody from changing the file itself. Locks go with the descriptors."""
    with path.open("rb") as file:
        _lock(file.fileno(), _PENDING, 1, path, deadline)
        _lock(file.fileno(), _SHARED, _SHARED_LENGTH, path, deadline)
        fcntl.lockf(file.fileno(), fcntl.LOCK_UN, 1, _PENDING)
        try:
            shared = _beside(path, "-shm").open("rb")
        except FileNotFoundError:
            yield
            return
        with shared:
            _lock(shared.fileno(), _CHECKPOINTER, 1, path, deadline)
            yield


def _lock(descriptor: int, start: int, length: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, length, start)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise _busy(path) from None
            time.sleep(0.01)
