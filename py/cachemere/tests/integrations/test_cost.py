"""What an adapter adds to a hit: at most 30 µs over `cache.get` of the same entry."""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adapters import ADAPTERS, Adapter, opened
from cachemere import Cache

CALLS = 40
ROUNDS = 60
MOST = 30e-6


async def each(call: Callable[[], Any]) -> float:
    """Seconds that one of many calls takes."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        found = call()
        if inspect.isawaitable(found):
            await found
    return (time.perf_counter() - begin) / CALLS


async def added(plain: Callable[[], Any], adapted: Callable[[], Any]) -> float:
    """How many seconds more the second takes: by turns, so that what else the machine does meets both."""
    rounds = [(await each(plain), await each(adapted)) for _ in range(ROUNDS)]
    before, after = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"{before * 1e6:.1f} µs, through the adapter {after * 1e6:.1f} µs")
    return after - before


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
async def test_a_hit_costs_little_more_than_that_of_the_cache(path: Path, adapter: Adapter) -> None:
    made = opened(adapter, Cache(path))
    await adapter.awrite(made, adapter.value)
    assert await adapter.aread(made) == adapter.value

    def plain() -> Any:
        return made._part.get(adapter.key)

    for read in (adapter.read, adapter.aread):
        if read is not None:
            # The best of some, since anything else on the machine only makes it worse.
            assert min([await added(plain, lambda read=read: read(made)) for _ in range(3)]) < MOST
