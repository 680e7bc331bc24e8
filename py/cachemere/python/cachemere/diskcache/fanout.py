"""The cache with the interface of `diskcache.FanoutCache`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .._core import checks
from .._core.options import NOT_GIVEN, NotGiven
from .._core.secrets import Secret
from .cache import Cache
from .deque import Deque
from .disk import Disk
from .index import Index
from .troubles import Timeout

P = TypeVar("P", Cache, Deque, Index)


class FanoutCache(Cache):
    """A cache that gives up a write rather than wait for others, with the methods of `diskcache.FanoutCache`.

    diskcache spreads entries over `shards` databases, so that several can be written at once. Here there is one store,
    whose writers wait for each other for microseconds. What is left of the difference to :class:`Cache`: a write that
    somebody else's transaction holds up for longer than `timeout` does nothing and says `False` (or `None`, or the
    default) instead of raising :class:`Timeout`, unless it has `retry=True`.

    Args:
        shards: How many databases diskcache would make. Not used.

    The others are those of :class:`Cache`.

    Example:
        >>> from cachemere import diskcache
        >>> cache = diskcache.FanoutCache(shards=4, timeout=1)
        >>> cache.set("key", "value"), cache.get("key")
        (True, 'value')
        >>> cache.cache("parts/of/it").set("key", 1), cache.get("key")
        (True, 'value')
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        shards: int = 8,
        timeout: float = 0.010,
        disk: type = Disk,
        *,
        allow_pickle: bool | None = None,
        encryption_key: Secret | NotGiven = NOT_GIVEN,
        compression: bool | None = None,
        types: Iterable[type] | None = None,
        durability: str | None = None,
        **settings: Any,
    ) -> None:
        checks.count("shards", shards)
        self._passed_on = {
            "allow_pickle": allow_pickle,
            "encryption_key": encryption_key,
            "compression": compression,
            "types": None if types is None else checks.items("types", types, "classes"),
            "durability": durability,
        }
        super().__init__(directory, timeout, disk, **self._passed_on, **settings)  # type: ignore[arg-type]
        self._parts: dict[tuple[str, str], Any] = {}

    @contextlib.contextmanager
    def transact(self, retry: bool = True) -> Iterator[None]:
        """As :meth:`Cache.transact`. It waits for others however long it takes."""
        assert retry, "retry must be True in FanoutCache"
        with self._transact(True):
            yield

    def set(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool:
        """As :meth:`Cache.set`; `False` in place of `Timeout`."""
        try:
            return super().set(key, value, expire, read, tag, retry)
        except Timeout:
            return False

    def add(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool:
        """As :meth:`Cache.add`; `False` in place of `Timeout`."""
        try:
            return super().add(key, value, expire, read, tag, retry)
        except Timeout:
            return False

    def touch(self, key: Any, expire: float | None = None, retry: bool = False) -> bool:
        """As :meth:`Cache.touch`; `False` in place of `Timeout`."""
        try:
            return super().touch(key, expire, retry)
        except Timeout:
            return False

    def incr(self, key: Any, delta: float = 1, default: float | None = 0, retry: bool = False) -> Any:
        """As :meth:`Cache.incr`; `None` in place of `Timeout`."""
        try:
            return super().incr(key, delta, default, retry)
        except Timeout:
            return None

    def pop(
        self, key: Any, default: Any = None, expire_time: bool = False, tag: bool = False, retry: bool = False
    ) -> Any:
        """As :meth:`Cache.pop`; `default` in place of `Timeout`."""
        try:
            return super().pop(key, default, expire_time, tag, retry)
        except Timeout:
            return default

    def delete(self, key: Any, retry: bool = False) -> bool:
        """As :meth:`Cache.delete`; `False` in place of `Timeout`."""
        try:
            return super().delete(key, retry)
        except Timeout:
            return False

    # These repeat what timed out, as there.

    def clear(self, retry: bool = False) -> int:
        """As :meth:`Cache.clear`. It waits for others however long it takes."""
        return super().clear(True)

    def expire(self, now: float | None = None, retry: bool = False) -> int:
        """As :meth:`Cache.expire`. It waits for others however long it takes."""
        return super().expire(now, True)

    def evict(self, tag: Any, retry: bool = False) -> int:
        """As :meth:`Cache.evict`. It waits for others however long it takes."""
        return super().evict(tag, True)

    def cull(self, retry: bool = False) -> int:
        """As :meth:`Cache.cull`. It waits for others however long it takes."""
        return super().cull(True)

    # --- parts --------------------------------------------------------------------------------------------------------

    def cache(self, name: str, timeout: float = 60, disk: type | None = None, **settings: Any) -> Cache:
        """A cache in the directory `cache/name` within this one's, opened as this one is."""
        return self._part("cache", name, lambda directory: self._opened(directory, timeout, disk, settings))

    def deque(self, name: str, maxlen: int | None = None) -> Deque:
        """A deque in the directory `deque/name` within this one's."""
        return self._part("deque", name, lambda directory: Deque.fromcache(self._of_part(directory), maxlen=maxlen))

    def index(self, name: str) -> Index:
        """An index in the directory `index/name` within this one's."""
        return self._part("index", name, lambda directory: Index.fromcache(self._of_part(directory)))

    def _part(self, kind: str, name: str, make: Callable[[str], P]) -> P:
        found: P | None = self._parts.get((kind, name))
        if found is None:
            found = make(os.path.join(self.directory, kind, *name.split("/")))
            self._parts[kind, name] = found
        return found

    def _of_part(self, directory: str) -> Cache:
        return self._opened(directory, 60, None, {"eviction_policy": "none"})

    def _opened(self, directory: str, timeout: float, disk: type | None, settings: dict[str, Any]) -> Cache:
        chosen = self._disk_class if disk is None else disk
        return Cache(directory, timeout, chosen, **{**self._passed_on, **settings})

    def close(self) -> None:
        """Closes the files, and forgets the parts. They are opened again when they are used again."""
        super().close()
        for part in self._parts.values():
            (part if isinstance(part, Cache) else part.cache).close()
        self._parts.clear()

    def __getstate__(self) -> Any:
        options = {name: value for name, value in self._passed_on.items() if name != "encryption_key"}
        return super().__getstate__(), options

    def __setstate__(self, state: Any) -> None:
        of_cache, self._passed_on = state
        self._parts = {}
        super().__setstate__(of_cache)
