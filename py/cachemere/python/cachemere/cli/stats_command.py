"""Show what is in a store: its files, its namespaces, and how many entries they have."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

from . import arguments as common
from . import json_form, table, units
from .entries import Entry, entries
from .files import files
from .opening import StoreAt
from .shown import one_line, word
from .stored import Pickled, is_ours
from .trouble import Troubles

_BACKENDS = {"lmdb": "LMDB", "rocksdb": "RocksDB"}


@dataclass
class _Namespace:
    """What is told of a namespace."""

    name: str
    entries: int
    compression: str
    serializer: str
    #: When the first and the last of its keys were inserted.
    oldest: float | None = None
    newest: float | None = None
    #: Only if asked for.
    bytes: int | None = None
    expiring: int | None = None
    pickled: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_namespace(parser, None, "all if it is left out")
    parser.add_argument(
        "--full",
        action="store_true",
        help="read every entry, and tell how many are pickled, can expire, or are expired and not swept yet",
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables."""
    troubles = Troubles()
    with StoreAt(arguments) as at:
        names = at.chosen(arguments.namespace)
        found = [_look(at, name, arguments.full, troubles) for name in names]
        on_disk = files(at.path)
        unswept = _unswept(at) if arguments.full else None
        if arguments.json:
            print(json_form.document(_described(at, on_disk, found, unswept), indent=2))
        else:
            _show(at, on_disk, found, unswept)
    return troubles.status


def _look(at: StoreAt, name: str, full: bool, troubles: Troubles) -> _Namespace:
    found = _Namespace(name, at.namespaces()[name], at.compression(name), at.serializer(name))
    if not is_ours(found.serializer):
        return found
    store = at.reading(name)
    found.oldest = next((_created(entry) for entry in entries(store, name) if _created(entry)), None)
    found.newest = next((_created(entry) for entry in entries(store, name, reverse=True) if _created(entry)), None)
    if full:
        found.bytes = found.expiring = found.pickled = 0
        for entry in entries(store, name):
            if isinstance(entry, Exception):
                troubles.tell(name, entry)
                continue
            found.bytes += entry.info.size if entry.info else 0
            found.expiring += entry.info is not None and entry.info.expires_at is not None
            found.pickled += isinstance(entry.key, Pickled) or isinstance(entry.value, Pickled)
    return found


def _created(entry: Entry | Exception) -> float | None:
    return None if isinstance(entry, Exception) or entry.info is None else entry.info.ctime


def _unswept(at: StoreAt) -> int:
    """How many expired entries take room."""
    return max(0, at.whole().check()[0] - sum(at.namespaces().values()))


def _described(
    store: StoreAt, on_disk: list[tuple[str, int]], found: list[_Namespace], unswept: int | None
) -> dict[str, Any]:
    made = {
        "path": str(store.path),
        "backend": store.backend,
        "encrypted": store.is_encrypted,
        "bytes_on_disk": sum(size for _, size in on_disk),
        "files": [{"name": name, "bytes": size} for name, size in on_disk],
        "entries": sum(namespace.entries for namespace in found),
        "namespaces": [dict(vars(namespace)) for namespace in found],
    }
    return made if unswept is None else made | {"expired_not_swept": unswept}


def _show(store: StoreAt, on_disk: list[tuple[str, int]], found: list[_Namespace], unswept: int | None) -> None:
    parts = ", ".join(f"{one_line(name)} {units.size(size)}" for name, size in on_disk)
    print(f"store      {one_line(str(store.path))}")
    print(f"backend    {_BACKENDS[store.backend]}, {'encrypted' if store.is_encrypted else 'not encrypted'}")
    print(f"on disk    {units.size(sum(size for _, size in on_disk))} ({parts})")
    if unswept is not None:
        print(f"expired    {units.plural(unswept, 'entry', 'entries')} not swept yet")
    print()
    if not found:
        print("no namespaces yet")
        return
    full = unswept is not None
    head = ["ENTRIES", "OLDEST", "NEWEST", "COMPRESSION", *(["BYTES", "CAN EXPIRE", "PICKLED"] if full else [])]
    now = time.time()
    body = [_row(namespace, now, full) for namespace in found]
    numbers = frozenset({0, 4, 5, 6} if full else {0})
    for line in table.rows([*head, "NAMESPACE"], body, right=numbers):
        print(line)


def _row(found: _Namespace, now: float, full: bool) -> list[str]:
    more: list[str] = []
    if full:
        more = ["-" if found.bytes is None else units.size(found.bytes), _count(found.expiring), _count(found.pickled)]
    foreign = "" if found.serializer == "python" else f"  (serializer: {one_line(found.serializer)})"
    times = ["-" if then is None else units.ago(then, now) for then in (found.oldest, found.newest)]
    return [f"{found.entries:,}", *times, one_line(found.compression), *more, word(found.name) + foreign]


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
