"""Keys that are equal are one key, others are not, and they come in their order."""

from __future__ import annotations

import enum
import fractions
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
from cachemere.errors import DecodeError, KeyFormError
from cachemere.rocksdb import RocksDBDict
from hypothesis import example, given
from hypothesis import strategies as st

# fmt: off
IN_ORDER: list[Any] = [
    None,
    -math.inf, -(2**200), -(2**64) - 1, -(2**64), -(2**63) - 1, -(2**63), -1e18, -256, -255, -5, -1.5, -1, -0.5,
    -1e-300, -5e-324, 0, 5e-324, 1e-323, 2.2250738585072014e-308, 1e-300, 0.1, 0.5, 1, 1.0000000000000002, 1.5, 2,
    3, 127, 128, 2**53,
    2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 1e19, 2**64 - 1, 2**64, 2**64 + 1, 2**191, 2**192, 2**193 + 1, 1e300,
    2**2000, 2**2000 + 1, math.inf,
    b"", b"\x00", b"\x00\xff", b"a", b"a\x00", b"b", b"\xff",
    "", "\x00", "a", "a\x00", "a\x00\xff", "ab", "b", "\u00e9", "\ud800", "\uffff", "\U00010000",
    (), (None,), (1,), (1, 2), (1.5,), (b"a",), ("",), ("", 1), ("a",), ("a", 1), ("a", 2), ("a", ("b",)), ("a\x00",),
    ("a\x00", 1), ("a\x00b",), ("ab",), ((),), ((1,),), ((1,), "z"), ((1, 2),),
]
# fmt: on


def test_all_kinds_of_keys_are_told_apart_and_come_in_their_order(path: Path) -> None:
    d: RocksDBDict[Any, int] = RocksDBDict(path)
    for place, key in random.Random(1).sample(list(enumerate(IN_ORDER)), len(IN_ORDER)):
        d[key] = place
    assert list(d) == IN_ORDER and list(d.values()) == list(range(len(IN_ORDER)))
    assert [d[key] for key in IN_ORDER] == list(range(len(IN_ORDER)))
    assert list(reversed(d)) == IN_ORDER[::-1]


def test_equal_keys_are_one_key(path: Path) -> None:
    class Colour(enum.IntEnum):
        RED = 1

    class Point(NamedTuple):
        x: int
        y: int

    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d[1] = "one"
    same = [True, 1.0, Colour.RED, fractions.Fraction(2, 2), 1 + 0j, numpy.int8(1), numpy.float32(1)]
    assert all(d[key] == "one" for key in same) and len(d) == 1
    d[0] = "zero"
    assert d[-0.0] == d[False] == "zero"
    d[(1, 2)] = "pair"
    assert d[Point(1, 2)] == d[(True, 2.0)] == "pair"
    d["text"] = "text"
    assert d[numpy.str_("text")] == "text"
    d[math.nan] = "nan"
    assert d[float("nan")] == "nan"
    d[0.5] = "half"
    assert d[fractions.Fraction(1, 2)] == "half"


def test_a_str_is_not_its_bytes(path: Path) -> None:
    d: RocksDBDict[Any, str] = RocksDBDict(path)
    d["a"], d[b"a"], d[("a",)] = "str", "bytes", "tuple"
    assert (d["a"], d[b"a"], d[("a",)]) == ("str", "bytes", "tuple") and len(d) == 3


def test_a_whole_number_is_read_as_an_int(path: Path) -> None:
    d: RocksDBDict[Any, None] = RocksDBDict(path)
    d.update(dict.fromkeys([True, 2.0, 1e300, 0.5, -0.0]))
    assert [(type(key), key) for key in d] == [
        (int, 0),
        (float, 0.5),
        (int, 1),
        (int, 2),
        (int, int(1e300)),
    ]


@pytest.mark.parametrize("key", [[], {}, object(), [1], ([],), 1j, fractions.Fraction(1, 3), {1}, slice(1)])
def test_other_keys_are_refused_and_nothing_is_written(path: Path, key: Any) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    for work in (lambda: d[key], lambda: d.__setitem__(key, 1), lambda: key in d, lambda: d.get(key)):
        with pytest.raises(KeyFormError, match="has no ordered form"):
            work()
    assert len(d) == 0


def test_a_key_that_is_too_deep_or_too_large_is_refused(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    deep: Any = ()
    for _ in range(1000):
        deep = (deep,)
    with pytest.raises(KeyFormError, match="nested too deeply"):
        d[deep] = 1
    with pytest.raises(KeyFormError, match="too large for a key"):
        d[1 << (1 << 27)] = 1
    d[-(1 << (1 << 20))] = "large"
    assert list(d) == [-(1 << (1 << 20))]


def test_bytes_that_are_no_ordered_key_are_an_error(path: Path) -> None:
    raw: RocksDBDict[Any, bytes] = RocksDBDict(path, key_encoding="raw", deser_value=bytes)
    # fmt: off
    broken = [
        b"", b"\x01", b"\x13", b"\x13\x20", b"\x13\xe0\x00", b"\x13\x21\x03",
        b"\x13\xf0\xff\xff\xff\xff\xff\xff\xff\xff\x00",
        b"\x30", b"\x30\x28a", b"\x30\x28a\x00", b"\x28\xff\xfe", b"\x12\x00", b"\x08\x08", b"\xff",
        b"\x13\x10\x00\x00\x00", b"\x13\x20\x01\x01\x01\x01\x01\x01\x01\x01\x01\x02",
    ]
    # fmt: on
    for key in broken:
        raw[key] = b"\x00N"
    raw.close()
    (path / "CACHEMERE").write_text("cachemere-rocksdb 1\nkeys ordered\nvalues safe\n")
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    keys = iter(d)
    for _ in broken:
        with pytest.raises(DecodeError):
            next(keys)
    assert next(keys, "end") == "end"


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.integers(-(2**300), 2**300), st.booleans())
SCALARS = st.one_of(st.none(), NUMBERS, st.binary(max_size=6), st.text(max_size=6), st.text("\0\x01a", max_size=4))
KEYS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


def rank(key: Any) -> Any:
    """The order that is promised, for Python to compare."""
    if key is None:
        return (0,)
    if isinstance(key, (bool, int, float)):
        return (1, fractions.Fraction(key) if math.isfinite(key) else key)
    if isinstance(key, bytes):
        return (2, key)
    if isinstance(key, str):
        return (3, [ord(letter) for letter in key])
    return (4, [rank(item) for item in key])


@given(st.lists(KEYS, max_size=12))
@example([0.1, 1, 2**53 + 1, float(2**53)])
def test_any_keys_are_found_again_in_their_order(tmp_path_factory: pytest.TempPathFactory, keys: list[Any]) -> None:
    expected = {key: repr(key) for key in keys}
    with RocksDBDict[Any, str](tmp_path_factory.mktemp("ordered") / "db") as d:
        d.update(expected)
        assert list(d) == sorted(expected, key=rank)
        assert {key: d[key] for key in expected} == expected and len(d) == len(expected)
