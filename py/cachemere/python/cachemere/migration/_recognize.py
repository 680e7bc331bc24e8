"""What a path looks like: which package may have written it."""

from __future__ import annotations

import dbm
import os
import re
from pathlib import Path

from ..errors import CacheError
from ._files import is_lmdb, is_rocksdb, is_sqlite
from ._sqlite_file import tables_of


def recognize(path: Path) -> str | None:
    """The kind a path looks like, or `"cachemere"`; `None` if it looks like nothing that is known. Never fails."""
    try:
        if path.is_dir():
            return _of_directory(path)
        if is_sqlite(path):
            tables = tables_of(path)
            if {"Cache", "Settings"} <= tables.keys():
                return "diskcache"
            if tables.get("Dict") == ["key", "value"]:
                return "shelve"
            return "sqlitedict" if ["key", "value"] in tables.values() else None
        return "shelve" if backend_of(path) else None
    except (CacheError, OSError, *dbm.error):
        return None


def _of_directory(path: Path) -> str | None:
    if shards_of(path):
        return "diskcache"
    if is_rocksdb(path):
        return "hugedict"
    if any((path / name).exists() for name in ("checkpoint", "control", "rocksdb")):
        return "cachemere"
    return "persistdict" if is_lmdb(path) else None


def shards_of(path: Path) -> list[Path]:
    """The directories with a database: this one, or those of a FanoutCache."""
    if (path / "cache.db").is_file():
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if re.fullmatch(r"\d{3,}", name))
    except OSError:
        return []
    return [path / name for name in names if (path / name / "cache.db").is_file()]


def backend_of(path: Path) -> str | None:
    """The module that wrote a shelf of this name; `None` if it is not one."""
    if is_sqlite(path):
        # Known by no Python before 3.13, and read without that module: it would write beside the file.
        return "dbm.sqlite3"
    try:
        return dbm.whichdb(str(path)) or None
    except OSError:
        return None
