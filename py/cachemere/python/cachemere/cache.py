"""The cache for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from ._cache.async_twins import AsyncTwins
from ._cache.methods import Path
from ._core import checks
from ._core.guarded import GuardedStore
from ._core.options import MEMORY_BYTES, NOT_GIVEN, NotGiven, Options, given_secret, remember, resolve
from ._core.quantities import Seconds, Size
from ._core.salvage import Salvaged, salvage
from ._core.secrets import SecretSource
from ._leads.stream_leads import PATIENCE
from ._memo.decorator import Decorator, OnChange, decorator
from ._memo.lifetimes import TimeToLive
from ._memo.memoized import Memoized

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="Cache")


class Cache(AsyncTwins):
    """A persistent mapping for programs, shared by all threads and processes that open its directory.

    A read that starts after a write has returned, in whichever process, sees it. Values are copies: changing one that
    was stored or fetched never changes the cache. A stored `None` is a hit. A cache is true even when it is empty.

    The files are opened at the first use. Values are stored in a safe form: plain data (also nested), the usual types
    of the standard library, arrays of numpy, frames of pandas and polars, tables of Arrow, and the `types` registered
    here. Anything else is refused unless `allow_pickle` is set.

    Each method that waits for the disk, except `change_encryption_key`, `salvage` and `repair`, has an asynchronous
    twin whose name begins with `a` (`await cache.aget(key)`) and which never blocks the loop. `namespace` opens nothing
    and needs none; `memoize` takes coroutine functions as they are.

    Args:
        path: The store's directory. `None`: `$CACHEMERE_DIR`, or the platform's cache directory, as found at first use.
        namespace: Which of the mappings in the store.
        backend: `"lmdb"`, which many processes write at once, or `"rocksdb"`, which one process writes while others
            follow it that open it `read_only`: for stores that are much written, or much larger than memory. It takes
            the distribution `cachemere-rocksdb`, and has no `max_bytes`. `None`: as the store was made; LMDB for a new
            one.
        ttl: How long an entry lives from its last write: seconds, a `timedelta`, or a text such as `"30d"`, `"12h"`,
            `"5min"`, `"90s"`, as everywhere. `None`: for ever.
        idle: How long an entry lives from its last read or write. `None`: for ever.
        max_bytes: A limit of the files' size, 4 MiB or more, in bytes or as `"2GB"` or `"2GiB"`; what was
            read least recently is evicted to keep it. No limit by default.
        max_entries: A limit of the number of entries in the namespace.
        compression: Whether to compress values with Zstandard. `None`: as the namespace was made; no for a new one.
        encryption_key: 32 random bytes, a passphrase, or a function that gives one of them, from a keyring say; it is
            called at once. The default store also takes `$CACHEMERE_KEY`, or the file that `$CACHEMERE_KEY_FILE` names.
        allow_pickle: Whether values without a safe form may be pickled, and pickled ones loaded. Loading a pickle can
            run any code, so do this only where nobody else can write to the directory.
        durability: `"checkpoint"`: a power loss can take the last second; `"sync"`: nothing.
        read_only: Whether to refuse writes.
        allow_foreign_owner: Whether to open a store of another user. Its owner can make this process crash, so do this
            only where you trust them; root in a container on a volume of yours is such a case.
        allow_unsupported_file_system: Whether to open a store on a network file system. Only one process on one machine
            may ever have it open.
        types: Dataclasses, enums, named tuples, attrs and pydantic classes to be stored, and built again, as what they
            are. Those that the annotations of their fields name, and so on, count as registered for values:
            `types=[ChatCompletion]` is enough for a `ChatCompletion` of OpenAI's. Subclasses of them, and what is
            annotated as `Any`, do not. Objects are built from their fields, without validation and without calling
            `__init__`: if what a class means changes, use another namespace, or another `version` of a memoized
            function.
        on_error: `"raise"`, or `"bypass"`: a store that cannot be opened, read or written (a full disk, a home without
            write permission, a damaged file) is logged and treated as empty; one that can only be read is read. Errors
            of the program are raised anyway.
        memory_bytes: How much to keep decoded in memory, roughly. 0: nothing.

    `CACHEMERE_DISABLE=1` in the environment makes every cache act as if it were empty, and `CACHEMERE_MODE=replay` or
    `refresh` says what memoized functions do; see :func:`cachemere.memoize`. Both are looked at when they matter.

    Raises:
        InvalidOptionError: At once, for options that make no sense.
        WrongSecretError, IncompatibleError, DamagedError, ReadOnlyError, UnsupportedFileSystemError, StoreIOError: At
            the first use.

    Example:
        >>> import tempfile, cachemere
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store", ttl=3600)
        >>> cache["answer"] = {"text": "42", "tokens": (1, 2)}
        >>> cache.get("answer")
        {'text': '42', 'tokens': (1, 2)}
        >>> cache.incr("asked"), cache.incr("asked")
        (1, 2)
        >>> cache.close()
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        namespace: str = "default",
        backend: str | None = None,
        ttl: Seconds | None = None,
        idle: Seconds | None = None,
        max_bytes: Size | None = None,
        max_entries: int | None = None,
        compression: bool | None = None,
        encryption_key: SecretSource | NotGiven = NOT_GIVEN,
        allow_pickle: bool = False,
        durability: str = "checkpoint",
        read_only: bool = False,
        allow_foreign_owner: bool = False,
        allow_unsupported_file_system: bool = False,
        types: Iterable[type] = (),
        on_error: str = "raise",
        memory_bytes: Size = MEMORY_BYTES,
    ) -> None:
        checks.choice("on_error", on_error, ("raise", "bypass"))
        secret = given_secret(encryption_key)
        options = {
            "path": None if path is None else resolve(path),
            "namespace": namespace,
            "backend": backend,
            "ttl": ttl,
            "idle": idle,
            "max_bytes": max_bytes,
            "max_entries": max_entries,
            "compression": compression,
            "durability": durability,
            "read_only": read_only,
            "read_only_if_unwritable": on_error == "bypass",
            "allow_foreign_owner": allow_foreign_owner,
            "allow_unsupported_file_system": allow_unsupported_file_system,
            "memory_bytes": memory_bytes,
            "allow_pickle": allow_pickle,
            "pickle_keys": allow_pickle,
            "types": checks.items("types", types, "classes"),
        }
        self._guarded = GuardedStore(remember(options, secret), on_error, secret=secret)

    @overload
    def memoize(self, function: Callable[P, R], /) -> Memoized[P, R]: ...
    @overload
    def memoize(
        self,
        /,
        *,
        ttl: TimeToLive = None,
        stale_while_revalidate: Seconds | None = None,
        name: str | None = None,
        version: str | int | None = None,
        on_change: OnChange | None = None,
        depends_on: Iterable[Any] = (),
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        key_types: Mapping[type, Callable[[Any], Any]] | None = None,
        cache_if: Callable[[Any], bool] | None = None,
        typed: bool = False,
        tags: Iterable[str] = (),
        stream_patience: float | None = PATIENCE,
        strict: bool = False,
        retry_waiters: bool = False,
        batch: str | None = None,
        batch_size: int | None = None,
        stack: bool = False,
        register_return: bool = True,
    ) -> Decorator: ...
    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        ttl: TimeToLive = None,
        stale_while_revalidate: Seconds | None = None,
        name: str | None = None,
        version: str | int | None = None,
        on_change: OnChange | None = None,
        depends_on: Iterable[Any] = (),
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        key_types: Mapping[type, Callable[[Any], Any]] | None = None,
        cache_if: Callable[[Any], bool] | None = None,
        typed: bool = False,
        tags: Iterable[str] = (),
        stream_patience: float | None = PATIENCE,
        strict: bool = False,
        retry_waiters: bool = False,
        batch: str | None = None,
        batch_size: int | None = None,
        stack: bool = False,
        register_return: bool = True,
    ) -> Any:
        """Keeps the results of a function in this cache; see :func:`cachemere.memoize`."""
        decorate = decorator(
            ttl=ttl,
            stale_while_revalidate=stale_while_revalidate,
            name=name,
            version=version,
            on_change=on_change,
            depends_on=depends_on,
            ignore=ignore,
            key=key,
            key_types=key_types,
            cache_if=cache_if,
            typed=typed,
            tags=tags,
            stream_patience=stream_patience,
            strict=strict,
            retry_waiters=retry_waiters,
            batch=batch,
            batch_size=batch_size,
            stack=stack,
            register_return=register_return,
            find_store=lambda: self._guarded,
            way="Cache(path, types=[{}])",
        )
        return decorate if function is None else decorate(function)

    def namespace(self, name: str) -> Cache:
        """Another mapping in the same store, with the same options.

        While one of these handles is open, the others are opened without the time that a passphrase takes.
        """
        return over(type(self), self._guarded.beside(namespace=name))

    @staticmethod
    def salvage(
        path: Path,
        to: Path,
        *,
        encryption_key: SecretSource | NotGiven = NOT_GIVEN,
        allow_foreign_owner: bool = False,
        allow_unsupported_file_system: bool = False,
    ) -> Salvaged:
        """Copies what can be read of a damaged store into a new one, which must not exist.

        Every entry that proves to be what was written is copied with its times, tags and namespace, and so are the
        store's settings. The damaged store is not changed. Nobody may have it open.

        Raises:
            BusyError: A process has the store open, this one perhaps.
            WrongSecretError: The store is encrypted, and the key is missing or another's.
            DamagedError: Nothing can be read, because what holds the key of an encrypted store is lost.

        Example:
            >>> import tempfile, cachemere
            >>> directory = tempfile.mkdtemp()
            >>> with cachemere.Cache(directory + "/store") as cache:
            ...     cache["answer"] = 42
            >>> saved = cachemere.Cache.salvage(directory + "/store", directory + "/new")
            >>> saved.entries, saved.lost
            (1, 0)
        """
        options = Options(
            path=resolve(path),
            allow_foreign_owner=allow_foreign_owner,
            allow_unsupported_file_system=allow_unsupported_file_system,
        )
        return salvage(options, given_secret(encryption_key), resolve(to))

    @staticmethod
    def repair(
        path: Path,
        *,
        encryption_key: SecretSource | NotGiven = NOT_GIVEN,
        allow_foreign_owner: bool = False,
        allow_unsupported_file_system: bool = False,
    ) -> Salvaged:
        """Puts what :meth:`salvage` finds in the place of the store, and keeps the damaged files beside it (`kept`).

        A process that is killed in the middle of it leaves the damaged store or the repaired one.
        """
        options = Options(
            path=resolve(path),
            allow_foreign_owner=allow_foreign_owner,
            allow_unsupported_file_system=allow_unsupported_file_system,
        )
        return salvage(options, given_secret(encryption_key), None)

    def __repr__(self) -> str:
        return f"Cache({str(self._options.path)!r}, namespace={self._options.namespace!r})"

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self._options, self._guarded.on_error)


def _reopen(kind: type[Cache], options: Options, on_error: str) -> Cache:
    return over(kind, GuardedStore(options, on_error))


def over(kind: type[C], guarded: GuardedStore) -> C:
    """A handle over a store that is there already."""
    made = object.__new__(kind)
    made._guarded = guarded
    return made


def _called_as(constructor: Callable[P, Cache]) -> Callable[[Callable[..., Cache]], Callable[P, Cache]]:
    """Gives a function the signature of a constructor, so that its options are spelled once."""

    def with_signature(function: Callable[..., Cache]) -> Callable[P, Cache]:
        function.__signature__ = inspect.signature(constructor)  # type: ignore[attr-defined]
        return function

    return with_signature


@_called_as(Cache)
def open(*args: Any, **options: Any) -> Cache:
    """A :class:`Cache`; without a path, in `$CACHEMERE_DIR` or the platform's cache directory, found at first use.

    Opening nothing and making no directory before it is used, so it can stand at the top of a module.
    """
    return Cache(*args, **options)
