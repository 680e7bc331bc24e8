"""Databases of hugedict: `RocksDBDict`, and `SqliteDict`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._core.which_engine import require_rocksdb
from ..errors import DamagedError, StoreIOError
from ._entry import Entry, Form, Stored, broken
from ._files import is_rocksdb, is_sqlite
from ._source import Reading, Source, check_present, wrong_kind
from .sqlitedict import SqlitedictSource


def open_source(path: Path, reading: Reading) -> Source:
    """A source for a directory of RocksDB or a file of SQLite."""
    check_present(path, "hugedict")
    if is_sqlite(path):
        return HugedictSqliteSource(path, reading)
    if not is_rocksdb(path):
        raise wrong_kind(path, "hugedict", "it is neither a directory of RocksDB nor a file of SQLite")
    return HugedictSource(path, reading)


class HugedictSqliteSource(SqlitedictSource):
    """A table of a `SqliteDict`."""

    _default_table = "data"
    _kind = "hugedict"
    _values = Form.TEXT


class HugedictSource:
    """A directory of a `RocksDBDict`, in the order of its keys.

    It does not say how its entries are encoded: by default keys and values are text, as in its documentation.

    It is opened as a secondary, which writes nothing into the directory, and may be while another process writes it.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        reading.refuse("hugedict in RocksDB", "table")
        require_rocksdb("a source of hugedict")
        from ..rocksdb import RocksDBDict, RocksDBOptions

        self._path = path
        self._key_form, self._value_form = reading.key_form(Form.TEXT), reading.value_form(Form.TEXT)
        self._home = tempfile.TemporaryDirectory(prefix="cachemere-import-")
        try:
            self._opened: RocksDBDict[Any, Any] = RocksDBDict(
                path,
                RocksDBOptions(),
                deser_key=bytes,
                deser_value=bytes,
                secondary_mode=True,
                secondary_path=self._home.name,
                key_encoding="hugedict",
            )
        except BaseException:
            self._home.cleanup()
            raise

    def count(self) -> int | None:
        return self._opened.get_int_property("rocksdb.estimate-num-keys")

    def entries(self) -> Iterator[Entry]:
        try:
            for key, value in self._opened.items():
                yield Entry(f"key {key!r}", Stored(self._key_form, key), Stored(self._value_form, value))
        except (DamagedError, StoreIOError) as error:
            yield broken(str(self._path), str(error))

    def close(self) -> None:
        self._opened.close()
        self._home.cleanup()
