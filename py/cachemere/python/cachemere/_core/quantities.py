"""Lengths of time and numbers of bytes, as people write them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

#: A length of time: seconds, a `timedelta`, or a text such as `"30d"`, `"12h"`, `"90s"`.
Seconds = float | datetime.timedelta | str

#: A number of bytes: an `int`, a `float`, or a text such as `"1GB"` (1,000,000,000) or `"1GiB"` (1,073,741,824).
Size = float | str

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

_BYTES = {"b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for unit, base in (("b", 1000), ("ib", 1024))
}

_QUANTITY = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]{1,3})\s*", re.ASCII)


def seconds_of(value: object) -> object:
    """A `timedelta` or a text as seconds, `None` if it says none; anything else as it is."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return _quantity(value, _SECONDS) if isinstance(value, str) else value


def bytes_of(value: object) -> int | None:
    """A number of bytes, rounded down; `None`: it says none."""
    if isinstance(value, str):
        value = _quantity(value.lower(), _BYTES)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return int(value)
    except (OverflowError, ValueError):
        # Without an end, or no number.
        return None


def _quantity(text: str, units: Mapping[str, float]) -> float | None:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    unit = units.get(match[2])
    return None if unit is None else float(match[1]) * unit
