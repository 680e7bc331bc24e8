"""What a cache can do, for threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from .._core import checks
from .._core.environment import is_disabled
from .._core.guarded import GuardedStore
from .._core.handle import Handle
from .._core.info import EntryInfo, entry_info
from .._core.load import MEMORY_BUDGET, Format, Kind, LoadOptions, LoadSummary, load
from .._core.options import Options, check_tags
from .._core.quantities import Seconds, Size
from .._core.unkept import UNKEPT
from .._core.walk import met, pairs_of
from .._engine import Store, Version
from .._leads.failures import Failure
from .._leads.many_turns import Many, make_alone, make_many
from .._leads.task_flights import Found
from .._leads.thread_turns import make_and_keep, take_turn
from ..errors import CacheError, InvalidOptionError, MissingKeyError, ValueFormError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Path = str | os.PathLike[str]

_MISSING: Any = object()


class CacheMethods(Handle):
    """Base of :class:`~cachemere.Cache`."""

    _guarded: GuardedStore

    @property
    def _options(self) -> Options:
        return self._guarded.options

    @property
    def _store(self) -> Store:
        return self._guarded.native

    @property
    def disabled(self) -> bool:
        """Whether the environment says to act as if the cache were empty (`CACHEMERE_DISABLE`)."""
        return self._guarded.disabled

    @property
    def mode(self) -> str:
        """What memoized functions do: `"normal"`, `"replay"` or `"refresh"` (`CACHEMERE_MODE`)."""
        return self._guarded.mode

    @property
    def path(self) -> str:
        """The store's directory."""
        return str(self._guarded.path)

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
        guarded = self._guarded
        made = guarded.made
        try:
            return (guarded.native if made is None else made).get(key, default)
        except CacheError as error:
            if guarded.bypasses(error):
                return default
            raise

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def set(self, key: Hashable, value: Any, ttl: Seconds | None = None, tags: Iterable[str] = ()) -> None:
        """Writes a value that expires `ttl` seconds from now (by default as the cache says).

        Raises:
            KeyFormError, UnsafeValueError, ValueFormError: Key or value cannot be stored.
            StoreFullError, DiskFullError, ReadOnlyError: There is no room, or no permission.
        """
        self._put(key, value, ttl, tags, None)

    def add(self, key: Hashable, value: Any, ttl: Seconds | None = None, tags: Iterable[str] = ()) -> bool:
        """Writes a value if the key has none; whether it did. Atomic among processes."""
        return self._put(key, value, ttl, tags, "absent")

    def _put(
        self, key: Hashable, value: Any, ttl: Seconds | None, tags: Iterable[str], expect: str | Version | None
    ) -> bool:
        lifetime, marks = checks.seconds("ttl", ttl), check_tags(tags)
        return self._guarded.ask(True, lambda store: store.put(key, value, ttl=lifetime, tags=marks, expect=expect))

    def __delitem__(self, key: Hashable) -> None:
        if not self.delete(key):
            raise MissingKeyError(key)

    def delete(self, key: Hashable) -> bool:
        """Removes a key; whether it was there."""
        return self._guarded.ask(False, lambda store: store.remove(key))

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """Removes a key and returns its value. Of several that pop one key, one gets it."""

        def remove(store: Store) -> Any:
            while (found := store.fetch(key)) is not None:
                if store.remove(key, found[1]):
                    return found[0]
            return default

        return self._guarded.ask(default, remove)

    def incr(self, key: Hashable, delta: float = 1, default: float = 0, ttl: Seconds | None = None) -> Any:
        """Adds `delta` to a number, which is `default` if the key is absent, and returns the sum.

        Atomic among threads and processes: it is repeated when another writer was faster. The entry's lifetime starts
        anew, as with :meth:`set`; its tags stay.

        Raises:
            ValueFormError: The value is not a number.
            InvalidOptionError: `delta` or `default` is not one.
        """
        checks.number("delta", delta)
        checks.number("default", default)
        while True:
            found = self._guarded.ask(None, lambda store: store.fetch(key))
            value = default if found is None else found[0]
            if not checks.is_number(value):
                raise ValueFormError(
                    f"the value of {key!r} is of type '{type(value).__name__}', not a number to add to"
                )
            tags = () if found is None else found[2]
            if self._put(key, value + delta, ttl, tags, "absent" if found is None else found[1]):
                return value + delta

    def decr(self, key: Hashable, delta: float = 1, default: float = 0, ttl: Seconds | None = None) -> Any:
        """As :meth:`incr`, taking away."""
        checks.number("delta", delta)
        return self.incr(key, -delta, default, ttl)

    def touch(self, key: Hashable, ttl: Seconds | None = None) -> bool:
        """Lets an entry live from now on as if just written; whether there is one."""
        lifetime = checks.seconds("ttl", ttl)
        return self._guarded.ask(False, lambda store: store.touch(key, lifetime))

    def get_or_set(
        self,
        key: Hashable,
        make: Callable[[], T],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
        *,
        strict: bool = False,
    ) -> T:
        """The key's value; if it has none, that of `make`, which is then its value.

        Of all threads and processes that miss at once, one calls `make`, and the others wait for it. If it raises, so
        does each call of this process that waited, and the next call tries again; in other processes that wait, one
        takes over, as it does if the thread is interrupted or the process killed. No lock of the store is held
        meanwhile.

        A value that cannot be stored (an object without a safe form, more than an entry or the store can hold, a full
        disk) is returned all the same, and a line of the log says why. With `strict` that is an error, which has it as
        its `result`.
        """
        found = self.get(key, _MISSING)
        if found is not _MISSING:
            return found  # type: ignore[no-any-return]
        if self.disabled:
            return make()
        try:
            turn = take_turn(self._store, key, self._found)
        except CacheError as error:
            if self._guarded.bypasses(error):
                return make()
            raise
        if isinstance(turn, Found):
            return turn.value  # type: ignore[no-any-return]
        if isinstance(turn, Failure):
            raise turn.again()
        try:
            # Before the value is made, which can cost much.
            lifetime, marks = checks.seconds("ttl", ttl), check_tags(tags)
            checks.flag("strict", strict)
        except BaseException:
            if turn is not None:
                turn.release()
            raise
        return make_and_keep(turn, make, lambda made: self._guarded.keep(key, made, lifetime, marks, strict))

    def get_or_set_many(
        self,
        keys: Iterable[K],
        make: Callable[[list[K]], Iterable[T]],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
        *,
        batch_size: int | None = None,
    ) -> dict[K, T]:
        """The keys with their values; those that have none are given to `make`, which returns a value for each.

        `make` is called once with all keys that are missing, or with `batch_size` at a time, and what it returns is
        written in one transaction each time; if it raises, what came before is kept. Of all threads and processes that
        miss a key at once, one makes its value, as with :meth:`get_or_set`; of more than 256 at a time, that holds
        within a process, and among processes for calls with the same keys.

        Raises:
            BatchLengthError: `make` returned something else than one value for each key.

        Example:
            >>> import tempfile, cachemere
            >>> with cachemere.Cache(tempfile.mkdtemp() + "/store") as cache:
            ...     cache["a"] = 1
            ...     cache.get_or_set_many(["a", "b", "b"], lambda missing: [len(missing) for key in missing])
            {'a': 1, 'b': 1}
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[K, T] = self.get_many(wanted)
        missing = [key for key in wanted if key not in found]
        if missing:
            many = self._many(make, ttl, tags, batch_size)
            found.update(make_alone(many, missing) if self.disabled else make_many(many, missing))
        return {key: found[key] for key in wanted}

    def _many(
        self, make: Callable[[list[K]], Any], ttl: Seconds | None, tags: Iterable[str], size: int | None
    ) -> Many[K]:
        lifetime, marks = checks.seconds("ttl", ttl), check_tags(tags) or ()
        if size is not None:
            checks.count("batch_size", size)

        def trouble(error: CacheError) -> NoReturn:
            raise error

        return Many(
            self._store,
            find=self.get_many,
            make=make,
            keep=lambda keys, values, _: self._keep_many(list(zip(keys, values, strict=True)), lifetime, marks),
            size=size,
            shares_failure=True,
            shown=getattr(make, "__qualname__", repr(make)),
            trouble=trouble,
        )

    def _keep_many(self, pairs: list[tuple[K, Any]], ttl: float | None, tags: tuple[str, ...]) -> None:
        try:
            self.set_many(pairs, ttl, tags)
        except UNKEPT:
            # One of them need not take the others with it.
            for key, made in pairs:
                self._guarded.keep(key, made, ttl, tags, False)

    def _found(self, key: Hashable) -> Found | None:
        found = self.get(key, _MISSING)
        return None if found is _MISSING else Found(found, 0.0)

    def info(self, key: Hashable) -> EntryInfo | None:
        """When the entry was made, read, written, when it expires, and its size; `None` if there is none."""
        return self._guarded.ask(None, lambda store: entry_info(store, key))

    def __contains__(self, key: object) -> bool:
        return self._guarded.ask(False, lambda store: key in store)

    # --- many keys ----------------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """Those of the keys that have values, with their values, all from one snapshot."""
        wanted = list(keys)
        found = self._guarded.ask([], lambda store: store.get_many(wanted, _MISSING)) or [_MISSING] * len(wanted)
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not _MISSING}

    def set_many(
        self,
        pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Writes all pairs in one transaction: all of them, or on an error none. Much cheaper than one by one."""
        lifetime, marks = checks.seconds("ttl", ttl), check_tags(tags)
        items = pairs_of(pairs)
        if items:
            self._guarded.ask(None, lambda store: store.put_many(items, ttl=lifetime, tags=marks))

    def load(
        self,
        files: Path | Iterable[Path],
        format: Format,
        *,
        key_field: str | int | None = None,
        value_field: str | int | None = None,
        delimiter: str = ",",
        header: bool = True,
        key_type: Kind = "text",
        value_type: Kind = "text",
        ttl: Seconds | None = None,
        duplicates: str = "last",
        existing: str = "replace",
        on_error: str = "raise",
        memory_budget: Size = MEMORY_BUDGET,
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
            key_field: Where the key is: for JSON a path (`"id"`, `"of.0.name"`), for CSV a column by name, or by number
                from 0.
            value_field: The same for the value. `None`: for ndjson the whole line, for tuple2 the second item, for CSV
                the column 1.
            delimiter: What is between the fields of CSV.
            header: Whether the first line of each CSV file has the names of the columns.
            key_type: What keys become. `"text"`: as `str`, integers of JSON as `int`. `"bytes"`: as `bytes`.
            value_type: What values become. `"text"`: as `str`. `"bytes"`: as `bytes`. `"json"`: as what `json.loads`
                gives.
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
            >>> cache.load(directory / "people.ndjson", "ndjson", key_field="name", value_type="json").written
            1
            >>> cache["Ada"]
            {'name': 'Ada', 'born': 1815}
            >>> cache.close()
        """
        options = LoadOptions(
            format=format,
            key_field=key_field,
            value_field=value_field,
            delimiter=delimiter,
            header=header,
            key_type=key_type,
            value_type=value_type,
            duplicates=duplicates,
            existing=existing,
            on_error=on_error,
            memory_budget=memory_budget,
            threads=threads,
            temporary=temporary,
            verbose=verbose,
        )
        lifetime = checks.seconds("ttl", ttl)
        described = options.describe(files, self.path)
        nothing = LoadSummary.nothing()
        return self._guarded.ask(nothing, lambda store: load(store, described, lifetime, verbose))

    def delete_many(self, keys: Iterable[Hashable]) -> int:
        """Removes keys, one after the other; how many were there.

        Raises:
            KeyFormError: One of them cannot be a key. None was removed.
        """
        unwanted = list(keys)

        def check(store: Store) -> None:
            for key in unwanted:
                store.key_bytes(key)

        self._guarded.ask(None, check)
        return sum(self.delete(key) for key in unwanted)

    def evict(self, tag: str) -> int:
        """Removes all entries with this tag; how many.

        There is no index of tags: it reads every entry of the namespace, some microseconds each.

        Raises:
            DamagedError, TamperedError: For an entry that cannot be read, after all others were looked at.
        """
        if not isinstance(tag, str):
            raise InvalidOptionError(f"tag must be a str, not {checks.shown(tag)}")
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
            if not self._guarded.bypasses(error):
                raise
        return removed

    def clear(self) -> None:
        """Removes all entries of the namespace, at once for everybody."""
        self._guarded.ask(None, lambda store: store.clear())

    def __iter__(self) -> Iterator[Any]:
        """The keys in the order of insertion.

        Weakly consistent: what is changed meanwhile is met or not, what is new is not.
        """
        return (key for key, _, _, _ in self._guarded.walk(reverse=False, keys_only=True))

    def __reversed__(self) -> Iterator[Any]:
        return (key for key, _, _, _ in self._guarded.walk(reverse=True, keys_only=True))

    def keys(self) -> Iterator[Any]:
        """The keys, as `iter(cache)`."""
        return iter(self)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of key and value in the order of insertion, read in chunks. Not an access."""
        return ((key, value) for key, value, _, _ in self._guarded.walk(reverse=False, keys_only=False))

    def values(self) -> Iterator[Any]:
        """The values in the order of insertion of their keys."""
        return (value for _, value in self.items())

    def __len__(self) -> int:
        """The number of entries that are not expired. Constant time, but for expired entries that are not swept yet."""
        return self._guarded.ask(0, len)

    def __bool__(self) -> bool:
        return True

    # --- the store ----------------------------------------------------------------------------------------------------

    def namespaces(self) -> list[str]:
        """The names of all mappings in the store, sorted. Makes none but this one, if it is its first use."""
        return self._guarded.ask([], lambda store: [name for name, _ in store.namespaces()])

    def compact(self) -> None:
        """Gives unused space in the files back.

        Raises:
            BusyError: Another process has the store open.
        """
        self._store.compact()
