"""An entry of a source, as it is stored there."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Tags = tuple[str, ...]


class Form(enum.Enum):
    """What has to be done with what is stored, to have the key or value it stands for."""

    #: Nothing.
    PLAIN = enum.auto()
    #: Text in UTF-8.
    TEXT = enum.auto()
    #: JSON in UTF-8, or as text.
    JSON = enum.auto()
    #: The same, compressed with zlib.
    ZLIB_JSON = enum.auto()
    #: A signed number in 8 bytes, the least significant first.
    INT64 = enum.auto()
    #: A pickle, or one as Base64.
    PICKLE = enum.auto()
    BASE64_PICKLE = enum.auto()
    #: It cannot be had: `data` says why.
    BROKEN = enum.auto()


@dataclass(frozen=True, slots=True)
class Stored:
    """A key or value as it is stored."""

    form: Form
    data: Any
    #: What brings the bytes that are in a file of their own, so that they are read only if they are needed.
    fetch: Callable[[Any], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is stored, with what is known of its age: seconds since 1970."""

    #: Where it is, for the message about an entry whose key cannot be read.
    place: str
    key: Stored
    value: Stored
    created: float | None = None
    accessed: float | None = None
    expires: float | None = None
    tags: Tags = ()


def broken(place: str, why: str) -> Entry:
    """In place of what cannot be read at all."""
    stored = Stored(Form.BROKEN, why)
    return Entry(place, stored, stored)
