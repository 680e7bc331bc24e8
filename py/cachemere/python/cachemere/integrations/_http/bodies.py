"""Canonical forms of the bodies of requests: two bodies with the same form mean the same.

* JSON: the order of members, white space, escapes in strings and the form of numbers (`1`, `1.0`, `1e0`) do not matter.
  Numbers are compared as doubles, integers exactly.
* Forms of several parts: the boundary, which clients draw by lot, does not matter.
* Whatever else, and JSON whose meaning is not certain (a member that is there twice, a number no double can hold): byte
  by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]+)\"|([^;\s]+))", re.IGNORECASE)

#: From here on not every integer is a double.
_EXACT = 2**53


class Body(NamedTuple):
    """A body of a request in its canonical form."""

    #: `"json"`, `"parts"` or `"bytes"`: forms of different kinds are never the same.
    kind: str
    form: bytes
    #: What the JSON says. `None` for other kinds.
    value: Any = None


def canonical(content_type: str, content: bytes, ignore: Collection[str] = ()) -> Body:
    """The canonical form of a body; of a JSON object without the members to be ignored."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            value = _decoder.decode(content.decode())
            counts = value
            if ignore and isinstance(value, dict):
                counts = {name: it for name, it in value.items() if name not in ignore}
            return Body("json", _encoder.encode(counts).encode(), value)
        except (ValueError, RecursionError):
            return Body("bytes", content)
    if media_type.startswith("multipart/") and (found := _BOUNDARY.search(content_type)):
        parts = content.split(b"--" + (found[1] or found[2]).encode())
        # With the length of each, so that no two lists of parts have the same form.
        return Body("parts", b"".join(b"%d:%b" % (len(part), part) for part in parts))
    return Body("bytes", content)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member is there twice")
    return made


def _number(text: str) -> float:
    number = float(text)
    if number.is_integer():
        return int(number) if abs(number) < _EXACT else number
    if number - number != 0:
        raise ValueError("a number that is no double")
    return number


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_float=_number, parse_constant=_constant)
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False, allow_nan=False)
