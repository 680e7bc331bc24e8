"""Where much output goes: the standard output, or a file that is there wholly or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import StoreIOError
from .shown import one_line


class OutputFile(Protocol):
    """What can be written to."""

    def write(self, text: str, /) -> object:
        """Writes it."""


@contextlib.contextmanager
def output(name: str | None) -> Iterator[OutputFile]:
    """The file of this name, which only its owner can read; or the standard output.

    It takes the place of one that is there when all was written, and not if that fails.

    Raises:
        StoreIOError: It cannot be written.
    """
    if name is None:
        yield sys.stdout
        return
    path = Path(os.path.realpath(name))
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
        os.replace(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
