"""From diskcache's tags, which are numbers, bytes or text, to ours, which are text."""

from __future__ import annotations

from typing import Any

from .._core.checks import shown, utf8
from ..errors import InvalidOptionError

Tag = str | int | float | bytes | None

#: Before what is not a plain text, and before a text that begins with it.
_MARK = "\0"


def to_text(tag: Any) -> str | None:
    """The tag as it is stored. Numbers that are equal are one tag.

    Raises:
        InvalidOptionError: It is of another type.
    """
    if tag is None:
        return None
    kind = type(tag)
    if kind is str:
        utf8("tag", tag)
        return _MARK + "s" + tag if tag.startswith(_MARK) else str(tag)
    if kind is float and tag.is_integer():
        tag, kind = int(tag), int
    if kind is int or kind is bool:
        return f"{_MARK}i{int(tag):x}"
    if kind is float and tag == tag:
        return f"{_MARK}f{tag.hex()}"
    if kind is bytes:
        return f"{_MARK}b{tag.hex()}"
    raise InvalidOptionError(f"tag must be a str, int, float, bytes or None, not {shown(tag)}")


def from_text(text: str) -> Tag:
    """The way back."""
    if not text.startswith(_MARK):
        return text
    kind, rest = text[1:2], text[2:]
    if kind == "i":
        return int(rest, 16)
    if kind == "f":
        return float.fromhex(rest)
    return bytes.fromhex(rest) if kind == "b" else rest


def first(tags: tuple[str, ...]) -> Tag:
    """The tag of an entry, which can have several if it was not written here."""
    return from_text(tags[0]) if tags else None


def stored(tag: Any) -> tuple[str, ...] | None:
    """The tags of an entry that is to have this one."""
    text = to_text(tag)
    return None if text is None else (text,)
