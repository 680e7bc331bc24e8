"""How objects beyond plain data become plain data, and back.

The native half knows `None`, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set and frozenset.
For anything else it asks :meth:`Forms.pack`, which gives a name and plain data, or nothing. Reading goes by the name:
each is in a closed table here, or is a type the user registered. No class is looked up by a name that a store contains,
except enums of modules that this program has imported by itself.
"""

from __future__ import annotations

import dataclasses
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
from collections.abc import Callable, Iterable
from pickle import PickleBuffer
from typing import Any

from .._core.checks import shown
from .._core.signals import is_of_handler
from ..errors import DecodeError, InvalidOptionError, UnsafeValueError
from .annotated_types import annotated, is_model, is_named_tuple

Packed = tuple[str, Any]

_PATHS: dict[str, type[pathlib.PurePath]] = {
    "path": pathlib.Path,
    "posixpath": pathlib.PurePosixPath,
    "windowspath": pathlib.PureWindowsPath,
}

_UTC = datetime.timezone.utc

#: Ints of more bits within a fraction or a range are refused: making one of them takes the square of their length.
_BITS = 1 << 14


class _Formless(Exception):
    """An object has no safe form, though others of its class have."""


class _Misshapen(Exception):
    """Plain data is not what a maker was written for."""


def _shape(plain: Any, *kinds: Any) -> Any:
    """Plain data that is a tuple of items of exactly these classes, each a class, a tuple of some, or `object`.

    What is stored can be anybody's bytes. Most classes of the standard library take more than what their objects are
    made of, and some of that without end: all that can be iterated over, a range for example.
    """
    if type(plain) is not tuple or len(plain) != len(kinds):
        raise _Misshapen
    for item, kind in zip(plain, kinds, strict=True):
        if kind is not object and type(item) not in (kind if isinstance(kind, tuple) else (kind,)):
            raise _Misshapen
    return plain


