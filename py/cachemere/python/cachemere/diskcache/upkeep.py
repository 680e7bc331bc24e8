"""Keeping a cache in order: removing what is over, has a tag or is too much, and telling what there is."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

from .._core import checks
from .._core.info import verify
from .._core.walk import met
from .._engine import Store
from ..errors import InvalidOptionError, NotCarriedOverError
from .queues import Queues
from .tags import to_text


class Upkeep(Queues):
    """What is done with all entries."""

    def clear(self, retry: bool = False) -> int:
        """Removes all entries, at once for everybody; how many there were."""
        mine = self._mine
        if mine is not None:
            return mine.clear()

        def clear() -> int:
            count = self._unless_closed(len)
            self._unless_closed(lambda store: store.clear())
            self._forget_queues()
            return count

        return self._alone(clear, retry)

    def expire(self, now: float | None = None, retry: bool = False) -> int:
        """Removes expired entries; how many. None of them can be read before, either.

        With `now`, a time in seconds since the epoch, those that expire before it; which reads all keys.
        """
        self._refuse_in_transaction("expire")
        # `True` is a time of long ago, as in diskcache: who gives it means `retry`.
        if now is not None and not isinstance(now, bool) and not checks.is_number(now):
            raise InvalidOptionError(f"now must be seconds since the epoch, not {checks.shown(now)}")

        def expire(store: Store) -> int:
            removed = store.sweep()
            if now is not None and now > time.time():
                removed += _remove(store, lambda key, _tags: _expires(store, key) < now)
            return removed

        return self._write(retry, expire)

    def evict(self, tag: Any, retry: bool = False) -> int:
        """Removes all entries with this tag; how many. There is no index of tags: it reads all keys.

        Raises:
            DamagedError, TamperedError: For an entry that cannot be read, after all others were looked at.
        """
        self._refuse_in_transaction("evict")
        text = to_text(tag)
        if text is None:
            return 0
        return self._write(retry, lambda store: _remove(store, lambda _, tags: text in tags))

    def cull(self, retry: bool = False) -> int:
        """Removes expired entries; then, while there is more than `size_limit`, what was stored first. How many.

        Only with `cull_limit=0` is there ever more than `size_limit`: otherwise each write keeps it. With
        `eviction_policy="none"` nothing but expired entries is removed.
        """
        self._refuse_in_transaction("cull")
        count = self.expire(retry=retry)
        limit = self._settings["size_limit"]
        if limit is None or self._settings["eviction_policy"] == "none":
            return count
        too_much = self.volume() - limit

        def is_too_much(store: Store, key: Any) -> bool:
            nonlocal too_much
            size = _size(store, key)
            if too_much <= 0:
                return False
            too_much -= size
            return True

        if too_much <= 0:
            return count
        return count + self._write(retry, lambda store: _remove(store, lambda key, _: is_too_much(store, key)))

    def volume(self) -> int:
        """Bytes of all entries, with their keys, compressed if they are. Reads all keys, some microseconds each."""
        return self._unless_closed(_volume)

    def check(self, fix: bool = False, retry: bool = False) -> list[warnings.WarningMessage]:
        """Reads everything, and returns a warning for each of the first problems.

        Raises:
            NotCarriedOverError: With `fix`, if there are problems: nothing here mends a damaged file.
        """
        report = self._unless_closed(verify)
        if fix and not report.is_clean:
            raise NotCarriedOverError(
                f"{report.problems} of {report.entries} entries are damaged ({report.described[0]}), which "
                f"check(fix=True) cannot mend: restore a backup, or copy what can be read into another directory"
            )
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            for problem in report.described:
                warnings.warn(problem, stacklevel=1)
        return list(found)

    def create_tag_index(self) -> None:
        """Sets `tag_index`. There is no index: see :meth:`evict`."""
        self.reset("tag_index", 1)

    def drop_tag_index(self) -> None:
        """Unsets `tag_index`."""
        self.reset("tag_index", 0)

    def stats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]:
        """Hits and misses of this handle while `statistics` was set, which is then set as `enable` says.

        With `reset`, they count from zero again.
        """
        with self._counting:
            counted = self._hits, self._misses
            if reset:
                self._hits = self._misses = 0
        self.reset("statistics", enable)
        return counted

    def _count(self, is_hit: bool) -> None:
        if self._settings["statistics"]:
            with self._counting:
                self._hits += is_hit
                self._misses += not is_hit

    def _alone(self, work: Callable[[], int], retry: bool) -> int:
        """What `work` gives, while nobody else writes."""
        held = self._gate.close_for_others(None if retry else self._timeout)
        try:
            return work()
        finally:
            self._gate.open_again(held)

    def _refuse_in_transaction(self, what: str) -> None:
        if self._mine is not None:
            raise NotCarriedOverError(f"{what}() within transact() is not carried over: call it before or after")


def _remove(store: Store, is_wanted: Callable[[Any, tuple[str, ...]], bool]) -> int:
    removed = 0
    unreadable: Exception | None = None
    for entry in met(store, reverse=False, keys_only=True):
        if isinstance(entry, Exception):
            unreadable = unreadable or entry
        elif is_wanted(entry[0], entry[3]) and store.remove(entry[0], entry[2]):
            removed += 1
    if unreadable is not None:
        raise unreadable
    return removed


def _expires(store: Store, key: Any) -> float:
    times = store.times(key)
    return float("inf") if times is None or times[3] is None else times[3]


def _size(store: Store, key: Any) -> int:
    times = store.times(key)
    return 0 if times is None else times[4]


def _volume(store: Store) -> int:
    return sum(_size(store, entry[0]) for entry in met(store, False, True) if not isinstance(entry, Exception))
