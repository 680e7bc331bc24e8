"""What a source is: a count, a stream of entries, and what is told of a path that is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from .._core import checks
from ..errors import IncompatibleError, InvalidOptionError
from ._entry import Entry, Form
from ._files import check_readable
from ._recognize import recognize

Kind = Literal["diskcache", "persistdict", "sqlitedict", "shelve", "hugedict"]
KeyForm = Literal["text", "bytes", "int", "pickle"]
ValueForm = Literal["text", "bytes", "json", "pickle"]

_KEYS = {"text": Form.TEXT, "bytes": Form.PLAIN, "int": Form.INT64, "pickle": Form.PICKLE}
_VALUES = {"text": Form.TEXT, "bytes": Form.PLAIN, "json": Form.JSON, "pickle": Form.PICKLE}


@dataclass(frozen=True)
class Reading:
    """How a source is to be read, where it does not say so itself. `None`: as its package does by default."""

    table: str | None = None
    keys: str | None = None
    values: str | None = None

    def __post_init__(self) -> None:
        if self.table is not None and (not isinstance(self.table, str) or not self.table or "\0" in self.table):
            raise InvalidOptionError(f"table must be the name of a table, not {checks.shown(self.table)}")
        if self.keys is not None:
            checks.choice("keys", self.keys, tuple(_KEYS))
        if self.values is not None:
            checks.choice("values", self.values, tuple(_VALUES))

    def key_form(self, default: Form) -> Form:
        return default if self.keys is None else _KEYS[self.keys]

    def value_form(self, default: Form) -> Form:
        return default if self.values is None else _VALUES[self.values]

    def refuse(self, kind: str, *names: str) -> None:
        """Options that a kind of source has no use for."""
        for name in names:
            if getattr(self, name) is not None:
                raise InvalidOptionError(f"{name} is not for {kind}, which says itself what it has")


class Source(Protocol):
    """A source that is open. Nothing about it is changed, and nothing is put beside it."""

    def count(self) -> int | None:
        """About how many entries there are, for the bar; `None` if that is not known without reading all."""

    def entries(self) -> Iterator[Entry]:
        """All entries, as they are stored, in their order where there is one. Can be asked again."""

    def close(self) -> None: ...


def check_present(path: Path, kind: str) -> None:
    """Whether there is something to read, and permission to."""
    # A shelf can be of several files, none of which has its name.
    if not os.path.lexists(path) and recognize(path) is not None:
        raise wrong_kind(path, kind, "there is no file of this name")
    check_readable(path)


def wrong_kind(path: Path, kind: str, why: str) -> IncompatibleError:
    """That a path is not what it was said to be, and what it is instead if that can be seen."""
    found = recognize(path)
    hint = ""
    if found == "cachemere":
        hint = ": it is a store of Cachemere, which needs no import (cache.backup copies one)"
    elif found is not None and found != kind:
        hint = f": it looks like {found} (--from {found})"
    return IncompatibleError(f"{path} is not of {kind} ({why}){hint}")
