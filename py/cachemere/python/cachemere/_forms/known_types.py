"""The types that every handle knows: those of the standard library and numpy, and how they become plain data and back.

The tables are closed. What is stored can be anybody's bytes, so that each maker takes nothing but what its form is made
of.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any

from ..errors import DecodeError, UnsafeValueError

Packed = tuple[str, Any]

_PATHS: dict[str, type[pathlib.PurePath]] = {
    "path": pathlib.Path,
    "posixpath": pathlib.PurePosixPath,
    "windowspath": pathlib.PureWindowsPath,
}

_UTC = datetime.timezone.utc

#: Ints of more bits within a fraction or a range are refused: making one of them takes the square of their length.
_BITS = 1 << 14


class Formless(Exception):
    """An object has no safe form, though others of its class have. With a text, that is why."""


class Misshapen(Exception):
    """Plain data is not what a maker was written for."""


def shaped(plain: Any, *kinds: Any) -> Any:
    """Plain data that is a tuple of items of exactly these classes, each a class, a tuple of some, or `object`.

    What is stored can be anybody's bytes. Most classes of the standard library take more than what their objects are
    made of, and some of that without end: all that can be iterated over, a range for example.
    """
    if type(plain) is not tuple or len(plain) != len(kinds):
        raise Misshapen
    for item, kind in zip(plain, kinds, strict=True):
        if kind is not object and type(item) not in (kind if isinstance(kind, tuple) else (kind,)):
            raise Misshapen
    return plain


def exactly(kind: type, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A maker that takes plain data of exactly one class."""

    def made(plain: Any) -> Any:
        if type(plain) is not kind:
            raise Misshapen
        return make(plain)

    return made


def _from(make: Callable[..., Any], *kinds: Any) -> Callable[[Any], Any]:
    """A maker whose arguments are the items of a tuple."""
    return lambda plain: make(*shaped(plain, *kinds))


def _short(*numbers: Any) -> tuple[Any, ...]:
    """Numbers that can be computed with at once."""
    if any(type(number) is int and number.bit_length() > _BITS for number in numbers):
        raise Formless
    return numbers


def type_name(kind: type) -> str:
    """The name under which a type is stored."""
    return f"{kind.__module__}.{kind.__qualname__}"


# --- times ----------------------------------------------------------------------------------------------------------


def zone_form(zone: datetime.tzinfo | None) -> Any:
    """Plain data of a time zone; raises :class:`Formless` for one of an unknown kind."""
    if zone is None:
        return None
    if type(zone) is datetime.timezone:
        offset = zone.utcoffset(None)
        return (offset.days, offset.seconds, offset.microseconds, None if zone is _UTC else zone.tzname(None))
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return zone.key
    raise Formless


def zone_of(plain: Any) -> datetime.tzinfo | None:
    """The zone of :func:`zone_form`."""
    if plain is None:
        return None
    if isinstance(plain, str):
        return zoneinfo.ZoneInfo(plain)
    days, seconds, microseconds, name = shaped(plain, int, int, int, (str, type(None)))
    offset = datetime.timedelta(days, seconds, microseconds)
    if name is None:
        return _UTC
    zone = datetime.timezone(offset)
    return zone if zone.tzname(None) == name else datetime.timezone(offset, name)


def pack_datetime(it: datetime.datetime) -> Packed:
    plain = (it.year, it.month, it.day, it.hour, it.minute, it.second, it.microsecond, it.fold)
    return "datetime", (*plain, zone_form(it.tzinfo))


def _unpack_datetime(plain: Any) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = shaped(plain, *[int] * 8, object)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone_of(zone), fold=fold)


def _pack_time(it: datetime.time) -> Packed:
    return "time", (it.hour, it.minute, it.second, it.microsecond, it.fold, zone_form(it.tzinfo))


