"""From a source into a store, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core.checks import shown
from ..errors import CacheError, DecodeError, DuplicateKeyError, KeyFormError, UnsafeValueError, ValueFormError
from ._decoding import key_of, value_of
from ._entry import Entry
from ._source import Source
from ._summary import PICKLE_AGAIN, Reason, Skipped, Tally

if TYPE_CHECKING:
    from .._engine import Store

#: Entries, and bytes as they are stored in the source, that are written in one transaction.
_MOST_ENTRIES = 1000
_MOST_BYTES = 8 << 20

Times = tuple[float, float, float | None]
Write = tuple[Any, Any, float | None, tuple[str, ...] | None, Times | None]


@dataclass
class Transfer:
    """One import at work."""

    store: Store
    target: Path
    existing: str
    is_raising: bool
    allow_pickle: bool
    #: Whether what came out of a pickle is pickled again.
    pickle_values: bool
    #: Seconds an entry lives from its last access; `None`: for ever.
    idle: float | None
    #: Called for all that is left out.
    on_skip: Callable[[Skipped], object] | None
    #: Whether the store was there before: nothing is asked of one that need not be made.
    is_store_there: bool
    #: Each with its name, for the message if it has no safe form.
    _batch: list[tuple[str, Write]] = field(default_factory=list)
    _bytes: int = 0
    tally: Tally = field(default_factory=Tally)
    #: Those of the batch, where the first of several is to stay.
    _keys: set[Any] = field(default_factory=set)

    def run(self, source: Source, show: Callable[[int], object]) -> None:
        """Writes all that can be written."""
        if self.existing == "error" and self.is_store_there and len(self.store):
            self._check_new(source)
        for entry in source.entries():
            self.tally.entries += 1
            self._meet(entry)
            if len(self._batch) >= _MOST_ENTRIES or self._bytes >= _MOST_BYTES:
                self._write()
            show(self.tally.entries)
        self._write()

    def _check_new(self, source: Source) -> None:
        """Whether none of the keys is there already."""
        for entry in source.entries():
            try:
                key = key_of(entry.key, self.allow_pickle)
                is_there = key in self.store
            except (DecodeError, KeyFormError, UnsafeValueError):
                # It is told when its turn has come.
                continue
            if is_there:
                raise DuplicateKeyError(
                    f"{shown(key)} is in {self.target} already. Nothing was imported: say what is to become "
                    f"of such keys (--existing keep, or replace)"
                )

    def _meet(self, entry: Entry) -> None:
        now = time.time()
        if self._is_expired(entry, now):
            self.tally.expired += 1
            return
        name = entry.place
        try:
            key = key_of(entry.key, self.allow_pickle)
            name = f"key {shown(key)}"
            if self.existing == "keep" and self._is_there(key):
                self.tally.kept += 1
                return
            value = value_of(entry.value, self.allow_pickle)
        except KeyFormError as error:
            self._skip(name, "no safe form", self._with_advice(error, key))
            return
        except UnsafeValueError as error:
            self._skip(name, "pickle", error)
            return
        except DecodeError as error:
            self._skip(name, "unreadable", error)
            return
        self._batch.append((name, (key, value, None, entry.tags or None, _times(entry, now))))
        if self.existing == "keep":
            self._keys.add(key)
        data = entry.value.data
        self._bytes += len(data) if entry.value.fetch is None and isinstance(data, (bytes, str)) else _size(value)

    def _is_there(self, key: Any) -> bool:
        try:
            if key in self._keys:
                return True
        # A class of the program's can raise anything.
        except Exception:
            raise KeyFormError(f"a key of type '{type(key).__name__}' is not hashable") from None
        return self.is_store_there and key in self.store

    def _is_expired(self, entry: Entry, now: float) -> bool:
        if entry.expires is not None and entry.expires <= now:
            return True
        last = entry.created if entry.accessed is None else entry.accessed
        return self.idle is not None and last is not None and last + self.idle <= now

    def _write(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        self._keys.clear()
        if self.existing == "keep" and self.is_store_there:
            batch = [named for named in batch if not self._came_meanwhile(named)]
        if not batch:
            return
        self.is_store_there = True
        try:
            self.store.apply([write for _, write in batch], [])
        except (KeyFormError, ValueFormError):
            # One of them has no safe form, and kept the others from being written.
            self._write_each(batch)
        else:
            self.tally.imported += len(batch)

    def _came_meanwhile(self, named: tuple[str, Write]) -> bool:
        """Whether another program wrote this key since it was looked for."""
        try:
            is_there = named[1][0] in self.store
        except KeyFormError:
            return False
        self.tally.kept += is_there
        return is_there

    def _write_each(self, batch: list[tuple[str, Write]]) -> None:
        for name, write in batch:
            try:
                self.store.apply([write], [])
            except (KeyFormError, ValueFormError) as error:
                self._skip(name, "no safe form", self._with_advice(error, write[0]))
            else:
                self.tally.imported += 1

    def _with_advice(self, error: CacheError, key: Any) -> CacheError:
        """What is wrong with an entry, and the option that has it imported nevertheless, if there is one."""
        try:
            hash(key)
        # A class of the program's can raise anything.
        except Exception:
            return KeyFormError(f"a key of type '{type(key).__name__}' is not hashable")
        if not self.allow_pickle or self.pickle_values:
            return error
        return type(error)(f"{error}; or {PICKLE_AGAIN}")

    def leave_out_part(self, part: Path, why: str) -> None:
        """Notes a part of the source that is imported by itself."""
        self._note(Skipped(str(part), "part", why))

    def _skip(self, name: str, reason: Reason, error: CacheError) -> None:
        if self.is_raising:
            raise error
        self._note(Skipped(name, reason, str(error)))

    def _note(self, skipped: Skipped) -> None:
        self.tally.skip(skipped)
        if self.on_skip is not None:
            self.on_skip(skipped)


def _times(entry: Entry, now: float) -> Times | None:
    if entry.created is None and entry.accessed is None and entry.expires is None:
        return None
    # A clock that was wrong makes no entry younger than new.
    created = _within(entry.created, now, now)
    accessed = max(_within(entry.accessed, created, now), created)
    return created, accessed, None if entry.expires is None or entry.expires > _FOREVER else entry.expires


#: Seconds since 1970, some ten thousand years on. What expires later does not expire.
_FOREVER = 1e12


def _within(seconds: float | None, otherwise: float, now: float) -> float:
    return otherwise if seconds is None or not 0 <= seconds else min(seconds, now)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, str)) else 0
