"""Read everything in a store and tell what is damaged."""

from __future__ import annotations

import argparse
import json
import sys

from . import arguments as common
from . import status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    from ..cache import Cache

    with Cache(arguments.path, read_only=True) as cache:
        report = cache.verify()
    json.dump({"entries": report.entries, "problems": report.problems}, sys.stdout)
    return status.OK if report.is_clean else status.PROBLEM
