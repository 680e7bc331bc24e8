"""A deque in a directory, with the interface of `diskcache.Deque`."""

from __future__ import annotations

import contextlib
import itertools
import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .cache import Cache
from .constants import ENOVAL

#: How many values are read, or written, at once.
_CHUNK = 128


def _compared(how: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def compare(self: Deque, that: object) -> Any:
        """Compares item by item, with any sequence."""
        if not isinstance(that, Sequence):
            return NotImplemented
        mine, other = len(self), len(that)
        if mine != other and how in (operator.eq, operator.ne):
            return how is operator.ne
        for one, two in zip(self, that, strict=False):
            if one != two:
                return how(one, two)
        return how(mine, other)

    return compare


class Deque(Sequence[Any]):
    """A double-ended queue in a directory, for any number of threads and processes.

    It is the queue without prefix of its cache. Values are never pickled unless the cache was opened so:
    `Deque.fromcache(Cache(directory, eviction_policy="none", allow_pickle=True))`.

    Args:
        iterable: What is appended to it.
        directory: Where it is, or is made. `None`: in a temporary directory, which is not removed.
        maxlen: How many values there may be; the first are dropped.

    Example:
        >>> from cachemere import diskcache
        >>> deque = diskcache.Deque(range(5), maxlen=4)
        >>> deque.rotate(1)
        >>> list(deque), deque.pop(), deque.popleft()
        ([4, 1, 2, 3], 3, 4)
    """

    def __init__(
        self,
        iterable: Iterable[Any] = (),
        directory: str | os.PathLike[str] | None = None,
        maxlen: float | None = None,
    ) -> None:
        self._cache = Cache(directory, eviction_policy="none")
        self._maxlen = math.inf if maxlen is None else maxlen
        self.extend(iterable)

    @classmethod
    def fromcache(cls, cache: Cache, iterable: Iterable[Any] = (), maxlen: float | None = None) -> Deque:
        """A deque in a cache that is open."""
        self = cls.__new__(cls)
        self._cache = cache
        self._maxlen = math.inf if maxlen is None else maxlen
        self.extend(iterable)
        return self

    @property
    def cache(self) -> Cache:
        """The cache it is in."""
        return self._cache

    @property
    def directory(self) -> str:
        """The directory it is in."""
        return self._cache.directory

    @property
    def maxlen(self) -> float:
        """How many values there may be; infinity by default. When it is set, the first are dropped."""
        return self._maxlen

    @maxlen.setter
    def maxlen(self, value: float) -> None:
        self._maxlen = value
        with self._cache.transact(retry=True):
            while len(self._cache) > self._maxlen:
                self._pull("front")

    # --- places -------------------------------------------------------------------------------------------------------

    def _at(self, index: int, work: Callable[[Any], Any]) -> Any:
        """What `work` gives for the key at a place, counted from either end."""
        length = len(self)
        if not -length <= index < length:
            raise IndexError("deque index out of range")
        # As there, by going there.
        present = (key for key in self._cache._queue_keys(reverse=index < 0) if key in self._cache)
        for key in itertools.islice(present, index if index >= 0 else -index - 1, None):
            try:
                return work(key)
            except KeyError:
                continue
        raise IndexError("deque index out of range")

    def __getitem__(self, index: Any) -> Any:
        """The value at a place. It takes the longer, the farther the place is from the end it is counted from."""
        return self._at(index, self._cache.__getitem__)

    def __setitem__(self, index: int, value: Any) -> None:
        self._at(index, lambda key: self._cache.__setitem__(key, value))

    def __delitem__(self, index: int) -> None:
        self._at(index, self._cache.__delitem__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(directory={self.directory!r})"

    __eq__ = _compared(operator.eq)
    __ne__ = _compared(operator.ne)
    __lt__ = _compared(operator.lt)
    __gt__ = _compared(operator.gt)
    __le__ = _compared(operator.le)
    __ge__ = _compared(operator.ge)
    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._cache)

    def __iter__(self) -> Iterator[Any]:
        """The values from front to back. Weakly consistent: what is written meanwhile may be met or not."""
        return (value for _, value in self._cache._queue_items(reverse=False))

    def __reversed__(self) -> Iterator[Any]:
        return (value for _, value in self._cache._queue_items(reverse=True))

    def __iadd__(self, iterable: Iterable[Any]) -> Deque:
        self.extend(iterable)
        return self

    def __getstate__(self) -> Any:
        return self._cache, self._maxlen

    def __setstate__(self, state: Any) -> None:
        self._cache, self._maxlen = state

    # --- ends ---------------------------------------------------------------------------------------------------------

    def append(self, value: Any) -> None:
        """Adds a value at the back; drops the first if there are too many."""
        self._push((value,), "back")

    def appendleft(self, value: Any) -> None:
        """Adds a value at the front; drops the last if there are too many."""
        self._push((value,), "front")

    def extend(self, iterable: Iterable[Any]) -> None:
        """Adds values at the back, some hundred in a transaction."""
        for chunk in _chunks(iterable):
            self._push(chunk, "back")

    def extendleft(self, iterable: Iterable[Any]) -> None:
        """Adds values at the front, each before the one before it."""
        for chunk in _chunks(iterable):
            self._push(chunk, "front")

    def _push(self, values: Iterable[Any], side: str) -> None:
        other = "front" if side == "back" else "back"
        with self._cache.transact(retry=True):
            for value in values:
                self._cache.push(value, side=side)
                if self._maxlen != math.inf and len(self._cache) > self._maxlen:
                    self._pull(other)

    def _pull(self, side: str) -> Any:
        return self._cache.pull(default=(None, ENOVAL), side=side, retry=True)[1]

    def pop(self) -> Any:
        """Removes the last value and returns it.

        Raises:
            IndexError: There is none.
        """
        return _known(self._pull("back"), "pop from an empty deque")

    def popleft(self) -> Any:
        """Removes the first value and returns it.

        Raises:
            IndexError: There is none.
        """
        return _known(self._pull("front"), "pop from an empty deque")

    def peek(self) -> Any:
        """The last value.

        Raises:
            IndexError: There is none.
        """
        return _known(self._cache.peek((None), (None, ENOVAL), "back", retry=True)[1], "peek from an empty deque")

    def peekleft(self) -> Any:
        """The first value.

        Raises:
            IndexError: There is none.
        """
        return _known(self._cache.peek(None, (None, ENOVAL), "front", retry=True)[1], "peek from an empty deque")

    # --- the whole ----------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Removes all values."""
        self._cache.clear(retry=True)

    def copy(self) -> Deque:
        """Another deque in the same directory."""
        return type(self).fromcache(self._cache, maxlen=self._maxlen)

    def count(self, value: Any) -> int:
        """How often there is a value."""
        return sum(1 for item in self if value == item)

    def remove(self, value: Any) -> None:
        """Removes the first value that is equal.

        Raises:
            ValueError: There is none.
        """
        for key, item in self._cache._queue_items(reverse=False):
            if value == item and self._cache.delete(key, retry=True):
                return
        raise ValueError("deque.remove(value): value not in deque")

    def reverse(self) -> None:
        """Puts the values in the other order, all at once."""
        with self._cache.transact(retry=True):
            items = list(self._cache._queue_items(reverse=False))
            for (key, _), (_, value) in zip(items, reversed(items), strict=True):
                self._cache[key] = value

    def rotate(self, steps: int = 1) -> None:
        """Moves the last `steps` values to the front, all at once; with negative `steps`, the first to the back."""
        if not isinstance(steps, int):
            raise TypeError(f"integer argument expected, got {type(steps).__name__}")
        with self._cache.transact(retry=True):
            length = len(self)
            if not length:
                return
            pulled, pushed = ("back", "front") if steps >= 0 else ("front", "back")
            for _ in range(abs(steps) % length):
                self._cache.push(self._pull(pulled), side=pushed)

    @contextlib.contextmanager
    def transact(self) -> Iterator[None]:
        """As :meth:`Cache.transact`, waiting for others however long it takes."""
        with self._cache.transact(retry=True):
            yield


def _known(value: Any, otherwise: str) -> Any:
    if value is ENOVAL:
        raise IndexError(otherwise)
    return value


def _chunks(iterable: Iterable[Any]) -> Iterator[list[Any]]:
    """Some values at a time, so that nobody waits while an iterable makes the next."""
    iterator = iter(iterable)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
