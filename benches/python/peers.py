"""The peers: each class uses its library in the way that library is meant to be used, without syncs where it can.

A peer is a handle on a directory. Its loops are its own, so that none pays for calls that another would not need.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

Items = list[tuple[str, Any]]

MAP_SIZE = 4 << 30


class Peer:
    """A library that keeps values under keys. This one does it with `[]`."""

    name: ClassVar[str]
    #: The name of its distribution.
    package: ClassVar[str | None] = None
    #: The modules it needs.
    modules: ClassVar[tuple[str, ...]] = ()
    note: ClassVar[str] = ""
    #: Whether one operation takes so long that fewer are measured.
    is_slow: ClassVar[bool] = False
    #: Whether it can be opened again by another handle.
    persists: ClassVar[bool] = True

    def __init__(self, directory: Path) -> None:
        self.store: Any = self.open(directory)

    def open(self, directory: Path) -> Any:
        """Opens the store in a directory that may be empty."""
        raise NotImplementedError

    def write(self, items: Items) -> None:
        """Writes values one by one."""
        store = self.store
        for key, value in items:
            store[key] = value

    def write_all(self, items: Items) -> None:
        """Writes values in the fastest way there is for many."""
        self.write(items)

    def read(self, keys: Iterable[str]) -> None:
        """Reads values one by one."""
        store = self.store
        for key in keys:
            store[key]

    def get(self, key: str) -> Any:
        """One value."""
        return self.store[key]

    def set(self, key: str, value: Any) -> None:
        """Writes one value."""
        self.store[key] = value

    def close(self) -> None:
        """Closes the handle."""
        self.store.close()

    @classmethod
    def missing(cls) -> str | None:
        """Why the library cannot be measured here."""
        failed = Path(sys.prefix) / "not_installed.json"
        if failed.exists() and cls.package in (reasons := json.loads(failed.read_text())):
            return f"not installed: {reasons[cls.package]}"
        try:
            for module in cls.modules:
                importlib.import_module(module)
        except Exception as error:
            return f"cannot be imported: {error}"
        return None

    @classmethod
    def version(cls) -> str:
        """The version installed."""
        return metadata.version(cls.package) if cls.package else ""


class PlainDict(Peer):
    """A dict: the limit."""

    name = "dict"
    note = "the limit: nothing is copied nor stored"
    persists = False

    def open(self, directory: Path) -> dict[str, Any]:
        return {}

    def write_all(self, items: Items) -> None:
        self.store.update(items)

    def close(self) -> None:
        pass


class Cachemere(Peer):
    """This package's `PersistDict`, with all at its default."""

    name = "cachemere"
    package = "cachemere"
    modules = ("cachemere",)
    note = "`PersistDict`, all at its default"

    def open(self, directory: Path) -> Any:
        from cachemere import PersistDict

        return PersistDict(directory / "store")

    def write_all(self, items: Items) -> None:
        self.store.update(items)


class CachemereCache(Cachemere):
    """This package's `Cache`, whose methods look at the environment first."""

    name = "cachemere `Cache`"
    note = "`Cache`, all at its default"

    def open(self, directory: Path) -> Any:
        from cachemere import Cache

        return Cache(directory / "store")

    def write_all(self, items: Items) -> None:
        self.store.set_many(items)


class Lmdb(Peer):
    """py-lmdb with pickled values: a transaction an operation."""

    name = "py-lmdb + pickle"
    package = "lmdb"
    modules = ("lmdb",)
    note = "`sync=False, metasync=False`; bulk: one transaction"

    def open(self, directory: Path) -> Any:
        import lmdb

        return lmdb.open(str(directory), map_size=MAP_SIZE, sync=False, metasync=False)

    def write(self, items: Items) -> None:
        begin = self.store.begin
        for key, value in items:
            with begin(write=True) as txn:
                txn.put(key.encode(), pickle.dumps(value, 5))

    def write_all(self, items: Items) -> None:
        with self.store.begin(write=True) as txn:
            for key, value in items:
                txn.put(key.encode(), pickle.dumps(value, 5))

    def read(self, keys: Iterable[str]) -> None:
        begin = self.store.begin
        for key in keys:
            with begin() as txn:
                pickle.loads(txn.get(key.encode()))

    def get(self, key: str) -> Any:
        with self.store.begin() as txn:
            return pickle.loads(txn.get(key.encode()))

    def set(self, key: str, value: Any) -> None:
        with self.store.begin(write=True) as txn:
            txn.put(key.encode(), pickle.dumps(value, 5))


