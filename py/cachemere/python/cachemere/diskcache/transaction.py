"""A transaction: what it would write is kept aside, seen by its own reads, and written at its end in one go."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from .._core.signals import is_of_handler
from .._core.walk import entries
from .._engine import Store
from ..errors import CacheError
from . import gate
from .entry import SHORTEST, Entry, is_over
from .tags import first, stored

_log = logging.getLogger("cachemere")

#: What nothing can change, so that it need not be copied.
_UNCHANGING = frozenset({str, bytes, int, float, bool, type(None)})


class _Change:
    """What becomes of a key: a value, as a function that makes it anew, or none if it is removed."""

    __slots__ = ("expires", "is_new", "key", "make", "tag")

    def __init__(self, key: Any, is_new: bool) -> None:
        self.key = key
        #: Whether it goes to the end of the order, as the store has no entry that it replaces in its place.
        self.is_new = is_new
        self.make: Callable[[], Any] | None = None
        self.expires: float | None = None
        self.tag: Any = None

    @property
    def is_there(self) -> bool:
        return self.make is not None and not is_over(self.expires)


class Transaction:
    """The changes of one thread, which has the gate for itself."""

    def __init__(self, store: Callable[[], Store], allow_pickle: bool) -> None:
        self._present = store
        self._allow_pickle = allow_pickle
        self._process, self._thread = gate.process, threading.get_ident()
        self._changes: dict[bytes, _Change] = {}
        self._is_cleared = False
        self._anything_expires = False
        #: How many keys more than the store there are.
        self._more = 0
        self._afterwards: list[Callable[[], object]] = []

    @property
    def _store(self) -> Store:
        # Another thread can close the handle, which then has another one.
        return self._present()

    @property
    def is_mine(self) -> bool:
        """Whether the caller is in it: not another thread, nor a process that was forked within."""
        return self._thread == threading.get_ident() and self._process == gate.process

    def _change(self, key: Any) -> _Change | None:
        return self._changes.get(self._store.key_bytes(key)) if self._changes else None

    # --- one key ------------------------------------------------------------------------------------------------------

    def read(self, key: Any) -> Entry | None:
        """The entry of a key."""
        change = self._change(key)
        if change is not None:
            return Entry(change.make(), change.expires, change.tag) if change.is_there and change.make else None
        if self._is_cleared:
            return None
        found = self._store.fetch(key)
        times = None if found is None else self._store.times(key)
        return None if found is None or times is None else Entry(found[0], times[3], first(found[2]))

    def has(self, key: Any) -> bool:
        """Whether a key has an entry."""
        change = self._change(key)
        if change is not None:
            return change.is_there
        return not self._is_cleared and key in self._store

    def write(self, key: Any, value: Any, expires: float | None, tag: Any) -> None:
        """Gives a key a value. What cannot be stored is refused at once."""
        make = self._copier(value)
        form = self._store.key_bytes(key)
        change = self._changes.get(form)
        if change is None:
            is_new = self._is_cleared or key not in self._store
            change = self._changes[form] = _Change(key, is_new)
            self._more += is_new
        elif not change.is_there:
            # Removed, and now at the end.
            del self._changes[form]
            change = self._changes[form] = _Change(key, True)
            self._more += 1
        change.make, change.expires, change.tag = make, expires, tag
        self._anything_expires = self._anything_expires or expires is not None

    def remove(self, key: Any) -> bool:
        """Removes a key. Returns `True` if it was there."""
        was_there = self.has(key)
        if was_there:
            form = self._store.key_bytes(key)
            self._changes.setdefault(form, _Change(key, False)).make = None
            self._more -= 1
        return was_there

    # --- all keys -----------------------------------------------------------------------------------------------------

    def keys(self, reverse: bool = False) -> Iterator[Any]:
        """The keys in the order of insertion, as they are when the first is asked for."""
        kept: list[Any] = []
        if not self._is_cleared:
            for key, *_ in entries(self._store, reverse=False, keys_only=True):
                change = self._changes.get(self._store.key_bytes(key))
                if change is None or (change.is_there and not change.is_new):
                    kept.append(key)
        kept += [change.key for change in self._changes.values() if change.is_there and change.is_new]
        yield from reversed(kept) if reverse else kept

    def count(self) -> int:
        """How many keys there are."""
        if self._anything_expires:
            return sum(1 for _ in self.keys())
        return self._more + (0 if self._is_cleared else len(self._store))

    def clear(self) -> int:
        """Removes all keys; how many there were."""
        count = self.count()
        self._is_cleared = True
        self._changes.clear()
        self._more = 0
        return count

    # --- the end ------------------------------------------------------------------------------------------------------

    def afterwards(self, work: Callable[[], object]) -> None:
        """Calls `work` once all is written, before others may write. It may fail: what is written, is written."""
        self._afterwards.append(work)

    def apply(self) -> None:
        """Writes all changes, or on an error none."""
        if not (self._changes or self._is_cleared or self._afterwards):
            return
        writes: list[Any] = []
        if self._is_cleared:
            removals = [key for key, *_ in entries(self._store, reverse=False, keys_only=True)]
        else:
            # Removed first, so that what is written anew goes to the end of the order.
            removals = [change.key for change in self._changes.values() if change.is_new or not change.is_there]
        now = time.time()
        for change in self._changes.values():
            if change.make is not None and change.is_there:
                ttl = None if change.expires is None else max(change.expires - now, SHORTEST)
                writes.append((change.key, change.make(), ttl, stored(change.tag), None))
        if writes or removals:
            self._store.apply(writes, removals)
        for work in self._afterwards:
            try:
                work()
            except CacheError as error:
                _log.debug("after a transaction: %s", error)

    def _copier(self, value: Any) -> Callable[[], Any]:
        """What gives the value as it is now, each time anew.

        Raises:
            UnsafeValueError, ValueFormError: It cannot be stored.
        """
        if type(value) in _UNCHANGING:
            return lambda: value
        if self._allow_pickle:
            # What the store's own form of a value is, does not say whether it is a pickle.
            try:
                pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
                return lambda: pickle.loads(pickled)
            except CacheError:
                raise
            except Exception as error:
                if is_of_handler(error):
                    raise
        encoded = self._store.encode_value(value)
        return lambda: self._store.decode_value(encoded)
