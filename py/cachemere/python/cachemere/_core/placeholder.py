"""What is in the hidden dict of a :class:`~cachemere.PersistDict`, for code in C that looks there."""

from __future__ import annotations


class PersistDictEntriesAreInItsStoreUseToDict:
    """Stands for the entries. Its name is what other libraries show when they refuse it.

    It can be no key of JSON and has no form that anything could write. With it, `json` of the standard library takes
    the dict for one that is not empty, and asks it for its items.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<the entries of this PersistDict are in its store: use to_dict()>"

    def __reduce__(self) -> str:
        raise TypeError("the entries of a PersistDict are in its store, not in its memory: use to_dict()")


PLACEHOLDER = PersistDictEntriesAreInItsStoreUseToDict()