class HugeDict(Peer):
    """hugedict with pickled values."""

    name = "hugedict"
    package = "hugedict"
    modules = ("hugedict.prelude",)
    note = "pickled; one process; no batches"

    def open(self, directory: Path) -> Any:
        from hugedict.prelude import RocksDBDict, RocksDBOptions

        make: Any = RocksDBDict
        return make(
            path=str(directory / "store"),
            options=RocksDBOptions(create_if_missing=True),
            deser_key=_text,
            deser_value=pickle.loads,
            ser_value=_dumps,
        )

    def close(self) -> None:
        del self.store


def _text(data: bytes | memoryview) -> str:
    return str(data, "utf-8")


def _dumps(value: Any) -> bytes:
    return pickle.dumps(value, 5)


class RocksDict(Peer):
    """rocksdict, which pickles by itself."""

    name = "rocksdict"
    package = "rocksdict"
    modules = ("rocksdict",)
    note = "pickled; one process; bulk: `WriteBatch`"

    def open(self, directory: Path) -> Any:
        from rocksdict import Rdict

        return Rdict(str(directory / "store"))

    def write_all(self, items: Items) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch()
        for key, value in items:
            batch[key] = value
        self.store.write(batch)


class DiskCache(Peer):
    """diskcache, which syncs as SQLite's `NORMAL` does."""

    name = "diskcache"
    package = "diskcache"
    modules = ("diskcache",)
    note = "pickled; bulk: `transact()`"

    def open(self, directory: Path) -> Any:
        from diskcache import Cache

        return Cache(str(directory))

    def write_all(self, items: Items) -> None:
        with self.store.transact():
            self.write(items)


class DiskCacheRs(Peer):
    """diskcache-rs."""

    name = "diskcache-rs"
    package = "diskcache-rs"
    modules = ("diskcache_rs",)
    note = "pickled; bulk: `set_many`"

    def open(self, directory: Path) -> Any:
        from diskcache_rs import Cache

        return Cache(str(directory))

    def write_all(self, items: Items) -> None:
        self.store.set_many(items)


class SqliteDict(Peer):
    """sqlitedict with a commit for each write, which its thread does later; the loop ends when all are done."""

    name = "sqlitedict"
    package = "sqlitedict"
    modules = ("sqlitedict",)
    note = "pickled; `synchronous=OFF` by itself; bulk: one commit"
    is_slow = True

    def open(self, directory: Path) -> Any:
        import sqlitedict

        return sqlitedict.SqliteDict(str(directory / "store.sqlite"), autocommit=False, outer_stack=False)

    def write(self, items: Items) -> None:
        store = self.store
        for key, value in items:
            store[key] = value
            store.commit()

    def write_all(self, items: Items) -> None:
        self.store.update(items)
        self.store.commit()


_to_compute: dict[str, Any] = {}


def _compute(key: str) -> Any:
    return _to_compute[key]


class Joblib(Peer):
    """`joblib.Memory`: a set is a call that misses, a get one that hits."""

    name = "joblib.Memory"
    package = "joblib"
    modules = ("joblib",)
    note = "a file an entry; no batches"
    is_slow = True

    def open(self, directory: Path) -> Any:
        from joblib import Memory

        return Memory(str(directory), verbose=0).cache(_compute)

    def write(self, items: Items) -> None:
        _to_compute.clear()
        _to_compute.update(items)
        self.read(key for key, _ in items)

    def read(self, keys: Iterable[str]) -> None:
        call: Callable[[str], Any] = self.store
        for key in keys:
            call(key)

    def close(self) -> None:
        pass


class PersistDictPeer(Peer):
    """PersistDict. Its `update` writes nothing, so that many are written one by one."""

    name = "PersistDict"
    package = "PersistDict"
    modules = ("PersistDict",)
    note = "its hot reads can be stale"
    is_slow = True

    def open(self, directory: Path) -> Any:
        from PersistDict import PersistDict

        return PersistDict(database_path=str(directory / "store"))

    def close(self) -> None:
        del self.store


class LmdbDict(Peer):
    """lmdb-dict, whose values are compressed YAML."""

    name = "lmdb-dict"
    package = "lmdb-dict-full"
    modules = ("lmdb_dict",)
    note = "YAML and zlib; `sync=False`; bulk: `update`"
    is_slow = True

    def open(self, directory: Path) -> Any:
        from lmdb_dict import SafeLmdbDict

        return SafeLmdbDict(str(directory), map_size=MAP_SIZE, sync=False, metasync=False)

    def write_all(self, items: Items) -> None:
        self.store.update(items)

    def close(self) -> None:
        del self.store


#: Those that are compared with one another stand side by side, as they are measured in this order.
PEERS: tuple[type[Peer], ...] = (
    PlainDict,
    Cachemere,
    Lmdb,
    CachemereCache,
    RocksDict,
    HugeDict,
    DiskCache,
    DiskCacheRs,
    SqliteDict,
    Joblib,
    PersistDictPeer,
    LmdbDict,
)
