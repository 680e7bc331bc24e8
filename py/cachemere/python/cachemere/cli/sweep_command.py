"""Remove all expired entries now. Nobody gets them anyway; this frees their space for new ones."""

from __future__ import annotations

import argparse

from . import arguments as common
from . import json_form, status, units
from .opening import StoreAt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sweeps, and prints how many went."""
    with StoreAt(arguments) as at:
        swept = at.writing().sweep()
    if arguments.json:
        print(json_form.document({"path": str(at.path), "swept": swept}))
    else:
        print(f"removed {units.plural(swept, 'expired entry', 'expired entries')}")
    return status.OK
