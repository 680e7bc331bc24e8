"""How long results live, and that they are served beyond that only where it was asked for."""

from __future__ import annotations

import asyncio
import datetime
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache
from cachemere._memo import refreshing
from cachemere.errors import InvalidOptionError, ReplayMissError

calls: list[Any] = []
failing: list[Exception] = []


@pytest.fixture(autouse=True)
def no_calls() -> Iterator[None]:
    calls.clear()
    failing.clear()
    yield
    until(lambda: not refreshing._running)


def until(done: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def count(x: int = 0) -> int:
    calls.append(x)
    if failing:
        raise failing[0]
    return len(calls)


async def acount(x: int = 0) -> int:
    await asyncio.sleep(0)
    return count(x)


@pytest.mark.parametrize("ttl", [3600, "1h", datetime.timedelta(hours=1), lambda result: "1h", lambda result: 3600.0])
def test_a_lifetime_in_each_form(cache: Cache, ttl: Any) -> None:
    f = cache.memoize(ttl=ttl)(count)
    f()
    info = cache.info(f.cache_key())
    assert info is not None and info.expires_at is not None
    assert info.expires_at - info.mtime == pytest.approx(3600, abs=5)


def test_a_lifetime_of_the_result(cache: Cache) -> None:
    def ttl(result: Any) -> float | None:
        return {1: 0.05, 2: None}.get(result[0], 3600)

    @cache.memoize(ttl=ttl)
    def f(x: int) -> list[int]:
        calls.append(x)
        return [x]

    @cache.memoize(ttl=ttl)
    def words(x: int) -> Iterator[int]:
        calls.append(x)
        yield x

    @cache.memoize(ttl=ttl, batch="xs")
    def many(xs: list[int]) -> list[list[int]]:
        calls.extend(xs)
        return [[x] for x in xs]

    f(1), f(2), f(3), list(words(1)), list(words(2)), many([1, 2, 3])
    time.sleep(0.1)
    calls.clear()
    f(1), f(2), f(3), list(words(1)), list(words(2)), many([1, 2, 3])
    assert calls == [1, 1, 1]


def test_a_wrong_lifetime_of_a_result_is_told_with_the_result(cache: Cache) -> None:
    f = cache.memoize(ttl=lambda result: -1)(count)
    with pytest.raises(InvalidOptionError, match="the ttl of a result must be") as caught:
        f()
    assert caught.value.result == 1


def test_without_being_asked_for_nothing_is_served_beyond_its_lifetime(cache: Cache) -> None:
    f = cache.memoize(ttl=0.05)(count)
    assert f() == 1
    time.sleep(0.1)
    assert f.cached() is None and f() == 2


def stale(cache: Cache, function: Any, ttl: Any = 0.05, **options: Any) -> Any:
    return cache.memoize(ttl=ttl, stale_while_revalidate="1h", **options)(function)


@pytest.mark.parametrize("ttl", [0.05, lambda result: "50ms"])
def test_a_stale_result_is_served_and_made_anew_in_the_background(cache: Cache, ttl: Any) -> None:
    f = stale(cache, count, ttl)
    assert f(1) == 1 and f(1) == 1 and len(calls) == 1
    time.sleep(0.1)
    assert f(1) == 1
    until(lambda: len(calls) == 2 and f.cached(1).value == 2)
    assert f.cache_info().hits >= 2


async def test_of_coroutine_functions_too(cache: Cache) -> None:
    f = stale(cache, acount)
    assert await f(1) == 1
    await asyncio.sleep(0.1)
    assert await f(1) == 1
    while f.cached(1).value != 2:
        await asyncio.sleep(0.01)
    assert len(calls) == 2


def test_of_all_that_meet_a_stale_result_one_makes_it_anew(cache: Cache) -> None:
    @cache.memoize(ttl=0.2, stale_while_revalidate=60)
    def f() -> int:
        calls.append(1)
        time.sleep(0.1)
        return len(calls)

    f()
    time.sleep(0.25)
    threads = [threading.Thread(target=f) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: f.cached().value == 2)
    assert len(calls) == 2


def test_what_is_beyond_both_is_not_served(cache: Cache) -> None:
    f = cache.memoize(ttl=0.05, stale_while_revalidate=0.05)(count)
    assert f() == 1
    time.sleep(0.2)
    assert f.cached() is None and f() == 2


def test_a_failure_is_logged_once_and_what_is_there_is_served(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    f = stale(cache, count)
    f()
    failing.append(OSError("busy"))
    time.sleep(0.1)
    for _ in range(10):
        assert f() == 1
        time.sleep(0.01)
    until(lambda: not refreshing._running)
    assert len(calls) == 2, "the next try waits"
    warnings = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert len(warnings) == 1 and "could not be made anew" in caplog.text and "OSError: busy" in caplog.text


async def test_a_failure_in_a_task_is_nobodys(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    f = stale(cache, acount)
    await f()
    failing.append(OSError("busy"))
    await asyncio.sleep(0.1)
    assert await f() == 1
    await asyncio.sleep(0.05)
    assert await f() == 1 and len(calls) == 2 and "could not be made anew" in caplog.text


def test_not_more_than_some_are_made_anew_at_once(cache: Cache) -> None:
    gate = threading.Event()

    @cache.memoize(ttl=0.05, stale_while_revalidate=60, ignore=("gate",))
    def f(x: int) -> int:
        calls.append(x)
        if len(calls) > 40:
            gate.wait(10)
        return x

    for x in range(40):
        f(x)
    time.sleep(0.1)
    for x in range(40):
        f(x)
    try:
        until(lambda: len(calls) == 40 + refreshing.MOST)
        time.sleep(0.05)
        assert len(calls) == 40 + refreshing.MOST
    finally:
        gate.set()


def test_a_program_that_ends_does_not_wait(tmp_path: Path) -> None:
    program = """
import sys, time
from cachemere import Cache
f = Cache(sys.argv[1]).memoize(ttl=0.05, stale_while_revalidate=60, name="f")(lambda: time.sleep(pause) or pause)
pause = 0.0
f()
time.sleep(0.1)
pause = 30.0
print(f())
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store")], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr, done.returncode) == ("0.0\n", "", 0) and time.monotonic() - began < 15


async def test_a_loop_that_ends_cancels_it(cache: Cache) -> None:
    @cache.memoize(ttl=0.05, stale_while_revalidate=60)
    async def f() -> int:
        calls.append(1)
        await asyncio.sleep(0 if len(calls) == 1 else 30)
        return 1

    async def main() -> None:
        await f()
        await asyncio.sleep(0.1)
        assert await f() == 1
        await asyncio.sleep(0.01)

    began = time.monotonic()
    await asyncio.to_thread(asyncio.run, main())
    assert time.monotonic() - began < 5 and len(calls) == 2 and not refreshing._running


def test_in_replay_mode_nothing_is_made_anew(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    f = stale(cache, count)
    f()
    time.sleep(0.1)
    monkeypatch.setenv("CACHEMERE_MODE", "replay")
    assert f() == 1
    with pytest.raises(ReplayMissError):
        f(5)
    assert not refreshing._running and len(calls) == 1


def test_options_that_make_no_sense(cache: Cache) -> None:
    for options in ({"stale_while_revalidate": "1h"}, {"ttl": "1h", "stale_while_revalidate": 0}, {"ttl": "soon"}):
        with pytest.raises(InvalidOptionError, match="^memoize: "):
            cache.memoize(**options)(count)  # type: ignore[arg-type]

    def words() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidOptionError, match="streams"):
        cache.memoize(ttl=1, stale_while_revalidate=1)(words)
    with pytest.raises(InvalidOptionError, match="batch"):
        cache.memoize(ttl=1, stale_while_revalidate=1, batch="x")(count)


# --- other things that are new ------------------------------------------------------------------------------------


def test_single_results_are_removed_and_keys_listed(cache: Cache) -> None:
    f, g = cache.memoize(count), cache.memoize(name="g")(count)
    f(1), f(2), g(1)
    assert list(f.cache_keys()) == [f.cache_key(1), f.cache_key(2)] and list(g.cache_keys()) == [g.cache_key(1)]
    assert f.cache_delete(1) == 1 and f.cache_delete(x=1) == 0
    assert list(f.cache_keys()) == [f.cache_key(2)] and g.cached(1) is not None
    f(1)
    assert len(calls) == 4

    class Model:
        __cachemere_key__ = lambda self: "m"  # noqa: E731

        @cache.memoize
        def ask(self, x: int) -> int:
            return count(x)

    Model().ask(1)
    assert Model().ask.cache_delete(1) == 1 and not list(Model().ask.cache_keys())


def test_of_a_batch_items_are_removed(cache: Cache) -> None:
    @cache.memoize(batch="xs")
    def f(xs: list[int]) -> list[int]:
        return xs

    f([1, 2, 3])
    assert len(list(f.cache_keys())) == 3 and f.cache_delete([1, 3, 4]) == 2 and len(list(f.cache_keys())) == 1


def test_a_directory_is_a_cache(tmp_path: Path) -> None:
    f = cachemere.memoize(cache=str(tmp_path / "store"))(count)
    g = cachemere.memoize(cache=tmp_path / "store", name="g")(count)
    assert (f(1), f(1), g(1)) == (1, 1, 2)
    with Cache(tmp_path / "store") as cache:
        assert len(cache) == 2 and list(cache.keys()) == [f.cache_key(1), g.cache_key(1)]
    with pytest.raises(InvalidOptionError, match="memoize: cache"):
        cachemere.memoize(cache=3)(count)  # type: ignore[call-overload]
