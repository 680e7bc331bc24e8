"""List the entries of a store: their sizes, times, tags and keys."""

from __future__ import annotations

import argparse
import fnmatch
import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from . import arguments as common
from . import json_form, shown, table, units
from .entries import Entry, all_entries
from .opening import StoreAt
from .trouble import Troubles


def _of_info(name: str, missing: float) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> float:
        found = getattr(entry.info, name)
        return missing if found is None else float(found)

    return value


#: Ways to sort, but for that of insertion. What never expires is after what does.
_SORTED: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: shown.key(entry.key),
    "size": _of_info("size", 0),
    "created": _of_info("created", 0),
    "modified": _of_info("mtime", 0),
    "accessed": _of_info("atime", 0),
    "expires": _of_info("expires_at", float("inf")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_namespace(parser, None, "all, one after the other, if it is left out")
    parser.add_argument("--prefix", metavar="TEXT", help="only keys that begin with this, as they are shown")
    parser.add_argument(
        "--match", metavar="GLOB", help="only keys that match, as they are shown: * ? [abc], case matters"
    )
    parser.add_argument("--tag", metavar="TAG", help="only entries with this tag")
    parser.add_argument("--limit", metavar="N", type=_count, help="at most so many entries")
    parser.add_argument(
        "--sort",
        choices=["inserted", *_SORTED],
        default="inserted",
        help="in which order (inserted). Any other is over all namespaces, and holds what it lists in memory",
    )
    parser.add_argument("--reverse", action="store_true", help="in the opposite order")
    common.add_json(parser, "print one JSON object a line, for programs")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"it must be a whole number, 1 or more, not {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Prints the table."""
    troubles = Troubles()
    with StoreAt(arguments) as at:
        names = [namespace.name for namespace in at.chosen(arguments.namespace)]
        backwards = arguments.reverse and arguments.sort == "inserted"
        met = all_entries(at, reversed(names) if backwards else names, troubles, backwards)
        found = _ordered(_wanted(met, arguments), arguments)
        if arguments.json:
            for entry in found:
                print(json_form.document(entry.described() | {"kind": shown.kind(entry.value)}))
        else:
            _show(found, with_namespace=arguments.namespace is None and len(names) > 1)
    return troubles.status


def _wanted(found: Iterable[Entry], arguments: argparse.Namespace) -> Iterator[Entry]:
    for entry in found:
        if arguments.prefix is not None and not any(it.startswith(arguments.prefix) for it in _texts(entry)):
            continue
        if arguments.match is not None and not any(fnmatch.fnmatchcase(it, arguments.match) for it in _texts(entry)):
            continue
        if arguments.tag is None or arguments.tag in entry.tags:
            yield entry


def _texts(entry: Entry) -> Iterator[str]:
    """The key as it is shown, and a text also as it is."""
    yield shown.key(entry.key)
    if isinstance(entry.key, str):
        yield entry.key


def _ordered(found: Iterable[Entry], arguments: argparse.Namespace) -> Iterable[Entry]:
    by = _SORTED.get(arguments.sort)
    if by is None:
        return islice(found, arguments.limit)
    if arguments.limit is None:
        return sorted(found, key=by, reverse=arguments.reverse)
    return (heapq.nlargest if arguments.reverse else heapq.nsmallest)(arguments.limit, found, key=by)


def _show(found: Iterable[Entry], with_namespace: bool) -> None:
    now = time.time()
    head = ["SIZE", "AGE", "LAST USED", "EXPIRES", "KIND", "TAGS"]
    if with_namespace:
        head.append("NAMESPACE")
    for line in table.rows([*head, "KEY"], (_row(entry, now, with_namespace) for entry in found), right=frozenset({0})):
        print(line)


def _row(entry: Entry, now: float, with_namespace: bool) -> list[str]:
    info = entry.info
    cells = [
        units.size(info.size),
        units.span(max(0.0, now - info.created)),
        units.ago(info.atime, now),
        units.ahead(info.expires_at, now) + ("" if info.idle is None else f" (idle {units.length(info.idle)})"),
        shown.one_line(shown.kind(entry.value)),
        ",".join(map(shown.word, entry.tags)) or "-",
    ]
    if with_namespace:
        cells.append(shown.word(entry.namespace))
    return [*cells, shown.key(entry.key)]
