"""A mapping whose values stay in memory once they were read."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, TypeVar, overload

from .huge_mapping import CacheHugeMutableMapping

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class CacheDict(CacheHugeMutableMapping[K, V]):
    """A mapping, and a dict of what was read through this object.

    What is written here goes to both, so that it is read as it was written. What others write into the mapping is not
    seen for keys that were read before. Without a limit: for reading the same keys again and again.

    >>> source = {"a": 1}
    >>> cached = CacheDict(source)
    >>> cached["a"]
    1
    >>> cached.update_cache({"b": 2})["b"], "b" in source
    (2, False)
    """

    __slots__ = ("_cache", "mapping")

    def __init__(self, mapping: MutableMapping[K, V]) -> None:
        #: The mapping that this is a cache of.
        self.mapping = mapping
        self._cache: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        try:
            return self._cache[key]
        except KeyError:
            value = self.mapping[key]
        self._cache[key] = value
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self.mapping[key] = value
        # Not the object itself, which its owner can change: it is read from the mapping when it is asked for.
        self._cache.pop(key, None)

    def __delitem__(self, key: K) -> None:
        # First from the cache: if the mapping refuses, nothing was promised that is not there.
        was_cached = self._cache.pop(key, _MISSING) is not _MISSING
        try:
            del self.mapping[key]
        except KeyError:
            # What was only ever put into the cache is gone with it.
            if not was_cached:
                raise

    def __iter__(self) -> Iterator[K]:
        return iter(self.mapping)

    def __len__(self) -> int:
        return len(self.mapping)

    def __contains__(self, key: object) -> bool:
        return key in self._cache or key in self.mapping

    def keys(self) -> KeysView[K]:
        """The mapping's own; what is only in the cache is not in it."""
        return self.mapping.keys()

    def values(self) -> ValuesView[V]:
        """The mapping's own; what is only in the cache is not in it."""
        return self.mapping.values()

    def items(self) -> ItemsView[K, V]:
        """The mapping's own; what is only in the cache is not in it."""
        return self.mapping.items()

    @overload
    def get(self, key: K, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T, /) -> V | T: ...
    def get(self, key: K, default: Any = None, /) -> Any:
        """The value of a key, which stays in memory, or `default`, which does not."""
        try:
            return self[key]
        except KeyError:
            return default

    def clear(self) -> None:
        """Removes all entries, from the mapping and from memory."""
        self._cache.clear()
        self.mapping.clear()

    def update(self, *others: Any, **more: Any) -> None:
        """Writes pairs, as the mapping does it: in one go, if it can."""
        pairs = dict(*others, **more)
        for key in pairs:
            self._cache.pop(key, None)
        self.mapping.update(pairs)

    def cache(self) -> CacheDict[K, V]:
        """Another cache of the same mapping, which begins with what is in this one."""
        made = CacheDict(self.mapping)
        made._cache = self._cache.copy()
        return made

    def update_cache(self, o: Mapping[K, V] | Iterable[tuple[K, V]]) -> CacheDict[K, V]:
        """Puts pairs into memory, and not into the mapping; this object."""
        self._cache.update(o)
        return self

    def __repr__(self) -> str:
        return f"CacheDict({self.mapping!r}, {len(self._cache)} in memory)"


_MISSING: Any = object()
