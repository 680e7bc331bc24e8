"""The cache for programs."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar, overload

import platformdirs

from . import _checks
from ._async import AsyncTwins
from ._engine import Store, Version
from ._environment import is_disabled
from ._handle import Handle, Path
from ._info import EntryInfo, entry_info
from ._load import MEMORY_BUDGET, Format, Kind, LoadOptions, LoadSummary, load
from ._memoize import Decorator, memoize
from ._memoized import Memoized
from ._options import MEMORY_BYTES, Options, Secret, check_secret, check_tags, remember, resolve
from ._stream_leads import PATIENCE
from ._walk import Entry, met, pairs_of
from .errors import (
    BusyError,
    CacheError,
    DamagedError,
    DiskFullError,
    InvalidOptionError,
    MissingKeyError,
    ReadOnlyError,
    StoreFullError,
    StoreGoneError,
    StoreIOError,
    TamperedError,
    UnsupportedFileSystemError,
    ValueFormError,
)

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_MISSING: Any = object()
_log = logging.getLogger("cachemere")

#: What `on_error="bypass"` lets pass: what the machine is to blame for and not the program.
_BYPASSED = (
    BusyError,
    DamagedError,
    DiskFullError,
    ReadOnlyError,
    StoreFullError,
    StoreGoneError,
    StoreIOError,
    TamperedError,
    UnsupportedFileSystemError,
)


class Cache(AsyncTwins, Handle):
    """A persistent mapping for programs, shared by all threads and processes that open its directory.

    A read that starts after a write has returned, in whichever process, sees it. Values are copies: changing one that
    was stored or fetched never changes the cache. A stored `None` is a hit. A cache is true even when it is empty.

    The files are opened at the first use. Values are stored in a safe form: plain data (also nested), the usual types
    of the standard library, arrays of numpy, and the `types` registered here. Anything else is refused unless
    `allow_pickle` is set.

    Each method that waits for the disk, except `change_encryption_key`, has an asynchronous twin whose name begins
    with `a` (`await cache.aget(key)`) and which never blocks the loop. `namespace` opens nothing and needs none;
    `memoize` takes coroutine functions as they are.

    Args:
        path: The store's directory. `None`: `$CACHEMERE_DIR`, or the platform's cache directory, as found at first use.
        namespace: Which of the mappings in the store.
        backend: `"lmdb"`, which many processes write at once, or `"rocksdb"`, which one process writes while others
            follow it that open it `read_only`: for stores that are much written, or much larger than memory. It takes
            the distribution `cachemere-rocksdb`, and has no `max_bytes`. `None`: as the store was made; LMDB for a new
            one.
        ttl: Seconds an entry lives from its last write. `None`: for ever.
        idle: Seconds an entry lives from its last read or write. `None`: for ever.
        max_bytes: A limit of the files' size, 4 MiB or more; what was read least recently is evicted to keep it. No
            limit by default.
        max_entries: A limit of the number of entries in the namespace.
        compression: Whether to compress values with Zstandard. `None`: as the namespace was made; no for a new one.
        encryption_key: 32 random bytes, or a passphrase.
        allow_pickle: Whether values without a safe form may be pickled, and pickled ones loaded. Loading a pickle can
            run any code, so do this only where nobody else can write to the directory.
        durability: `"checkpoint"`: a power loss can take the last second; `"sync"`: nothing.
        read_only: Whether to refuse writes.
        types: Dataclasses, enums, named tuples and pydantic models to be stored, and built again, as what they are.
            Those that the annotations of their fields name, and so on, count as registered for values:
            `types=[ChatCompletion]` is enough for a `ChatCompletion` of OpenAI's. Subclasses of them, and what is
            annotated as `Any`, do not. Objects are built from their fields, without validation and without calling
            `__init__`: if what a class means changes, use another namespace, or another `version` of a memoized
            function.
        on_error: `"raise"`, or `"bypass"`: a store that cannot be opened, read or written (a full disk, a home without
            write permission, a damaged file) is logged and treated as empty. Errors of the program are raised anyway.
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
        ttl: float | None = None,
        idle: float | None = None,
        max_bytes: int | None = None,
        max_entries: int | None = None,
        compression: bool | None = None,
        encryption_key: Secret | None = None,
        allow_pickle: bool = False,
        durability: str = "checkpoint",
        read_only: bool = False,
        types: Iterable[type] = (),
        on_error: str = "raise",
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        _checks.choice("on_error", on_error, ("raise", "bypass"))
        secret = check_secret(encryption_key)
        if path is None and secret is not None:
            raise InvalidOptionError("encryption_key needs a path: the default store is shared by all programs")
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
            "memory_bytes": memory_bytes,
            "allow_pickle": allow_pickle,
            "pickle_keys": allow_pickle,
            "types": _checks.items("types", types, "classes"),
        }
        self._build(remember(options, secret), on_error, secret)

    def _build(
        self, options: Options, on_error: str, secret: Secret | None = None, origin: Store | None = None
    ) -> None:
        self._options = options
        self._on_error = on_error
        self._troubles: set[type[BaseException]] = set()
        # Made here where the path is known, so that wrong options are told at once; opened at first use all the same.
        self._made: Store | None = None if options.path is None else options.open(secret, origin)

    @property
    def _store(self) -> Store:
        if self._made is None:
            options = dataclasses.replace(self._options, path=default_path())
            # Threads that come here at once all take what one has found. No lock, which a fork could copy while it
            # is held.
            self._options, self._made = self.__dict__.setdefault("_found", (options, options.open(None)))
        return self._made

    @property
    def disabled(self) -> bool:
        """Whether the environment says to act as if the cache were empty (`CACHEMERE_DISABLE`)."""
        return is_disabled()

    @property
    def mode(self) -> str:
        """What memoized functions do: `"normal"`, `"replay"` or `"refresh"` (`CACHEMERE_MODE`)."""
        mode = os.environ.get("CACHEMERE_MODE", "") or "normal"
        if mode not in ("normal", "replay", "refresh"):
            raise InvalidOptionError(f"CACHEMERE_MODE must be 'replay' or 'refresh', not {mode!r}")
        return mode

    def _bypass(self, error: BaseException) -> bool:
        if self._on_error != "bypass" or not isinstance(error, _BYPASSED):
            return False
        # Once for each kind of trouble, since every use of the cache comes here while it lasts.
        level = logging.DEBUG if type(error) in self._troubles else logging.WARNING
        self._troubles.add(type(error))
        _log.log(level, "the cache at %s is bypassed: %s", self._options.path, error)
        return True

    def _ask(self, default: T, work: Callable[[Store], T]) -> T:
        """What `work` gives; `default` if the cache is disabled or, for a trouble of the machine, bypassed."""
        if self.disabled:
            return default
        try:
            return work(self._store)
        except CacheError as error:
            if self._bypass(error):
                return default
            raise

    # --- one key ------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Hashable) -> Any:
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise MissingKeyError(key)
        return found

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The key's value, `default` if it has none or an expired one.

        Raises:
            DecodeError, UnsafeValueError: The stored value cannot be read by this handle.
            DamagedError, TamperedError: The entry is not what was written.
        """
        # A hit in memory takes less than each attribute that is looked up in the usual way.
        if is_disabled():
            return default
        made = self._made
        try:
            return (self._store if made is None else made).get(key, default)
        except CacheError as error:
            if self._bypass(error):
                return default
            raise

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def set(self, key: Hashable, value: Any, ttl: float | None = None, tags: Iterable[str] = ()) -> None:
        """Writes a value that expires `ttl` seconds from now (by default as the cache says).

        Raises:
            KeyFormError, UnsafeValueError, ValueFormError: Key or value cannot be stored.
            StoreFullError, DiskFullError, ReadOnlyError: There is no room, or no permission.
        """
        self._put(key, value, ttl, tags, None)

    def add(self, key: Hashable, value: Any, ttl: float | None = None, tags: Iterable[str] = ()) -> bool:
        """Writes a value if the key has none; whether it did. Atomic among processes."""
        return self._put(key, value, ttl, tags, "absent")

    def _put(
        self, key: Hashable, value: Any, ttl: float | None, tags: Iterable[str], expect: str | Version | None
    ) -> bool:
        lifetime, marks = _checks.seconds("ttl", ttl), check_tags(tags)
        return self._ask(True, lambda store: store.put(key, value, ttl=lifetime, tags=marks, expect=expect))

    def __delitem__(self, key: Hashable) -> None:
        if not self.delete(key):
            raise MissingKeyError(key)

    def delete(self, key: Hashable) -> bool:
        """Removes a key. Returns `True` if it was there."""
        return self._ask(False, lambda store: store.remove(key))

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """Removes a key and returns its value. Of several that pop one key, one gets it."""

        def remove(store: Store) -> Any:
            while (found := store.fetch(key)) is not None:
                if store.remove(key, found[1]):
                    return found[0]
            return default

        return self._ask(default, remove)

    def incr(self, key: Hashable, delta: float = 1, default: float = 0, ttl: float | None = None) -> Any:
        """Adds `delta` to a number, which is `default` if the key is absent, and returns the sum.

        Atomic among threads and processes: it is repeated when another writer was faster. The entry's lifetime starts
        anew, as with :meth:`set`; its tags stay.

        Raises:
            ValueFormError: The value is not a number.
            InvalidOptionError: `delta` or `default` is not one.
        """
        _checks.number("delta", delta)
        _checks.number("default", default)
        while True:
            found = self._ask(None, lambda store: store.fetch(key))
            value = default if found is None else found[0]
            if not _checks.is_number(value):
                raise ValueFormError(
                    f"the value of {key!r} is of type '{type(value).__name__}', not a number to add to"
                )
            tags = () if found is None else found[2]
            if self._put(key, value + delta, ttl, tags, "absent" if found is None else found[1]):
                return value + delta

    def decr(self, key: Hashable, delta: float = 1, default: float = 0, ttl: float | None = None) -> Any:
        """As :meth:`incr`, taking away."""
        _checks.number("delta", delta)
        return self.incr(key, -delta, default, ttl)

    def touch(self, key: Hashable, ttl: float | None = None) -> bool:
        """Lets an entry live from now on as if just written; whether there is one."""
        lifetime = _checks.seconds("ttl", ttl)
        return self._ask(False, lambda store: store.touch(key, lifetime))

    def get_or_set(self, key: Hashable, make: Callable[[], T], ttl: float | None = None, tags: Iterable[str] = ()) -> T:
        """The key's value; if it has none, that of `make`, which is then its value.

        Of all threads and processes that miss at once, one calls `make`, and the others wait for it. If it raises, or
        its process is killed, another takes over. No lock of the store is held meanwhile. A value that
        cannot be stored is the `result` of the error.
        """
        while True:
            found = self.get(key, _MISSING)
            if found is not _MISSING:
                return found  # type: ignore[no-any-return]
            if self.disabled:
                return make()
            try:
                lead = self._store.lead(key)
            except CacheError as error:
                if self._bypass(error):
                    return make()
                raise
            if lead is None:
                continue
            try:
                # Before the value is made, which can cost much.
                lifetime, marks = _checks.seconds("ttl", ttl), check_tags(tags) or ()
                found = self.get(key, _MISSING)
                if found is _MISSING:
                    found = make()
                    try:
                        self.set(key, found, lifetime, marks)
                    except CacheError as error:
                        error.result = found
                        raise
                return found  # type: ignore[no-any-return]
            finally:
                lead.release()

    @overload
    def memoize(self, function: Callable[P, R], /) -> Memoized[P, R]: ...
    @overload
    def memoize(
        self,
        /,
        *,
        ttl: float | None = None,
        version: str | int = "",
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        cache_if: Callable[[Any], bool] | None = None,
        typed: bool = False,
        tags: Iterable[str] = (),
        stream_patience: float | None = PATIENCE,
    ) -> Decorator: ...
    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        ttl: float | None = None,
        version: str | int = "",
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        cache_if: Callable[[Any], bool] | None = None,
        typed: bool = False,
        tags: Iterable[str] = (),
        stream_patience: float | None = PATIENCE,
    ) -> Any:
        """Keeps the results of a function in this cache; see :func:`cachemere.memoize`."""
        decorate = memoize(
            ttl=ttl,
            version=version,
            ignore=ignore,
            key=key,
            cache_if=cache_if,
            typed=typed,
            tags=tags,
            cache=self,
            stream_patience=stream_patience,
        )
        return decorate if function is None else decorate(function)

    def info(self, key: Hashable) -> EntryInfo | None:
        """When the entry was made, read, written, when it expires, and its size; `None` if there is none."""
        return self._ask(None, lambda store: entry_info(store, key))

    def __contains__(self, key: object) -> bool:
        return self._ask(False, lambda store: key in store)

    # --- many keys ----------------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """Those of the keys that have values, with their values, all from one snapshot."""
        wanted = list(keys)
        found = self._ask([], lambda store: store.get_many(wanted, _MISSING)) or [_MISSING] * len(wanted)
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not _MISSING}

    def set_many(
        self,
        pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
        ttl: float | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Writes all pairs in one transaction: all of them, or on an error none. Much cheaper than one by one."""
        lifetime, marks = _checks.seconds("ttl", ttl), check_tags(tags)
        items = pairs_of(pairs)
        if items:
            self._ask(None, lambda store: store.put_many(items, ttl=lifetime, tags=marks))

    def load(
        self,
        files: Path | Iterable[Path],
        format: Format,
        *,
        key: str | int | None = None,
        value: str | int | None = None,
        delimiter: str = ",",
        header: bool = True,
        keys: Kind = "text",
        values: Kind = "text",
        ttl: float | None = None,
        duplicates: str = "last",
        existing: str = "replace",
        on_error: str = "raise",
        memory_budget: int = MEMORY_BUDGET,
        threads: int | None = None,
        temporary: Path | None = None,
        verbose: bool = False,
    ) -> LoadSummary:
        """Writes the records of files: all of them, or on an error, an interrupt or a kill none.

        Made for millions: files are read in parallel (one file, too), and sorted within a memory budget however large
        they are; the order of insertion is that of the files. Other writers wait only while entries are written, about
        a microsecond each into a store without entries, some microseconds each into another one.

        Args:
            files: Paths, or one. They may be compressed with gzip, bzip2, zstd or xz, which is found out by their
                content. Of two records with the same key, the one in the later file is the last.
            format: `"tabsep"`: lines of a key, a tab and a value. `"ndjson"`: lines that are JSON objects. `"tuple2"`:
                lines that are JSON lists of two items. `"csv"`: comma-separated values. `"bin_kv"`: size of the key,
                key, size of the value, value, sizes in 8 bytes, little endian.
            key: For JSON, the path of the key (`"id"`, `"of.0.name"`); for CSV, a column by name, or by number from 0.
            value: The same for the value. `None`: for ndjson the whole line, for tuple2 the second item, for CSV the
                column 1.
            delimiter: What is between the fields of CSV.
            header: Whether the first line of each CSV file has the names of the columns.
            keys: `"text"`: as `str`, integers of JSON as `int`. `"bytes"`: as `bytes`.
            values: `"text"`: as `str`. `"bytes"`: as `bytes`. `"json"`: as what `json.loads` gives.
            ttl: Seconds the entries live, from the start of the load. `None`: as the cache says.
            duplicates: Which of several records of one key is loaded: `"last"`, `"first"`, or `"error"`.
            existing: What to do with a key the cache has: `"replace"` its value, `"keep"` it, or `"error"`.
            on_error: `"raise"` at a bad record, with its file and line, or `"skip"` and count it.
            memory_budget: Bytes of memory for records. What does not fit is spilled to a temporary directory. Up to 512
                MiB more are taken while entries are written.
            threads: How many read and sort. `None`: as many as there are cores.
            temporary: Where the temporary directory is made. `None`: in the store's directory.
            verbose: Whether to show a progress bar on the standard error.

        Raises:
            InvalidOptionError: An option makes no sense.
            InputFileError: A file is missing, unreadable or broken.
            BadRecordError: A record is not in the format.
            DuplicateKeyError: Only if asked for.
            StoreFullError, DiskFullError, ReadOnlyError: There is no room, or no permission.
            BusyError: The cache was cleared while the files were read.

        Example:
            >>> import tempfile, pathlib, cachemere
            >>> directory = pathlib.Path(tempfile.mkdtemp())
            >>> _ = (directory / "people.ndjson").write_text('{"name": "Ada", "born": 1815}')
            >>> cache = cachemere.Cache(directory / "store")
            >>> cache.load(directory / "people.ndjson", "ndjson", key="name", values="json").written
            1
            >>> cache["Ada"]
            {'name': 'Ada', 'born': 1815}
            >>> cache.close()
        """
        options = LoadOptions(
            format=format,
            key=key,
            value=value,
            delimiter=delimiter,
            header=header,
            keys=keys,
            values=values,
            duplicates=duplicates,
            existing=existing,
            on_error=on_error,
            memory_budget=memory_budget,
            threads=threads,
            temporary=temporary,
            verbose=verbose,
        )
        lifetime = _checks.seconds("ttl", ttl)
        described = options.describe(files, self.path)
        nothing = LoadSummary.nothing()
        return self._ask(nothing, lambda store: load(store, described, lifetime, verbose))

    def delete_many(self, keys: Iterable[Hashable]) -> int:
        """Removes keys, one after the other; how many were there.

        Raises:
            KeyFormError: One of them cannot be a key. None was removed.
        """
        unwanted = list(keys)

        def check(store: Store) -> None:
            for key in unwanted:
                store.key_bytes(key)

        self._ask(None, check)
        return sum(self.delete(key) for key in unwanted)

    def evict(self, tag: str) -> int:
        """Removes all entries with this tag; how many.

        There is no index of tags: it reads every entry of the namespace, some microseconds each.

        Raises:
            DamagedError, TamperedError: For an entry that cannot be read, after all others were looked at.
        """
        if not isinstance(tag, str):
            raise InvalidOptionError(f"tag must be a str, not {_checks.shown(tag)}")
        if self.disabled:
            return 0
        removed = 0
        unreadable: Exception | None = None
        try:
            for entry in met(self._store, reverse=False, keys_only=True):
                if isinstance(entry, Exception):
                    unreadable = unreadable or entry
                elif tag in entry[3] and self._store.remove(entry[0], entry[2]):
                    removed += 1
            if unreadable is not None:
                raise unreadable
        except CacheError as error:
            if not self._bypass(error):
                raise
        return removed

    def clear(self) -> None:
        """Removes all entries of the namespace, at once for everybody."""
        self._ask(None, lambda store: store.clear())

    def _entries(self, reverse: bool, keys_only: bool) -> Iterator[Entry]:
        if self.disabled:
            return
        try:
            for entry in met(self._store, reverse, keys_only):
                if not isinstance(entry, Exception):
                    yield entry
                elif not self._bypass(entry):
                    raise entry
        except CacheError as error:
            if not self._bypass(error):
                raise

    def __iter__(self) -> Iterator[Any]:
        """The keys in the order of insertion.

        Weakly consistent: what is changed meanwhile is met or not, what is new is not.
        """
        return (key for key, _, _, _ in self._entries(reverse=False, keys_only=True))

    def __reversed__(self) -> Iterator[Any]:
        return (key for key, _, _, _ in self._entries(reverse=True, keys_only=True))

    def keys(self) -> Iterator[Any]:
        """The keys, as `iter(cache)`."""
        return iter(self)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of key and value in the order of insertion, read in chunks. Not an access."""
        return ((key, value) for key, value, _, _ in self._entries(reverse=False, keys_only=False))

    def values(self) -> Iterator[Any]:
        """The values in the order of insertion of their keys."""
        return (value for _, value in self.items())

    def __len__(self) -> int:
        """The number of entries that are not expired. Constant time, but for expired entries that are not swept yet."""
        return self._ask(0, len)

    def __bool__(self) -> bool:
        return True

    # --- the store ----------------------------------------------------------------------------------------------------

    def namespace(self, name: str) -> Cache:
        """Another mapping in the same store, with the same options.

        While one of these handles is open, the others are opened without the time that a passphrase takes.
        """
        return _reopen(type(self), dataclasses.replace(self._options, namespace=name), self._on_error, self._made)

    def namespaces(self) -> list[str]:
        """The names of all mappings in the store, sorted. Makes none but this one, if it is its first use."""
        return self._ask([], lambda store: [name for name, _ in store.namespaces()])

    @property
    def path(self) -> str:
        """The store's directory."""
        return str(self._options.path or default_path())

    def compact(self) -> None:
        """Gives unused space in the files back.

        Raises:
            BusyError: Another process has the store open.
        """
        self._store.compact()

    def close(self) -> None:
        """Writes what is in memory (access times), makes everything safe and closes this handle."""
        self._store.close()

    def __repr__(self) -> str:
        return f"Cache({str(self._options.path)!r}, namespace={self._options.namespace!r})"

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self._options, self._on_error)


def _reopen(kind: type[Cache], options: Options, on_error: str, origin: Store | None = None) -> Cache:
    made = object.__new__(kind)
    made._build(options, on_error, origin=origin)
    return made


def default_path() -> pathlib.Path:
    """`$CACHEMERE_DIR`, or a directory in the platform's place for caches."""
    chosen = os.environ.get("CACHEMERE_DIR")
    return resolve(chosen) if chosen else platformdirs.user_cache_path("cachemere", appauthor=False) / "default"


def open(path: Path | None = None, **options: Any) -> Cache:
    """A :class:`Cache`; without a path, in `$CACHEMERE_DIR` or the platform's cache directory, found at first use.

    Opening nothing and making no directory before it is used, so it can stand at the top of a module.
    """
    return Cache(path, **options)
