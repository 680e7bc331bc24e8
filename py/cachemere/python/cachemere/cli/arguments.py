"""Arguments that several commands have."""

from __future__ import annotations

import argparse

from .._core.guarded import default_path
from .shown import one_line


def add_store(parser: argparse.ArgumentParser, has_default: bool = True) -> None:
    """The store, and how it is opened. Where another argument follows it has to be said."""
    said = "the store's directory, which must be there"
    if has_default:
        usual = one_line(str(default_path())).replace("%", "%%")
        said += f" (by default $CACHEMERE_DIR, or the place for caches of this platform; now it is {usual})"
    parser.add_argument("path", metavar="PATH", nargs="?" if has_default else None, help=said)
    add_secret(parser)


def add_secret(parser: argparse.ArgumentParser) -> None:
    """Where the secret of an encrypted store comes from."""
    group = parser.add_argument_group(
        "the secret of an encrypted store",
        "Without these it is $CACHEMERE_KEY, or asked for on the terminal. There it is a passphrase as it stands, or "
        "hex: and 64 digits for a key of 32 bytes.",
    )
    chosen = group.add_mutually_exclusive_group()
    chosen.add_argument("--key-file", metavar="FILE", help="a file of exactly 32 bytes, which are the key")
    chosen.add_argument(
        "--passphrase-file", metavar="FILE", help="a file with a passphrase in UTF-8; one line end after it is dropped"
    )


def add_namespace(parser: argparse.ArgumentParser, default: str | None, said: str) -> None:
    """Which mapping in the store."""
    parser.add_argument("--namespace", metavar="NAME", default=default, help=f"the mapping in the store ({said})")


def add_json(parser: argparse._ActionsContainer, said: str = "print one JSON document, for programs") -> None:
    """Output for programs."""
    parser.add_argument("--json", action="store_true", help=said)


def add_allow_pickle(parser: argparse.ArgumentParser) -> None:
    """Whether code may be run that a store contains."""
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="load pickled values, which runs whatever code is in them: only for stores nobody else can write to",
    )
