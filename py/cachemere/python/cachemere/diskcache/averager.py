"""A running average in a cache."""

from __future__ import annotations

from typing import Any

from .cache import Cache


class Averager:
    """The average of what was added, among all threads and processes.

    Example:
        >>> from cachemere import diskcache
        >>> latency = diskcache.Averager(diskcache.Cache(), "latency")
        >>> latency.add(0.080)
        >>> latency.add(0.120)
        >>> latency.get(), latency.pop(), latency.get()
        (0.1, 0.1, None)
    """

    def __init__(self, cache: Cache, key: Any, expire: float | None = None, tag: Any = None) -> None:
        self._cache = cache
        self._key = key
        self._expire = expire
        self._tag = tag

    def add(self, value: float) -> None:
        """Adds a number."""
        with self._cache.transact(retry=True):
            total, count = self._cache.get(self._key, default=(0.0, 0))
            self._cache.set(self._key, (total + value, count + 1), expire=self._expire, tag=self._tag)

    def get(self) -> float | None:
        """The average, or `None` if nothing was added."""
        return _average(*self._cache.get(self._key, default=(0.0, 0), retry=True))

    def pop(self) -> float | None:
        """The average, which then begins anew."""
        return _average(*self._cache.pop(self._key, default=(0.0, 0), retry=True))


def _average(total: float, count: int) -> float | None:
    return total / count if count else None
