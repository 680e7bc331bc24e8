"""Memoized, throttled and guarded functions."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache as theirs
import pytest
from cachemere import diskcache
from cachemere.errors import KeyFormError


@pytest.fixture
def cache(path: Path) -> Iterator[diskcache.Cache]:
    with diskcache.Cache(path) as made:
        yield made


@dataclasses.dataclass
class Question:
    text: str
    hints: list[str]


def test_results_are_kept_by_their_arguments(cache: diskcache.Cache) -> None:
    calls: list[Any] = []

    @cache.memoize()
    def double(number: Any, *rest: Any, **options: Any) -> Any:
        calls.append(number)
        return [number, number]

    assert double(1) == double(1) == [1, 1] and calls == [1]
    double(1).append(2)
    assert double(1) == [1, 1], "what is given out is nobody else's"
    for other in ((1, 2), ("1",), (b"1",), ((1,),), ([1],), ({"a": 1},), (Question("a", ["b"]),)):
        assert double(*other) == double(*other) == [other[0], other[0]] if other[0] != Question("a", ["b"]) else True
        if isinstance(other[0], Question):
            break
    assert len(calls) == 7
    assert double(1, a=[1], b=2) == double(1, b=2, a=[1]) and len(calls) == 8
    assert double(1.0) == double(True) == [1, 1] and len(calls) == 8
    with pytest.raises(KeyFormError, match=r"ignore=\(0,\)"):
        double(object())
    assert double.__wrapped__(5) == [5, 5]  # type: ignore[attr-defined]
    key = double.__cache_key__(1)  # type: ignore[attr-defined]
    assert cache[key] == [1, 1] and cache.delete(key) and double(1) == [1, 1] and calls[-1] == 1


def test_arguments_are_not_mistaken_for_their_forms(cache: diskcache.Cache) -> None:
    @cache.memoize("f")
    def shown(*args: Any, **kwargs: Any) -> str:
        return repr((args, kwargs))

    parts: list[Any] = [[1], (1,), {1}, {1: 1}, "[1]", ("\0form", "[1]"), ["\0form", "[1]"], None, "None", "a", b"a"]
    calls = [((one, two), {}) for one, two in itertools.product(parts, repeat=2)]
    calls += [((), {"a": one}) for one in parts] + [((one,), {}) for one in parts] + [((), {})]
    calls += [((one, None, "a", two), {}) for one, two in itertools.product(["a", None], parts)]
    for args, kwargs in calls * 2:
        assert shown(*args, **kwargs) == repr((args, kwargs))


def test_types_names_and_what_is_ignored(cache: diskcache.Cache) -> None:
    calls: list[Any] = []

    @cache.memoize("named", typed=True, ignore={1, "client"}, tag="t", expire=100)
    def called(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return len(calls)

    assert called(1) == 1 and called(1.0) == 2 and called(True) == 3
    assert called("a", "b", "c", client=object()) == called("a", object(), "c") == 4
    assert called.__cache_key__(1)[0] == "named"  # type: ignore[attr-defined]
    assert cache.get(called.__cache_key__(1), expire_time=True, tag=True)[2] == "t"  # type: ignore[attr-defined]
    assert cache.evict("t") == 4

    @cache.memoize(expire=0)
    def never_kept() -> int:
        calls.append(0)
        return 1

    before = len(calls)
    assert never_kept() == never_kept() == 1 and len(calls) == before + 2

    @cache.memoize()
    def nothing() -> None:
        calls.append(None)

    assert nothing() is None and nothing() is None and len(calls) == before + 3


async def test_coroutines_are_awaited(cache: diskcache.Cache) -> None:
    calls = []

    @cache.memoize()
    async def ask(prompt: str) -> str:
        calls.append(prompt)
        await asyncio.sleep(0)
        return prompt.upper()

    assert await ask("why") == await ask("why") == "WHY" and calls == ["why"]


def test_results_are_computed_anew_before_they_expire(cache: diskcache.Cache) -> None:
    calls: list[float] = []
    done = threading.Event()

    @diskcache.memoize_stampede(cache, expire=60, beta=1e12)
    def slow(number: int) -> int:
        calls.append(time.monotonic())
        if len(calls) > 1:
            done.set()
        time.sleep(0.05)
        return number + len(calls)

    assert slow(1) == 2
    assert slow(1) == 2, "the present one is given out meanwhile"
    assert done.wait(30) and len(calls) == 2
    key = slow.__cache_key__(1)  # type: ignore[attr-defined]
    end = time.monotonic() + 30
    while cache.get(key)[0] == 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert slow(1) == 3
    assert cache.delete(key)
    assert slow(1) >= 3


async def test_coroutines_are_computed_anew_before_they_expire(cache: diskcache.Cache) -> None:
    calls = []

    @diskcache.memoize_stampede(cache, expire=60, beta=1e12)
    async def slow(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0.01)
        return len(calls)

    assert await slow(1) == 1
    # The result that is there is given, and another one is computed in a task.
    assert await slow(1) == 1
    for _ in range(500):
        await asyncio.sleep(0.01)
        pair = cache.get(slow.__cache_key__(1))  # type: ignore[attr-defined]
        if pair[0] >= 2:
            break
    assert pair[0] == 2 and calls == [1, 1]


async def test_a_coroutine_that_is_not_slow_is_not_computed_early(cache: diskcache.Cache) -> None:
    calls = []

    @diskcache.memoize_stampede(cache, expire=1000, tag="t")
    async def quick(number: int) -> int:
        calls.append(number)
        return number

    assert [await quick(1) for _ in range(50)] == [1] * 50 and calls == [1]
    assert cache.evict("t") == 1

    @diskcache.memoize_stampede(cache, expire=1000)
    async def failing() -> int:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await failing()


def test_a_function_that_is_not_slow_is_not_computed_early(cache: diskcache.Cache) -> None:
    calls = []

    @diskcache.memoize_stampede(cache, expire=1000, tag="t")
    def quick(number: int) -> int:
        calls.append(number)
        return number

    assert [quick(1) for _ in range(200)] == [1] * 200 and calls == [1] and cache.evict("t") == 1


def test_calls_are_throttled(cache: diskcache.Cache) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    @diskcache.throttle(cache, 2, 1, name="f", time_func=lambda: now[0], sleep_func=sleep)
    def call() -> float:
        return now[0]

    assert [call() for _ in range(4)] == pytest.approx([100, 100, 100.5, 101]) and sum(slept) == pytest.approx(1)
    now[0] += 100
    assert call() == call() == now[0], "not more than two at once, however long nothing was called"
    assert call() == pytest.approx(now[0]) and sum(slept) == pytest.approx(1.5)


@pytest.mark.parametrize("kind", [diskcache.Lock, diskcache.RLock, diskcache.BoundedSemaphore])
def test_one_at_a_time_passes_a_barrier(cache: diskcache.Cache, kind: Any) -> None:
    inside, most = [0], [0]

    @diskcache.barrier(cache, kind)
    def work() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.005)
        inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and inside == [0]


def test_semaphores_let_in_as_many_as_they_say(cache: diskcache.Cache) -> None:
    semaphore = diskcache.BoundedSemaphore(cache, "s", value=2, expire=100, tag="t")
    semaphore.acquire()
    semaphore.acquire()
    assert cache.get("s", tag=True) == (0, "t")
    third = threading.Thread(target=semaphore.acquire)
    third.start()
    third.join(0.05)
    assert third.is_alive()
    semaphore.release()
    third.join(5)
    assert not third.is_alive()
    semaphore.release()
    semaphore.release()
    with pytest.raises(AssertionError):
        semaphore.release()


def test_a_lock_that_is_entered_again_is_its_threads(cache: diskcache.Cache) -> None:
    lock = diskcache.RLock(cache, "l")
    with lock, lock:
        other = threading.Thread(target=lambda: (lock.acquire(), lock.release()))
        other.start()
        other.join(0.05)
        assert other.is_alive()
        errors: list[Any] = []
        thief = threading.Thread(target=lambda: errors.append(pytest.raises(AssertionError, lock.release)))
        thief.start()
        thief.join()
        assert len(errors) == 1
    other.join(5)
    assert not other.is_alive()


def test_averages(cache: diskcache.Cache) -> None:
    average = diskcache.Averager(cache, "a", expire=100, tag="t")
    assert average.get() is None
    for number in range(10):
        average.add(number)
    assert average.get() == 4.5 and cache.get("a", tag=True) == ((45.0, 10), "t")
    assert average.pop() == 4.5 and average.get() is None and average.pop() is None


def test_it_names_itself_as_the_diskcache_that_it_follows() -> None:
    assert {*diskcache.__all__} - {"install", "uninstall"} == {*theirs.__all__} - {"DjangoCache"}
    for name in ("__title__", "__version__", "__build__"):
        assert getattr(diskcache, name) == getattr(theirs, name)
