"""`memory_bytes` counts what decoded objects take in memory, within a factor of 1.5."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest
from cachemere import Cache
from plain_data import TYPES, Pair

FACTOR = 1.5

#: Values that are kept decoded, each of some kilobytes or more and of objects of its own.
KEPT: dict[str, Callable[[int], Any]] = {
    "empty lists": lambda n: [[] for _ in range(2000)],
    "lists of a small int": lambda n: [[1] for _ in range(1000)],
    "lists of lists": lambda n: [[[], [], []] for _ in range(500)],
    "small ints": lambda n: [k % 200 for k in range(5000)],
    "ints": lambda n: [n * 1000 + k + 1000 for k in range(2000)],
    "big ints": lambda n: [(1 << 300) + n * 1000 + k for k in range(500)],
    "huge ints": lambda n: [(1 << 100_000) + n],
    "floats": lambda n: [n + k / 7 for k in range(2000)],
    "complex": lambda n: [complex(n, k) for k in range(1000)],
    "short text": lambda n: [f"{n}-{k}" for k in range(1000)],
    "long text": lambda n: "x" * 50_000 + str(n),
    "latin text": lambda n: [f"é{n}-{k}" for k in range(1000)],
    "chinese text": lambda n: [f"漢字{n}-{k}" for k in range(1000)],
    "emoji": lambda n: [f"🙂{n}-{k}" for k in range(1000)],
    "long chinese text": lambda n: "漢字" * 10_000 + str(n),
    "long emoji": lambda n: "🙂" * 10_000 + str(n),
    "mostly ascii with an emoji": lambda n: "x" * 20_000 + "🙂" + str(n),
    "lone surrogates": lambda n: [f"\ud800{n}-{k}" for k in range(500)],
    "bytes": lambda n: [b"%d-%d" % (n, k) for k in range(1000)],
    "long bytes": lambda n: bytes(50_000) + str(n).encode(),
    "bytearrays": lambda n: [bytearray(b"%d" % k) for k in range(500)],
    "long bytearray": lambda n: bytearray(50_000),
    "tuples": lambda n: [(n + 1000, k + 1000) for k in range(1000)],
    "nested tuples": lambda n: [((((n + 1000,),),),) for k in range(300)],
    "small dicts of names": lambda n: [{"role": "user", "content": f"{n}{k}"} for k in range(300)],
    "dicts of five": lambda n: [dict.fromkeys("abcde", 1) for k in range(300)],
    "dicts of six": lambda n: [dict.fromkeys("abcdef", 1) for k in range(300)],
    "dicts of eleven": lambda n: [dict.fromkeys("abcdefghijk", 1) for k in range(300)],
    "a large dict of text": lambda n: {f"{n} {k}": 1 for k in range(3000)},
    "a large dict of ints": lambda n: {n * 1000 + k: None for k in range(3000)},
    "empty dicts": lambda n: [{} for _ in range(1000)],
    "sets": lambda n: [{k, 1, 2} for k in range(300)],
    "a large set": lambda n: {n * 1000 + k for k in range(3000)},
    "frozensets": lambda n: [frozenset({k, 1, 2, 3, 4, 5}) for k in range(300)],
    "none and flags": lambda n: [None, True, False] * 1000,
    "messages": lambda n: {
        "model": "m",
        "choices": [{"index": k, "message": {"role": "a", "content": f"{n} {k} " * 8}} for k in range(40)],
        "usage": {"in": 1000 + n, "out": 2000 + n, "price": n / 3},
    },
}  # fmt: skip

#: Values that are kept as their bytes, since only their classes can make them anew.
BYTES: dict[str, Callable[[int], Any]] = {
    "arrays": lambda n: numpy.arange(5000) + n,
    "decimals": lambda n: [Decimal(n) / 7 for _ in range(300)],
    "dataclasses": lambda n: [Pair(n, str(k)) for k in range(300)],
}


def taken(
    path: Path, make: Callable[[int], Any], count: int, key: Callable[[int], Any] = lambda n: n
) -> tuple[int, int]:
    """Bytes that so many entries take in memory, and as how many they are counted."""
    with Cache(path, types=TYPES, memory_bytes=1 << 32) as cache:
        for number in range(count + 1):
            cache[key(number)] = make(number)
        # The first fills what is made once.
        for _ in range(3):
            cache[key(count)]
        for number in range(count):
            cache[key(number)]
        gc.collect()
        counted = cache._store.resident_bytes
        tracemalloc.start()
        try:
            for number in range(count):
                cache[key(number)]
            gc.collect()
            return tracemalloc.get_traced_memory()[0], cache._store.resident_bytes - counted
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_what_is_kept_is_counted_as_it_is(path: Path, make: Callable[[int], Any]) -> None:
    count = 40
    measured, counted = taken(path, make, count)
    # What belongs to an entry beside its value is not all Python's to count; `test_small_entries` counts it.
    assert measured / FACTOR < counted < (measured + 400 * count) * FACTOR, (measured / count, counted / count)


@pytest.mark.parametrize("make", BYTES.values(), ids=BYTES)
def test_what_is_kept_as_bytes_is_counted_by_them(path: Path, make: Callable[[int], Any]) -> None:
    _, counted = taken(path, make, 20)
    with Cache(path, types=TYPES, memory_bytes=0) as cache:
        size = sum(len(cache._store.encode_value(make(number))) for number in range(20))
    assert size <= counted < (size + 400 * 20) * FACTOR


#: What an entry takes in memory of the engine's, which Python does not count: its mark, and its place in a table.
IN_ENGINE = 200


@pytest.mark.parametrize(
    "key",
    [
        lambda n: n + 1000,
        str,
        lambda n: f"漢字{n}" * 20,
        lambda n: ("a", n + 1000, n / 7),
        lambda n: (f"{n}", (b"%d" % n, n)),
    ],
)
def test_small_entries_are_counted_with_their_keys(path: Path, key: Callable[[int], Any]) -> None:
    count = 3000
    measured, counted = taken(path, lambda n: n + 1000, count, key)
    measured += IN_ENGINE * count
    assert measured / FACTOR < counted < measured * FACTOR, (measured / count, counted / count)


def test_no_more_is_kept_than_was_said(path: Path) -> None:
    # By what the bytes of these say, they would have been a gigabyte.
    with Cache(path, memory_bytes=32 << 20) as cache:
        cache.set_many((number, [[]] * 2000) for number in range(1000))
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(3):
                for number in range(1000):
                    cache[number]
            assert 10 << 20 < tracemalloc.get_traced_memory()[0] < (32 << 20) * FACTOR
        finally:
            tracemalloc.stop()
