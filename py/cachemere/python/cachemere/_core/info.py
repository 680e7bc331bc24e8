"""What is told about entries and stores."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._engine import Store


@dataclass(frozen=True)
class EntryInfo:
    """The times of an entry, in seconds since the epoch, and its size. Asking for it is not an access."""

    #: When the key was inserted. Overwriting keeps it.
    created: float
    #: When the entry was last read or written. What other processes read counts once they wrote it down (within 10 s).
    atime: float
    #: When the value was last written.
    mtime: float
    #: When the entry expires if it is not read before; `None`: never.
    expires_at: float | None
    #: Bytes in the store, with header, key, compression and encryption.
    size: int
    #: Seconds without access after which it expires; `None`: however idle.
    idle: float | None

    @property
    def ctime(self) -> float:
        """As `created`: the name beside `atime` and `mtime`."""
        return self.created


@dataclass(frozen=True)
class NamespaceInfo:
    """Describes a namespace: what it was made with."""

    name: str
    #: Those that are not expired.
    entries: int
    #: Names of what makes bytes of keys and of values: `"python"` for this package, and behind it `"+own keys"` and
    #: `"+own values"` for functions of the user's.
    key_serializer: str
    serializer: str
    #: The name of what compresses values; `None`: they are not compressed.
    compressor: str | None
    #: How many entries it may have; `None`: any number.
    max_entries: int | None


@dataclass(frozen=True)
class StoreInfo:
    """Describes a store and the namespaces in it."""

    #: `"lmdb"` or `"rocksdb"`.
    backend: str
    #: The version of the store's format.
    format_version: int
    #: 32 hexadecimal digits, which copies of the store share, and no other store has.
    id: str
    #: When the store was made, in seconds since the epoch.
    created: float
    #: The name of the cipher; `None`: it is not encrypted.
    cipher: str | None
    #: Bytes that the files may take; `None`: any number.
    max_bytes: int | None
    #: In the order of their names.
    namespaces: tuple[NamespaceInfo, ...]


@dataclass(frozen=True)
class Stats:
    """Counts since the handle was opened, and sizes as of now."""

    hits: int
    misses: int
    #: Those of the hits that memory answered.
    memory_hits: int
    #: Entries that are not expired.
    entries: int
    #: Bytes that the files take on the disk, all namespaces together.
    file_bytes: int
    #: Entries this process removed over a limit.
    evictions: int
    #: Expired entries this process removed.
    expirations: int
    #: Those of the bytes that the entries take in the data file, with what lists them and the room left in their pages.
    record_bytes: int
    #: Those that the log takes, from which entries are moved into the data file.
    log_bytes: int
    #: Those that the data file takes beside: used again, and given back to the file system when nothing is written.
    free_bytes: int


@dataclass(frozen=True)
class VerifyReport:
    """The result of :meth:`Cache.verify`: what was found wrong in the store."""

    entries: int
    #: Bytes of entries read.
    bytes: int
    problems: int
    #: The first problems, in words.
    described: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """`True` if there are no problems."""
        return self.problems == 0


def entry_info(store: Store, key: Hashable) -> EntryInfo | None:
    """The times and size of an entry, `None` if there is none."""
    times = store.times(key)
    return None if times is None else EntryInfo(*times)


def describe(store: Store) -> StoreInfo:
    """What the store of a handle is."""
    told = store.describe()
    namespaces = tuple(NamespaceInfo(**namespace) for namespace in told.pop("namespaces"))
    return StoreInfo(**told, namespaces=namespaces)


def stats(store: Store) -> Stats:
    """Counts and sizes of a handle."""
    return Stats(**store.counts())


def verify(store: Store) -> VerifyReport:
    """Walks over everything in the store."""
    told = store.check()
    return VerifyReport(**told | {"described": tuple(told["described"])})
