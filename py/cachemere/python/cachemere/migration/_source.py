"""What a source is: a count, a stream of entries, and questions about paths."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from .._core import checks
from ..errors import (
    BusyError,
    CacheError,
    DiskFullError,
    IncompatibleError,
    InputFileError,
    InvalidOptionError,
    StoreIOError,
)
from ._entry import Entry, Form

Kind = Literal["diskcache", "persistdict", "sqlitedict", "shelve", "hugedict"]
KeyForm = Literal["text", "bytes", "int", "pickle"]
ValueForm = Literal["text", "bytes", "json", "pickle"]

_KEYS = {"text": Form.TEXT, "bytes": Form.PLAIN, "int": Form.INT64, "pickle": Form.PICKLE}
_VALUES = {"text": Form.TEXT, "bytes": Form.PLAIN, "json": Form.JSON, "pickle": Form.PICKLE}


@dataclass(frozen=True)
class Reading:
    """How a source is to be read, where it does not say so itself. `None`: as its package does by default."""

    table: str | None = None
    keys: str | None = None
    values: str | None = None

    def __post_init__(self) -> None:
        if self.table is not None and (not isinstance(self.table, str) or not self.table or "\0" in self.table):
            raise InvalidOptionError(f"table must be the name of a table, not {checks.shown(self.table)}")
        if self.keys is not None:
            checks.choice("keys", self.keys, tuple(_KEYS))
        if self.values is not None:
            checks.choice("values", self.values, tuple(_VALUES))

    def key_form(self, default: Form) -> Form:
        return default if self.keys is None else _KEYS[self.keys]

    def value_form(self, default: Form) -> Form:
        return default if self.values is None else _VALUES[self.values]

    def refuse(self, kind: str, *names: str) -> None:
        """Options that a kind of source has no use for."""
        for name in names:
            if getattr(self, name) is not None:
                raise InvalidOptionError(f"{name} is not for {kind}, which says itself what it has")


class Source(Protocol):
    """A source that is open. Nothing about it is changed, and nothing is put beside it."""

    def count(self) -> int | None:
        """About how many entries there are, for the bar; `None` if that is not known without reading all."""

    def entries(self) -> Iterator[Entry]:
        """All entries, as they are stored, in their order where there is one. Can be asked again."""

    def close(self) -> None: ...


def is_sqlite(path: Path) -> bool:
    """Whether it is a file of SQLite, by its first bytes."""
    return head(path, 16) == b"SQLite format 3\0"


def is_lmdb(path: Path) -> bool:
    """Whether it is a directory of LMDB."""
    data = head(path / "data.mdb", 24)
    return len(data) == 24 and struct.unpack_from("=I", data, 16)[0] == 0xBEEFC0DE


def is_rocksdb(path: Path) -> bool:
    """Whether it is a directory of RocksDB."""
    return head(path / "CURRENT", 9) == b"MANIFEST-"


def head(path: Path, length: int) -> bytes:
    """The first bytes of a file; none if there is no such file."""
    try:
        # A pipe would keep whoever opens it waiting.
        if not path.is_file():
            return b""
        check_not_open_here(path)
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return b""


def check_present(path: Path, kind: str) -> None:
    """Whether there is something to read, and permission to."""
    if not os.path.lexists(path):
        from ._kinds import recognize

        # A shelf can be of several files, none of which has its name.
        if recognize(path) is not None:
            raise wrong_kind(path, kind, "there is no file of this name")
        raise InputFileError(f"{path} does not exist")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise InputFileError(f"{path} cannot be read: permission denied")


@contextmanager
def copying(path: Path) -> Iterator[None]:
    """What keeps a source from being copied to the directory for temporary files, as an error of this package."""
    try:
        yield
    except OSError as error:
        if isinstance(error, CacheError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                error.errno,
                f"no space left for a copy of {path} in {tempfile.gettempdir()}: set TMPDIR to another place",
            ) from error
        raise StoreIOError(error.errno, f"{path} cannot be copied to {tempfile.gettempdir()}: {error}") from error


def check_not_open_here(*files: Path) -> None:
    """Whether this process has none of these files open.

    The locks of SQLite and LMDB belong to a process and a file: when any descriptor of the file is closed, they are all
    gone, also those of a connection that is at work.
    """
    wanted = set()
    for file in files:
        try:
            found = os.stat(file)
        except OSError:
            continue
        wanted.add((found.st_dev, found.st_ino))
    for number in os.listdir("/proc/self/fd"):
        try:
            found = os.stat(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in wanted:
            raise BusyError(f"this program has {files[0]} open itself: close it before it is imported")


def wrong_kind(path: Path, kind: str, why: str) -> IncompatibleError:
    """That a path is not what it was said to be, and what it is instead if that can be seen."""
    from ._kinds import recognize

    found = recognize(path)
    hint = ""
    if found == "cachemere":
        hint = ": it is a store of Cachemere, which needs no import (cache.backup copies one)"
    elif found is not None and found != kind:
        hint = f": it looks like {found} (--from {found})"
    return IncompatibleError(f"{path} is not of {kind} ({why}){hint}")
