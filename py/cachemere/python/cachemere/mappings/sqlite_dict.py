"""A mapping in a table of SQLite."""

from __future__ import annotations

import builtins
import os
import sqlite3
from collections.abc import Callable, ItemsView, Iterable, Iterator, Sequence, ValuesView
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from .._core import checks
from .._core.walk import pairs_of
from ..errors import InvalidOptionError, KeyFormError, MissingKeyError
from ._sqlite_connections import Connections, told
from ._sqlite_function import cached_function, timed
from .cache_dict import CacheDict
from .huge_mapping import HugeMutableMapping

K = TypeVar("K")
V = TypeVar("V")
V1 = TypeVar("V1")
V2 = TypeVar("V2")
V3 = TypeVar("V3")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: Seconds that a write waits for another one.
DEFAULT_TIMEOUT = 5.0

#: Entries that a walk reads at a time. Nothing is locked between.
_CHUNK = 500

_MISSING: Any = object()


class SqliteDictFieldType(builtins.str, Enum):
    """What a column holds, by SQLite's name."""

    str = "TEXT"
    int = "INTEGER"
    bytes = "BLOB"


_PYTHON_TYPES: dict[SqliteDictFieldType, type] = {
    SqliteDictFieldType.str: str,
    SqliteDictFieldType.int: int,
    SqliteDictFieldType.bytes: bytes,
}


@dataclass
class SqliteDictArgs(Generic[V]):
    """One of several mappings in a file; see :meth:`SqliteDict.multiple`."""

    tablename: str
    keytype: SqliteDictFieldType
    ser_value: Callable[[V], Any]
    deser_value: Callable[[Any], V]
    valuetype: SqliteDictFieldType = SqliteDictFieldType.bytes
    timeout: float = DEFAULT_TIMEOUT


