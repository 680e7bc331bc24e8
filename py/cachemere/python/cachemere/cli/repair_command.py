"""Save what can be read of a damaged store. Nobody else may have it open."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._core.guarded import default_path
from .._core.options import resolve
from .._core.salvage import Salvaged, salvage
from .._core.secrets import Secret
from ..errors import WrongSecretError
from . import arguments as common
from . import json_form, secret, shown, status, units
from .shown import one_line, quoted
from .stored import looking

#: So many lost keys are printed.
_NAMED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser)
    parser.add_argument(
        "--to",
        metavar="DIRECTORY",
        help="make a new store of what can be read there, and leave the damaged one as it is; without it the new store "
        "takes the damaged one's place, whose files are kept in a directory beside it",
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Repairs, and prints what became of the entries."""
    path = default_path() if arguments.path is None else resolve(arguments.path)
    to = None if arguments.to is None else resolve(arguments.to)
    done = _salvaged(path, secret.given(arguments), to)
    if arguments.json:
        described = {
            "path": str(path if to is None else to),
            "entries": done.entries,
            "bytes": done.bytes,
            "lost": done.lost,
            "lost_keys": [{"namespace": namespace, "key": shown.key(key)} for namespace, key in done.lost_keys],
            "may_be_old": done.may_be_old,
            "problems": done.problems,
            "described": list(done.described),
            "kept": None if done.kept is None else str(done.kept),
        }
        print(json_form.document(described, indent=2))
    else:
        _print(done, to)
    return status.OK if done.lost == 0 and not done.may_be_old else status.PROBLEM


def _salvaged(path: Path, given: Secret | None, to: Path | None) -> Salvaged:
    options = looking("python", path=path)
    try:
        return salvage(options, given, to)
    except WrongSecretError:
        if given is not None:
            raise
    return salvage(options, secret.asked(path), to)


def _print(done: Salvaged, to: Path | None) -> None:
    print(f"kept {units.plural(done.entries, 'entry', 'entries')}, {units.size(done.bytes)}")
    print(f"lost {units.plural(done.lost, 'entry', 'entries')}" if done.lost else "lost nothing that is known of")
    for namespace, key in done.lost_keys[:_NAMED]:
        print(f"  {shown.key(key)} in {quoted(namespace)}")
    if len(done.lost_keys) > _NAMED:
        print(f"  and more; --json names {len(done.lost_keys):,}")
    if done.may_be_old:
        print("changes are missing: some entries may be older than what was last written, or had been removed")
    for problem in done.described:
        print(f"  {one_line(problem)}")
    if done.problems > len(done.described):
        print(f"  and {done.problems - len(done.described):,} more")
    if to is not None:
        print(f"the new store is {one_line(str(to))}")
    if done.kept is not None:
        print(f"the damaged files are kept in {one_line(str(done.kept))}; remove them when all is well")
