"""Copy what another package stored into a store."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .._core.options import NOT_GIVEN, resolve
from .._core.secrets import Secret, of_environment
from ..errors import InputFileError, WrongSecretError
from . import arguments as common
from . import secret, status
from .shown import one_line

# What imports is loaded when it is to do so, and not by every command.
if TYPE_CHECKING:
    from ..migration import ImportSummary, Skipped

KINDS = ("diskcache", "persistdict", "sqlitedict", "shelve", "hugedict")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    parser.add_argument("--from", dest="kind", required=True, choices=KINDS, help="what wrote SRC")
    parser.add_argument("source", metavar="SRC", help="the directory or file to read; nothing about it is changed")
    parser.add_argument("target", metavar="DST", help="the store's directory, which is made if it is missing")
    common.add_namespace(parser, "default", "by default: default")
    parser.add_argument(
        "--existing",
        choices=("keep", "replace", "error"),
        default="keep",
        help="keys that DST has already keep what they have there (so that an import that was interrupted can be run "
        "again), are replaced, or are an error before anything is imported (by default: keep)",
    )
    parser.add_argument(
        "--on-error",
        choices=("skip", "raise"),
        default="skip",
        help="an entry that cannot be imported is left out and named, or ends the import (by default: skip)",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="load the pickles in SRC, which runs whatever code is in them: only if you trust all who could write it",
    )
    parser.add_argument(
        "--pickle-values",
        action="store_true",
        help="pickle again what comes out of a pickle and has no safe form; PersistDict reads it then, and Cache with "
        "allow_pickle=True",
    )
    parser.add_argument(
        "--expiration-days",
        type=float,
        default=0,
        metavar="DAYS",
        help="entries are gone when they were not read or written for so many days, counted from their age in SRC",
    )
    parser.add_argument("--compress", action="store_true", default=None, help="compress values")
    parser.add_argument("--backend", choices=("lmdb", "rocksdb"), help="what keeps a new store (by default: lmdb)")
    parser.add_argument("--table", metavar="NAME", help="of sqlitedict, and SqliteDict of hugedict: the table")
    parser.add_argument(
        "--keys", choices=("text", "bytes", "int", "pickle"), help="of sqlitedict and hugedict: what keys are made of"
    )
    parser.add_argument(
        "--values",
        choices=("text", "bytes", "json", "pickle"),
        help="what values are made of, if their program had a function of its own for them; json for a JSONDisk",
    )
    parser.add_argument("--skipped", metavar="FILE", help="write all that is left out to FILE, one line of JSON each")
    parser.add_argument("--quiet", action="store_true", help="show no bar")
    common.add_json(parser)
    common.add_secret(parser)


def run(arguments: argparse.Namespace) -> int:
    """Imports, and tells what it came to: 1 if anything was left out that has not expired."""
    given = _secret(arguments)
    try:
        summary = _import(arguments, given)
    except WrongSecretError:
        # Of a store that is there: nothing was read yet.
        if given is not None:
            raise
        summary = _import(arguments, secret.asked(resolve(arguments.target)))
    if arguments.json:
        json.dump(dataclasses.asdict(summary), sys.stdout)
        print()
    else:
        _print(summary)
    return status.OK if summary.is_complete else status.PROBLEM


def _secret(arguments: argparse.Namespace) -> Secret | None:
    """As the options say; for a store that is to be made, also the environment."""
    from ..migration._import import is_store

    given = secret.given(arguments)
    if given is None and not is_store(resolve(arguments.target)):
        found = of_environment()
        return None if found is None else found[0]
    return given


def _import(arguments: argparse.Namespace, given: Secret | None) -> ImportSummary:
    from ..migration import import_store

    with ExitStack() as opened:
        on_skip: Any = None
        if arguments.skipped is not None:
            try:
                file = opened.enter_context(open(arguments.skipped, "w", encoding="utf-8"))
            except OSError as error:
                raise InputFileError(f"--skipped: {arguments.skipped} cannot be written: {error.strerror}") from error

            def on_skip(skipped: Skipped) -> None:
                json.dump(dataclasses.asdict(skipped), file)
                file.write("\n")

        return import_store(
            arguments.kind,
            arguments.source,
            arguments.target,
            namespace=arguments.namespace,
            existing=arguments.existing,
            on_error=arguments.on_error,
            allow_pickle=arguments.allow_pickle,
            pickle_values=arguments.pickle_values,
            expiration_days=arguments.expiration_days,
            encryption_key=NOT_GIVEN if given is None else given,
            compression=arguments.compress,
            backend=arguments.backend,
            table=arguments.table,
            keys=arguments.keys,
            values=arguments.values,
            on_skip=on_skip,
            verbose=not arguments.quiet and sys.stderr.isatty(),
        )


def _print(summary: ImportSummary) -> None:
    from ..migration._summary import NAMED, PICKLE_AGAIN, REASONS

    print(f"from {summary.kind} {one_line(summary.source)}")
    print(f"to   {one_line(summary.target)}, namespace {one_line(summary.namespace)}, in {summary.seconds:.1f} s")
    rows = [
        ("entries in the source", summary.entries),
        ("imported", summary.imported),
        ("already there, kept", summary.kept),
        ("expired", summary.expired),
        ("left out: pickles, not allowed to be read", summary.pickles),
        ("left out: no form that is safe to store", summary.without_safe_form),
        ("left out: cannot be read", summary.unreadable),
        ("left out: caches inside this one", summary.parts),
    ]
    for said, count in rows:
        if count or said in ("entries in the source", "imported"):
            print(f"  {said:<42}{count:>14,}")
    for reason, said in REASONS.items():
        named = [skipped for skipped in summary.skipped if skipped.reason == reason]
        if named:
            print(f"left out: {said}" + (f" (the first {NAMED})" if len(named) == NAMED else ""))
            _print_named(named)
    if summary.pickles:
        print("Run it again with --allow-pickle if you trust all who could write the source; what is there is kept.")
    if any(PICKLE_AGAIN in skipped.why for skipped in summary.skipped):
        print("Run it again with --pickle-values to have them pickled; what is there is kept.")


def _print_named(named: list[Skipped]) -> None:
    """Entries under the reason that they share; one that is alone with its reason, in one line."""
    groups: dict[str, list[str]] = {}
    for skipped in named:
        groups.setdefault(skipped.why, []).append(skipped.name)
    for why, names in groups.items():
        if len(names) == 1:
            print(f"  {one_line(names[0])}: {one_line(why)}")
            continue
        print(f"  {one_line(why)}:")
        for name in names:
            print(f"    {one_line(name)}")