def _unpack_time(plain: Any) -> datetime.time:
    hour, minute, second, microsecond, fold, zone = shaped(plain, *[int] * 5, object)
    return datetime.time(hour, minute, second, microsecond, zone_of(zone), fold=fold)


def pack_timedelta(it: datetime.timedelta) -> Packed:
    return "timedelta", (it.days, it.seconds, it.microseconds)


# --- numpy ----------------------------------------------------------------------------------------------------------


#: What `dtype.str` says of the kinds that are stored: numpy's own reader of such texts takes more, and divides by zero.
_DTYPE = re.compile(
    r"\|[biu]1|[<>](?:[iu][248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|U[1-9][0-9]{0,8}"
    r"|[mM]8\[(?:[1-9][0-9]{0,9})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])|<[mM]8|\|S[1-9][0-9]{0,9}"
)

#: Of numpy 2; numpy 1 has 32.
_DIMENSIONS = 64


def pack_numpy(it: Any) -> Packed | None:
    """An array or scalar of numpy, whose bytes are handed on without a copy where it is contiguous."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(it, (numpy.ndarray, numpy.generic)):
        return None
    dtype = it.dtype
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        return None
    if isinstance(it, (numpy.str_, numpy.bytes_)):
        # As arrays they would lose zeros at their end.
        return ("numpy.str", str.__str__(it)) if isinstance(it, numpy.str_) else ("numpy.bytes", it[:])
    if not _DTYPE.fullmatch(dtype.str):
        return None
    if isinstance(it, numpy.generic):
        return "numpy.generic", (dtype.str, it.tobytes())
    if type(it) is not numpy.ndarray:
        return None
    fortran = it.flags.f_contiguous and not it.flags.c_contiguous
    flat = it.ravel(order="F" if fortran else "C")
    return "numpy.ndarray", (dtype.str, it.shape, fortran, PickleBuffer(flat.view(numpy.uint8)))


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as cause:
        raise DecodeError("the value is an array of numpy: install numpy to read it") from cause
    return numpy


def _flat(dtype: str, data: Any) -> Any:
    """The items in these bytes. Not all bytes are items: numpy trusts that a bool is 0 or 1, and a character one."""
    if not _DTYPE.fullmatch(dtype):
        raise Misshapen
    numpy = _numpy()
    if dtype == "|b1" and numpy.frombuffer(data, dtype="|u1").max(initial=0) > 1:
        raise Misshapen
    if dtype[1] == "U" and numpy.frombuffer(data, dtype=dtype[0] + "u4").max(initial=0) > sys.maxunicode:
        raise Misshapen
    return numpy.frombuffer(data, dtype=dtype)


def _unpack_ndarray(plain: Any) -> Any:
    dtype, shape, fortran, data = shaped(plain, str, tuple, bool, bytearray)
    if len(shape) > _DIMENSIONS or not all(type(side) is int and 0 <= side < 1 << 63 for side in shape):
        raise Misshapen
    # `data` is a bytearray that nobody else has, so the array can be written to without a copy.
    return _flat(dtype, data).reshape(shape, order="F" if fortran else "C")


def _unpack_generic(plain: Any) -> Any:
    dtype, data = shaped(plain, str, bytes)
    (item,) = _flat(dtype, data)
    return item


# --- enums ----------------------------------------------------------------------------------------------------------


def pack_enum(it: enum.Enum) -> Packed:
    kind = type(it)
    if isinstance(it, enum.Flag):
        return "flag", (kind.__module__, kind.__qualname__, it.value)
    return "enum", (kind.__module__, kind.__qualname__, it.name)


def _find_enum(module: str, qualname: str, base: type[enum.Enum] = enum.Enum) -> type[enum.Enum]:
    """An enum of a module that is imported already. Runs no code of the module's."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        # Past `__getattribute__`, which in a module that loads itself lazily would run it.
        if isinstance(found, type):
            found = type.__getattribute__(found, "__dict__").get(part)
        elif isinstance(found, types.ModuleType):
            found = object.__getattribute__(found, "__dict__").get(part)
        else:
            break
    if isinstance(found, type) and issubclass(found, base):
        return found
    raise UnsafeValueError(
        f"the entry has a member of the enum {module}.{qualname}, which this program has not imported: import its "
        f"module, or register the enum with types=[...]"
    )


