"""The argument that must be a :class:`~cachemere.Cache`, and what people give in its stead."""

from __future__ import annotations

import os

from ..errors import InvalidOptionError
from .async_twins import AsyncTwins


def check_cache(name: str, value: object) -> None:
    """Refuses anything else, and says what to write. Never shows what a mapping holds.

    Raises:
        InvalidOptionError: It is no cache.
    """
    if isinstance(value, AsyncTwins):
        return
    instead = ""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        # An address can have a password in it.
        instead = f": write cachemere.Cache({'...' if '://' in str(path) else repr(path)})"
    raise InvalidOptionError(
        f"{name} must be a cachemere.Cache, not an object of type '{type(value).__name__}'{instead}"
    )
