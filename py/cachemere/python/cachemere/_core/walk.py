"""Walks over the entries of a store, and over pairs that are to be written into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._engine import Store, Version

Entry = tuple[Any, Any, Version, tuple[str, ...]]


def met(store: Store, reverse: bool, keys_only: bool) -> Iterator[Entry | Exception]:
    """Key, value, version and tags of each entry, read some hundred at a time; for one that cannot be read, why."""
    scanner = store.scanner(reverse, keys_only)
    while chunk := scanner.chunk():
        yield from chunk


def entries(store: Store, reverse: bool, keys_only: bool) -> Iterator[Entry]:
    """As :func:`met`, raising at the first entry that cannot be read."""
    for entry in met(store, reverse, keys_only):
        if isinstance(entry, Exception):
            raise entry
        yield entry


def pairs_of(given: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Pairs of key and value, in all the ways that `dict` takes them. Whether the keys can be keys is not looked at."""
    mapping: Any = given if hasattr(given, "keys") else None
    if mapping is not None:
        return [(key, mapping[key]) for key in mapping.keys()]
    return [(key, value) for key, value in given]
