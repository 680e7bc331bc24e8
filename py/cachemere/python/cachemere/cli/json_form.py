"""JSON that says all a stored value is.

What JSON has (null, booleans, numbers, text, lists, objects whose names are text) is itself. Anything else is an object
with one name, which begins with `$`. A dict with such a name, or with names that are no text, is one of these too, so
there is no doubt. docs/command-line.md lists them.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import pathlib
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any

from .._forms.known_types import type_name
from ..errors import ValueFormError
from .stored import Named, Own, Pickled, StoredForms

_forms = StoredForms()

#: Ints of more bits are written in hexadecimal: Python refuses to write long ones in decimal, and to read them.
_LONG = 8192


def form(it: Any) -> Any:
    """What `json` writes for a value.

    Raises:
        ValueFormError: An object of a class that has no form, which only a pickle can hold.
    """
    kind = type(it)
    if it is None or kind is bool or kind is str:
        return it
    former = _FORMERS.get(kind)
    if former is not None:
        return former(it)
    name, plain = _forms.pack(it) or _instance(it)
    return {"$object": [name, form(plain)]}


def loaded_form(it: Any) -> Any:
    """What `json` writes for an object that came out of a pickle, which can be anything.

    Raises:
        ValueFormError: It has no form.
    """
    try:
        return form(it)
    except ValueFormError:
        raise
    except Exception as cause:
        # It contains itself, or code of its class fails.
        raise ValueFormError(f"an object of type {type_name(type(it))} has no form in JSON: {cause!r}") from cause


def document(it: Any, indent: int | None = None) -> str:
    """A form as text. Nothing in it moves the cursor of a terminal; half a surrogate pair is written as its number."""
    plain = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") != "utf8"
    text = json.dumps(it, ensure_ascii=plain, indent=indent, allow_nan=False)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def line(it: Any) -> str:
    """A form as one line of ASCII, for files."""
    return json.dumps(it, allow_nan=False)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def _int(it: int) -> Any:
    return it if it.bit_length() <= _LONG else {"$int": hex(it)}


def _float(it: float) -> Any:
    return it if math.isfinite(it) else {"$float": repr(it)}


def _base64(tag: str) -> Callable[[Any], Any]:
    return lambda it: {tag: base64.b64encode(it).decode()}


def _items(tag: str) -> Callable[[Any], Any]:
    return lambda it: {tag: [form(item) for item in it]}


def _set(tag: str) -> Callable[[Any], Any]:
    # Sets have no order, and text is hashed differently in each process.
    return lambda it: {tag: sorted((form(item) for item in it), key=json.dumps)}


def _dict(it: dict[Any, Any]) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in it):
        return {key: form(value) for key, value in it.items()}
    return {"$dict": [[form(key), form(value)] for key, value in it.items()]}


def _time(tag: str) -> Callable[[Any], Any]:
    """In the notation of ISO 8601, if that says it all."""

    def written(it: Any) -> Any:
        if it.fold == 0 and (it.tzinfo is None or _is_offset(it.tzinfo)):
            return {tag: it.isoformat()}
        name, plain = _forms.pack(it) or _instance(it)
        return {"$object": [name, form(plain)]}

    return written


def _is_offset(zone: datetime.tzinfo) -> bool:
    """Whether a time zone is an offset without a name of its own."""
    if type(zone) is not datetime.timezone:
        return False
    return zone.tzname(None) == datetime.timezone(zone.utcoffset(None)).tzname(None)


def _instance(it: Any) -> tuple[str, Any]:
    """Name and plain data of an object that came out of a pickle, if its fields are all there is to it."""
    kind = type(it)
    # Of a subclass of `list`, say, the items are not among the fields.
    if isinstance(it, types.ModuleType) or callable(it) or getattr(kind, "__new__", None) is not object.__new__:
        raise ValueFormError(f"an object of type {type_name(kind)} has no form in JSON")
    state = it.__getstate__() if hasattr(it, "__getstate__") else vars(it)
    return "of:" + type_name(kind), state


_FORMERS: dict[type, Callable[[Any], Any]] = {
    int: _int,
    float: _float,
    complex: lambda it: {"$complex": [_float(it.real), _float(it.imag)]},
    bytes: _base64("$bytes"),
    bytearray: _base64("$bytearray"),
    list: lambda it: [form(item) for item in it],
    tuple: _items("$tuple"),
    set: _set("$set"),
    frozenset: _set("$frozenset"),
    dict: _dict,
    datetime.datetime: _time("$datetime"),
    datetime.time: _time("$time"),
    datetime.date: lambda it: {"$date": it.isoformat()},
    decimal.Decimal: lambda it: {"$decimal": str(it)},
    uuid.UUID: lambda it: {"$uuid": str(it)},
    type(pathlib.Path()): lambda it: {"$path": str(it)},
    Named: lambda it: {"$object": [it.name, form(it.plain)]},
    Pickled: lambda it: {"$pickle": base64.b64encode(it.data).decode()},
    Own: lambda it: {"$own": form(it.stored)},
}
