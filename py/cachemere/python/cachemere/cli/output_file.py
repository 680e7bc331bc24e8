"""Where much output goes: the standard output, or a file that is there wholly or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import InvalidOptionError, StoreIOError
from .shown import one_line


class OutputFile(Protocol):
    """What can be written to."""

    def write(self, text: str, /) -> object:
        """Writes it."""


@contextlib.contextmanager
def output(name: str | None, replacing: bool) -> Iterator[OutputFile]:
    """The file of this name, which only its owner can read; or the standard output.

    One with something in it is left alone, unless it is to be replaced: then the new one takes its place when all was
    written, and not if that fails.

    Raises:
        InvalidOptionError: It is there, and is not to be replaced.
        StoreIOError: It cannot be written.
    """
    if name is None:
        yield sys.stdout
        return
    path = Path(os.path.realpath(name))
    if not replacing:
        _check_free(name, path)
    # Known before there is such a file, since an interrupt can come as soon as there is.
    made = path.parent / f".{path.name[:100]}.{secrets.token_hex(8)}.partial"
    try:
        try:
            if path.exists() and not path.is_file():
                # A pipe or a terminal, whose place nothing can take.
                with open(path, "w", encoding="utf-8") as special:
                    yield special
                return
            opened = open(made, "x", encoding="utf-8", opener=_for_its_owner)
        except OSError as error:
            raise StoreIOError(f"{one_line(name)} cannot be written: {error.strerror}") from error
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not replacing:
            # Somebody else may have made it meanwhile.
            _check_free(name, path)
        os.replace(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _check_free(name: str, path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size:
            raise InvalidOptionError(
                f"{one_line(name)} is there already: name another file, or replace it with --force"
            )


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
