"""Locks among threads and processes, as entries of a cache, with the interfaces of diskcache's recipes.

Whoever is killed while holding one of them holds it for ever, or until `expire` seconds after it was taken. A cache
with a `size_limit` can evict it; give locks a cache of their own.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from .cache import Cache

#: Seconds between two tries.
_PAUSE = 0.001


class _Entry:
    """What all are: an entry of a cache, acquired and released by `with`."""

    def __init__(self, cache: Cache, key: Any, expire: float | None = None, tag: Any = None) -> None:
        self._cache = cache
        self._key = key
        self._expire = expire
        self._tag = tag

    def acquire(self) -> None:
        """Takes it, trying once a millisecond."""
        while not self._taken():
            time.sleep(_PAUSE)

    def _taken(self) -> bool:
        """Whether this try took it."""
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Lock(_Entry):
    """A lock that one has at a time. Whoever has the key can release it.

    Example:
        >>> from cachemere import diskcache
        >>> lock = diskcache.Lock(diskcache.Cache(), "report-123")
        >>> with lock:
        ...     lock.locked()
        True
        >>> lock.locked()
        False
    """

    def _taken(self) -> bool:
        return self._cache.add(self._key, None, expire=self._expire, tag=self._tag, retry=True)

    def release(self) -> None:
        """Gives it back."""
        self._cache.delete(self._key, retry=True)

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._key in self._cache


class RLock(_Entry):
    """A lock that one thread has at a time, any number of times.

    Example:
        >>> from cachemere import diskcache
        >>> lock = diskcache.RLock(diskcache.Cache(), "user-123")
        >>> with lock, lock:
        ...     pass
        >>> lock.release()
        Traceback (most recent call last):
            ...
        AssertionError: cannot release un-acquired lock
    """

    def _taken(self) -> bool:
        me = _me()
        with self._cache.transact(retry=True):
            owner, count = self._cache.get(self._key, default=(None, 0))
            if owner != me and count:
                return False
            self._cache.set(self._key, (me, count + 1), expire=self._expire, tag=self._tag)
            return True

    def release(self) -> None:
        """Gives it back once.

        Raises:
            AssertionError: This thread does not have it.
        """
        with self._cache.transact(retry=True):
            owner, count = self._cache.get(self._key, default=(None, 0))
            if owner != _me() or not count:
                raise AssertionError("cannot release un-acquired lock")
            self._cache.set(self._key, (owner, count - 1), expire=self._expire, tag=self._tag)


class BoundedSemaphore(_Entry):
    """What `value` can have at a time.

    Example:
        >>> from cachemere import diskcache
        >>> semaphore = diskcache.BoundedSemaphore(diskcache.Cache(), "max-cons", value=2)
        >>> with semaphore, semaphore:
        ...     pass
        >>> semaphore.release()
        Traceback (most recent call last):
            ...
        AssertionError: cannot release un-acquired semaphore
    """

    def __init__(self, cache: Cache, key: Any, value: int = 1, expire: float | None = None, tag: Any = None) -> None:
        super().__init__(cache, key, expire, tag)
        self._value = value

    def _taken(self) -> bool:
        with self._cache.transact(retry=True):
            left = self._cache.get(self._key, default=self._value)
            if left > 0:
                self._cache.set(self._key, left - 1, expire=self._expire, tag=self._tag)
            return bool(left > 0)

    def release(self) -> None:
        """Gives one back.

        Raises:
            AssertionError: All were given back.
        """
        with self._cache.transact(retry=True):
            left = self._cache.get(self._key, default=self._value)
            if left >= self._value:
                raise AssertionError("cannot release un-acquired semaphore")
            self._cache.set(self._key, left + 1, expire=self._expire, tag=self._tag)


def _me() -> str:
    return f"{os.getpid()}-{threading.get_ident()}"
