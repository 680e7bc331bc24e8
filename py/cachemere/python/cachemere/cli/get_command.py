"""Print the value of a key, without this being an access."""

from __future__ import annotations

import argparse
import ast
import sys
from typing import Any

from .._core.info import entry_info
from .._engine import Store
from ..errors import CacheError, InvalidOptionError, UnsafeValueError, ValueFormError
from . import arguments as common
from . import json_form, shown, status
from .entries import Entry
from .opening import StoreAt
from .stored import Pickled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    common.add_store(parser, has_default=False)
    parser.add_argument("key", metavar="KEY", help="the key, which is text unless --literal is given")
    common.add_namespace(parser, "default", "default if it is left out")
    parser.add_argument(
        "--literal",
        action="store_true",
        help="""KEY is a literal of Python: 1, ("a", 1), b"bytes", None""",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--raw", action="store_true", help="write the bytes of a text, of bytes or of a pickle, as they are"
    )
    common.add_json(shape, "print one JSON document with the value and all that is known of the entry")
    common.add_allow_pickle(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the value."""
    key = _literal(arguments.key) if arguments.literal else arguments.key
    with StoreAt(arguments) as at:
        at.chosen(arguments.namespace)
        store = at.reading(arguments.namespace)
        # Before the value, since reading that is an access as far as this process knows.
        info = entry_info(store, key)
        found = store.fetch(key)
        if found is None or info is None:
            raise CacheError(_absent(store, arguments, key))
    value, _, tags, cost = found
    if arguments.raw:
        _write(_raw(value))
        return status.OK
    if isinstance(value, Pickled):
        if not arguments.allow_pickle:
            raise UnsafeValueError(
                f"the value of {shown.in_words(key)} is a pickle of {len(value.data)} bytes, and loading it can run "
                f"any code: --allow-pickle does, if you trust whoever wrote the store; --raw gives its bytes"
            )
        value = value.load()
    if arguments.json:
        described = Entry(arguments.namespace, key, value, tags, info, cost).described()
        print(json_form.document(described | {"cost": cost, "value": json_form.loaded_form(value)}, indent=2))
        return status.OK
    try:
        print(json_form.document(json_form.loaded_form(value), indent=2))
    except ValueFormError:
        # Out of a pickle that was allowed: whatever it says of itself.
        print(shown.one_line(repr(value)))
    return status.OK


def _literal(text: str) -> Any:
    try:
        key = ast.literal_eval(text)
        hash(key)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise InvalidOptionError(
            f"KEY is not a literal of Python that can be a key: {shown.quoted(text)}; text is quoted there: "
            f"""'"a"', and the shell needs quotes around it"""
        ) from None
    return key


def _absent(store: Store, arguments: argparse.Namespace, key: Any) -> str:
    said = f"no entry with the key {shown.in_words(key)} in the namespace {shown.quoted(arguments.namespace)}"
    if arguments.literal:
        return said
    try:
        other = _literal(arguments.key)
        if other in store:
            return f"{said}; there is one with the key {shown.in_words(other)}, which is no text: say --literal"
    except CacheError:
        pass
    return said


def _raw(value: Any) -> bytes:
    if isinstance(value, Pickled):
        return value.data
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise ValueFormError(f"--raw is for text, bytes and pickles: the value is of type '{shown.kind(value)}'")


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
