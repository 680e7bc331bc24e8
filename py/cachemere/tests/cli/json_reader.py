"""Reads the JSON of the command line: what docs/command-line.md says of its forms, and nothing else."""

from __future__ import annotations

import base64
import datetime
import decimal
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

from cachemere._forms.forms import Forms

_TAGGED: dict[str, Callable[[Any, Forms], Any]] = {
    "$int": lambda it, forms: int(it, 16),
    "$float": lambda it, forms: float(it),
    "$complex": lambda it, forms: complex(read(it[0], forms), read(it[1], forms)),
    "$bytes": lambda it, forms: base64.b64decode(it, validate=True),
    "$bytearray": lambda it, forms: bytearray(base64.b64decode(it, validate=True)),
    "$tuple": lambda it, forms: tuple(read(item, forms) for item in it),
    "$set": lambda it, forms: {read(item, forms) for item in it},
    "$frozenset": lambda it, forms: frozenset(read(item, forms) for item in it),
    "$dict": lambda it, forms: {read(key, forms): read(value, forms) for key, value in it},
    "$datetime": lambda it, forms: datetime.datetime.fromisoformat(it),
    "$date": lambda it, forms: datetime.date.fromisoformat(it),
    "$time": lambda it, forms: datetime.time.fromisoformat(it),
    "$decimal": lambda it, forms: decimal.Decimal(it),
    "$uuid": lambda it, forms: uuid.UUID(it),
    "$path": lambda it, forms: pathlib.Path(it),
    "$object": lambda it, forms: forms.unpack(it[0], read(it[1], forms)),
}


def read(it: Any, forms: Forms) -> Any:
    """The value that a form is of."""
    if isinstance(it, list):
        return [read(item, forms) for item in it]
    if not isinstance(it, dict):
        return it
    if len(it) == 1:
        ((name, inner),) = it.items()
        if name.startswith("$"):
            return _TAGGED[name](inner, forms)
    assert not any(name.startswith("$") for name in it)
    return {name: read(value, forms) for name, value in it.items()}
