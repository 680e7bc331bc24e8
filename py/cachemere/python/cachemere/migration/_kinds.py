"""The kinds of sources, and which one a path looks like."""

from __future__ import annotations

import dbm
from collections.abc import Callable
from pathlib import Path

from ..errors import CacheError
from . import diskcache, hugedict, persistdict, shelve, sqlitedict
from ._source import Reading, Source, is_lmdb, is_rocksdb, is_sqlite
from ._sqlite_file import tables_of

#: What opens each kind.
KINDS: dict[str, Callable[[Path, Reading], Source]] = {
    "diskcache": diskcache.DiskcacheSource,
    "persistdict": persistdict.PersistDictSource,
    "sqlitedict": sqlitedict.SqlitedictSource,
    "shelve": shelve.ShelveSource,
    "hugedict": hugedict.open_source,
}


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
        return "shelve" if shelve.backend_of(path) else None
    except (CacheError, OSError, *dbm.error):
        return None


def _of_directory(path: Path) -> str | None:
    if diskcache.shards_of(path):
        return "diskcache"
    if is_rocksdb(path):
        return "hugedict"
    if any((path / name).exists() for name in ("checkpoint", "control", "rocksdb")):
        return "cachemere"
    return "persistdict" if is_lmdb(path) else None
