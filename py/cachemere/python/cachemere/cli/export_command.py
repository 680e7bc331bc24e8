"""Write all entries as lines of JSON, with their keys, values, times and tags."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import CacheError
from . import arguments as common
from . import json_form, shown, units
from .entries import Entry, all_entries
from .opening import StoreAt
from .output_file import output
from .stored import Pickled
from .trouble import Troubles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_namespace(parser, None, "all, one after the other, if it is left out")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write here instead of the standard output; it appears when it is complete",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there and has something in it")
    common.add_allow_pickle(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the lines."""
    troubles = Troubles()
    written = 0
    with StoreAt(arguments) as at:
        names = [namespace.name for namespace in at.chosen(arguments.namespace)]
        with output(arguments.output, arguments.force) as file:
            for entry in all_entries(at, names, troubles):
                try:
                    line = _line(entry, arguments.allow_pickle)
                except CacheError as error:
                    troubles.tell(entry.namespace, error, f"the value of {shown.in_words(entry.key)}")
                    continue
                file.write(f"{line}\n")
                written += 1
    if arguments.output is not None:
        print(f"wrote {units.plural(written, 'entry', 'entries')} to {shown.one_line(arguments.output)}")
    if troubles.entries:
        print(f"cachemere: {units.plural(troubles.entries, 'entry', 'entries')} could not be written", file=sys.stderr)
    return troubles.status


def _line(entry: Entry, allow_pickle: bool) -> str:
    return json_form.line(entry.described() | {"cost": entry.cost} | _value(entry, allow_pickle))


def _value(entry: Entry, allow_pickle: bool) -> dict[str, Any]:
    if isinstance(entry.value, Pickled) and allow_pickle:
        return {"value": json_form.loaded_form(entry.value.load())}
    return {"value": json_form.form(entry.value)}
