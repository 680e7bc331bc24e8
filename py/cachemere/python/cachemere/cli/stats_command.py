"""Show what a store is and what is in it: its files, limits, namespaces, and how many entries they have."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

from .._core.info import NamespaceInfo, Stats, describe, stats, verify
from .._engine import Store
from . import arguments as common
from . import json_form, table, units
from .entries import entries
from .files import files
from .opening import StoreAt
from .shown import one_line, word
from .stored import Pickled, is_ours
from .trouble import Troubles

_BACKENDS = {"lmdb": "LMDB", "rocksdb": "RocksDB"}


@dataclass
class _Namespace:
    """What is told of a namespace."""

    made: NamespaceInfo
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
        chosen = at.chosen(arguments.namespace)
        found = [_look(at, namespace, arguments.full, troubles) for namespace in chosen]
        on_disk, sizes = files(at.path), stats(at.whole())
        unswept = _unswept(at) if arguments.full else None
        if arguments.json:
            print(json_form.document(_described(at, on_disk, sizes, found, unswept), indent=2))
        else:
            _show(at, on_disk, sizes, found, unswept)
    return troubles.status


def _look(at: StoreAt, made: NamespaceInfo, full: bool, troubles: Troubles) -> _Namespace:
    found = _Namespace(made)
    if not is_ours(made):
        return found
    store, name = at.reading(made.name), made.name
    found.oldest, found.newest = _first_created(store, name), _first_created(store, name, reverse=True)
    if full:
        found.bytes = found.expiring = found.pickled = 0
        for entry in entries(store, name):
            if isinstance(entry, Exception):
                troubles.tell(name, entry)
                continue
            found.bytes += entry.info.size
            found.expiring += entry.info.expires_at is not None
            found.pickled += isinstance(entry.key, Pickled) or isinstance(entry.value, Pickled)
    return found


def _first_created(store: Store, name: str, reverse: bool = False) -> float | None:
    """Of the first entry that can be read."""
    met = entries(store, name, reverse, keys_only=True)
    return next((entry.info.created for entry in met if not isinstance(entry, Exception)), None)


def _unswept(at: StoreAt) -> int:
    """How many expired entries take room."""
    store = at.whole()
    return max(0, verify(store).entries - sum(namespace.entries for namespace in describe(store).namespaces))


def _described(
    at: StoreAt, on_disk: list[tuple[str, int]], sizes: Stats, found: list[_Namespace], unswept: int | None
) -> dict[str, Any]:
    info = at.info
    made = {
        "path": str(at.path),
        "backend": info.backend,
        "format_version": info.format_version,
        "id": info.id,
        "created": info.created,
        "encrypted": info.cipher is not None,
        "cipher": info.cipher,
        "max_bytes": info.max_bytes,
        "bytes_on_disk": sum(size for _, size in on_disk),
        "record_bytes": sizes.record_bytes,
        "log_bytes": sizes.log_bytes,
        "free_bytes": sizes.free_bytes,
        "files": [{"name": name, "bytes": size} for name, size in on_disk],
        "entries": sum(namespace.made.entries for namespace in found),
        "namespaces": [_described_namespace(namespace) for namespace in found],
    }
    return made if unswept is None else made | {"expired_not_swept": unswept}


def _described_namespace(found: _Namespace) -> dict[str, Any]:
    described = vars(found.made) | vars(found)
    del described["made"]
    return described


def _show(
    at: StoreAt, on_disk: list[tuple[str, int]], sizes: Stats, found: list[_Namespace], unswept: int | None
) -> None:
    info, now = at.info, time.time()
    secrecy = "not encrypted" if info.cipher is None else f"encrypted ({one_line(info.cipher)})"
    limit = "" if info.max_bytes is None else f" of at most {units.size(info.max_bytes)}"
    parts = ", ".join(f"{one_line(name)} {units.size(size)}" for name, size in on_disk)
    print(f"store      {one_line(str(at.path))}")
    print(f"backend    {_BACKENDS[info.backend]}, format {info.format_version}, {secrecy}")
    print(f"made       {units.ago(info.created, now)}")
    print(f"on disk    {units.size(sum(size for _, size in on_disk))}{limit} ({parts})")
    if info.backend == "lmdb":
        log = f", log {units.size(sizes.log_bytes)}" if sizes.log_bytes else ""
        print(f"of that    entries {units.size(sizes.record_bytes)}{log}, free {units.size(sizes.free_bytes)}")
    if unswept is not None:
        print(f"expired    {units.plural(unswept, 'entry', 'entries')} not swept yet")
    print()
    if not found:
        print("no namespaces yet")
        return
    full = unswept is not None
    head = ["ENTRIES", "AT MOST", "OLDEST", "NEWEST", "COMPRESSION"]
    head += ["BYTES", "CAN EXPIRE", "PICKLED"] if full else []
    body = [_row(namespace, now, full) for namespace in found]
    numbers = frozenset({0, 1, 5, 6, 7} if full else {0, 1})
    for line in table.rows([*head, "NAMESPACE"], body, right=numbers):
        print(line)


def _row(found: _Namespace, now: float, full: bool) -> list[str]:
    made = found.made
    times = ["-" if then is None else units.ago(then, now) for then in (found.oldest, found.newest)]
    cells = [f"{made.entries:,}", _count(made.max_entries), *times, one_line(made.compressor or "none")]
    if full:
        size = "-" if found.bytes is None else units.size(found.bytes)
        cells += [size, _count(found.expiring), _count(found.pickled)]
    return [*cells, word(made.name) + _foreign(made)]


def _foreign(made: NamespaceInfo) -> str:
    """How keys and values were written, if not in the usual way."""
    names = dict.fromkeys([made.key_serializer, made.serializer])
    return "" if [*names] == ["python"] else f"  (serializer: {one_line(', '.join(names))})"


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
