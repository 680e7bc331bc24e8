"""Opens stores that are there already. Nothing here makes one, whatever path was typed."""

from __future__ import annotations

import argparse
import shlex
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from .._core.guarded import default_path
from .._core.info import NamespaceInfo, StoreInfo, describe
from .._core.options import resolve
from .._core.secrets import Secret
from .._core.which_engine import require_rocksdb
from .._engine import Store
from ..errors import CacheError, IncompatibleError, StoreIOError, WrongSecretError
from . import secret
from .shown import one_line, quoted
from .stored import Looking, is_ours, looking

#: A namespace that nobody has, for what concerns the store as a whole. Opening it read-only does not make it.
_NONE = "\0none"


class StoreAt(ExitStack):
    """A store on the disk, whose secret is found when it is needed. Its handles are closed with it.

    Only the first is opened with the secret, since a passphrase costs a tenth of a second each time; the others are
    opened beside it.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.path = default_path() if arguments.path is None else resolve(arguments.path)
        self.backend = _backend(self.path)
        self._secret: Secret | None = secret.given(arguments)
        self._whole: Store | None = None
        self._read: dict[str, Store] = {}

    def whole(self) -> Store:
        """The store for what concerns all namespaces, without changing anything."""
        if self._whole is None:
            self._whole = self._unlocked(_NONE, "python", read_only=True)
        return self._whole

    @cached_property
    def info(self) -> StoreInfo:
        """What the store is, and its namespaces, as they were when it was opened."""
        return describe(self.whole())

    def reading(self, namespace: str) -> Store:
        """A namespace that is there, to be looked at without changing anything.

        Raises:
            IncompatibleError: What is in it is not Python's.
        """
        if namespace not in self._read:
            (found,) = (it for it in self.info.namespaces if it.name == namespace)
            if not is_ours(found):
                raise IncompatibleError(
                    f"the entries of the namespace {quoted(namespace)} in {self.path} were written by another program, "
                    f"with the serializer {quoted(found.serializer)}: look at them with that one"
                )
            self._read[namespace] = self._beside(namespace, found.serializer, read_only=True)
        return self._read[namespace]

    def writing(self) -> Store:
        """The store for what concerns all namespaces. What was opened before is closed."""
        # A namespace that is there, so that none is made.
        there = sorted(self.info.namespaces, key=is_ours, reverse=True)
        name, serializer = (there[0].name, there[0].serializer) if there else ("default", "python")
        if self.backend == "lmdb":
            before = [self.whole(), *self._read.values()]
            opened = self._beside(name, serializer, read_only=False)
            for store in before:
                store.close()
        else:
            # A process that follows the writer cannot become it.
            self.close()
            opened = self._unlocked(name, serializer, read_only=False)
        self._whole = None
        self._read.clear()
        return opened

    def chosen(self, namespace: str | None) -> list[NamespaceInfo]:
        """The namespaces that were asked for: this one, or all.

        Raises:
            CacheError: There is none of this name.
        """
        found = [it for it in self.info.namespaces if namespace in (None, it.name)]
        if found or namespace is None:
            return found
        names = [quoted(it.name) for it in self.info.namespaces]
        there = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise CacheError(f"the store at {self.path} has no namespace {quoted(namespace)}; it has {there or 'none'}")

    def _unlocked(self, namespace: str, serializer: str, read_only: bool) -> Store:
        """A handle that is opened with the secret."""
        while True:
            store = self._options(namespace, serializer, read_only).open(self._secret)
            try:
                store.open_now()
            except WrongSecretError:
                if self._secret is not None:
                    raise
                self._secret = secret.asked(self.path)
            else:
                self.callback(store.close)
                return store

    def _beside(self, namespace: str, serializer: str, read_only: bool) -> Store:
        """A handle that is opened because the store is open."""
        store = self._options(namespace, serializer, read_only).open(None)
        store.open_now(self.whole())
        self.callback(store.close)
        return store

    def _options(self, namespace: str, serializer: str, read_only: bool) -> Looking:
        # Nothing but what was asked for is done.
        return looking(serializer, path=self.path, namespace=namespace, read_only=read_only, maintenance="manual")


def _backend(path: Path) -> str:
    """What keeps the store's records.

    Raises:
        StoreIOError: There is no store.
        NotInstalledError: It is in RocksDB, which is not there.
    """
    if not path.exists():
        raise StoreIOError(f"there is nothing at {path}")
    if not path.is_dir():
        raise StoreIOError(f"{path} is not a directory, as a store is{_other_kind(path)}")
    if (path / "data.mdb").exists():
        return "lmdb"
    if (path / "rocksdb").is_dir():
        require_rocksdb(f"the store at {one_line(str(path))}, which is in RocksDB,")
        return "rocksdb"
    if (path / "CURRENT").exists():
        raise StoreIOError(
            f"{path} is a database of RocksDB and not a store of Cache or PersistDict: open it with cachemere.rocksdb"
        )
    raise StoreIOError(f"there is no store in {path}: it has no data.mdb{_other_kind(path)}")


def _other_kind(path: Path) -> str:
    """What another package made there, if it is known, and how that is imported."""
    # Loaded only where there is no store.
    from ..migration._recognize import recognize

    kind = recognize(path)
    if kind in (None, "cachemere"):
        return ""
    return f"; it looks like {kind}: cachemere import --from {kind} {shlex.quote(str(path))} DST makes a store of it"
