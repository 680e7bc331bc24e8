"""Copy a store, which may be in use, to a directory that does not exist yet."""

from __future__ import annotations

import argparse

from .._core.options import resolve
from . import arguments as common
from . import json_form, status, units
from .files import files
from .opening import StoreAt
from .shown import one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser, has_default=False)
    parser.add_argument(
        "destination", metavar="DST", help="the directory to make; the copy has the secret of its original"
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copies, and prints how much that was."""
    destination = resolve(arguments.destination)
    with StoreAt(arguments) as at:
        at.whole().backup(destination)
    size = sum(size for _, size in files(destination))
    if arguments.json:
        print(json_form.document({"path": str(at.path), "destination": str(destination), "bytes": size}))
    else:
        print(f"copied {units.size(size)} to {one_line(str(destination))}")
    return status.OK
