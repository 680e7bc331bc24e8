"""From what a source stores to keys and values. Nothing is run that a source has, unless pickles are allowed."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Callable
from typing import Any

from .._core.signals import is_of_handler
from ..errors import DecodeError, UnsafeValueError
from ._entry import Form, Stored

#: Compressed data that says it is larger than this is not believed.
_MOST_UNPACKED = 1 << 30


def key_of(stored: Stored, allow_pickle: bool) -> Any:
    """A key. Lists are what JSON makes of tuples."""
    key = _decoded(stored, allow_pickle, "key")
    return _with_tuples(key) if stored.form in (Form.JSON, Form.ZLIB_JSON) else key


def value_of(stored: Stored, allow_pickle: bool) -> Any:
    """A value.

    Raises:
        UnsafeValueError: It is a pickle, and none is to be read.
        DecodeError: It is not what it should be.
    """
    return _decoded(stored, allow_pickle, "value")


def _decoded(stored: Stored, allow_pickle: bool, what: str) -> Any:
    form = stored.form
    if form is Form.BROKEN:
        raise DecodeError(str(stored.data))
    if form in (Form.PICKLE, Form.BASE64_PICKLE) and not allow_pickle:
        raise UnsafeValueError(
            f"its {what} is a pickle, and loading one can run any code: allow it (--allow-pickle, allow_pickle=True) "
            f"if you trust whoever wrote the source"
        )
    try:
        data = stored.data if stored.fetch is None else stored.fetch(stored.data)
        return _DECODERS[form](data)
    # A pickle can raise anything.
    except Exception as error:
        if is_of_handler(error):
            raise
        named = str(error) or type(error).__name__
        if isinstance(error, AttributeError) and "__main__'" in named:
            named += (
                "; its class is of the program that stored it: call cachemere.migration.import_store in that program, "
                "or import the class into the one that calls it"
            )
        raise DecodeError(f"its {what} cannot be read{_AS[form]}: {named}") from error


def unpacked(data: bytes, most: int) -> bytes:
    """What zlib compressed, if it is not larger than so many bytes."""
    inflater = zlib.decompressobj()
    made = inflater.decompress(data, most)
    if not inflater.eof:
        raise DecodeError(f"it is truncated, or larger than {most:,} bytes")
    return made


def _as_int(data: Any) -> int:
    if len(data) != 8:
        raise DecodeError(f"it has {len(data)} bytes, not 8")
    return int.from_bytes(data, "little", signed=True)


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


_DECODERS: dict[Form, Callable[[Any], Any]] = {
    Form.PLAIN: lambda data: data,
    Form.TEXT: lambda data: bytes(data).decode("utf-8"),
    Form.JSON: json.loads,
    Form.ZLIB_JSON: lambda data: json.loads(unpacked(data, _MOST_UNPACKED)),
    Form.INT64: _as_int,
    Form.PICKLE: lambda data: pickle.loads(data),
    Form.BASE64_PICKLE: lambda data: pickle.loads(base64.b64decode(data, validate=True)),
}

_AS = {
    Form.PLAIN: "",
    Form.TEXT: " as text in UTF-8",
    Form.JSON: " as JSON",
    Form.ZLIB_JSON: " as compressed JSON",
    Form.INT64: " as a number",
    Form.PICKLE: " from its pickle",
    Form.BASE64_PICKLE: " from its pickle",
}
