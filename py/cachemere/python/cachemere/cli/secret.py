"""Where the secret of an encrypted store comes from."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from .._core.secrets import (
    KEY,
    KEY_FILE,
    LENGTH,
    Secret,
    checked,
    from_text,
    of_environment,
    read,
    without_line_end,
)
from ..errors import InvalidOptionError, WrongSecretError


def given(arguments: argparse.Namespace) -> Secret | None:
    """The secret that an option names; `None` if none does.

    Raises:
        InvalidOptionError: The file cannot be read, or holds no secret.
    """
    if arguments.key_file is not None:
        return _key(arguments.key_file)
    return None if arguments.passphrase_file is None else _passphrase(arguments.passphrase_file)


def asked(path: Path) -> Secret:
    """The secret for a store that turned out to be encrypted: of the environment, or typed.

    Raises:
        WrongSecretError: There is neither, nor a terminal.
    """
    found = of_environment()
    if found is not None:
        return found[0]
    if sys.stdin is None or not sys.stdin.isatty():
        raise WrongSecretError(
            f"the store at {path} is encrypted: give its secret by --key-file, --passphrase-file, ${KEY} or ${KEY_FILE}"
        )
    try:
        typed = getpass.getpass(f"Passphrase of {path}: ")
    except EOFError:
        typed = ""
    if not typed:
        raise WrongSecretError(f"no passphrase was given for the store at {path}, which is encrypted")
    return from_text(typed, "what was typed")


def _key(file: str) -> bytes:
    data = read("--key-file", file)
    if len(data) != LENGTH:
        raise InvalidOptionError(
            f"--key-file: {file} has {len(data)} bytes, and a key has exactly {LENGTH}, without a line end; "
            f"a passphrase is given by --passphrase-file"
        )
    return data


def _passphrase(file: str) -> Secret:
    data = read("--passphrase-file", file)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: it would show the secret.
        raise InvalidOptionError(
            f"--passphrase-file: {file} is not text in UTF-8; a raw key is given by --key-file"
        ) from None
    return checked(without_line_end(text), f"--passphrase-file: {file}")
