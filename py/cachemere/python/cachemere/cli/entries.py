"""Entries of a store, with all that is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .._engine import Store
from .._info import EntryInfo, entry_info
from .._walk import met
from ..errors import CacheError, IncompatibleError
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
    #: `None`: the entry is not found by its key, whose class is needed to know what it is equal to; or it was removed
    #: meanwhile.
    info: EntryInfo | None

    def described(self) -> dict[str, Any]:
        """All but the value, for JSON. Times are in seconds since the epoch."""
        info = self.info
        return {
            "namespace": self.namespace,
            "key": json_form.form(self.key),
            "tags": list(self.tags),
            "size": None if info is None else info.size,
            "created": None if info is None else info.ctime,
            "modified": None if info is None else info.mtime,
            "accessed": None if info is None else info.atime,
            "expires": None if info is None else info.expires_at,
        }


def entries(store: Store, namespace: str, reverse: bool = False) -> Iterator[Entry | Exception]:
    """The entries in the order of insertion; for one that cannot be read, why."""
    for found in met(store, reverse, keys_only=False):
        if isinstance(found, Exception):
            yield found
            continue
        key, value, _, tags = found
        try:
            info = entry_info(store, key)
        except CacheError:
            info = None
        yield Entry(namespace, key, value, tags, info)


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
