"""Walks over the entries of a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._engine import Store, Version

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
