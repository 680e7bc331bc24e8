"""Secrets that do not come as arguments: of the environment, and of functions that ask a keyring."""

from __future__ import annotations

import os
import string
from collections.abc import Callable

from ..errors import InvalidOptionError
from . import checks

Secret = bytes | str
#: A function is called when the secret is needed, so that it need not be in the program.
SecretSource = Secret | Callable[[], Secret]

KEY = "CACHEMERE_KEY"
KEY_FILE = "CACHEMERE_KEY_FILE"

#: Bytes of a raw key.
LENGTH = 32
#: A file that is longer is a mistake.
_LONGEST = 1 << 20


def check_secret(secret: object) -> Secret:
    """Returns a key of 32 bytes or a passphrase, as it is or as a function gives it."""
    if callable(secret):
        secret = secret()
        if secret is None:
            raise InvalidOptionError(
                "encryption_key: the function gave None, which would keep everything in plain text; it must give 32 "
                "bytes or a passphrase, or raise an error"
            )
    if isinstance(secret, str):
        if not secret:
            raise InvalidOptionError("encryption_key: a passphrase must not be empty")
        checks.utf8("encryption_key", secret)
        return secret
    if isinstance(secret, (bytes, bytearray)):
        if len(secret) != LENGTH:
            raise InvalidOptionError(
                f"encryption_key must be 32 random bytes, not {len(secret)}; a passphrase is given as a str"
            )
        return bytes(secret)
    raise InvalidOptionError(f"encryption_key must be 32 bytes or a str, not {type(secret).__name__}")


def of_environment() -> tuple[Secret, str] | None:
    """The secret that the environment has, and where; `None` if it has none.

    Raises:
        InvalidOptionError: It has two, or one that is empty or cannot be read. Nothing is kept in plain text then.
    """
    text, file = os.environ.get(KEY), os.environ.get(KEY_FILE)
    if text is not None and file is not None:
        raise InvalidOptionError(f"{KEY} and {KEY_FILE} are both set: unset one of them")
    if text is not None:
        return from_text(text, f"${KEY}"), f"${KEY}"
    if file is None:
        return None
    data = read(f"${KEY_FILE}", file)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: it would show the secret.
        raise InvalidOptionError(
            f"${KEY_FILE}: {file} is not text in UTF-8; a raw key is written there as hex: and {2 * LENGTH} "
            f"hexadecimal digits"
        ) from None
    return from_text(without_line_end(text), f"${KEY_FILE}: {file}"), f"${KEY_FILE}"


def from_text(text: str, where: str) -> Secret:
    """`hex:` and 64 digits are a raw key; anything else is a passphrase as it stands."""
    if not text.startswith("hex:"):
        return checked(text, where)
    digits = text[4:]
    if len(digits) != 2 * LENGTH or not set(digits) <= set(string.hexdigits):
        raise InvalidOptionError(f"{where} begins with hex:, after which there must be {2 * LENGTH} hexadecimal digits")
    return bytes.fromhex(digits)


def without_line_end(text: str) -> str:
    """The text without the line end that editors put behind it."""
    return text.removesuffix("\n").removesuffix("\r")


def checked(text: str, where: str) -> Secret:
    """A passphrase. No error shows it."""
    try:
        secret = check_secret(text)
    except InvalidOptionError:
        secret = None
    if secret is None:
        raise InvalidOptionError(f"{where} is empty, or not valid text")
    return secret


def read(option: str, file: str) -> bytes:
    """What a file with a secret has."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        raise InvalidOptionError(
            f"{option}: {file} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    if len(data) > _LONGEST:
        raise InvalidOptionError(f"{option}: {file} is longer than a secret can be")
    return data
