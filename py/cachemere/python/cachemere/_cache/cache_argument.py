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
    instead = f": write cachemere.Cache({os.fspath(value)!r})" if isinstance(value, (str, os.PathLike)) else ""
    raise InvalidOptionError(
        f"{name} must be a cachemere.Cache, not an object of type '{type(value).__name__}'{instead}"
    )