def _of(kind: type, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A maker that takes plain data of exactly one class."""

    def made(plain: Any) -> Any:
        if type(plain) is not kind:
            raise _Misshapen
        return make(plain)

    return made


def _from(make: Callable[..., Any], *kinds: Any) -> Callable[[Any], Any]:
    """A maker whose arguments are the items of a tuple."""
    return lambda plain: make(*_shape(plain, *kinds))


def _short(*numbers: Any) -> tuple[Any, ...]:
    """Numbers that can be computed with at once."""
    if any(type(number) is int and number.bit_length() > _BITS for number in numbers):
        raise _Formless
    return numbers


def type_name(kind: type) -> str:
    """The name under which a type is stored."""
    return f"{kind.__module__}.{kind.__qualname__}"


# --- times ----------------------------------------------------------------------------------------------------------


def _zone(zone: datetime.tzinfo | None) -> Any:
    """Plain data of a time zone; raises :class:`_Formless` for one of an unknown kind."""
    if zone is None:
        return None
    if type(zone) is datetime.timezone:
        offset = zone.utcoffset(None)
        return (offset.days, offset.seconds, offset.microseconds, None if zone is _UTC else zone.tzname(None))
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return zone.key
    raise _Formless


def _unzone(plain: Any) -> datetime.tzinfo | None:
    if plain is None:
        return None
    if isinstance(plain, str):
        return zoneinfo.ZoneInfo(plain)
    days, seconds, microseconds, name = _shape(plain, int, int, int, (str, type(None)))
    offset = datetime.timedelta(days, seconds, microseconds)
    if name is None:
        return _UTC
    zone = datetime.timezone(offset)
    return zone if zone.tzname(None) == name else datetime.timezone(offset, name)


def _pack_datetime(it: datetime.datetime) -> Packed:
    plain = (it.year, it.month, it.day, it.hour, it.minute, it.second, it.microsecond, it.fold)
    return "datetime", (*plain, _zone(it.tzinfo))


def _unpack_datetime(plain: Any) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = _shape(plain, *[int] * 8, object)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, _unzone(zone), fold=fold)


def _pack_time(it: datetime.time) -> Packed:
    return "time", (it.hour, it.minute, it.second, it.microsecond, it.fold, _zone(it.tzinfo))


def _unpack_time(plain: Any) -> datetime.time:
    hour, minute, second, microsecond, fold, zone = _shape(plain, *[int] * 5, object)
    return datetime.time(hour, minute, second, microsecond, _unzone(zone), fold=fold)


def _pack_timedelta(it: datetime.timedelta) -> Packed:
    return "timedelta", (it.days, it.seconds, it.microseconds)


# --- numpy ----------------------------------------------------------------------------------------------------------


#: What `dtype.str` says of the kinds that are stored: numpy's own reader of such texts takes more, and divides by zero.
_DTYPE = re.compile(
    r"\|[biu]1|[<>](?:[iu][248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|U[1-9][0-9]{0,8}"
    r"|[mM]8\[(?:[1-9][0-9]{0,9})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])|<[mM]8|\|S[1-9][0-9]{0,9}"
)

#: Of numpy 2; numpy 1 has 32.
_DIMENSIONS = 64


def _pack_numpy(it: Any) -> Packed | None:
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
        raise _Misshapen
    numpy = _numpy()
    if dtype == "|b1" and numpy.frombuffer(data, dtype="|u1").max(initial=0) > 1:
        raise _Misshapen
    if dtype[1] == "U" and numpy.frombuffer(data, dtype=dtype[0] + "u4").max(initial=0) > sys.maxunicode:
        raise _Misshapen
    return numpy.frombuffer(data, dtype=dtype)


def _unpack_ndarray(plain: Any) -> Any:
    dtype, shape, fortran, data = _shape(plain, str, tuple, bool, bytearray)
    if len(shape) > _DIMENSIONS or not all(type(side) is int and 0 <= side < 1 << 63 for side in shape):
        raise _Misshapen
    # `data` is a bytearray that nobody else has, so the array can be written to without a copy.
    return _flat(dtype, data).reshape(shape, order="F" if fortran else "C")


def _unpack_generic(plain: Any) -> Any:
    dtype, data = _shape(plain, str, bytes)
    (item,) = _flat(dtype, data)
    return item


# --- enums ----------------------------------------------------------------------------------------------------------


def _pack_enum(it: enum.Enum) -> Packed:
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

_PACK: dict[type, Callable[[Any], Packed | None]] = {
    datetime.datetime: _pack_datetime,
    datetime.date: lambda it: ("date", (it.year, it.month, it.day)),
    datetime.time: _pack_time,
    datetime.timedelta: _pack_timedelta,
    datetime.timezone: lambda it: ("timezone", _zone(it)),
    zoneinfo.ZoneInfo: lambda it: ("timezone", _zone(it)),
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
    return OrderedDict(_shape(pair, object, object) for pair in plain)


_UNPACK: dict[str, Callable[[Any], Any]] = {
    "datetime": _unpack_datetime,
    "date": _from(datetime.date, int, int, int),
    "time": _unpack_time,
    "timedelta": _from(datetime.timedelta, int, int, int),
    "timezone": _unzone,
    "decimal": _of(str, decimal.Decimal),
    "fraction": lambda plain: fractions.Fraction(*_short(*_shape(plain, int, int))),
    "uuid": _of(bytes, lambda plain: uuid.UUID(bytes=plain)),
    "range": lambda plain: range(*_short(*_shape(plain, int, int, int))),
    "slice": _from(slice, object, object, object),
    "ellipsis": _of(type(None), lambda plain: ...),
    "ordereddict": _of(list, _unpack_ordered),
    "counter": _of(dict, Counter),
    "deque": _from(deque, list, _INDEX),
    "ipv4": _of(bytes, ipaddress.IPv4Address),
    "ipv6": _of(str, ipaddress.IPv6Address),
    "path": _of(str, pathlib.Path),
    "posixpath": _of(str, pathlib.PurePosixPath),
    "windowspath": _of(str, pathlib.PureWindowsPath),
    "numpy.ndarray": _unpack_ndarray,
    "numpy.generic": _unpack_generic,
    "numpy.str": _of(str, lambda plain: _numpy().str_(plain)),
    "numpy.bytes": _of(bytes, lambda plain: _numpy().bytes_(plain)),
    "enum": _from(lambda module, kind, name: _find_enum(module, kind)[name], str, str, str),
    "flag": _from(lambda module, kind, value: _find_enum(module, kind, enum.Flag)(value), str, str, int),
}


def _path_name(it: pathlib.PurePath) -> str | None:
    kind = type(it)
    if kind is type(pathlib.Path()):
        return "path"
    return next((name for name, known in _PATHS.items() if kind is known), None)


# --- registered types -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Registered:
    """How one type of the user's becomes plain data and back."""

    name: str
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]


