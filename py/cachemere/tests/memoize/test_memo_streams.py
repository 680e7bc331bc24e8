"""Generators: recorded while they are consumed, stored only if they end by themselves, replayed item by item."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere._leads import task_flights

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def items(n: int) -> Generator[Any, None, str]:
    calls.append(n)
    for i in range(n):
        yield {"i": i, "as": (i, b"x")}
    return "end"


async def aitems(n: int) -> AsyncGenerator[Any, None]:
    calls.append(n)
    for i in range(n):
        await asyncio.sleep(0)
        yield {"i": i, "as": (i, b"x")}


def drain(stream: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    returned = None

    def outer() -> Iterator[Any]:
        nonlocal returned
        returned = yield from stream

    return list(outer()), returned


async def adrain(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def test_they_are_known_as_generators(cache: Cache) -> None:
    memo, amemo = cache.memoize(items), cache.memoize(aitems)
    assert inspect.isgeneratorfunction(memo) and not inspect.isgeneratorfunction(amemo)
    assert inspect.isasyncgenfunction(amemo) and not inspect.iscoroutinefunction(amemo)
    assert inspect.isgenerator(memo(1)) and inspect.isasyncgen(amemo(1))
    assert memo.__name__ == "items" and amemo.__wrapped__ is aitems


def test_a_stream_is_replayed_with_what_it_returned(path: Path) -> None:
    for _ in range(2):
        with Cache(path) as cache:
            memo = cache.memoize(items)
            for _ in range(2):
                assert drain(memo(3)) == ([{"i": i, "as": (i, b"x")} for i in range(3)], "end")
            assert drain(memo(0)) == ([], "end")
    assert calls == [3, 0]


async def test_an_asynchronous_stream_is_replayed(cache: Cache) -> None:
    memo = cache.memoize(aitems)
    for _ in range(2):
        assert await adrain(memo(3)) == [{"i": i, "as": (i, b"x")} for i in range(3)]
        assert await adrain(memo(0)) == []
    assert calls == [3, 0] and memo.cache_info()[:2] == (2, 2)
    hit = memo.cached(3)
    assert hit is not None and len(hit.value) == 3
    await adrain(memo.refresh(3))
    await adrain(memo.bypass(3))
    await adrain(memo.salted(1)(3))
    assert len(calls) == 5


def test_it_is_recorded_while_it_is_consumed(cache: Cache) -> None:
    memo = cache.memoize(items)
    stream = memo(3)
    assert calls == []
    assert next(stream)["i"] == 0 and calls == [3] and memo.cached(3) is None
    assert len(list(stream)) == 2 and memo.cached(3) is not None


def test_items_that_the_consumer_changes_are_recorded_as_they_were(cache: Cache) -> None:
    memo = cache.memoize(items)
    for _ in range(3):
        for item in memo(2):
            assert len(item) == 2
            item.clear()
    assert calls == [2]


async def test_streams_that_do_not_end_store_nothing_and_give_the_lead_back(cache: Cache) -> None:
    memo, amemo = cache.memoize(items), cache.memoize(aitems)
    stream = memo(3)
    next(stream)
    stream.close()
    stream = memo(3)
    next(stream)
    del stream
    gc.collect()
    # Another thread gets the lead at once.
    assert len((await asyncio.wait_for(asyncio.to_thread(drain, memo(3)), 5))[0]) == 3
    assert calls == [3, 3, 3]
    astream = amemo(3)
    await anext(astream)
    await astream.aclose()
    astream = amemo(3)
    await anext(astream)
    del astream
    gc.collect()
    await asyncio.sleep(0.01)
    assert len(await asyncio.wait_for(asyncio.create_task(adrain(amemo(3))), 5)) == 3
    assert len(calls) == 6 and not task_flights._airborne and not task_flights._streams


async def test_a_stream_that_fails_stores_nothing(cache: Cache) -> None:
    @cache.memoize
    def memo() -> Iterator[int]:
        calls.append(1)
        yield 1
        raise OSError("cut off")

    @cache.memoize
    async def amemo() -> AsyncIterator[int]:
        calls.append(1)
        yield 1
        raise OSError("cut off")

    for _ in range(2):
        with pytest.raises(OSError, match="cut off"):
            list(memo())
        with pytest.raises(OSError, match="cut off"):
            await adrain(amemo())
    assert len(calls) == 4 and memo.cache_info().currsize == amemo.cache_info().currsize == 0


async def test_a_cancelled_stream_gives_the_lead_back(cache: Cache) -> None:
    @cache.memoize
    async def memo() -> AsyncIterator[int]:
        calls.append(1)
        yield 1
        await asyncio.sleep(3600 if len(calls) == 1 else 0)
        yield 2

    cache.flush()
    first = asyncio.create_task(adrain(memo()))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(adrain(memo()))
    await asyncio.sleep(0.05)
    assert calls == [1]
    first.cancel()
    assert await asyncio.wait_for(second, 5) == [1, 2]
    assert await adrain(memo()) == [1, 2] and len(calls) == 2


def echo() -> Generator[Any, Any, str]:
    calls.append(1)
    sent = yield "first"
    try:
        sent = yield sent
    except ValueError as error:
        sent = yield str(error)
    return f"last {sent}"


async def aecho() -> AsyncGenerator[Any, Any]:
    calls.append(1)
    sent = yield "first"
    try:
        yield sent
    except ValueError as error:
        yield str(error)


async def test_what_is_sent_and_thrown_passes_and_is_not_recorded(cache: Cache) -> None:
    memo, amemo = cache.memoize(echo), cache.memoize(aecho)
    for _ in range(2):
        stream = memo()
        assert next(stream) == "first" and stream.send("x") == "x"
        assert stream.throw(ValueError("thrown")) == "thrown"
        with pytest.raises(StopIteration, match="last y"):
            stream.send("y")
        astream = amemo()
        assert await anext(astream) == "first" and await astream.asend("x") == "x"
        assert await astream.athrow(ValueError("thrown")) == "thrown"
        assert await adrain(astream) == []
    assert len(calls) == 4 and memo.cache_info().currsize == amemo.cache_info().currsize == 0
    # A recorded one takes no values, but exceptions are where they belong.
    assert drain(memo()) == (["first", None], "last None") and await adrain(amemo()) == ["first", None]
    stream, astream = memo(), amemo()
    next(stream), await anext(astream)
    with pytest.raises(TypeError, match="bypass"):
        stream.send(1)
    with pytest.raises(TypeError, match="bypass"):
        await astream.asend(1)
    stream = memo()
    next(stream)
    with pytest.raises(ValueError, match="thrown"):
        stream.throw(ValueError("thrown"))


async def test_equal_streams_at_once_in_one_thread_or_task_do_not_wait_for_each_other(cache: Cache) -> None:
    memo, amemo = cache.memoize(items), cache.memoize(aitems)
    pairs = list(zip(memo(3), memo(3), strict=True))
    assert len(pairs) == 3 and calls == [3, 3] and len(list(memo(3))) == 3 and len(calls) == 2
    one, two = amemo(3), amemo(3)
    for i in range(3):
        assert (await asyncio.wait_for(one.__anext__(), 5))["i"] == i
        assert (await anext(two))["i"] == i
    assert await adrain(one) == await adrain(two) == [] and len(calls) == 4
    assert len(await adrain(amemo(3))) == 3 and len(calls) == 4


async def test_a_stream_that_stands_still_is_not_waited_for(cache: Cache) -> None:
    memo = cache.memoize(stream_patience=0.2)(aitems)
    one = memo(2)
    await anext(one)
    # Another task: that this one waits for it, nobody can know.
    assert len(await asyncio.wait_for(asyncio.create_task(adrain(memo(2))), 5)) == 2
    assert len(await adrain(one)) == 1


def test_others_wait_for_the_end_of_a_stream(cache: Cache) -> None:
    @cache.memoize
    def memo() -> Iterator[int]:
        calls.append(1)
        for i in range(5):
            time.sleep(0.02)
            yield i

    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(list(memo()))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0, 1, 2, 3, 4]] * 6 and calls == [1]


async def test_other_tasks_wait_for_the_end_of_a_stream(cache: Cache) -> None:
    memo = cache.memoize(aitems)
    assert await asyncio.gather(*(adrain(memo(5)) for _ in range(20))) == [await adrain(memo(5))] * 20
    assert calls == [5]


def test_the_cost_of_a_stream_is_the_generator_s_time(cache: Cache) -> None:
    @cache.memoize
    def memo() -> Iterator[int]:
        time.sleep(0.05)
        yield 1

    for _ in memo():
        time.sleep(0.2)
    hit = memo.cached()
    assert hit is not None and hit.value == [1] and 0.04 < hit.cost < 0.15


def test_cache_if_judges_the_items(cache: Cache) -> None:
    memo = cache.memoize(cache_if=lambda items: len(items) > 1)(items)
    for n in (1, 2, 1, 2):
        list(memo(n))
    assert calls == [1, 2, 1]


def test_a_plain_function_s_entry_is_not_taken_for_a_stream(cache: Cache) -> None:
    def made(kind: str) -> Any:
        if kind == "plain":

            def f() -> Any:
                return [1]
        else:

            def f() -> Any:
                yield 2

        f.__qualname__ = "f"
        return cache.memoize(f)

    assert made("plain")() == [1] and list(made("stream")()) == [2] and made("plain")() == [1]
