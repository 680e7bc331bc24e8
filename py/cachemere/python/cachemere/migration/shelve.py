"""Shelves of the standard library, in whichever kind of dbm."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from .._core.signals import is_of_handler
from ..errors import BusyError, CacheError, DamagedError, InvalidOptionError, NotInstalledError
from ._entry import Entry, Form, Stored, broken
from ._recognize import backend_of
from ._source import Reading, Source, check_present, wrong_kind
from ._sqlite_file import SqliteFile

#: What the kinds of dbm put behind the name that a shelf is opened with.
_SUFFIXES = (".dat", ".dir", ".bak", ".pag", ".db")


class ShelveSource:
    """A shelf. Keys are text, values pickles; a shelf knows no ages and no order."""

    def __init__(self, path: Path, reading: Reading) -> None:
        reading.refuse("shelve", "table", "keys")
        if reading.values not in (None, "pickle"):
            raise InvalidOptionError("values for shelve is 'pickle': a shelf has nothing else")
        path = _name_of(path)
        self._path = path
        backend = backend_of(path)
        if backend is None:
            check_present(path, "shelve")
            raise wrong_kind(path, "shelve", "no kind of dbm knows it")
        self._opened: Source = _SqliteShelf(path) if backend == "dbm.sqlite3" else _DbmShelf(path, backend)

    def count(self) -> int | None:
        return self._opened.count()

    def entries(self) -> Iterator[Entry]:
        return self._opened.entries()

    def close(self) -> None:
        self._opened.close()


def _name_of(path: Path) -> Path:
    """The name a shelf was opened with, where one of its files is given."""
    if backend_of(path) is None and path.suffix in _SUFFIXES and backend_of(path.with_suffix("")) is not None:
        return path.with_suffix("")
    return path


class _SqliteShelf:
    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        if self._file.tables.get("Dict") != ["key", "value"]:
            self._file.close()
            raise wrong_kind(path, "shelve", "it has no table of dbm.sqlite3")

    def count(self) -> int | None:
        return self._file.count("Dict")

    def entries(self) -> Iterator[Entry]:
        try:
            for number, key, value in self._file.rows("Dict", ("key", "value")):
                yield Entry(f"row {number} of {self._file.path}", Stored(Form.TEXT, key), Stored(Form.PICKLE, value))
        except DamagedError as error:
            yield broken(str(self._file.path), str(error))

    def close(self) -> None:
        self._file.close()


class _DbmShelf:
    def __init__(self, path: Path, backend: str) -> None:
        self._path = path
        try:
            module = import_module(backend)
        except ImportError as cause:
            raise NotInstalledError(
                f"{path} is of {backend}, which this Python was built without: run the import with one that has it "
                f"(on Debian and Ubuntu: apt install python3-gdbm)"
            ) from cause
        try:
            self._opened: Any = module.open(str(path), "r")
        except Exception as error:
            if is_of_handler(error):
                raise
            if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK):
                raise BusyError(f"{path} cannot be read, another process writes it: {error}") from error
            raise DamagedError(f"{path} is damaged, or no shelf: {error}") from error

    def count(self) -> int | None:
        return len(self._opened) if hasattr(self._opened, "__len__") else None

    def entries(self) -> Iterator[Entry]:
        try:
            for key in self._keys():
                place = f"a key of {self._path}"
                yield Entry(place, Stored(Form.TEXT, key), Stored(Form.PICKLE, key, self._opened.__getitem__))
        except (OSError, CacheError) as error:
            yield broken(str(self._path), str(error))

    def _keys(self) -> Iterator[bytes]:
        if not hasattr(self._opened, "firstkey"):
            yield from self._opened.keys()
            return
        # gdbm, whose `keys` would be all in memory.
        key = self._opened.firstkey()
        while key is not None:
            yield key
            key = self._opened.nextkey(key)

    def close(self) -> None:
        self._opened.close()