def _register(kind: type) -> _Registered:
    name = type_name(kind)
    if issubclass(kind, enum.Enum):
        if issubclass(kind, enum.Flag):
            return _Registered(name, lambda it: it.value, kind)
        return _Registered(name, lambda it: it.name, lambda plain: kind[plain])
    if is_model(kind):
        return _Registered(name, _pydantic_to_plain, lambda plain: _pydantic_from_plain(kind, plain))
    if dataclasses.is_dataclass(kind):
        return _Registered(name, _dataclass_to_plain, lambda plain: _dataclass_from_plain(kind, plain))
    if is_named_tuple(kind):
        return _Registered(name, tuple, _of(tuple, lambda plain: _named_tuple(kind, plain)))
    raise InvalidOptionError(
        f"types: '{name}' is not a dataclass, enum, named tuple or pydantic model: convert its values to one of "
        f"these, or allow pickle"
    )


def _named_tuple(kind: Any, plain: Any) -> Any:
    return tuple.__new__(kind, plain)


def _dataclass_to_plain(it: Any) -> dict[str, Any]:
    return {field.name: getattr(it, field.name) for field in dataclasses.fields(it) if hasattr(it, field.name)}


def _dataclass_from_plain(kind: type, plain: dict[str, Any]) -> Any:
    # As pickle does: the fields are what they were, and `__init__` and `__post_init__` do not run again.
    if not _is_fields(plain):
        raise _Misshapen
    made: Any = object.__new__(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = plain.keys() - known
    if unknown:
        raise DecodeError(
            f"the entry has fields {sorted(unknown)} that {type_name(kind)} has no more: store it under a new version"
        )
    for field in dataclasses.fields(kind):
        if field.name in plain:
            object.__setattr__(made, field.name, plain[field.name])
        elif field.default is not dataclasses.MISSING:
            object.__setattr__(made, field.name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(made, field.name, field.default_factory())
        else:
            raise DecodeError(
                f"the entry lacks the field '{field.name}' of {type_name(kind)}: store it under a new version"
            )
    return made


def _is_fields(plain: Any) -> bool:
    return type(plain) is dict and all(type(name) is str for name in plain)


def _pydantic_to_plain(it: Any) -> Any:
    """The fields as they are, those of nested models too, each by the rules of its own type."""
    values = {name: it.__dict__[name] for name in type(it).model_fields if name in it.__dict__}
    return values, it.__pydantic_extra__, sorted(it.__pydantic_fields_set__), it.__pydantic_private__


def _pydantic_from_plain(kind: Any, plain: Any) -> Any:
    # As pickle does: nothing is validated again, and no code of the model runs but factories of defaults.
    found, extra, fields_set, private = _shape(plain, dict, (dict, type(None)), list, (dict, type(None)))
    of_names = (found, extra or {}, private or {})
    if not all(map(_is_fields, of_names)) or not all(type(name) is str for name in fields_set):
        raise _Misshapen
    unknown = found.keys() - kind.model_fields.keys()
    if unknown:
        raise DecodeError(
            f"the entry has fields {sorted(unknown)} that {type_name(kind)} has no more: store it under a new version"
        )
    values = {}
    for name, field in kind.model_fields.items():
        if name in found:
            values[name] = found[name]
        elif field.is_required():
            raise DecodeError(f"the entry lacks the field '{name}' of {type_name(kind)}: store it under a new version")
        else:
            values[name] = field.get_default(call_default_factory=True)
    if kind.__private_attributes__:
        present = private or {}
        private = {
            name: present[name] if name in present else attribute.get_default()
            for name, attribute in kind.__private_attributes__.items()
            if name in present or private is None
        }
    made = kind.__new__(kind)
    made.__setstate__(
        {
            "__dict__": values,
            "__pydantic_extra__": extra,
            "__pydantic_fields_set__": set(fields_set),
            "__pydantic_private__": private,
        }
    )
    return made


class Forms:
    """The forms that one handle knows: the closed table, and the types registered with it.

    Args:
        kinds: Registered with the classes their fields name. Those are looked for once, when an object is met that is
            of no other known class.
        exact: Registered alone.
    """

    def __init__(self, kinds: Iterable[type] = (), exact: Iterable[type] = ()) -> None:
        self.types = tuple(kinds)
        self._by_type: dict[type, _Registered] = {}
        self._by_name: dict[str, _Registered] = {}
        for kind in (*self.types, *exact):
            if not isinstance(kind, type):
                raise InvalidOptionError(f"types: {shown(kind)} is not a class")
            registered = _register(kind)
            self._by_type[kind] = registered
            self._by_name[registered.name] = registered
        #: Of those that `types` names itself.
        self._as_keys = frozenset(self._by_type)
        self._is_complete = not self.types

    def _complete(self) -> None:
        """Registers the classes that the fields of the registered ones name."""
        by_type, by_name = dict(self._by_type), dict(self._by_name)
        for kind in annotated(self.types):
            # An enum that is found by its name needs it no more than any other.
            if issubclass(kind, enum.Enum) and "<locals>" not in kind.__qualname__:
                continue
            registered = _register(kind)
            # Of two of one name an entry could not tell which it was.
            if registered.name not in by_name:
                by_type[kind] = by_name[registered.name] = registered
        # Whole, since other threads look into them.
        self._by_type, self._by_name = by_type, by_name
        self._is_complete = True

    def _registered(self, kind: type) -> _Registered | None:
        found = self._by_type.get(kind)
        if found is None and not self._is_complete and kind not in _PACK:
            self._complete()
            found = self._by_type.get(kind)
        return found

    def pack(self, it: Any) -> Packed | None:
        """Name and plain data of an object that is not plain; `None` if it has no safe form."""
        kind = type(it)
        registered = self._registered(kind)
        if registered is not None:
            return "of:" + registered.name, registered.to_plain(it)
        packer = _PACK.get(kind)
        try:
            if packer is not None:
                return packer(it)
            if isinstance(it, enum.Enum):
                return _pack_enum(it)
        except _Formless:
            return None
        if isinstance(it, pathlib.PurePath):
            name = _path_name(it)
            return None if name is None else (name, str(it))
        if kind.__module__.partition(".")[0] == "numpy":
            return _pack_numpy(it)
        return None

    def unpack(self, name: str, plain: Any) -> Any:
        """The way back. Builds objects of known types only."""
        maker = _UNPACK.get(name)
        if maker is None and name.startswith("of:"):
            registered = self._by_name.get(name[3:])
            if registered is None and not self._is_complete:
                self._complete()
                registered = self._by_name.get(name[3:])
            if registered is None:
                raise UnsafeValueError(
                    f"the entry is a '{name[3:]}', which is not registered with this handle: open it with "
                    f"types=[{name.rpartition('.')[2]}]"
                )
            maker = registered.from_plain
        if maker is None:
            raise DecodeError(
                f"the entry has a form that this version does not know ({shown(name)}): upgrade cachemere"
            )
        try:
            return maker(plain)
        except (DecodeError, UnsafeValueError):
            raise
        except (_Misshapen, _Formless):
            raise DecodeError(f"the entry's {name!r} is not made of what it should be: remove the entry") from None
        except Exception as cause:
            if is_of_handler(cause):
                raise
            raise DecodeError(f"the entry's {name!r} cannot be built again: {cause}") from cause

    def canonical(self, key: Any) -> tuple[str, Any, bool] | None:
        """Name and canonical plain data of a key that is not plain, and whether they say what the key is.

        Keys that are equal must get equal forms. A subclass of a known type that keeps its equality (`IntEnum`,
        a named tuple, `numpy.str_`) therefore gets that of the known type.
        """
        kind: Any = type(key)
        try:
            number = _as_number(key)
            if number is not None:
                return (*number, False)
            for plain, exact in _EXACT.items():
                if isinstance(key, plain):
                    # numpy's own types compare as their bases do, though in code of their own.
                    if not _compares_as(kind, plain) and kind.__module__ != "numpy":
                        return None
                    return "", exact(key), self.pack(key) is None
            for base, canonical in _CANONICAL.items():
                if isinstance(key, base):
                    return (*canonical(key), False) if _compares_as(kind, base) else None
        except _Formless:
            return None
        if isinstance(key, enum.Enum):
            return (*_pack_enum(key), False) if kind.__eq__ is object.__eq__ else None
        if isinstance(key, pathlib.PurePath):
            return _canonical_path(key)
        if kind in self._as_keys:
            return self._canonical_registered(key)
        packed = self.pack(key)
        # A class that a field names makes values and not keys: a handle that pickles keys has pickled those.
        if packed is None or kind in self._by_type or kind.__hash__ is None or kind.__module__ == "numpy":
            return None
        return (*packed, False)

    def _canonical_registered(self, key: Any) -> tuple[str, Any, bool] | None:
        registered = self._by_type.get(type(key))
        parameters = getattr(type(key), "__dataclass_params__", None)
        if registered is None or parameters is None or not (parameters.eq and parameters.frozen):
            return None
        fields = [field for field in dataclasses.fields(key) if field.compare]
        return "of:" + registered.name, tuple(getattr(key, field.name) for field in fields), False


#: From an instance of a subclass to what it is equal to, without calling any code of the subclass.
_EXACT: dict[Any, Callable[[Any], Any]] = {
    str: str.__str__,
    bytes: lambda key: bytes.__getitem__(key, slice(None)),
    tuple: lambda key: tuple.__getitem__(key, slice(None)),
    frozenset: frozenset().union,
}


def _compares_as(kind: Any, plain: Any) -> bool:
    return kind.__eq__ is plain.__eq__ and kind.__hash__ is plain.__hash__


def _as_number(key: Any) -> Packed | None:
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
                raise _Formless
            return _as_number(narrow)
        if isinstance(key, (numpy.number, numpy.bool_)):
            return _as_number(key.item())
    for base, former in _NUMBERS.items():
        if isinstance(key, base):
            if not _compares_as(kind, base):
                raise _Formless
            return former(key)
    return None


def _of_int(key: int) -> Packed:
    if key.bit_length() <= _LONG_INT or abs(key) < 10 ** (_DIGITS + 1):
        return "", key
    return "decimal", _scientific(key)


def _of_decimal(key: decimal.Decimal) -> Packed:
    if key.is_snan():
        raise _Formless
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
        raise _Formless
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
            return _pack_timedelta(length) if is_length else _canonical_datetime(_EPOCH + length)
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
        return "datetime", _pack_datetime(naive)[1]
    if plain.replace(fold=1).utcoffset() != offset:
        return "ambiguous", (_pack_datetime(naive)[1], _zone(key.tzinfo))
    # Not as a datetime, which could not hold those of the first and last day.
    since = (naive - datetime.datetime.min) - offset
    return "instant", (since.days, since.seconds, since.microseconds)


def _canonical_path(key: pathlib.PurePath) -> tuple[str, Any, bool] | None:
    if _path_name(key) is None:
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
_CANONICAL: dict[Any, Callable[[Any], Packed]] = {
    datetime.datetime: _canonical_datetime,
    datetime.date: lambda key: ("date", (key.year, key.month, key.day)),
    datetime.time: _canonical_time,
    datetime.timedelta: _pack_timedelta,
    datetime.timezone: lambda key: ("timezone", _zone(datetime.timezone(key.utcoffset(None)))),
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