class SqliteDict(HugeMutableMapping[K, V]):
    """A mapping in a table of SQLite, which many threads and processes may write.

    Slower than :class:`~cachemere.Cache`, for files that other programs read with SQL.

    Args:
        path: The file, made with its directory if it is missing; or a connection, which stays the caller's.
        keytype: What all keys are: str, int (of 64 bits) or bytes.
        ser_value, deser_value: Functions from a value to what the column holds, and back.
        valuetype: What the column of the values holds.
        timeout: Seconds that an operation waits for another process's write.
        table_name: The table, made if it is missing.

    Entries are in the order of insertion; those of int keys in the order of the keys.

    Raises:
        InvalidOptionError: An argument makes no sense. Nothing was made.
        BusyError: Another process wrote for longer than the timeout. Nothing was changed.
        DamagedError: The file is damaged, or no database of SQLite.
    """

    def __init__(
        self,
        path: builtins.str | os.PathLike[builtins.str] | sqlite3.Connection,
        keytype: SqliteDictFieldType,
        ser_value: Callable[[V], Any],
        deser_value: Callable[[Any], V],
        valuetype: SqliteDictFieldType = SqliteDictFieldType.bytes,
        timeout: float = DEFAULT_TIMEOUT,
        table_name: builtins.str = "data",
    ) -> None:
        self._keytype, self._valuetype = _field("keytype", keytype), _field("valuetype", valuetype)
        for name, function in (("ser_value", ser_value), ("deser_value", deser_value)):
            if not callable(function):
                raise InvalidOptionError(f"{name} must be a function, not {checks.shown(function)}")
        self._timeout = checks.duration("timeout", timeout)
        self.table_name = _checked_table(table_name)
        self.ser_value, self.deser_value = ser_value, deser_value
        self._connections = Connections(path, self._timeout)
        self._table = f'"{table_name}"'
        columns = f"key {self._keytype.value} PRIMARY KEY, value {self._valuetype.value}"
        made = f"CREATE TABLE IF NOT EXISTS {self._table}({columns})"
        try:
            # A file that has it can be one that must not be written.
            if not self._has_table():
                with self._writing() as database:
                    database.execute(made)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def str(
        path: builtins.str | os.PathLike[builtins.str],
        ser_value: Callable[[V], Any],
        deser_value: Callable[[Any], V],
    ) -> SqliteDict[builtins.str, V]:
        """One with str as keys."""
        return SqliteDict(path, SqliteDictFieldType.str, ser_value, deser_value)

    @staticmethod
    def int(
        path: builtins.str | os.PathLike[builtins.str],
        ser_value: Callable[[V], Any],
        deser_value: Callable[[Any], V],
    ) -> SqliteDict[builtins.int, V]:
        """One with int as keys."""
        return SqliteDict(path, SqliteDictFieldType.int, ser_value, deser_value)

    @staticmethod
    def mul2(
        path: builtins.str | os.PathLike[builtins.str], args1: SqliteDictArgs[V1], args2: SqliteDictArgs[V2]
    ) -> tuple[SqliteDict[Any, V1], SqliteDict[Any, V2]]:
        """Two in one file."""
        first, second = SqliteDict.multiple(path, args1, args2)
        return first, second

    @staticmethod
    def mul3(
        path: builtins.str | os.PathLike[builtins.str],
        args1: SqliteDictArgs[V1],
        args2: SqliteDictArgs[V2],
        args3: SqliteDictArgs[V3],
    ) -> tuple[SqliteDict[Any, V1], SqliteDict[Any, V2], SqliteDict[Any, V3]]:
        """Three in one file."""
        first, second, third = SqliteDict.multiple(path, args1, args2, args3)
        return first, second, third

    @staticmethod
    def multiple(
        path: builtins.str | os.PathLike[builtins.str], *args: SqliteDictArgs[Any]
    ) -> tuple[SqliteDict[Any, Any], ...]:
        """Several in one file, each in a table of its own."""
        return tuple(
            SqliteDict(
                path, each.keytype, each.ser_value, each.deser_value, each.valuetype, each.timeout, each.tablename
            )
            for each in args
        )

    @staticmethod
    def cache_fn(
        ser: Callable[[Any], builtins.bytes] | None = None,
        deser: Callable[[builtins.bytes], Any] | None = None,
        cache_args: Sequence[builtins.str] | None = None,
        cache_key: Callable[..., builtins.bytes] | None = None,
        outfile: builtins.str | os.PathLike[builtins.str] | None = None,
        log_serde_time: bool = False,
        disable: bool = False,
    ) -> Callable[[F], F]:
        """A decorator that keeps the results of a function in a file. :func:`~cachemere.memoize` does more.

        Args:
            ser, deser: Functions from a result to bytes and back. There is no default: `pickle.dumps` and
                `pickle.loads` are for files that nobody else can write, since loading a pickle can run any code.
            cache_args: The arguments that tell one call from another, by their names; all by default.
            cache_key: Makes the key instead. Without it, arguments must be str, int, bool or None.
            outfile: The file. There is no default either: a directory that all can write is no place for it.
            log_serde_time: Whether to log how long `ser` and `deser` take.
            disable: Whether to leave the function as it is.
        """
        checks.flag("disable", disable)
        checks.flag("log_serde_time", log_serde_time)
        if disable:
            return lambda function: function
        for name, given in (("ser", ser), ("deser", deser), ("outfile", outfile)):
            if given is None:
                raise InvalidOptionError(f"{name} must be given: see the help of cache_fn")
        assert ser is not None and deser is not None and outfile is not None
        if log_serde_time:
            ser, deser = timed("serializing a value", ser), timed("deserializing a value", deser)
        results: SqliteDict[builtins.bytes, Any] = SqliteDict(
            outfile, SqliteDictFieldType.bytes, ser, deser, timeout=30
        )
        return lambda function: cached_function(function, results, cache_args, cache_key)

    def _has_table(self) -> bool:
        wanted = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
        with self._reading() as database:
            return database.execute(wanted, (self.table_name,)).fetchone() is not None

    @property
    def dbfile(self) -> Path | None:
        """The file; `None` of a connection that was given."""
        return self._connections.path

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with told(self._connections.name):
            yield self._connections.get()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All of it or, on an error, nothing."""
        with told(self._connections.name):
            database = self._connections.get()
            with database:
                if not database.in_transaction:
                    database.execute("BEGIN IMMEDIATE")
                yield database

    def _is_key(self, key: object) -> bool:
        if not isinstance(key, _PYTHON_TYPES[self._keytype]):
            return False
        return not isinstance(key, int) or -(2**63) <= key < 2**63

    def _key(self, key: object) -> Any:
        if not self._is_key(key):
            kind = "int of 64 bits" if self._keytype is SqliteDictFieldType.int else self._keytype.name
            raise KeyFormError(f"the keys are {kind}, and {checks.shown(key)} is not")
        return key

    def _find(self, database: sqlite3.Connection, key: object) -> Any:
        found = database.execute(f"SELECT value FROM {self._table} WHERE key = ?", (key,)).fetchone()
        return _MISSING if found is None else found[0]

    def __contains__(self, key: object) -> bool:
        if not self._is_key(key):
            return False
        with self._reading() as database:
            return self._find(database, key) is not _MISSING

    def __getitem__(self, key: K) -> V:
        value = self._stored(key)
        if value is _MISSING:
            raise MissingKeyError(key)
        return self.deser_value(value)

    def _stored(self, key: object) -> Any:
        if not self._is_key(key):
            return _MISSING
        with self._reading() as database:
            return self._find(database, key)

    @overload
    def get(self, key: K, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T, /) -> V | T: ...
    def get(self, key: K, default: Any = None, /) -> Any:
        """The value of a key, or `default`."""
        value = self._stored(key)
        return default if value is _MISSING else self.deser_value(value)

    def __setitem__(self, key: K, value: V) -> None:
        self.batch_insert([(key, value)])

    def batch_insert(self, items: Iterable[tuple[K, V]]) -> None:
        """Writes all pairs, or on an error none. Much cheaper than one by one."""
        rows = [(self._key(key), self.ser_value(value)) for key, value in items]
        insert = f"INSERT INTO {self._table} VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value"
        with self._writing() as database:
            database.executemany(insert, rows)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Writes all pairs, or on an error none."""
        self.batch_insert([*pairs_of(other), *pairs_of(more)])

    def __delitem__(self, key: K) -> None:
        if not self._is_key(key):
            raise MissingKeyError(key)
        with self._writing() as database:
            if database.execute(f"DELETE FROM {self._table} WHERE key = ?", (key,)).rowcount == 0:
                raise MissingKeyError(key)

    def pop(self, key: K, default: Any = _MISSING, /) -> Any:
        """Removes a key; its value. What cannot be decoded is not removed."""
        if self._is_key(key):
            with self._writing() as database:
                value = self._find(database, key)
                if value is not _MISSING:
                    made = self.deser_value(value)
                    database.execute(f"DELETE FROM {self._table} WHERE key = ?", (key,))
                    return made
        if default is _MISSING:
            raise MissingKeyError(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Removes the last entry; its key and value."""
        with self._writing() as database:
            last = f"SELECT key, value FROM {self._table} ORDER BY rowid DESC LIMIT 1"
            found = database.execute(last).fetchone()
            if found is None:
                raise MissingKeyError("popitem(): the mapping is empty")
            made = self.deser_value(found[1])
            database.execute(f"DELETE FROM {self._table} WHERE key = ?", (found[0],))
            return found[0], made

    @overload
    def setdefault(self: SqliteDict[K, T | None], key: K, default: None = None, /) -> T | None: ...
    @overload
    def setdefault(self, key: K, default: V, /) -> V: ...
    def setdefault(self, key: K, default: Any = None, /) -> Any:
        """The value of a key, which gets `default` first if it has none."""
        self._key(key)
        with self._writing() as database:
            value = self._find(database, key)
            if value is not _MISSING:
                return self.deser_value(value)
            database.execute(f"INSERT INTO {self._table} VALUES (?, ?)", (key, self.ser_value(default)))
            return default

    def clear(self) -> None:
        """Removes all entries."""
        with self._writing() as database:
            database.execute(f"DELETE FROM {self._table}")

    def __len__(self) -> builtins.int:
        with self._reading() as database:
            count: int = database.execute(f"SELECT COUNT(*) FROM {self._table}").fetchone()[0]
            return count

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self._walk(False, "NULL"))

    def __reversed__(self) -> Iterator[K]:
        return (key for key, _ in self._walk(True, "NULL"))

    def _walk(self, reverse: bool, value: builtins.str = "value") -> Iterator[tuple[K, Any]]:
        """What is there all the time is met once, and nothing behind what is the last at the beginning."""
        way, further, until, last = ("DESC", "<", ">=", "min") if reverse else ("ASC", ">", "<=", "max")
        chosen = f"SELECT rowid, key, {value} FROM {self._table} WHERE rowid {until} ?"
        order = f"ORDER BY rowid {way} LIMIT {_CHUNK}"
        with self._reading() as database:
            (end,) = database.execute(f"SELECT {last}(rowid) FROM {self._table}").fetchone()
            rows = database.execute(f"{chosen} {order}", (end,)).fetchall()
        while True:
            yield from ((key, stored) for _, key, stored in rows)
            if len(rows) < _CHUNK:
                return
            with self._reading() as database:
                behind = (end, rows[-1][0])
                rows = database.execute(f"{chosen} AND rowid {further} ? {order}", behind).fetchall()

    def values(self) -> ValuesView[V]:
        """The values, in the order of the entries; live."""
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """Pairs of key and value, in their order; live."""
        return _Items(self)

    def cache(self) -> CacheDict[K, V]:
        """The same mapping, in whose memory values stay that were read once."""
        return CacheDict(self)

    def close(self) -> None:
        """Closes the file. A connection that was given stays open."""
        self._connections.close()

    def __enter__(self) -> SqliteDict[K, V]:
        self._connections.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        path = self._connections.path
        if path is None:
            raise TypeError("a SqliteDict of a connection cannot be pickled: make it of a path")
        fields = (self._keytype, self.ser_value, self.deser_value, self._valuetype, self._timeout, self.table_name)
        return type(self), (path, *fields)

    def __repr__(self) -> builtins.str:
        return f"SqliteDict({self._connections.name!r}, table_name={self.table_name!r})"


class _Values(ValuesView[V]):
    _mapping: SqliteDict[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (self._mapping.deser_value(stored) for _, stored in self._mapping._walk(False))

    def __contains__(self, value: object) -> bool:
        return any(value is present or value == present for present in self)

    def __reversed__(self) -> Iterator[V]:
        return (self._mapping.deser_value(stored) for _, stored in self._mapping._walk(True))


class _Items(ItemsView[K, V]):
    _mapping: SqliteDict[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return ((key, self._mapping.deser_value(stored)) for key, stored in self._mapping._walk(False))

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return ((key, self._mapping.deser_value(stored)) for key, stored in self._mapping._walk(True))


def _field(name: str, value: object) -> SqliteDictFieldType:
    if not isinstance(value, SqliteDictFieldType):
        raise InvalidOptionError(f"{name} must be a SqliteDictFieldType, not {checks.shown(value)}")
    return value


def _checked_table(name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise InvalidOptionError(f"table_name must be a name of letters, digits and _, not {checks.shown(name)}")
    return name
