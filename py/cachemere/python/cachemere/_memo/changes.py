"""What becomes of results when a function's code changes: they stay, and it is known under which codes there are some.

A namespace of its own has an entry for each function, with the digests of the codes that stored results, the last one
last. It is read when a result is first missed, and written when the code that stores one is not the last.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from ..errors import CacheError
from .names import NAMELESS

if TYPE_CHECKING:
    from .._core.guarded import GuardedStore
    from .call_key import CallKey, CallKeys

_log = logging.getLogger("cachemere")

#: Where the codes of functions are, of each namespace beside it.
NAMESPACE = "memoized code"

#: So many are remembered of a function.
_CODES = 16


class Changes:
    """The codes of one function."""

    def __init__(self, keys: CallKeys, key_length: int) -> None:
        self._keys = keys
        self._key_length = key_length
        self._codes: list[str] | None = None
        self._is_settled = not keys.has_code
        self._is_told = False
        self._store: Any = None

    def earlier(self, key: CallKey, store: GuardedStore) -> list[CallKey]:
        """The keys of the call by earlier codes, the last one first, if the results of those are to be used."""
        return [(key[0], key[1], version, key[3], key[4]) for version in self.earlier_versions(store)]

    def earlier_versions(self, store: GuardedStore) -> list[str]:
        """What keys by earlier codes have as their version."""
        if not self._keys.has_code or self._keys.on_change in (None, "recompute"):
            return []
        return [self._keys.version_of(code) for code in reversed(self._read(store)) if code != self._keys.code]

    def used(self) -> None:
        """Tells once that a result of earlier code was given, if that is to be told."""
        if self._keys.on_change == "warn" and not self._is_told:
            self._is_told = True
            _log.warning(
                "the code of %s has changed, and results of its earlier code are used, as on_change='warn' says: "
                "f.refresh(...) computes one anew, on_change='recompute' all",
                self._keys.shown_name,
            )

    def stored(self, store: GuardedStore) -> None:
        """Notes that the present code stores results, and tells how many are left of others. Once in each process."""
        if self._is_settled:
            return
        self._is_settled = True
        codes, code = self._read(store), self._keys.code
        if codes and codes[-1] == code:
            return
        others = [it for it in codes if it != code]
        try:
            self._store.put(self._name, [*others, code][-_CODES:])
            left = sum(
                store.native.matching((*self._keys.head, self._keys.version_of(it)), self._key_length, False)
                for it in others
            )
        except CacheError:
            # The result itself was stored. This is no more than what is told.
            return
        # Programs without a name are one program no more than once.
        is_program = self._keys.own_name.startswith(f"{NAMELESS}.")
        if left and not is_program and self._keys.on_change in (None, "recompute"):
            _log.warning(
                "the code of %s has changed: %s of its earlier code %s kept but not used. on_change='ignore' uses "
                "such results, undoing the edit finds them again, version= says by hand when results are new, and "
                "cache_clear() removes all",
                self._keys.shown_name,
                "1 result" if left == 1 else f"{left:,} results",
                "is" if left == 1 else "are",
            )

    @property
    def _name(self) -> tuple[str, str, str]:
        return self._keys.kind, self._keys.name, self._keys.version_of("")

    def _read(self, store: GuardedStore) -> list[str]:
        if self._codes is None:
            try:
                if self._store is None:
                    beside = f"{store.options.namespace} {NAMESPACE}"
                    self._store = store.beside(namespace=beside, max_entries=None, ttl=None, idle=None).native
                found = self._store.get(self._name, None)
            except CacheError:
                found = None
            is_codes = isinstance(found, list) and all(isinstance(it, str) for it in found)
            self._codes = found if is_codes else []
        return self._codes


_named: dict[tuple[str, str, str], tuple[weakref.ref[Any], str]] = {}


def notice(keys: CallKeys) -> None:
    """Tells if another function that is still there has all of a function's keys, though its code is another."""
    function: Any = keys.function
    which = keys.kind, keys.name, keys.version
    known = _named.get(which)
    other = None if known is None else known[0]()
    if known is not None and other is not None and other is not function and known[1] != keys.code:
        _log.warning(
            "two functions with different code are memoized as %s with one version, so that each gets the other's "
            "results: give one of them a name=",
            keys.name,
        )
    try:
        _named[which] = weakref.ref(function), keys.code
    except TypeError:
        # Of a kind that is nobody's own.
        return
