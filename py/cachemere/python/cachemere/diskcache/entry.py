"""What is known of an entry besides its key."""

from __future__ import annotations

import io
import math
import time
from typing import Any, NamedTuple

from .._core.checks import is_number, shown
from ..errors import InvalidOptionError, ValueFormError
from .tags import Tag

#: A life shorter than this, in seconds, is over when the write returns.
SHORTEST = 1e-6


class Entry(NamedTuple):
    """A value, when it expires (seconds since the epoch; `None`: never), and its tag."""

    value: Any
    expires: float | None
    tag: Tag


def lifetime(expire: Any) -> float | None:
    """`expire` as given, seconds from now, checked. `None` and infinity: for ever. It may be over already."""
    if expire is None:
        return None
    try:
        seconds = float(expire)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if seconds != seconds or not (is_number(expire) or hasattr(expire, "__float__")):
        raise InvalidOptionError(f"expire must be a number of seconds, not {shown(expire)}")
    # As many seconds as the engine can count.
    return None if seconds >= 2.0**63 else seconds


def expiry(seconds: float | None) -> float | None:
    """When a life of so many seconds ends that begins now."""
    return None if seconds is None else time.time() + seconds


def left(expires: float | None) -> float | None:
    """Seconds that are left of a life."""
    return None if expires is None else expires - time.time()


def is_over(expires: float | None) -> bool:
    """Whether an entry has expired."""
    return expires is not None and expires - time.time() < SHORTEST


def with_details(value: Any, entry: Entry, expire_time: bool, tag: bool) -> Any:
    """What `get` and the like give, with the details that were asked for."""
    if expire_time and tag:
        return value, entry.expires, entry.tag
    if expire_time:
        return value, entry.expires
    return (value, entry.tag) if tag else value


def absent(default: Any, expire_time: bool, tag: bool) -> Any:
    """What they give if there is nothing."""
    return with_details(default, Entry(None, None, None), expire_time, tag)


def taken(value: Any, read: bool) -> Any:
    """The value to be stored: with `read`, what is read from a binary file.

    Raises:
        ValueFormError: There is nothing to read, or it is not bytes.
    """
    if not read or isinstance(value, (str, bytes, int, float)):
        return value
    if not hasattr(value, "read"):
        raise ValueFormError(f"with read=True the value must be a file opened in binary mode, not {shown(value)}")
    made = value.read()
    if not isinstance(made, bytes):
        raise ValueFormError("with read=True the value must be a file opened in binary mode; this one gave no bytes")
    return made


def opened(value: Any) -> Any:
    """What `read=True` gives out: bytes as a binary file in memory, and what is not bytes as it is."""
    return io.BytesIO(value) if isinstance(value, bytes) else value
