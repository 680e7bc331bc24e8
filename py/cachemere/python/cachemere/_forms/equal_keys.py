"""What keys that are equal have in common: the forms of numbers, times, paths and of subclasses that compare alike."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import sys
import uuid
from collections.abc import Callable
from typing import Any

from .known_types import Formless, Packed, pack_datetime, pack_timedelta, path_name, zone_form

#: From an instance of a subclass to what it is equal to, without calling any code of the subclass.
EXACT: dict[Any, Callable[[Any], Any]] = {
    str: str.__str__,
    bytes: lambda key: bytes.__getitem__(key, slice(None)),
    tuple: lambda key: tuple.__getitem__(key, slice(None)),
    frozenset: frozenset().union,
}


def compares_as(kind: Any, plain: Any) -> bool:
    return kind.__eq__ is plain.__eq__ and kind.__hash__ is plain.__hash__


def as_number(key: Any) -> Packed | None:
    """The form of a number or a time of numpy's: the same for all that are equal. `None`: it is neither."""
    kind: Any = type(key)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(key, numpy.generic):
        if isinstance(key, (numpy.datetime64, numpy.timedelta64)):
            return _of_numpy_time(key, numpy)
        if isinstance(key, (numpy.longdouble, numpy.clongdouble)):
            # These have more digits than a float.
            narrow = complex(key) if isinstance(key, numpy.clongdouble) else float(key)
            if narrow != key:
                raise Formless
            return as_number(narrow)
        if isinstance(key, (numpy.number, numpy.bool_)):
            return as_number(key.item())
    for base, former in _NUMBERS.items():
        if isinstance(key, base):
            if not compares_as(kind, base):
                raise Formless
            return former(key)
    return None


def _of_int(key: int) -> Packed:
    if key.bit_length() <= _LONG_INT or abs(key) < 10 ** (_DIGITS + 1):
        return "", key
    return "decimal", _scientific(key)


def _of_decimal(key: decimal.Decimal) -> Packed:
    if key.is_snan():
        raise Formless
    if not key.is_finite():
        return "", float(key)
    if key and abs(key.adjusted()) > _DIGITS:
        # As an int it would fill the memory.
        sign, digits, exponent = key.normalize(_ALL_DIGITS).as_tuple()
        if len(digits) > _WRITTEN:
            return "decimal", (sign, _bytes(int(decimal.Decimal((0, digits, 0)))), exponent)
        return "decimal", (sign, digits, exponent)
    return _of_fraction(fractions.Fraction(key))


#: Decimals with more digits before or after the point are written as decimals, and so are ints.
_DIGITS = 100_000

#: Ints of no more bits have no more digits than that.
_LONG_INT = 332_192

#: More digits than these are written as the bytes of their int, since it takes the square of their number to find them.
_WRITTEN = 4000

_ALL_DIGITS = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


def _bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little")


def _scientific(key: int) -> tuple[int, tuple[int, ...] | bytes, int]:
    """Sign, digits and exponent of an int, as of the decimal that is equal to it."""
    sign, number, exponent = int(key < 0), abs(key), 0
    # There are no more factors of ten than of two.
    twos = (number & -number).bit_length() - 1
    step = 1 << twos.bit_length()
    while step := step >> 1:
        if step <= twos - exponent and 3 * step < number.bit_length():
            quotient, rest = divmod(number, 10**step)
            if rest == 0:
                number, exponent = quotient, exponent + step
    if number >= 10**_WRITTEN:
        return sign, _bytes(number), exponent
    return sign, tuple(map(int, str(number))), exponent


def _of_complex(key: complex) -> Packed:
    return ("", key.real) if key.imag == 0 else ("complex", (key.real + 0.0, key.imag + 0.0))


def _of_fraction(key: fractions.Fraction) -> Packed:
    if key.denominator == 1:
        return _of_int(int(key.numerator))
    try:
        as_float = float(key)
    except OverflowError:
        as_float = 0.0
    # A fraction that a float holds exactly is equal to that float.
    return ("", as_float) if fractions.Fraction(as_float) == key else ("fraction", (key.numerator, key.denominator))


_NUMBERS: dict[Any, Callable[[Any], Packed]] = {
    int: lambda key: _of_int(int.__int__(key)),
    float: lambda key: ("", float.__float__(key)),
    decimal.Decimal: _of_decimal,
    complex: _of_complex,
    fractions.Fraction: _of_fraction,
}

#: Attoseconds of numpy's units of time. A year and a month have no fixed length.
_ATTOSECONDS = {
    **{unit: 10 ** (18 - 3 * place) for place, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))},
    **{unit: 10**18 * seconds for unit, seconds in (("W", 604_800), ("D", 86_400), ("h", 3600), ("m", 60))},
}


