"""Coroutines: one of all tasks computes, nobody blocks the loop, and no circle waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere._leads import task_flights

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> Any:
    calls.clear()
    yield
    assert not task_flights._airborne


async def answer(x: int) -> dict[str, Any]:
    calls.append(x)
    await asyncio.sleep(0.02)
    return {"x": x, "text": "t" * 500}


async def test_of_many_tasks_one_computes(cache: Cache) -> None:
    memo = cache.memoize(answer)
    results = await asyncio.gather(*(memo(i % 5) for i in range(200)))
    assert [result["x"] for result in results] == [i % 5 for i in range(200)]
    assert sorted(calls) == list(range(5)) and memo.cache_info()[:2] == (195, 5)
    # They are copies.
    results[0].clear()
    assert results[5]["x"] == 0 and (await memo(0))["x"] == 0


async def test_controls_are_awaited(cache: Cache) -> None:
    memo = cache.memoize(answer)
    for call in (memo, memo.refresh, memo.bypass, memo.salted(1)):
        assert (await call(1))["x"] == 1
    assert len(calls) == 4
    hit = memo.cached(1)
    assert hit is not None and hit.cost > 0.01


async def test_loops_of_several_threads_compute_once(cache: Cache) -> None:
    memo = cache.memoize(answer)
    results: list[Any] = []

    async def many() -> list[Any]:
        return await asyncio.gather(*(memo(1) for _ in range(10)))

    threads = [threading.Thread(target=lambda: results.append(asyncio.run(many()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert len(results) == 4 and calls == [1]


async def test_if_the_leading_task_is_cancelled_another_takes_over_at_once(cache: Cache) -> None:
    @cache.memoize
    async def memo() -> int:
        calls.append(1)
        await asyncio.sleep(3600 if len(calls) == 1 else 0)
        return len(calls)

    cache.flush()
    first, second, third = (asyncio.create_task(memo()) for _ in range(3))
    await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.sleep(0.01)
    assert calls == [1] and not first.done() and not third.done()
    first.cancel()
    began = time.monotonic()
    assert await asyncio.wait_for(third, 5) == 2 and time.monotonic() - began < 1
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_task_cancelled_while_it_stores_lets_the_write_end(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.flush()
    memo = cache.memoize(answer)
    put, started = memo._results._put, threading.Event()

    def slow(*args: Any) -> None:
        started.set()
        time.sleep(0.1)
        put(*args)

    monkeypatch.setattr(memo._results, "_put", slow)
    task, other = asyncio.create_task(memo(1)), asyncio.create_task(memo(1))
    assert await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (await other)["x"] == 1 and calls == [1]


async def test_a_circle_computes_twice_instead_of_waiting(cache: Cache) -> None:
    @cache.memoize
    async def a(n: int) -> int:
        calls.append("a")
        await asyncio.sleep(0.02)
        return 0 if n == 0 else await asyncio.create_task(b(n - 1)) + 1

    @cache.memoize(ignore=("n",))
    async def b(n: int) -> int:
        calls.append("b")
        await asyncio.sleep(0.02)
        return 0 if n == 0 else (await asyncio.gather(c(n - 1)))[0] + 1

    @cache.memoize(ignore=("n",))
    async def c(n: int) -> int:
        calls.append("c")
        await asyncio.sleep(0.02)
        return 0 if n == 0 else await b(n - 1) + 1

    assert await asyncio.wait_for(a(6), 5) > 0
    await asyncio.to_thread(cache.clear)
    # Two that lead and need what the other one leads.
    await asyncio.wait_for(asyncio.gather(b(5), c(5)), 5)
    await asyncio.to_thread(cache.clear)
    await asyncio.wait_for(asyncio.gather(*(f(5) for f in (b, c) for _ in range(10))), 5)


async def test_a_circle_through_another_loop_ends_by_patience(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_flights, "PATIENCE", 0.3)
    barrier = threading.Barrier(2)

    @cache.memoize(ignore=("first", "barrier"))
    async def g(name: str, first: bool = True) -> str:
        calls.append(name)
        if not first:
            return name
        await asyncio.to_thread(barrier.wait, 5)
        return name + await g("b" if name == "a" else "a", False)

    def rung(name: str) -> str:
        return asyncio.run(asyncio.wait_for(g(name), 20))

    both = await asyncio.gather(asyncio.to_thread(rung, "a"), asyncio.to_thread(rung, "b"))
    assert [text[0] for text in both] == ["a", "b"]


async def test_a_thread_and_a_task_do_not_compute_one_key_together(path: Path, cache: Cache) -> None:
    memo = cache.memoize(answer)
    key = memo.cache_key(1)
    task = asyncio.create_task(memo(1))
    while not calls:
        await asyncio.sleep(0.001)
    # A thread that asks for the same key waits for the task.
    assert (await asyncio.to_thread(cache.get_or_set, key, lambda: calls.append("thread")))["x"] == 1
    assert (await task)["x"] == 1 and calls == [1]


async def test_the_loop_is_never_blocked(path: Path) -> None:
    """Under load: other tasks and threads that write, synchronously to the disk, and reads of what others write."""
    with Cache(path, durability="sync") as cache:
        memo = cache.memoize(answer)
        await memo(-1)
        late: list[float] = []
        is_over = False

        async def watch() -> None:
            while not is_over:
                began = time.perf_counter()
                await asyncio.sleep(0.001)
                late.append(time.perf_counter() - began - 0.001)

        def write() -> None:
            n = 0
            while not is_over:
                cache[n % 50] = "x" * 1000
                n += 1

        watching = asyncio.create_task(watch())
        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        for start in range(0, 300, 20):
            await asyncio.gather(*(memo(start + i // 2) for i in range(40)))
            await asyncio.gather(*(memo(i) for i in range(start)))
        is_over = True
        await watching
        for writer in writers:
            writer.join()
    # What the machine does is not ours: a few turns may be late. And each of the writers may keep the interpreter for a
    # switch interval before it hands it on.
    late.sort()
    assert len(calls) == 301 and len(late) > 100
    assert statistics.median(late) < 0.002 and late[int(len(late) * 0.98)] < 2 * sys.getswitchinterval()
