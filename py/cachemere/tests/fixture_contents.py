"""What is in the store `fixtures/python-v1`. `fixture_contents.py DIRECTORY` makes one."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import sys
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from typing import Any, NamedTuple

import cachemere
import numpy

UTC = datetime.timezone.utc
PASSPHRASE = "a passphrase for the tests"


class Colour(enum.Enum):
    RED = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float


class Pair(NamedTuple):
    left: str
    right: Any


TYPES = (Point, Pair)

KEYS: list[Any] = [
    "text",
    "\ud800",
    b"bytes",
    7,
    2**70,
    -1,
    1.5,
    None,
    ("a", ("b", 1)),
    frozenset({1, "x"}),
    Colour.RED,
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    datetime.date(2026, 1, 2),
    datetime.timedelta(1, 2, 3),
    decimal.Decimal("1.1"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
    pathlib.Path("a/b"),
    Point(1, 2.0),
]

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**63,
    -(2**200),
    0.1,
    float("-inf"),
    1 - 2j,
    "",
    "ä€😀",
    "\udcff",
    b"\0\1",
    bytearray(b"abc"),
    [],
    [1, [2, (3,)]],
    (),
    {"a": 1, 2: {"b": None}},
    {1, 2},
    frozenset({"x"}),
    datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("UTC")),
    datetime.datetime(2026, 7, 1, 12, fold=1, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "X")),
    datetime.date(1, 1, 1),
    datetime.time(1, 2, 3, 4, UTC),
    datetime.timedelta(-1),
    decimal.Decimal("1.10"),
    fractions.Fraction(-2, 7),
    uuid.UUID(int=2**100),
    range(1, 9, 2),
    slice(None, 5),
    ...,
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("abca"),
    deque([1, 2], maxlen=2),
    ipaddress.IPv4Address("127.0.0.1"),
    ipaddress.IPv6Address("::1"),
    pathlib.PurePosixPath("/x"),
    pathlib.PureWindowsPath("c:/x"),
    Colour.RED,
    Access.READ | Access.WRITE,
    Point(1, 2.5),
    Pair("l", [1]),
    numpy.arange(6, dtype="<i4").reshape(2, 3),
    numpy.asfortranarray(numpy.ones((2, 2), dtype="<f8")),
    numpy.float32(0.5),
]


def write(directory: str) -> None:
    """Makes the store: plain keys, values in a namespace of their own, and an encrypted namespace in another store."""
    with cachemere.Cache(f"{directory}/plain", types=TYPES) as cache:
        cache.set_many((key, [key]) for key in KEYS)
        cache.set("tagged", "value", tags=("one", "two"))
        values = cache.namespace("values")
        values.set_many(enumerate(VALUES))
        values.close()
        compressed = cachemere.Cache(f"{directory}/plain", namespace="compressed", compression=True)
        compressed["long"] = "a" * 10_000
        compressed.close()
        with cachemere.PersistDict(f"{directory}/plain", namespace="dict") as d:
            d["class"] = int
    with cachemere.Cache(f"{directory}/encrypted", encryption_key=PASSPHRASE) as cache:
        cache["secret"] = {"plan": (1, 2)}


if __name__ == "__main__":
    # Classes are stored by the name of their module.
    import fixture_contents

    fixture_contents.write(sys.argv[1])
