"""Entries of a store, with all that is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .._core.info import EntryInfo
from .._engine import Store
from ..errors import IncompatibleError
from . import json_form
from .opening import StoreAt
from .trouble import Troubles


@dataclass(frozen=True)
class Entry:
    """One entry."""

    namespace: str
    key: Any
    value: Any
    tags: tuple[str, ...]
    info: EntryInfo
    #: Seconds it took to compute the value, if it was memoized.
    cost: float | None

    def described(self) -> dict[str, Any]:
        """All but value and cost, for JSON. Times are in seconds since the epoch."""
        info = self.info
        return {
            "namespace": self.namespace,
            "key": json_form.form(self.key),
            "tags": list(self.tags),
            "size": info.size,
            "created": info.created,
            "modified": info.mtime,
            "accessed": info.atime,
            "expires": info.expires_at,
            "idle": info.idle,
        }


def entries(
    store: Store, namespace: str, reverse: bool = False, keys_only: bool = False
) -> Iterator[Entry | Exception]:
    """The entries in the order of insertion; for one that cannot be read, why. With `keys_only` values are `None`."""
    scanner = store.scanner(reverse, keys_only, with_info=True)
    while chunk := scanner.chunk():
        for found in chunk:
            if isinstance(found, Exception):
                yield found
            else:
                key, value, _, tags, times, cost = found
                yield Entry(namespace, key, value, tags, EntryInfo(*times), cost)


def all_entries(at: StoreAt, names: Iterable[str], troubles: Troubles, reverse: bool = False) -> Iterator[Entry]:
    """Those of several namespaces, one after the other. What cannot be read is told of and left out."""
    for name in names:
        try:
            store = at.reading(name)
        except IncompatibleError as error:
            troubles.tell_of_namespace(error)
            continue
        for entry in entries(store, name, reverse):
            if isinstance(entry, Exception):
                troubles.tell(name, entry)
            else:
                yield entry
