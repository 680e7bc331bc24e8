"""What mappings have in common that are too large for the memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class HugeMapping(Mapping[K, V]):
    """A mapping that can be looked at through a cache in memory."""

    __slots__ = ()

    @abstractmethod
    def cache(self) -> CacheHugeMapping[K, V]:
        """The same mapping, in whose memory values stay that were read once."""


class HugeMutableMapping(MutableMapping[K, V]):
    """A mutable mapping that can be looked at through a cache in memory."""

    __slots__ = ()

    @abstractmethod
    def cache(self) -> CacheHugeMutableMapping[K, V]:
        """The same mapping, in whose memory values stay that were read once."""


class CacheHugeMapping(HugeMapping[K, V]):
    """A mapping with a cache that can be filled."""

    __slots__ = ()

    @abstractmethod
    def update_cache(self, o: Mapping[K, V] | Iterable[tuple[K, V]]) -> CacheHugeMapping[K, V]:
        """Puts pairs into the cache, and not into the mapping."""


class CacheHugeMutableMapping(HugeMutableMapping[K, V]):
    """A mutable mapping with a cache that can be filled."""

    __slots__ = ()

    @abstractmethod
    def update_cache(self, o: Mapping[K, V] | Iterable[tuple[K, V]]) -> CacheHugeMutableMapping[K, V]:
        """Puts pairs into the cache, and not into the mapping."""
