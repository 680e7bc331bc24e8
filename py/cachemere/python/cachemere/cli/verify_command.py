"""Read everything in a store and tell what is damaged."""

from __future__ import annotations

import argparse

from .._core.info import verify
from . import arguments as common
from . import json_form, status, units
from .opening import StoreAt
from .shown import one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    with StoreAt(arguments) as at:
        report = verify(at.whole())
    if arguments.json:
        described = {
            "path": str(at.path),
            "entries": report.entries,
            "bytes": report.bytes,
            "problems": report.problems,
            "described": list(report.described),
        }
        print(json_form.document(described, indent=2))
    else:
        # Expired ones that are not swept yet are read, too.
        print(f"read {units.plural(report.entries, 'entry', 'entries')}, {units.size(report.bytes)}")
        print(units.plural(report.problems, "problem") if report.problems else "no problems")
        for problem in report.described:
            print(f"  {one_line(problem)}")
        if report.problems > len(report.described):
            print(f"  and {report.problems - len(report.described):,} more")
    return status.OK if report.is_clean else status.PROBLEM
