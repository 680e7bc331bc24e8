"""A stream whose consumer stops half-way holds others up for its patience, and no longer."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError

#: Seconds; far less than a test waits.
SHORT = 0.3
calls: list[int] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def items(n: int) -> Iterator[int]:
    calls.append(n)
    yield from range(n)


async def aitems(n: int) -> AsyncIterator[int]:
    calls.append(n)
    for i in range(n):
        await asyncio.sleep(0)
        yield i


def in_thread(work: Any) -> tuple[Any, float]:
    """What it returned, and the seconds it took."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    begun = time.monotonic()
    thread.start()
    thread.join(20)
    assert results, "it waits still"
    return results[0], time.monotonic() - begun


def test_another_thread_computes_after_the_patience(cache: Cache) -> None:
    memo = cache.memoize(stream_patience=SHORT)(items)
    stream = memo(3)
    next(stream)
    result, took = in_thread(lambda: list(memo(3)))
    assert result == [0, 1, 2] and SHORT - 0.1 < took < 5 and calls == [3, 3]
    # The first goes on as if nothing had been.
    assert list(stream) == [1, 2] and list(memo(3)) == [0, 1, 2] and calls == [3, 3]


def test_of_those_who_wait_one_computes(cache: Cache) -> None:
    @cache.memoize(stream_patience=SHORT)
    def memo() -> Iterator[int]:
        calls.append(1)
        yield 1
        time.sleep(0.2)
        yield 2

    stream = memo()
    next(stream)
    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(list(memo()))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [[1, 2]] * 5 and len(calls) == 2
    stream.close()


def test_an_item_may_take_longer_than_the_patience(cache: Cache) -> None:
    @cache.memoize(stream_patience=SHORT)
    def memo() -> Iterator[int]:
        calls.append(1)
        time.sleep(4 * SHORT)
        yield 1
        time.sleep(4 * SHORT)
        yield 2

    first = threading.Thread(target=lambda: list(memo()))
    first.start()
    time.sleep(0.05)
    assert in_thread(lambda: list(memo()))[0] == [1, 2] and len(calls) == 1
    first.join()


def test_a_consumer_that_comes_back_in_time_keeps_the_lead(cache: Cache) -> None:
    memo = cache.memoize(stream_patience=2 * SHORT)(items)
    stream = memo(5)
    results: list[list[int]] = []
    next(stream)
    other = threading.Thread(target=lambda: results.append(list(memo(5))))
    other.start()
    for _ in range(4):
        time.sleep(SHORT)
        next(stream)
    assert next(stream, None) is None
    other.join(20)
    assert results == [[0, 1, 2, 3, 4]] and calls == [5]


def test_without_a_patience_others_wait_for_the_end_of_the_generator(cache: Cache) -> None:
    memo = cache.memoize(stream_patience=None)(items)
    stream = memo(3)
    next(stream)
    results: list[list[int]] = []
    other = threading.Thread(target=lambda: results.append(list(memo(3))))
    other.start()
    other.join(3 * SHORT)
    assert other.is_alive()
    stream.close()
    other.join(20)
    assert results == [[0, 1, 2]] and calls == [3, 3]


HALF = """
import sys, cachemere
cache = cachemere.Cache(sys.argv[1])
def items(n):
    yield from range(n)
items.__module__, items.__qualname__ = "shared", "items"
stream = cache.memoize(stream_patience=float(sys.argv[2]))(items)(3)
next(stream)
print("half", flush=True)
sys.stdin.read()
"""


def test_another_process_computes_after_the_patience(path: Path) -> None:
    def shared(n: int) -> Iterator[int]:
        yield from items(n)

    shared.__module__, shared.__qualname__ = "shared", "items"
    child = subprocess.Popen(
        [sys.executable, "-c", HALF, str(path), str(SHORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "half\n"
        with Cache(path) as cache:
            result, took = in_thread(lambda: list(cache.memoize(shared)(3)))
            assert result == [0, 1, 2] and took < 5 and calls == [3]
    finally:
        child.communicate(timeout=30)
    assert child.returncode == 0


async def test_of_the_tasks_that_wait_one_computes(cache: Cache) -> None:
    memo = cache.memoize(stream_patience=SHORT)(aitems)

    async def drain() -> list[int]:
        return [item async for item in memo(5)]

    stream = memo(5)
    await anext(stream)
    begun = time.monotonic()
    assert await asyncio.wait_for(asyncio.gather(*(drain() for _ in range(8))), 20) == [[0, 1, 2, 3, 4]] * 8
    assert SHORT - 0.1 < time.monotonic() - begun < 5 and calls == [5, 5]
    assert [item async for item in stream] == [1, 2, 3, 4]


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_loop_that_was_closed_keeps_no_lead(cache: Cache, is_dropped: bool) -> None:
    memo = cache.memoize(stream_patience=30 if is_dropped else SHORT)(aitems)
    loop, streams = asyncio.new_event_loop(), []

    async def begin() -> None:
        streams.append(memo(3))
        await anext(streams[0])

    loop.run_until_complete(begin())
    loop.close()
    if is_dropped:
        streams.clear()
        gc.collect()

    async def drain() -> list[int]:
        return [item async for item in memo(3)]

    result, took = in_thread(lambda: asyncio.run(drain()))
    assert result == [0, 1, 2] and took < 5 and calls == [3, 3]


def test_the_patience_is_a_positive_number(cache: Cache) -> None:
    for wrong in (0, -1, float("nan"), "30"):
        with pytest.raises(InvalidOptionError, match="stream_patience"):
            cache.memoize(stream_patience=wrong)(items)  # type: ignore[call-overload]
