"""What options and arguments may be. Each check names the one that is wrong, and says what it can be."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Any

from ..errors import InvalidOptionError
from .quantities import bytes_of, seconds_of
from .signals import is_of_handler

#: In seconds: times are kept in microseconds, and the engine counts whole seconds in 64 bits.
_SHORTEST, _LONGEST = 1e-6, 2.0**64

#: One more than the engine can count to.
_TOO_MANY = 2**63


def shown(value: object) -> str:
    """A wrong value for a message: not long, and not another error in place of the one that is told."""
    try:
        text = repr(value)
    except Exception as error:
        if is_of_handler(error):
            raise
        text = f"an object of type '{type(value).__name__}'"
    return text if len(text) <= 80 else f"{text[:77]}..."


def seconds(name: str, value: object) -> float | None:
    """A length of time in seconds, or none."""
    return None if value is None else duration(name, value)


def duration(name: str, value: object, unit: str = "seconds", scale: float = 1) -> float:
    """A length of time in seconds. Given in a unit of so many, or as a `timedelta` or text, which say theirs."""
    given, has_own_unit = value, isinstance(value, (str, datetime.timedelta))
    made = _float(seconds_of(value))
    if made is None or not made > 0:
        raise InvalidOptionError(
            f"{name} must be a positive number of {unit}, a timedelta, or a text such as '30d', not {shown(given)}"
        )
    if has_own_unit:
        unit, scale = "seconds", 1
    if made * scale < _SHORTEST:
        raise InvalidOptionError(f"{name} must be at least a microsecond, not {shown(value)} {unit}")
    if made * scale >= _LONGEST:
        most = f"{_LONGEST / scale:.3g} {unit}"
        raise InvalidOptionError(f"{name} must be less than {most}, not {shown(value)}: leave it out for no end")
    return made * scale


def _float(value: Any) -> float | None:
    # Whatever says that it is a number: those of numpy, fractions and decimals do.
    if isinstance(value, bool) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return None


def count(name: str, value: object, least: int = 1) -> None:
    """A whole number of something."""
    if type(value) is int and value >= _TOO_MANY:
        raise InvalidOptionError(f"{name} must be less than 2**63, not {shown(value)}")
    if type(value) is not int or value < least:
        what = "a positive int" if least == 1 else f"an int of at least {least}"
        raise InvalidOptionError(f"{name} must be {what}, not {shown(value)}")


def size(name: str, value: object, least: int = 1) -> int:
    """A number of bytes."""
    made = bytes_of(value)
    if made is None:
        raise InvalidOptionError(f"{name} must be a number of bytes, or a text such as '1GB', not {shown(value)}")
    if made >= _TOO_MANY:
        raise InvalidOptionError(f"{name} must be less than 2**63 bytes, not {shown(value)}")
    if made < least:
        raise InvalidOptionError(f"{name} must be at least {least} bytes, not {shown(value)}")
    return made


def is_number(value: object) -> bool:
    """Whether it is one that Python adds to others without a surprise."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(name: str, value: object) -> None:
    """Something to add."""
    if not is_number(value):
        raise InvalidOptionError(f"{name} must be an int or float, not {shown(value)}")


def flag(name: str, value: object) -> None:
    """Yes or no, of which other values leave doubt: `"no"` is true."""
    if type(value) is not bool:
        raise InvalidOptionError(f"{name} must be True or False, not {shown(value)}")


def choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """One of some words."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidOptionError(f"{name} must be {' or '.join(map(repr, choices))}, not {shown(value)}")


def function(name: str, value: object) -> None:
    """Something to call, or `None`."""
    if value is not None and not callable(value):
        raise InvalidOptionError(f"{name} must be a function, not {shown(value)}")


def namespace(value: object) -> None:
    """The name of a mapping in a store."""
    if not isinstance(value, str) or not 0 < len(utf8("namespace", value)) <= 255:
        raise InvalidOptionError(f"namespace must be a str of 1 to 255 bytes in UTF-8, not {shown(value)}")


def utf8(name: str, text: str) -> bytes:
    """Text as bytes. Not all a `str` can hold is text: half of a surrogate pair is not."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Not chained: the text can be a passphrase.
        raise InvalidOptionError(f"{name} is not valid text: it cannot be encoded in UTF-8") from None


def items(name: str, value: Any, of: str) -> tuple[Any, ...]:
    """What is in a collection. A `str` is not one, although Python goes through its letters."""
    # A class can be iterable, an enum is; but then it is the one thing that was meant to be in a collection.
    if isinstance(value, (str, bytes, type)) or not isinstance(value, Iterable):
        raise InvalidOptionError(f"{name} must be a collection of {of}, not {shown(value)}")
    return tuple(value)
