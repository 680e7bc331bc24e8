"""Strategies of values and keys, and how to compare what came back with what was stored."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import fractions
import ipaddress
import math
import pathlib
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Word(str, enum.Enum):
    A = "a"
    RED = "red"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Mask(enum.IntFlag):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True)
class Pair:
    left: Any
    right: Any = None


@dataclasses.dataclass
class Box:
    content: Any
    labels: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Slim:
    content: Any


TYPES = (Point, Pair, Box, Slim)

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
zones = st.one_of(
    st.none(),
    st.just(datetime.timezone.utc),
    st.sampled_from([zoneinfo.ZoneInfo(name) for name in ZONES]),
    st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)).map(datetime.timezone),
    st.just(datetime.timezone(datetime.timedelta(hours=1), "named")),
    st.just(datetime.timezone(datetime.timedelta(0), "zero")),
)
#: Around changes of clocks as often as not.
moments = st.one_of(
    st.datetimes(datetime.datetime(3, 1, 1), datetime.datetime(9998, 1, 1)),
    st.datetimes(datetime.datetime(2024, 10, 27), datetime.datetime(2024, 10, 27, 4)),
    st.sampled_from([datetime.datetime(2024, 3, 31, 2, 30), datetime.datetime(2024, 11, 3, 1, 30)]),
)
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), moments, zones, st.integers(0, 1)
)
times = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), zones, st.integers(0, 1)
)
texts = st.one_of(st.text(max_size=20), st.text(st.characters(), max_size=5), st.just("\ud800 lone \udfff"))
ints = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**40, -(10**40), 1 << 5000]),
)
floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0, 0.5, 2.0**53, 2.0**63, 1e300, math.inf, -math.inf]))
decimals = st.one_of(
    st.decimals(-(10**6), 10**6, places=3, allow_nan=False),
    st.sampled_from([Decimal("1.10"), Decimal("-0"), Decimal("0.5"), Decimal("1e400"), Decimal("-Infinity")]),
)
ranges = st.builds(range, st.integers(-5, 5), st.integers(-5, 5), st.integers(-3, 3).filter(lambda step: step != 0))
paths = st.sampled_from(
    [pathlib.Path("a/b"), pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a\\B"), pathlib.PureWindowsPath("A/b")]
)
enums = st.sampled_from(
    [*Colour, *Number, *Word, *Rights, Rights.READ | Rights.WRITE, Rights(0), *Mask, Mask.LOW | Mask.HIGH]
)

#: What can be a key, and is not nested.
atoms: Any = st.one_of(
    st.none(),
    st.booleans(),
    ints,
    floats,
    st.complex_numbers(max_magnitude=1e9),
    texts,
    st.binary(max_size=20),
    decimals,
    st.fractions(-10, 10, max_denominator=8),
    st.uuids(),
    datetimes,
    st.dates(),
    times,
    st.timedeltas(),
    zones,
    ranges,
    paths,
    enums,
    st.sampled_from([..., ipaddress.IPv4Address("1.2.3.4"), ipaddress.IPv6Address("fe80::1%eth0")]),
)


def _is_key(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


keys: Any = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(Slim, inner),
    ),
    max_leaves=5,
)

values: Any = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=3),
        st.frozensets(keys, max_size=3),
        st.binary(max_size=9).map(bytearray),
        st.dictionaries(texts, inner, max_size=3).map(OrderedDict),
        st.dictionaries(texts, st.integers(), max_size=3).map(Counter),
        st.builds(deque, st.lists(inner, max_size=3), st.one_of(st.none(), st.integers(3, 5))),
        st.builds(slice, st.integers(), st.none(), st.integers()),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(Box, inner, st.lists(texts, max_size=2)),
        st.builds(Slim, inner),
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Whether two values are of the same types throughout and equal, NaN and the sign of zero included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and not isinstance(a, enum.Enum):
        return a.hex() == b.hex() if not math.isnan(a) else math.isnan(b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if isinstance(a, (datetime.datetime, datetime.time)):
        return (a.replace(tzinfo=None), a.fold) == (b.replace(tzinfo=None), b.fold) and same(a.tzinfo, b.tzinfo)
    if isinstance(a, datetime.timezone):
        return repr(a) == repr(b)
    if isinstance(a, (list, tuple, deque)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True)) and _limit(a) == _limit(b)
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, (set, frozenset)):
        rest = list(b)
        for item in a:
            found = next((place for place, other in enumerate(rest) if same(item, other)), None)
            if found is None:
                return False
            del rest[found]
        return not rest
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    return bool(a == b)


def _limit(a: Any) -> Any:
    return a.maxlen if isinstance(a, deque) else None


EXAMPLES: list[Any] = [
    None,
    True,
    1,
    1.5,
    -0.0,
    math.nan,
    math.inf,
    2**100,
    -(2**64),
    "text",
    "\ud800",
    b"bytes",
    bytearray(b"bytes"),
    [1, [2, [3]]],
    (1, (2, (3,))),
    {"a": {"b": {1: 2}}},
    {1, 2},
    frozenset({1, 2}),
    {("a", 1): frozenset({(1, 2)})},
    1 + 2j,
    ...,
    range(1, 10, 2),
    slice(1, None, 2),
    uuid.UUID(int=5),
    fractions.Fraction(1, 3),
    Decimal("1.10"),
    datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"), fold=1),
    datetime.date(2024, 1, 1),
    datetime.time(1, 2, 3, 4, tzinfo=datetime.timezone.utc),
    datetime.timedelta(1, 2, 3),
    datetime.timezone(datetime.timedelta(hours=1), "named"),
    zoneinfo.ZoneInfo("Asia/Kolkata"),
    pathlib.Path("a/b"),
    pathlib.PureWindowsPath("a\\b"),
    Colour.BLUE,
    Number.TWO,
    Word.A,
    Rights.READ | Rights.WRITE,
    Mask.LOW | Mask.HIGH,
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("abca"),
    deque([1, 2], maxlen=5),
    ipaddress.IPv4Address("1.2.3.4"),
    ipaddress.IPv6Address("fe80::1"),
]
