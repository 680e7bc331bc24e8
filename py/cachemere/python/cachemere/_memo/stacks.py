"""Results that are arrays of one shape, as one array."""

from __future__ import annotations

import sys
from typing import Any

from .._engine import Gathered
from ..errors import InvalidOptionError


def has_rows(values: Any) -> bool:
    """Whether these are the rows of a plain array, which follow one another in memory and are arrays themselves."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(values) is not numpy.ndarray or values.ndim < 2 or values.nbytes == 0:
        return False
    # Of 16 bytes and more are numbers whose size differs among machines.
    kinds = values.dtype.kind in "iufc" and values.dtype.itemsize <= 8 and values.dtype.isnative
    return bool(kinds and values.flags.c_contiguous)


def bytes_of(values: Any) -> Any:
    """The bytes of an array, as they lie in memory."""
    return values.reshape(-1).view("u1")


def stacked(shown: str, values: list[Any]) -> Any:
    """Values that were made or decoded one by one.

    Raises:
        InvalidOptionError: They are not arrays of one shape.
    """
    numpy = _numpy()
    try:
        return numpy.stack(values) if values else numpy.empty(0)
    except (ValueError, TypeError) as cause:
        raise InvalidOptionError(
            f"memoize: stack=True, but the results of {shown} are not all arrays of one shape: {cause}"
        ) from cause


def stored_stack(gathered: Gathered, count: int) -> tuple[Any, float] | None:
    """What is stored, copied into one array without an object for each, and the seconds that making it took.

    `None`: one is missing, or they are not plain arrays of one shape.
    """
    numpy = _numpy()
    first = gathered.value(0)
    # The bytes of other kinds, and of other layouts, are looked at one by one.
    if type(first) is not numpy.ndarray or first.dtype.kind not in "iufc" or first.nbytes == 0:
        return None
    if not (first.flags.c_contiguous and first.dtype.isnative):
        return None
    made = gathered.ends(first.nbytes)
    if made is None:
        return None
    return numpy.frombuffer(made[0], dtype=first.dtype).reshape(count, *first.shape), made[1]


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as cause:
        raise InvalidOptionError("memoize: stack=True makes an array of numpy: install numpy") from cause
    return numpy
