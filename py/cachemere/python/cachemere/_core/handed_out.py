"""Values that a dict has handed out: what was changed in them is written back, or warned of."""

from __future__ import annotations

import logging
import os
import sys
import warnings
import weakref
from collections.abc import Hashable
from typing import Any

from .._engine import Store, Version
from ..errors import CacheError, ChangedMeanwhileError, InvalidOptionError, UnwrittenChangeWarning
from . import checks

#: Of these nothing can be changed.
_CONSTANT = (str, int, float, bool, complex, bytes, type(None))

_PACKAGE = __name__.partition(".")[0] + "."

#: Those that may have something to write when the interpreter ends.
_at_work: weakref.WeakSet[Any] = weakref.WeakSet()


class _Handed:
    """A value, the form it had when it was read, and which writing of its key it was."""

    __slots__ = ("form", "value", "version")

    def __init__(self, value: Any, form: bytes, version: Version) -> None:
        self.value = value
        self.form = form
        self.version = version


class WrittenBack:
    """For `writeback=True`: a value is read once and handed out again, and written if it was changed.

    A value that somebody else has written since is read anew. One that was changed here as well is a conflict, which is
    kept for :meth:`flush` to tell of.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._process = os.getpid()
        self._handed: dict[Hashable, _Handed] = {}
        self._conflicts: dict[Hashable, None] = {}
        _at_work.add(self)

    def read(self, key: Hashable) -> tuple[Any] | None:
        """The value of a key, in a tuple of one; `None` if there is none."""
        self._look_for_fork()
        found = self._store.fetch(key)
        if found is None:
            self._give_up(key)
            return None
        return (self.handed(key, found[0], found[1]),)

    def handed(self, key: Hashable, value: Any, version: Version) -> Any:
        """What to hand out for a value that was read."""
        self._look_for_fork()
        before = self._handed.get(key)
        if before is not None:
            if before.version == version:
                return before.value
            self._give_up(key)
        if type(value) in _CONSTANT:
            return value
        # Another thread can have been faster.
        return self._handed.setdefault(key, _Handed(value, self._store.encode_value(value), version)).value

    def assigned(self, key: Hashable, value: Any) -> None:
        """A key was written: what was handed out for it is not its value any more, unless it is what was written."""
        before = self._handed.pop(key, None)
        self._conflicts.pop(key, None)
        if before is None or before.value is not value:
            return
        found = self._store.fetch(key)
        if found is not None:
            form = self._store.encode_value(value)
            if self._store.encode_value(found[0]) == form or found[0] == value:
                self._handed[key] = _Handed(value, form, found[1])

    def removed(self, key: Hashable) -> None:
        """A key was removed."""
        self._handed.pop(key, None)
        self._conflicts.pop(key, None)

    def cleared(self) -> None:
        """All keys were removed."""
        self._handed.clear()
        self._conflicts.clear()

    def settle(self) -> None:
        """Makes the store have what was changed, for those who look at it."""
        self.flush()

    def flush(self) -> None:
        """Writes what was changed.

        Raises:
            ChangedMeanwhileError: Some values were written or removed by others as well. All the rest is written.
        """
        self._look_for_fork()
        failure: Exception | None = None
        for key, handed in list(self._handed.items()):
            try:
                self._write(key, handed)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
        lost, self._conflicts = list(self._conflicts), {}
        if lost:
            raise ChangedMeanwhileError(lost)

    def _write(self, key: Hashable, handed: _Handed) -> None:
        form = self._store.encode_value(handed.value)
        if form == handed.form:
            return
        found = self._store.fetch(key)
        if found is None or not self._store.put(key, handed.value, tags=found[2] or None, expect=handed.version):
            self._give_up(key)
            return
        # Of whoever has written since, the value is another, and is read when it is asked for.
        self.assigned(key, handed.value)

    def _give_up(self, key: Hashable) -> None:
        handed = self._handed.pop(key, None)
        if handed is not None and self._store.encode_value(handed.value) != handed.form:
            self._conflicts[key] = None

    def _look_for_fork(self) -> None:
        # What was handed out before a fork is its parent's to write.
        if self._process != os.getpid():
            self._process = os.getpid()
            self.cleared()

    def end(self) -> None:
        """Writes what was changed when nobody is left to hear what goes wrong."""
        try:
            self.flush()
        except Exception as error:
            logging.getLogger("cachemere").error("changed values could not be written back: %s", error)
        self.cleared()


class Warned:
    """For `writeback="warn"`: every read hands out a copy, as without, and a copy that was changed is warned of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handed: dict[Hashable, list[list[Any]]] = {}
        _at_work.add(self)

    def read(self, key: Hashable) -> tuple[Any] | None:
        """The value of a key, in a tuple of one; `None` if there is none."""
        self._look_at(key)
        found = self._store.get(key, self)
        return None if found is self else (self.handed(key, found, None),)

    def handed(self, key: Hashable, value: Any, _version: Version | None) -> Any:
        """Notes a value that is handed out."""
        if type(value) not in _CONSTANT:
            self._handed.setdefault(key, []).append([value, self._store.encode_value(value)])
        return value

    def assigned(self, key: Hashable, value: Any) -> None:
        """A key was written: what is the value now was written back."""
        for handed in self._handed.get(key, ()):
            if handed[0] is value:
                handed[1] = self._store.encode_value(value)
        self._look_at(key)

    def removed(self, key: Hashable) -> None:
        """A key was removed, with all that could be written back to it."""
        self._handed.pop(key, None)

    def cleared(self) -> None:
        """All keys were removed."""
        self._handed.clear()

    def settle(self) -> None:
        """Nothing: what is in the store is all there is."""

    def flush(self) -> None:
        """Warns of everything that was changed and not written back, and forgets all that was handed out."""
        for key in list(self._handed):
            self._look_at(key)
        self._handed.clear()

    def end(self) -> None:
        """As :meth:`flush`."""
        try:
            self.flush()
        except CacheError:
            pass

    def _look_at(self, key: Hashable) -> None:
        for handed in self._handed.get(key, ()):
            form = self._store.encode_value(handed[0])
            if form == handed[1]:
                continue
            handed[1] = form
            stored = self._store.get(key, self)
            if stored is self or self._store.encode_value(stored) != form:
                warnings.warn(
                    f"the value of the key {checks.shown(key)} was changed after it was read, and the change is not "
                    "stored: assign the value again (d[key] = value), or open with writeback=True",
                    UnwrittenChangeWarning,
                    stacklevel=_frames_of_this_package(),
                )


def _frames_of_this_package() -> int:
    """Returns, for `warnings.warn` of the caller, how far up the code is that uses this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def watch(store: Store, writeback: bool | str) -> WrittenBack | Warned | None:
    """What the option `writeback` asks for."""
    if writeback is True:
        return WrittenBack(store)
    if writeback is False:
        return None
    if writeback != "warn":
        raise InvalidOptionError(f"writeback must be True, False or 'warn', not {checks.shown(writeback)}")
    return Warned(store)


def write_all_back() -> None:
    """Ends all that may have something to write, at the end of the interpreter."""
    for each in list(_at_work):
        each.end()
