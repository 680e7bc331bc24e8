"""Opens stores that are there already. Nothing here makes one, whatever path was typed."""

from __future__ import annotations

import argparse
import re
from contextlib import ExitStack
from pathlib import Path

from .._engine import Store
from .._options import Secret, resolve
from .._which_engine import require_rocksdb
from ..errors import CacheError, IncompatibleError, StoreIOError, WrongSecretError
from . import secret
from .shown import one_line, quoted
from .stored import is_ours, looking

#: A namespace that nobody has, for what concerns the store as a whole. Opening it read-only does not make it.
_NONE = "\0none"

#: What an error says of the setting that a namespace was made with.
_RECORDED = re.compile(r'^incompatible (key serializer|serializer|compression): .* has "([^"]*)", this open', re.DOTALL)


class StoreAt(ExitStack):
    """A store on the disk, whose secret is found when it is needed. Its handles are closed with it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.path = resolve(arguments.path)
        self.backend = _backend(self.path)
        self._secret: Secret | None = secret.given(arguments)
        # Each opening of a store with a passphrase takes a tenth of a second.
        self._read: dict[str, tuple[Store, str]] = {}

    @property
    def is_encrypted(self) -> bool:
        """Known when it was opened."""
        return self._secret is not None

    def whole(self) -> Store:
        """The store for what concerns all namespaces, without changing anything."""
        return self._reading(_NONE)[0]

    def reading(self, namespace: str) -> Store:
        """A namespace, to be looked at without changing anything.

        Raises:
            IncompatibleError: What is in it is not Python's.
        """
        store, recorded = self._reading(namespace)
        if not is_ours(recorded):
            raise IncompatibleError(
                f"the entries of the namespace {quoted(namespace)} in {self.path} were written by another program, "
                f"with the serializer {quoted(recorded)}: look at them with that one"
            )
        return store

    def writing(self) -> Store:
        """The store for what concerns all namespaces. What was opened before is closed."""
        # A namespace that is there, so that none is made.
        name = next(iter(self.namespaces()), "default")
        self.close()
        self._read.clear()
        return self._open(name, read_only=False)[0]

    def namespaces(self) -> dict[str, int]:
        """How many entries each namespace has, in the order of their names."""
        return dict(sorted(self.whole().namespaces()))

    def chosen(self, namespace: str | None) -> list[str]:
        """The namespaces that were asked for: this one, or all.

        Raises:
            CacheError: There is none of this name.
        """
        names = list(self.namespaces())
        if namespace is None:
            return names
        if namespace in names:
            return [namespace]
        there = ", ".join(quoted(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")
        raise CacheError(f"the store at {self.path} has no namespace {quoted(namespace)}; it has {there or 'none'}")

    def serializer(self, namespace: str) -> str:
        """What a namespace records of how its keys and values were written."""
        return self._reading(namespace)[1]

    def compression(self, namespace: str) -> str:
        """The name of a namespace's compressor; `"none"`."""
        try:
            self._open(namespace, read_only=True, recorded=self.serializer(namespace), compression=False)
        except IncompatibleError as error:
            found = _RECORDED.match(str(error))
            if found is None or found[1] != "compression":
                raise
            return found[2]
        return "none"

    def _reading(self, namespace: str) -> tuple[Store, str]:
        if namespace not in self._read:
            self._read[namespace] = self._open(namespace, read_only=True)
        return self._read[namespace]

    def _open(
        self, namespace: str, read_only: bool, recorded: str = "python", compression: bool | None = None
    ) -> tuple[Store, str]:
        while True:
            options = looking(
                recorded,
                path=self.path,
                namespace=namespace,
                read_only=read_only,
                compression=compression,
                # Nothing but what was asked for.
                maintenance="manual",
            )
            store = options.open(self._secret)
            try:
                store.open_now()
                self.callback(store.close)
                return store, recorded
            except WrongSecretError:
                if self._secret is not None:
                    raise
                self._secret = secret.asked(self.path)
            except IncompatibleError as error:
                found = _RECORDED.match(str(error))
                if found is None or found[1] == "compression" or found[2] == recorded:
                    raise
                recorded = found[2]


def _backend(path: Path) -> str:
    """What keeps the store's records.

    Raises:
        StoreIOError: There is no store.
        NotInstalledError: It is in RocksDB, which is not there.
    """
    if not path.exists():
        raise StoreIOError(f"there is nothing at {path}")
    if not path.is_dir():
        raise StoreIOError(f"{path} is not a directory, as a store is")
    if (path / "data.mdb").exists():
        return "lmdb"
    if (path / "rocksdb").is_dir():
        require_rocksdb(f"the store at {one_line(str(path))}, which is in RocksDB,")
        return "rocksdb"
    if (path / "CURRENT").exists():
        raise StoreIOError(
            f"{path} is a database of RocksDB and not a store of Cache or PersistDict: open it with cachemere.rocksdb"
        )
    raise StoreIOError(f"there is no store in {path}: it has no data.mdb")
