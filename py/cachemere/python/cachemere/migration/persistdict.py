"""Directories of PersistDict: LMDB, with a database of values and one of what is known about them."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
import sqlite3
import struct
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from .._core.installing import install_extra
from .._core.signals import is_of_handler
from ..errors import BusyError, DamagedError, InputFileError, NotInstalledError
from ._decoding import unpacked
from ._entry import Entry, Form, Stored, broken
from ._files import check_not_open_here, copying, is_lmdb
from ._source import Reading, check_present, wrong_kind

_VALUES, _METADATA = b"PersistDict_values", b"PersistDict_metadata"

#: What is known about an entry is its key and two times; a key that is longer than this was not stored by anybody.
_LONGEST_METADATA = 16 << 20

#: How often a file that is written meanwhile is copied again.
_TRIES = 10


class PersistDictSource:
    """A directory of PersistDict, in the order of creation.

    The keys are in the metadata, as text, so no pickle is read for them and the function that made bytes of them does
    not matter. Its times have no zone: they are taken as of this machine's.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        reading.refuse("persistdict", "table", "keys")
        check_present(path, "persistdict")
        if not is_lmdb(path):
            raise wrong_kind(path, "persistdict", "there is no data.mdb of LMDB in it")
        self._lmdb, self._yaml = _needed("lmdb"), _needed("yaml")
        self._loader: Any = getattr(self._yaml, "CSafeLoader", self._yaml.SafeLoader)
        self._path = path
        self._value_form = reading.value_form(Form.PICKLE)
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._environment: Any = None
        check_not_open_here(path / "data.mdb", path / "lock.mdb")
        try:
            self._open(self._copy() if _is_in_use(path) else path)
        except BaseException:
            self.close()
            raise

    def _open(self, place: Path) -> None:
        _check_length(self._path, _metas(place / "data.mdb"))
        with self._told():
            # Without locks, which would be written into lock.mdb.
            self._environment = self._lmdb.open(
                str(place), readonly=True, lock=False, create=False, max_dbs=8, readahead=False
            )
        try:
            with self._told():
                self._transaction = self._environment.begin()
                self._values = self._environment.open_db(_VALUES, txn=self._transaction, create=False)
                self._metadata = self._environment.open_db(_METADATA, txn=self._transaction, create=False)
        except DamagedError as error:
            if isinstance(error.__cause__, self._lmdb.NotFoundError):
                self.close()
                raise wrong_kind(self._path, "persistdict", "its data.mdb has other databases") from error
            raise

    def _copy(self) -> Path:
        """A copy of a file that others have open.

        A writer leaves the pages of the last transaction alone until the one after the next, so that a copy is whole
        if none ended meanwhile.
        """
        self._home = tempfile.TemporaryDirectory(prefix="cachemere-import-")
        copy = Path(self._home.name)
        for _ in range(_TRIES):
            before = _metas(self._path / "data.mdb")
            with copying(self._path):
                shutil.copyfile(self._path / "data.mdb", copy / "data.mdb")
            if _metas(self._path / "data.mdb") == before == _metas(copy / "data.mdb"):
                return copy
            time.sleep(0.1)
        raise _busy(self._path)

    def count(self) -> int | None:
        with self._told():
            entries: int = self._transaction.stat(self._values)["entries"]
            return entries

    def entries(self) -> Iterator[Entry]:
        # A database of SQLite without a name: a temporary file, however many entries there are.
        order = sqlite3.connect("", isolation_level=None)
        try:
            order.execute("PRAGMA journal_mode = OFF")
            order.execute("CREATE TABLE found (created REAL, accessed REAL, name BLOB, stored BLOB)")
            yield from self._note(order)
            for created, accessed, name, stored in order.execute("SELECT * FROM found ORDER BY created, rowid"):
                with self._told():
                    value = self._transaction.get(stored, db=self._values)
                    self._check_unchanged()
                if value is not None:
                    key = Stored(Form.TEXT, name)
                    yield Entry(_place(stored), key, Stored(self._value_form, value), created, accessed)
            yield from self._without_key()
        except DamagedError as error:
            yield broken(str(self._path / "data.mdb"), str(error))
        finally:
            order.close()

    def _note(self, order: sqlite3.Connection) -> Iterator[Entry]:
        """Notes key and times of each entry; those whose metadata cannot be read are given out."""
        order.execute("BEGIN")
        for stored, packed in self._walk(self._metadata):
            try:
                known = self._yaml.load(unpacked(packed, _LONGEST_METADATA), self._loader)
                name = known["fullkey"].encode("utf-8")
                times = _seconds(known.get("ctime")), _seconds(known.get("atime"))
            # What YAML and zlib raise is of many kinds.
            except Exception as error:
                if is_of_handler(error):
                    raise
                yield broken(_place(stored), f"its key and times cannot be read: {error or type(error).__name__}")
                continue
            order.execute("INSERT INTO found VALUES (?, ?, ?, ?)", (*times, name, stored))
        order.execute("COMMIT")

    def _without_key(self) -> Iterator[Entry]:
        for stored, _ in self._walk(self._values):
            with self._told():
                is_known = self._transaction.get(stored, db=self._metadata) is not None
            if not is_known:
                yield broken(_place(stored), "its key is lost: there is only a hash of it")

    def _walk(self, database: Any) -> Iterator[tuple[bytes, bytes]]:
        with self._told():
            cursor = self._transaction.cursor(database)
            is_there = cursor.first()
        while is_there:
            with self._told():
                found = cursor.item()
                self._check_unchanged()
            yield found
            with self._told():
                is_there = cursor.next()

    def _check_unchanged(self) -> None:
        """Whether what was just read was still there: without a lock, writers do not know that it is being read."""
        if self._environment.info()["last_txnid"] > self._transaction.id() + 1:
            raise _busy(self._path)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._lmdb.Error as error:
            raise DamagedError(f"{self._path} is damaged, or not of LMDB: {error}") from error

    def close(self) -> None:
        if self._environment is not None:
            if hasattr(self, "_transaction"):
                self._transaction.abort()
            self._environment.close()
            self._environment = None
        if self._home is not None:
            self._home.cleanup()


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as cause:
        raise NotInstalledError(
            f"a source of PersistDict needs {module}: {install_extra('import-persistdict')}"
        ) from cause