# --- tables ---------------------------------------------------------------------------------------------------------

PACK: dict[type, Callable[[Any], Packed | None]] = {
    datetime.datetime: pack_datetime,
    datetime.date: lambda it: ("date", (it.year, it.month, it.day)),
    datetime.time: _pack_time,
    datetime.timedelta: pack_timedelta,
    datetime.timezone: lambda it: ("timezone", zone_form(it)),
    zoneinfo.ZoneInfo: lambda it: ("timezone", zone_form(it)),
    decimal.Decimal: lambda it: ("decimal", str(it)),
    # Of numpy's ints, it has those.
    fractions.Fraction: lambda it: ("fraction", _short(int(it.numerator), int(it.denominator))),
    uuid.UUID: lambda it: ("uuid", it.bytes),
    range: lambda it: ("range", _short(it.start, it.stop, it.step)),
    slice: lambda it: ("slice", (it.start, it.stop, it.step)),
    type(...): lambda it: ("ellipsis", None),
    OrderedDict: lambda it: ("ordereddict", list(it.items())),
    Counter: lambda it: ("counter", dict(it)),
    deque: lambda it: ("deque", (list(it), it.maxlen)),
    ipaddress.IPv4Address: lambda it: ("ipv4", it.packed),
    ipaddress.IPv6Address: lambda it: ("ipv6", str(it)),
}

_INDEX = (int, type(None))


def _unpack_ordered(plain: list[Any]) -> OrderedDict[Any, Any]:
    # Of other pairs nobody has counted how many keys have the same hash.
    return OrderedDict(shaped(pair, object, object) for pair in plain)


UNPACK: dict[str, Callable[[Any], Any]] = {
    "datetime": _unpack_datetime,
    "date": _from(datetime.date, int, int, int),
    "time": _unpack_time,
    "timedelta": _from(datetime.timedelta, int, int, int),
    "timezone": zone_of,
    "decimal": exactly(str, decimal.Decimal),
    "fraction": lambda plain: fractions.Fraction(*_short(*shaped(plain, int, int))),
    "uuid": exactly(bytes, lambda plain: uuid.UUID(bytes=plain)),
    "range": lambda plain: range(*_short(*shaped(plain, int, int, int))),
    "slice": _from(slice, object, object, object),
    "ellipsis": exactly(type(None), lambda plain: ...),
    "ordereddict": exactly(list, _unpack_ordered),
    "counter": exactly(dict, Counter),
    "deque": _from(deque, list, _INDEX),
    "ipv4": exactly(bytes, ipaddress.IPv4Address),
    "ipv6": exactly(str, ipaddress.IPv6Address),
    "path": exactly(str, pathlib.Path),
    "posixpath": exactly(str, pathlib.PurePosixPath),
    "windowspath": exactly(str, pathlib.PureWindowsPath),
    "numpy.ndarray": _unpack_ndarray,
    "numpy.generic": _unpack_generic,
    "numpy.str": exactly(str, lambda plain: _numpy().str_(plain)),
    "numpy.bytes": exactly(bytes, lambda plain: _numpy().bytes_(plain)),
    "enum": _from(lambda module, kind, name: _find_enum(module, kind)[name], str, str, str),
    "flag": _from(lambda module, kind, value: _find_enum(module, kind, enum.Flag)(value), str, str, int),
}


def path_name(it: pathlib.PurePath) -> str | None:
    kind = type(it)
    if kind is type(pathlib.Path()):
        return "path"
    return next((name for name, known in _PATHS.items() if kind is known), None)
