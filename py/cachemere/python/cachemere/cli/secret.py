"""Where the secret of an encrypted store comes from."""

from __future__ import annotations

import argparse
import getpass
import os
import string
import sys
from pathlib import Path

from .._core.options import Secret, check_secret
from ..errors import InvalidOptionError, WrongSecretError

VARIABLE = "CACHEMERE_KEY"

#: Bytes of a raw key.
_LENGTH = 32


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
    text = os.environ.get(VARIABLE)
    if text:
        return from_text(text, f"${VARIABLE}")
    if sys.stdin is None or not sys.stdin.isatty():
        raise WrongSecretError(
            f"the store at {path} is encrypted: give its secret by --key-file, --passphrase-file or ${VARIABLE}"
        )
    try:
        typed = getpass.getpass(f"Passphrase of {path}: ")
    except EOFError:
        typed = ""
    if not typed:
        raise WrongSecretError(f"no passphrase was given for the store at {path}, which is encrypted")
    return from_text(typed, "what was typed")


def from_text(text: str, where: str) -> Secret:
    """`hex:` and 64 digits are a raw key; anything else is a passphrase as it stands."""
    if not text.startswith("hex:"):
        return _checked(text, where)
    digits = text[4:]
    if len(digits) != 2 * _LENGTH or not set(digits) <= set(string.hexdigits):
        raise InvalidOptionError(
            f"{where} begins with hex:, after which there must be {2 * _LENGTH} hexadecimal digits"
        )
    return bytes.fromhex(digits)


def _key(file: str) -> bytes:
    data = _read("--key-file", file)
    if len(data) != _LENGTH:
        raise InvalidOptionError(
            f"--key-file: {file} has {len(data)} bytes, and a key has exactly {_LENGTH}, without a line end; "
            f"a passphrase is given by --passphrase-file"
        )
    return data


def _passphrase(file: str) -> Secret:
    data = _read("--passphrase-file", file)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: it would show the secret.
        raise InvalidOptionError(
            f"--passphrase-file: {file} is not text in UTF-8; a raw key is given by --key-file"
        ) from None
    return _checked(text.removesuffix("\n").removesuffix("\r"), f"--passphrase-file: {file}")


def _checked(text: str, where: str) -> Secret:
    try:
        secret = check_secret(text)
    except InvalidOptionError:
        secret = None
    if secret is None:
        raise InvalidOptionError(f"{where} is empty, or not valid text")
    return secret


#: A file that is longer is a mistake.
_LONGEST = 1 << 20


def _read(option: str, file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LONGEST + 1)
    except OSError as error:
        raise InvalidOptionError(f"{option}: {file} cannot be read: {error.strerror}") from error
    if len(data) > _LONGEST:
        raise InvalidOptionError(f"{option}: {file} is longer than a secret can be")
    return data