def _busy(path: Path) -> BusyError:
    return BusyError(f"{path} is being written by another process: import it again when that is done")


def _place(stored: bytes) -> str:
    return f"the record {stored[:80]!r}"


def _seconds(it: Any) -> float | None:
    return it.timestamp() if isinstance(it, datetime.datetime) else None


def _is_in_use(path: Path) -> bool:
    """Whether a process has it open: each locks the first byte of lock.mdb. Asked without locking anything."""
    try:
        descriptor = os.open(path / "lock.mdb", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
        answer: bytes = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        kind: int = struct.unpack_from("h", answer)[0]
        return kind != fcntl.F_UNLCK
    finally:
        os.close(descriptor)


def _metas(file: Path) -> tuple[bytes, bytes, int]:
    """Both of LMDB's meta pages, of which each commit writes one, and the file's length."""
    try:
        with file.open("rb") as opened:
            first = opened.read(152)
            size = struct.unpack_from("=I", first, 40)[0] if len(first) == 152 else 0
            opened.seek(size)
            return first, opened.read(152), os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise InputFileError(f"{file} cannot be read: {error}") from error


def _check_length(path: Path, metas: tuple[bytes, bytes, int]) -> None:
    """Whether the file is as long as it says: the pages beyond its end would kill the process that reads them."""
    first, second, length = metas
    for meta in (first, second):
        if len(meta) < 152 or struct.unpack_from("=I", meta, 16)[0] != 0xBEEFC0DE:
            raise DamagedError(f"{path} is damaged: data.mdb does not begin as LMDB's files do")
    newest = max(first, second, key=lambda meta: struct.unpack_from("=Q", meta, 144)[0])
    size, last = struct.unpack_from("=I", first, 40)[0], struct.unpack_from("=Q", newest, 136)[0]
    if length < (last + 1) * size:
        raise DamagedError(f"{path} is damaged: data.mdb has {length:,} bytes, and should have {(last + 1) * size:,}")
