"""Give unused space in a store's files back. Nobody else may have it open."""

from __future__ import annotations

import argparse

from . import arguments as common
from . import json_form, status, units
from .files import files
from .opening import StoreAt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compacts, and prints how much that gave."""
    with StoreAt(arguments) as at:
        before = _size(at)
        at.writing().compact()
    after = _size(at)
    if arguments.json:
        described = {"path": str(at.path), "bytes_before": before, "bytes_after": after}
        print(json_form.document(described))
    else:
        given = units.size(max(0, before - after))
        print(f"gave back {given}: {units.size(before)} before, {units.size(after)} now")
    return status.OK


def _size(at: StoreAt) -> int:
    return sum(size for _, size in files(at.path))
