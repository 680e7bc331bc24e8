"""Opens stores that are there already. Nothing here makes one, whatever path was typed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._engine import Store
from .._options import Secret, resolve
from .._which_engine import require_rocksdb
from ..errors import IncompatibleError, MissingKeyError, StoreIOError, WrongSecretError
from . import secret
from .shown import one_line, quoted
from .stored import looking

#: A namespace that nobody has, for what concerns the store as a whole. Opening it read-only does not make it.
_NONE = "\0none"

#: What an error says of the setting that a namespace was made with.
_RECORDED = re.compile(r'^incompatible (key serializer|serializer|compression): .* has "([^"]*)", this open', re.DOTALL)


class StoreAt:
    """A store on the disk, whose secret is found when it is needed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.path = resolve(arguments.path)
        self.backend = _backend(self.path)
        self._secret: Secret | None = secret.given(arguments)

    @property
    def is_encrypted(self) -> bool:
        """Known when it was opened."""
        return self._secret is not None

    @contextmanager
    def reading(self, namespace: str) -> Iterator[Store]:
        """A namespace, to be looked at without changing anything."""
        store, recorded = self._open(namespace, read_only=True)
        try:
            if not recorded.startswith("python"):
                raise IncompatibleError(
                    f"the entries of the namespace {quoted(namespace)} in {self.path} were written by another program, "
                    f"with the serializer {quoted(recorded)}: look at them with that one"
                )
            yield store
        finally:
            store.close()

    @contextmanager
    def whole(self) -> Iterator[Store]:
        """The store for what concerns all namespaces, without changing anything."""
        store, _ = self._open(_NONE, read_only=True)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """The store for what concerns all namespaces."""
        # Read-only first: a namespace that is there, so that none is made.
        names = self.namespaces()
        store, _ = self._open(names[0][0] if names else "default", read_only=False)
        try:
            yield store
        finally:
            store.close()

    def namespaces(self) -> list[tuple[str, int]]:
        """The names in their order, and how many entries each has."""
        with self.whole() as store:
            return sorted(store.namespaces() if hasattr(store, "namespaces") else [("default", len(store))])

    def chosen(self, namespace: str | None) -> list[str]:
        """The namespaces that were asked for: this one, or all.

        Raises:
            MissingKeyError: There is none of this name.
        """
        names = [name for name, _ in self.namespaces()]
        if namespace is None:
            return names
        if namespace in names:
            return [namespace]
        there = ", ".join(quoted(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")
        raise NoNamespaceError(
            f"the store at {self.path} has no namespace {quoted(namespace)}; it has {there or 'none'}"
        )

    def compressor(self, namespace: str) -> str:
        """The name of a namespace's compressor; `"none"`."""
        try:
            self._open(namespace, read_only=True, compression=False)[0].close()
        except IncompatibleError as error:
            found = _RECORDED.match(str(error))
            if found is None or found[1] != "compression":
                raise
            return found[2]
        return "none"

    def serializer(self, namespace: str) -> str:
        """What a namespace records of how its keys and values were written."""
        store, recorded = self._open(namespace, read_only=True)
        store.close()
        return recorded

    def _open(self, namespace: str, read_only: bool, compression: bool | None = None) -> tuple[Store, str]:
        recorded = "python"
        while True:
            options = looking(
                recorded,
                path=self.path,
                namespace=namespace,
                read_only=read_only,
                compression=compression,
                maintenance="manual",
            )
            store = options.open(self._secret)
            try:
                store.open_now()
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


class NoNamespaceError(MissingKeyError):
    """The store has no namespace of this name."""

    def __str__(self) -> str:
        # A KeyError would show its argument quoted.
        return str(self.args[0])


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
