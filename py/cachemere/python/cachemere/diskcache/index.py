"""A mapping in a directory, with the interface of `diskcache.Index`."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, MutableMapping
from typing import Any, TypeVar

from .cache import Cache
from .constants import ENOVAL

F = TypeVar("F", bound=Callable[..., Any])


class Index(MutableMapping[Any, Any]):
    """A mapping in a directory, in the order of insertion, for any number of threads and processes.

    Values are never pickled unless its cache was opened so:
    `Index.fromcache(Cache(directory, eviction_policy="none", allow_pickle=True))`.

    Args:
        *args: A directory, as `str`, `bytes` or a path, or `None` for a temporary one; and what `dict` takes.
        **kwargs: Entries.

    Example:
        >>> from cachemere import diskcache
        >>> index = diskcache.Index({"a": 1, "b": 2, "c": 3})
        >>> index.popitem(), index.popitem(last=False), dict(index)
        (('c', 3), ('a', 1), {'b': 2})
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        directory = None
        if args and (args[0] is None or isinstance(args[0], (bytes, str, os.PathLike))):
            directory, *rest = args
            args = tuple(rest)
        self._cache = Cache(directory, eviction_policy="none")
        self.update(*args, **kwargs)

    @classmethod
    def fromcache(cls, cache: Cache, *args: Any, **kwargs: Any) -> Index:
        """An index of all entries of a cache that is open."""
        self = cls.__new__(cls)
        self._cache = cache
        self.update(*args, **kwargs)
        return self

    @property
    def cache(self) -> Cache:
        """The cache it is in."""
        return self._cache

    @property
    def directory(self) -> str:
        """The directory it is in."""
        return self._cache.directory

    def __getitem__(self, key: Any) -> Any:
        return self._cache[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._cache[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._cache[key]

    def __contains__(self, key: object) -> bool:
        return key in self._cache

    def __iter__(self) -> Iterator[Any]:
        """The keys in the order of insertion.

        Weakly consistent: what is changed meanwhile is met or not, what is new is not.
        """
        return iter(self._cache)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._cache)

    def __len__(self) -> int:
        return len(self._cache)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The key's value; if it has none, `default`, which is then its value."""
        while True:
            found = self._cache.get(key, ENOVAL)
            if found is not ENOVAL:
                return found
            self._cache.add(key, default, retry=True)

    def peekitem(self, last: bool = True) -> Any:
        """The key and value that were inserted last, or first.

        Raises:
            KeyError: There are none.
        """
        return self._cache.peekitem(last, retry=True)

    def pop(self, key: Any, default: Any = ENOVAL) -> Any:
        """Removes a key and returns its value.

        Raises:
            KeyError: There is none, and no `default`.
        """
        value = self._cache.pop(key, default=default, retry=True)
        if value is ENOVAL:
            raise KeyError(key)
        return value

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        """Removes the key and value that were inserted last, or first, and returns them.

        Raises:
            KeyError: There are none.
        """
        with self._cache.transact(retry=True):
            key, value = self._cache.peekitem(last)
            del self._cache[key]
        return key, value

    def push(self, value: Any, prefix: str | None = None, side: str = "back") -> Any:
        """As :meth:`Cache.push`."""
        return self._cache.push(value, prefix, side, retry=True)

    def pull(self, prefix: str | None = None, default: Any = (None, None), side: str = "front") -> Any:
        """As :meth:`Cache.pull`."""
        return self._cache.pull(prefix, default, side, retry=True)

    def clear(self) -> None:
        """Removes all entries."""
        self._cache.clear(retry=True)

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> Any:
        return self._cache

    def __setstate__(self, state: Any) -> None:
        self._cache = state

    def __eq__(self, other: object) -> bool:
        """Whether the entries are equal; compared with an index or `OrderedDict`, also their order."""
        if not hasattr(other, "keys") or not hasattr(other, "__len__"):
            return NotImplemented
        theirs: Any = other
        if len(self) != len(theirs):
            return False
        if isinstance(theirs, (Index, OrderedDict)):
            return list(self.items()) == list(theirs.items())
        return all(value == theirs.get(key, ENOVAL) for key, value in self.items())

    def memoize(self, name: str | None = None, typed: bool = False, ignore: Collection[Any] = ()) -> Callable[[F], F]:
        """As :meth:`Cache.memoize`."""
        return self._cache.memoize(name, typed, ignore=ignore)

    @contextlib.contextmanager
    def transact(self) -> Iterator[None]:
        """As :meth:`Cache.transact`, waiting for others however long it takes."""
        with self._cache.transact(retry=True):
            yield

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.directory!r})"
