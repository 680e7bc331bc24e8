"""The cache with the interface of `diskcache.Cache`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar

from .._core import checks
from .._core.options import NOT_GIVEN, NotGiven
from .._core.secrets import Secret
from .._core.unkept import Unkept
from .._core.walk import entries
from .._engine import Store
from ..errors import ClosedError, ValueFormError
from .call_keys import args_to_key, full_name
from .constants import ENOVAL
from .disk import Disk
from .entry import SHORTEST, Entry, absent, expiry, left, lifetime, opened, taken, with_details
from .handle import own_options
from .tags import first, stored
from .upkeep import Upkeep

F = TypeVar("F", bound=Callable[..., Any])


class Cache(Upkeep):
    """A cache in a directory, with the methods of `diskcache.Cache`, for any number of threads and processes.

    What differs is on the page `docs/from-diskcache.md`; in short: values are never pickled unless asked for, nothing
    is removed unless `size_limit` is given, and an expired entry is gone.

    Args:
        directory: Where the store is, or is made. `None`: in a temporary directory, which is not removed.
        timeout: Seconds a write waits for somebody else's transaction before it raises :class:`Timeout`.
        disk: `Disk` or `JSONDisk`, which are the same here.
        allow_pickle: Whether values without a safe form may be pickled, and pickled ones loaded. Loading a pickle can
            run any code, so do this only where nobody else can write to the directory.
        encryption_key: 32 random bytes, or a passphrase.
        compression: Whether to compress values with Zstandard. `None`: as the store was made; no for a new one.
        types: Dataclasses, enums, named tuples and pydantic models to be stored, and built again, as what they are.
        durability: `"checkpoint"`: a power loss can take the last second; `"sync"`: nothing.
        **settings: `size_limit` (bytes of the files, 4 MiB or more; none by default), `cull_limit`, `eviction_policy`,
            `statistics`, `tag_index`.

    Raises:
        NotCarriedOverError: A setting or class of diskcache's that has no meaning here.
        InvalidOptionError: Something cannot be what it is given as.
        IncompatibleError: The directory has a database of diskcache, or a store with other settings.
        WrongSecretError, DamagedError, ReadOnlyError, UnsupportedFileSystemError, StoreIOError: It cannot be opened.

    Example:
        >>> import tempfile
        >>> from cachemere import diskcache
        >>> with diskcache.Cache(tempfile.mkdtemp()) as cache:
        ...     cache.set("key", {"text": "value"}, expire=60, tag="data")
        ...     cache["key"], cache.get("none"), cache.evict("data")
        True
        ({'text': 'value'}, None, 1)
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        timeout: float = 60,
        disk: type = Disk,
        *,
        allow_pickle: bool | None = None,
        encryption_key: Secret | NotGiven = NOT_GIVEN,
        compression: bool | None = None,
        types: Iterable[type] | None = None,
        durability: str | None = None,
        **settings: Any,
    ) -> None:
        options = own_options(allow_pickle, encryption_key, compression, types, durability)
        super().__init__(directory, timeout, disk, options, settings)

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(
        self,
        key: Any,
        default: Any = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """The key's value, or `default`; with `expire_time` and `tag`, a tuple of the value and these.

        With `read`, bytes come as a binary file.

        Raises:
            DecodeError, UnsafeValueError: The stored value cannot be read by this handle.
            DamagedError, TamperedError: The entry is not what was written.
        """
        if not (self._is_special or read or expire_time or tag):
            store = self._store
            try:
                return store.get(key, default)
            except ClosedError:
                # By another thread, meanwhile.
                pass
        entry = self._entry(key, expire_time or tag)
        self._count(entry is not None)
        if entry is None:
            return absent(default, expire_time, tag)
        return with_details(opened(entry.value) if read else entry.value, entry, expire_time, tag)

    def _entry(self, key: Any, details: bool = True) -> Entry | None:
        mine = self._mine if self._transaction is not None else None
        if mine is not None:
            return mine.read(key)
        if details:
            return self._unless_closed(lambda store: _entry_of(store, key))
        value = self._unless_closed(lambda store: store.get(key, ENOVAL))
        return None if value is ENOVAL else Entry(value, None, None)

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key, ENOVAL)
        if value is ENOVAL:
            raise KeyError(key)
        return value

    def read(self, key: Any, retry: bool = False) -> Any:
        """The key's value as a binary file.

        Raises:
            KeyError: There is none.
        """
        value = self.get(key, ENOVAL, read=True)
        if value is ENOVAL:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        mine = self._mine if self._transaction is not None else None
        if mine is not None:
            return mine.has(key)
        return self._unless_closed(lambda store: key in store)

    # --- writing ------------------------------------------------------------------------------------------------------

    def set(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool:
        """Writes a value that expires in `expire` seconds; `True`. With `read`, what is read from a binary file.

        Raises:
            Timeout: Somebody else's transaction took longer than `timeout`, and not `retry`.
            KeyFormError, UnsafeValueError, ValueFormError: Key or value cannot be stored.
            StoreFullError, DiskFullError, ReadOnlyError: There is no room, or no permission.
        """
        if read:
            value = taken(value, read)
        ttl = None if expire is None else lifetime(expire)
        tags = None if tag is None else stored(tag)
        if self._transaction is not None and (mine := self._mine) is not None:
            mine.write(key, value, expiry(ttl), tag)
            return True
        if ttl is not None and ttl < SHORTEST:
            self._write(retry, lambda store: store.encode_value(value) and store.remove(key))
            return True
        gate = self._gate
        held = gate.enter(None if retry else self._timeout)
        try:
            self._store.put(key, value, ttl, tags)
        except ClosedError:
            self._unless_closed(lambda store: store.put(key, value, ttl, tags))
        finally:
            gate.leave(held)
        return True

    def __setitem__(self, key: Any, value: Any) -> None:
        self.set(key, value, retry=True)

    def add(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool:
        """Writes a value if the key has none; whether it did. Of several that add one key, one does."""
        value, ttl, tags = taken(value, read), lifetime(expire), stored(tag)
        mine = self._mine
        if mine is not None:
            is_new = not mine.has(key)
            if is_new:
                mine.write(key, value, expiry(ttl), tag)
            return is_new
        if ttl is not None and ttl < SHORTEST:
            return key not in self
        return self._write(retry, lambda store: store.put(key, value, ttl, tags, None, "absent"))

    def touch(self, key: Any, expire: float | None = None, retry: bool = False) -> bool:
        """Lets an entry expire in `expire` seconds from now; whether there is one."""
        ttl = lifetime(expire)
        mine = self._mine
        if mine is not None:
            entry = mine.read(key)
            if entry is not None:
                mine.write(key, entry.value, expiry(ttl), entry.tag)
            return entry is not None
        if ttl is not None and ttl < SHORTEST:
            return self._write(retry, lambda store: store.remove(key))
        return self._write(retry, lambda store: store.touch(key, ttl))

    def incr(self, key: Any, delta: float = 1, default: float | None = 0, retry: bool = False) -> Any:
        """Adds `delta` to a number, which is `default` if there is none, and returns the sum.

        Atomic among threads and processes. The entry keeps its expiry and tag.

        Raises:
            KeyError: There is none, and `default` is `None`.
            ValueFormError: The value is not a number.
        """
        checks.number("delta", delta)
        if default is not None:
            checks.number("default", default)
        mine = self._mine
        if mine is not None:
            entry = mine.read(key)
            value = _sum(key, entry, delta, default)
            mine.write(key, value, None if entry is None else entry.expires, None if entry is None else entry.tag)
            return value
        return self._write(retry, lambda store: _incr(store, key, delta, default))

    def decr(self, key: Any, delta: float = 1, default: float | None = 0, retry: bool = False) -> Any:
        """As :meth:`incr`, taking away."""
        checks.number("delta", delta)
        return self.incr(key, -delta, default, retry)

    def pop(
        self, key: Any, default: Any = None, expire_time: bool = False, tag: bool = False, retry: bool = False
    ) -> Any:
        """Removes a key and returns its value, or `default`. Of several that pop one key, one gets it."""
        mine = self._mine
        if mine is not None:
            entry = mine.read(key)
            mine.remove(key)
        else:
            entry = self._write(retry, lambda store: _popped(store, key, expire_time or tag))
        if entry is None:
            return absent(default, expire_time, tag)
        return with_details(entry.value, entry, expire_time, tag)

    def delete(self, key: Any, retry: bool = False) -> bool:
        """Removes a key. Returns `True` if it was there."""
        if self._transaction is not None and (mine := self._mine) is not None:
            return mine.remove(key)
        gate = self._gate
        held = gate.enter(None if retry else self._timeout)
        try:
            return self._store.remove(key)
        except ClosedError:
            return self._unless_closed(lambda store: store.remove(key))
        finally:
            gate.leave(held)

    def __delitem__(self, key: Any) -> None:
        if not self.delete(key, retry=True):
            raise KeyError(key)

    # --- all keys -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of entries that are not expired."""
        mine = self._mine
        return self._unless_closed(len) if mine is None else mine.count()

    def __iter__(self) -> Iterator[Any]:
        """The keys in the order of insertion.

        Weakly consistent: what is changed meanwhile is met or not, what is new is not.
        """
        return self._keys(reverse=False)

    def __reversed__(self) -> Iterator[Any]:
        return self._keys(reverse=True)

    def _keys(self, reverse: bool) -> Iterator[Any]:
        mine = self._mine
        if mine is not None:
            return mine.keys(reverse)
        return (key for key, *_ in entries(self._store, reverse, keys_only=True))

    def iterkeys(self, reverse: bool = False) -> Iterator[Any]:
        """The keys in their own order: numbers, texts, bytes, others. All keys are read, and sorted in memory.

        Example:
            >>> from cachemere import diskcache
            >>> cache = diskcache.Cache()
            >>> for key in [4, 1, 3, 0, 2]:
            ...     cache[key] = key
            >>> list(cache.iterkeys())
            [0, 1, 2, 3, 4]
        """
        return iter(sorted(self, key=self._place, reverse=reverse))

    def _place(self, key: Any) -> tuple[int, Any]:
        if isinstance(key, (int, float)):
            return 0, key
        if isinstance(key, str):
            return 1, key
        return (2, key) if isinstance(key, bytes) else (3, self._store.key_bytes(key))

    def peekitem(self, last: bool = True, expire_time: bool = False, tag: bool = False, retry: bool = False) -> Any:
        """Key and value of the entry that was inserted last, or first.

        Raises:
            KeyError: There is none.
        """
        for key in self._keys(reverse=bool(last)):
            entry = self._entry(key)
            if entry is not None:
                return with_details((key, entry.value), entry, expire_time, tag)
        raise KeyError("dictionary is empty")

    # --- functions ----------------------------------------------------------------------------------------------------

    def memoize(
        self,
        name: str | None = None,
        typed: bool = False,
        expire: float | None = None,
        tag: Any = None,
        ignore: Collection[Any] = (),
    ) -> Callable[[F], F]:
        """Keeps the results of a function, also of a coroutine.

        `f.__cache_key__(...)` is the key of a call. Arguments can be whatever has a canonical form: plain data,
        dataclasses, pydantic models, arrays. With `expire=0` results are looked up, but not kept. A result that cannot
        be kept, of a class without a safe form for example, is returned, and one line of the log says why.

        Args:
            name: What the keys begin with. `None`: the function's module and name.
            typed: Whether arguments that are equal, but of different types, are different.
            expire: Seconds a result is kept.
            tag: The tag of the results.
            ignore: Places (from 0) and names of arguments that do not matter.

        Raises:
            KeyFormError: An argument has no canonical form.
        """
        if callable(name):
            raise TypeError("name cannot be callable")
        lifetime(expire)

        def decorate(function: F) -> F:
            base = (full_name(function) if name is None else name,)
            unkept = Unkept(f"a result of {base[0]}", once=True)

            def __cache_key__(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
                return args_to_key(base, args, kwargs, typed, ignore)

            def keep(key: Any, result: Any) -> None:
                if expire is None or expire > 0:
                    with unkept.passed(result):
                        self.set(key, result, expire, tag=tag, retry=True)

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                key = __cache_key__(*args, **kwargs)
                result = self.get(key, ENOVAL, retry=True)
                if result is ENOVAL:
                    result = function(*args, **kwargs)
                    keep(key, result)
                return result

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                key = __cache_key__(*args, **kwargs)
                result = await asyncio.to_thread(self.get, key, ENOVAL)
                if result is ENOVAL:
                    result = await function(*args, **kwargs)
                    await asyncio.to_thread(keep, key, result)
                return result

            made: Any = awaited if inspect.iscoroutinefunction(function) else wrapper
            made.__cache_key__ = __cache_key__
            return made  # type: ignore[no-any-return]

        return decorate

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.directory!r})"


def _entry_of(store: Store, key: Any) -> Entry | None:
    """Value, expiry and tag as one writing had them."""
    times = store.times(key)
    while times is not None:
        found, before = store.fetch(key), times
        times = store.times(key)
        # When it was written, and when it expires.
        if found is not None and times is not None and times[2:4] == before[2:4]:
            return Entry(found[0], times[3], first(found[2]))
    return None


def _popped(store: Store, key: Any, details: bool) -> Entry | None:
    while (found := store.fetch(key)) is not None:
        times = store.times(key) if details else None
        if store.remove(key, found[1]):
            return Entry(found[0], times[3] if times else None, first(found[2]))
    return None


def _sum(key: Any, entry: Entry | None, delta: float, default: float | None) -> Any:
    if entry is None:
        if default is None:
            raise KeyError(key)
        return default + delta
    if not checks.is_number(entry.value):
        kind = type(entry.value).__name__
        raise ValueFormError(f"the value of {key!r} is of type '{kind}', not a number to add to")
    return entry.value + delta


def _incr(store: Store, key: Any, delta: float, default: float | None) -> Any:
    while True:
        found = store.fetch(key)
        if found is None:
            value = _sum(key, None, delta, default)
            if store.put(key, value, None, None, None, "absent"):
                return value
            continue
        times = store.times(key)
        ttl = None if times is None else left(times[3])
        value = _sum(key, Entry(found[0], None, None), delta, default)
        if times is None or (ttl is not None and ttl < SHORTEST):
            continue
        if store.put(key, value, ttl, found[2] or None, None, found[1]):
            return value