def _of_numpy_time(key: Any, numpy: Any) -> Packed:
    """A time of numpy's, which is equal to one of the standard library and to others of numpy's in other units.

    Where equality is not transitive, what is equal to one thing is the same key: to numpy no date is equal to a
    datetime, but both are to the same time in hours.
    """
    (unit, times), count = numpy.datetime_data(key.dtype), int(key.view("i8"))
    if numpy.isnat(key) or unit == "generic":
        raise Formless
    is_length = isinstance(key, numpy.timedelta64)
    if unit in ("Y", "M"):
        months = count * times * (12 if unit == "Y" else 1)
        if is_length:
            return "numpy.months", months
        years, month = divmod(months, 12)
        days = _days_before(1970 + years, month + 1)
        attoseconds = days * _ATTOSECONDS["D"]
    else:
        attoseconds = count * times * _ATTOSECONDS[unit]
    microseconds, rest = divmod(attoseconds, _ATTOSECONDS["us"])
    try:
        if rest == 0:
            length = datetime.timedelta(microseconds=microseconds)
            return pack_timedelta(length) if is_length else _canonical_datetime(_EPOCH + length)
    except OverflowError:
        pass
    return "numpy.timedelta" if is_length else "numpy.datetime", attoseconds


_EPOCH = datetime.datetime(1970, 1, 1)


def _days_before(year: int, month: int) -> int:
    """Days from 1970 to the first of a month, in years beyond those of :mod:`datetime` too."""
    # All four centuries have as many days.
    cycles, year_within = divmod(year - 1600, 400)
    first = datetime.date(1600 + year_within, month, 1).toordinal()
    return first - datetime.date(1970, 1, 1).toordinal() + cycles * 146_097


def _canonical_datetime(key: datetime.datetime) -> Packed:
    """Aware times are equal if they are the same instant, by the rules of Python, which has two exceptions.

    In one zone the clock decides and fold does not matter; and a time whose offset depends on fold is equal to no time
    of another zone.
    """
    naive = datetime.datetime(key.year, key.month, key.day, key.hour, key.minute, key.second, key.microsecond)
    plain = naive.replace(tzinfo=key.tzinfo)
    offset = plain.utcoffset()
    if offset is None:
        return "datetime", pack_datetime(naive)[1]
    if plain.replace(fold=1).utcoffset() != offset:
        return "ambiguous", (pack_datetime(naive)[1], zone_form(key.tzinfo))
    # Not as a datetime, which could not hold those of the first and last day.
    since = (naive - datetime.datetime.min) - offset
    return "instant", (since.days, since.seconds, since.microseconds)


def canonical_path(key: pathlib.PurePath) -> tuple[str, Any, bool] | None:
    if path_name(key) is None:
        return None
    if isinstance(key, pathlib.PureWindowsPath):
        return "windowspath", str(key).lower(), False
    return "posixpath", str(key), False


def _canonical_time(key: datetime.time) -> Packed:
    offset = key.utcoffset()
    if offset is None:
        return "time", (key.hour, key.minute, key.second, key.microsecond)
    since = datetime.timedelta(hours=key.hour, minutes=key.minute, seconds=key.second, microseconds=key.microsecond)
    shifted = since - offset
    return "timeofday", (shifted.days, shifted.seconds, shifted.microseconds)


def _canonical_range(key: range) -> tuple[int, ...]:
    """Ranges are equal if they are the same sequence."""
    if len(key) == 0:
        return ()
    return (len(key), key.start) if len(key) == 1 else (len(key), key.start, key.step)


#: From an instance of a known type, or of a subclass that keeps its equality, to what all that are equal to it have.
#: A datetime is a date to Python, but equal to none.
CANONICAL: dict[Any, Callable[[Any], Packed]] = {
    datetime.datetime: _canonical_datetime,
    datetime.date: lambda key: ("date", (key.year, key.month, key.day)),
    datetime.time: _canonical_time,
    datetime.timedelta: pack_timedelta,
    datetime.timezone: lambda key: ("timezone", zone_form(datetime.timezone(key.utcoffset(None)))),
    range: lambda key: ("range", _canonical_range(key)),
    uuid.UUID: lambda key: ("uuid", key.bytes),
}


def as_known(key: Any) -> Any:
    """A key for whoever lists the keys: instances of subclasses that are not known become what they are equal to."""
    if isinstance(key, tuple):
        return tuple(map(as_known, tuple.__iter__(key)))
    if isinstance(key, frozenset):
        return frozenset(map(as_known, frozenset.__iter__(key)))
    for base, rebuilt in _REBUILT.items():
        if isinstance(key, base):
            return key if type(key) is base else rebuilt(key)
    return key


def _rebuilt_datetime(it: datetime.datetime) -> datetime.datetime:
    clock = (it.hour, it.minute, it.second, it.microsecond, it.tzinfo)
    return datetime.datetime(it.year, it.month, it.day, *clock, fold=it.fold)


_REBUILT: dict[Any, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: lambda it: complex(it.real, it.imag),
    decimal.Decimal: decimal.Decimal,
    fractions.Fraction: lambda it: fractions.Fraction(it.numerator, it.denominator),
    datetime.datetime: _rebuilt_datetime,
    datetime.date: lambda it: datetime.date(it.year, it.month, it.day),
    datetime.time: lambda it: datetime.time(it.hour, it.minute, it.second, it.microsecond, it.tzinfo, fold=it.fold),
    datetime.timedelta: lambda it: datetime.timedelta(it.days, it.seconds, it.microseconds),
    uuid.UUID: lambda it: uuid.UUID(bytes=it.bytes),
}
