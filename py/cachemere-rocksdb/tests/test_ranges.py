"""Parts of a database: by prefix, from a key to another, in order and back, also while others write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import ClosedError, InvalidOptionError
from cachemere.rocksdb import RocksDBDict, RocksDBOptions, fixed_prefix_alike


@pytest.fixture
def d(path: Path) -> RocksDBDict[Any, int]:
    d: RocksDBDict[Any, int] = RocksDBDict(path)
    d.update((number, number * 10) for number in range(100))
    return d


def test_ranges_have_their_first_key_and_not_their_last(d: RocksDBDict[Any, int]) -> None:
    assert list(d.keys(start=5, stop=8)) == [5, 6, 7] and list(d.keys(start=98)) == [98, 99]
    assert list(d.keys(stop=2)) == [0, 1] and list(d.keys(start=4.5, stop=6.5)) == [5, 6]
    assert list(d.items(start=5, stop=7)) == [(5, 50), (6, 60)] and list(d.values(start=5, stop=7)) == [50, 60]
    assert list(d.keys(start=8, stop=5)) == [] and list(d.keys(start=5, stop=5)) == []
    assert list(d.keys(start=None, stop=1)) == [0] and list(d.keys(start=1000)) == []


def test_ranges_go_back(d: RocksDBDict[Any, int]) -> None:
    assert (
        list(d.keys(start=5, stop=8, reverse=True)) == [7, 6, 5]
        and list(d.keys(reverse=True)) == list(range(100))[::-1]
    )
    assert list(reversed(d.keys(start=5, stop=8, reverse=True))) == [5, 6, 7]
    assert list(d.items(stop=2, reverse=True)) == [(1, 10), (0, 0)]
    with pytest.raises(InvalidOptionError, match="reverse"):
        d.keys(reverse="no")  # type: ignore[arg-type]


def test_a_range_is_a_view_of_its_keys_only(d: RocksDBDict[Any, int]) -> None:
    some = d.items(start=5, stop=8)
    assert len(some) == 3 and (5, 50) in some and (8, 80) not in some and (5, 51) not in some
    assert 7 in d.keys(start=5, stop=8) and 8 not in d.keys(start=5, stop=8) and 80 not in d.values(start=5, stop=8)
    d[5.5] = 55
    assert len(some) == 4


def test_prefixes(path: Path) -> None:
    d: RocksDBDict[Any, int] = RocksDBDict(path)
    d.update({"P1": 1, "P17": 17, "P2": 2, "Q1": 1, "P": 0, "P\U0010ffff": 9, b"P1": -1})
    assert list(d.seek_keys("P1")) == ["P1", "P17"] and list(d.seek_keys("")) == [
        "P",
        "P1",
        "P17",
        "P2",
        "P\U0010ffff",
        "Q1",
    ]
    assert list(d.seek_items("P1", reverse=True)) == [("P17", 17), ("P1", 1)] and list(d.seek_keys("X")) == []
    assert list(d.seek_keys(b"P")) == [b"P1"]


def test_a_tuple_is_a_prefix_item_by_item(path: Path) -> None:
    d: RocksDBDict[Any, None] = RocksDBDict(path)
    keys = [("a",), ("a", 1), ("a", "b"), ("a", ("b", 1)), ("a\0",), ("a\0b", 1), ("ab",), ("b",), (1,)]
    d.update(dict.fromkeys(keys))
    assert list(d.seek_keys(("a",))) == keys[:4] and list(d.seek_keys(("a", "b"))) == [("a", "b")]
    assert list(d.seek_keys(())) == [(1,), *keys[:8]] and list(d.seek_keys(("a\0",))) == [("a\0",)]


def test_bytes_of_all_ones_are_a_prefix(path: Path) -> None:
    d: RocksDBDict[Any, bytes] = RocksDBDict(path, deser_key=bytes, deser_value=bytes)
    d.update({b"\xfe": b"", b"\xff": b"", b"\xff\xff\xff": b""})
    assert list(d.seek_keys(b"\xff")) == [b"\xff", b"\xff\xff\xff"] and list(d.seek_keys(b"\xff\xff")) == [
        b"\xff\xff\xff"
    ]
    assert list(d.seek_keys("")) == [b"\xfe", b"\xff", b"\xff\xff\xff"]


@pytest.mark.parametrize("prefix", ["P", "P1", "P12", "P123"])
def test_all_keys_of_a_prefix_are_met_whatever_the_prefix_extractor(path: Path, prefix: str) -> None:
    options = RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix_alike(prefix=prefix))
    d: RocksDBDict[Any, None] = RocksDBDict(path, options)
    keys = [f"P{number}" for number in range(2000)] + ["A", ""]
    d.update(dict.fromkeys(keys))
    for _ in range(2):
        for wanted in ("P1", "P12", "P123", "P", "", "A", "B"):
            assert list(d.seek_keys(wanted)) == sorted(key for key in keys if key.startswith(wanted))
        assert len(d) == len(keys) == len(list(reversed(d)))
        d.compact()


def test_long_walks_meet_each_once(path: Path) -> None:
    d: RocksDBDict[Any, bytes] = RocksDBDict(path)
    d.update((number, b"x" * (number % 2000)) for number in range(10_000))
    assert list(d) == list(range(10_000)) and list(reversed(d)) == list(range(10_000))[::-1]
    assert sum(len(value) for value in d.values()) == sum(number % 2000 for number in range(10_000))


@pytest.mark.parametrize("reverse", [False, True])
def test_what_stays_is_met_once_while_others_write(path: Path, reverse: bool) -> None:
    d: RocksDBDict[Any, int] = RocksDBDict(path)
    d.update((number, 0) for number in range(0, 10_000, 2))
    met = []
    for place, key in enumerate(d.keys(reverse=reverse)):
        met.append(key)
        d[key + 1] = 1
        if place % 3 == 0:
            d.pop(key - 1, None)
            d[key] = 2
    assert [key for key in met if key % 2 == 0] == sorted(range(0, 10_000, 2), reverse=reverse)
    assert len(met) == len(set(met)) and met == sorted(met, reverse=reverse)


def test_everything_can_be_removed_on_the_way(path: Path) -> None:
    d: RocksDBDict[Any, int] = RocksDBDict(path)
    d.update((number, 0) for number in range(5000))
    for key in d:
        del d[key]
    assert len(d) == 0


def test_a_walk_ends_with_an_error_when_it_is_closed(d: RocksDBDict[Any, int]) -> None:
    walks: list[Iterator[Any]] = [iter(d), iter(d.items()), d.seek_keys(0)]
    for walk in walks:
        next(walk)
    d.close()
    for walk in walks:
        with pytest.raises(ClosedError):
            next(walk)


def test_a_walk_goes_on_behind_what_cannot_be_decoded(path: Path) -> None:
    def decode(view: memoryview) -> int:
        return int(bytes(view))

    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, deser_value=decode, ser_value=bytes)
    d.update({b"a": b"1", b"b": b"no number", b"c": b"3"})
    values = iter(d.values())
    assert next(values) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        next(values)
    assert next(values) == 3 and next(values, None) is None
