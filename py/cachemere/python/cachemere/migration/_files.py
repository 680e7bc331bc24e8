"""Questions about files that others wrote, asked without a trace."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BusyError, CacheError, DiskFullError, InputFileError, StoreIOError


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


def check_readable(path: Path) -> None:
    """Whether there is something to read, and permission to."""
    if not os.path.lexists(path):
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
