"""Walks come to an end, whatever is written on the way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, PersistDict, diskcache
from cachemere.mappings import SqliteDict

# More than are read at a time, and fewer.
COUNTS = [1, 40, 700]

MAPPINGS: dict[str, Callable[[Path], Any]] = {
    "Cache": Cache,
    "PersistDict": PersistDict,
    "SqliteDict": lambda path: SqliteDict.int(path, lambda n: b"%d" % n, int),
    "diskcache.Cache": diskcache.Cache,
    "diskcache.Index": diskcache.Index,
}

WALKS: dict[str, Callable[[Any], Iterator[Any]]] = {
    "iter": iter,
    "keys": lambda d: iter(d.keys()),
    "values": lambda d: iter(d.values()),
    "items": lambda d: (key for key, _ in d.items()),
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("mapping", "walk"),
    # `diskcache.Cache` has no others.
    [(mapping, walk) for mapping in MAPPINGS for walk in WALKS if walk == "iter" or mapping != "diskcache.Cache"],
)
def test_inserting_an_entry_for_each_that_is_met_ends(tmp_path: Path, mapping: str, walk: str, count: int) -> None:
    d = MAPPINGS[mapping](tmp_path / "store")
    for n in range(count):
        d[n] = n
    new = itertools.count(count)
    met = []
    for n in itertools.islice(WALKS[walk](d), 2 * count + 1):
        met.append(n)
        d[next(new)] = 0
    assert met == list(range(count))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_so_it_does_backwards(tmp_path: Path, mapping: str, count: int) -> None:
    d = MAPPINGS[mapping](tmp_path / "store")
    for n in range(count):
        d[n] = n
    met = []
    for n in itertools.islice(reversed(d), 2 * count + 1):
        met.append(n)
        # For a mapping that is in the order of its keys, each side of what is to come.
        d[-1 - n] = d[count + n] = 0
    assert met == list(reversed(range(count)))


@pytest.mark.parametrize("count", COUNTS)
def test_and_a_queue(tmp_path: Path, count: int) -> None:
    queue = diskcache.Deque(range(count), str(tmp_path / "queue"))
    met = []
    for n in itertools.islice(queue, count + 1_000):
        met.append(n)
        queue.append(-1)
        queue.appendleft(-1)
    # The places of a few more at its back are known beforehand.
    assert met[:count] == list(range(count))
    assert len(met) < count + 1_000
    assert set(met[count:]) <= {-1}


@pytest.mark.parametrize("count", COUNTS)
def test_and_a_task(tmp_path: Path, count: int) -> None:
    async def walk() -> list[int]:
        met: list[int] = []
        async with Cache(tmp_path / "store") as cache:
            await cache.aset_many((n, n) for n in range(count))
            async for n in cache:
                met.append(n)
                await cache.aset(count + n, 0)
                if len(met) > count:
                    break
        return met

    assert asyncio.run(walk()) == list(range(count))
