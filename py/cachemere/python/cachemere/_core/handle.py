"""What all handles can do with their store as a whole."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from .info import Stats, StoreInfo, VerifyReport, describe, stats, verify
from .options import Options, change_secret, resolve
from .secrets import Secret

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

if TYPE_CHECKING:
    from .._engine import Store

Path = str | os.PathLike[str]


class Handle:
    """Base of :class:`~cachemere.Cache` and :class:`~cachemere.PersistDict`."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _options(self) -> Options: ...
        @property
        def _store(self) -> Store: ...

    def stats(self) -> Stats:
        """Counts of this handle, and sizes."""
        return stats(self._store)

    def describe(self) -> StoreInfo:
        """What the store is: its backend, format, cipher and limits, and the mappings in it.

        Costs some lookups for each mapping, and one for each expired entry that is not removed yet.

        >>> from cachemere import Cache
        >>> with Cache("answers", max_bytes=16 << 20, max_entries=1000) as cache:
        ...     store = cache.describe()
        >>> store.backend, store.cipher, store.max_bytes
        ('lmdb', None, 16777216)
        >>> [(mapping.name, mapping.entries, mapping.max_entries) for mapping in store.namespaces]
        [('default', 0, 1000)]
        """
        return describe(self._store)

    def sweep(self) -> int:
        """Removes all expired entries now; how many."""
        return self._store.sweep()

    def flush(self) -> None:
        """Makes everything written so far safe from a power loss."""
        self._store.sync()

    def backup(self, path: Path) -> None:
        """Copies the store, while it is in use, into a directory that must not exist."""
        self._store.backup(resolve(path))

    def change_encryption_key(self, old: Secret, new: Secret, *, reencrypt: bool = False) -> None:
        """Gives an encrypted store another key or passphrase.

        Wraps the store's data key anew, in milliseconds. With `reencrypt` it also makes a new data key and rewrites all
        entries, for which nobody else may have the store open.

        Raises:
            WrongSecretError: `old` is not the present one. Nothing was changed.
            BusyError: Another process has the store open.
        """
        change_secret(self._store, self._options, old, new, reencrypt)

    def verify(self) -> VerifyReport:
        """Reads everything in the store and tells what is damaged."""
        return verify(self._store)

    def close(self) -> None:
        """Writes what is in memory (access times), makes everything safe and closes this handle."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
