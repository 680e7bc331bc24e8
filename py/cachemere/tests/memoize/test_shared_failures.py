"""A call that fails, fails for all who wait for it; who is interrupted has not failed."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cachemere import Cache
from cachemere._leads.failures import Failure, is_of_function

WAITERS = 20


class Refused(Exception):
    """Made of other things than it keeps as `args`, as those of the clients of models are."""

    __slots__ = ("code",)

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def refusal() -> Refused:
    return Refused("no", status=429, code="busy")


def together(call: Callable[[], Any], waiters: int = WAITERS) -> list[Any]:
    """What comes of calls that begin at once: results and exceptions."""

    def caught() -> Any:
        start.wait()
        try:
            return call()
        except BaseException as error:
            return error

    start = threading.Barrier(waiters)
    with ThreadPoolExecutor(waiters) as pool:
        return [each.result(30) for each in [pool.submit(caught) for _ in range(waiters)]]


calls: list[int] = []
CAUSE = KeyError("why")


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def test_threads_that_wait_for_a_call_fail_with_it_and_the_next_call_tries_again(cache: Cache) -> None:
    @cache.memoize
    def ask(prompt: str) -> str:
        calls.append(1)
        time.sleep(0.2)
        if len(calls) == 1:
            raise refusal()
        return prompt

    began = time.monotonic()
    errors = together(lambda: ask("a"))
    assert time.monotonic() - began < 1 and calls == [1]
    assert [type(error) for error in errors] == [Refused] * WAITERS
    assert ask("a") == "a" and len(calls) == 2


def test_each_that_waited_has_an_exception_of_its_own(cache: Cache) -> None:
    @cache.memoize
    def ask() -> str:
        time.sleep(0.2)
        raise refusal() from CAUSE

    errors = together(ask)
    assert len({id(error) for error in errors}) == WAITERS
    for error in errors:
        assert (error.args, error.status, error.code, error.__cause__) == (("no",), 429, "busy", CAUSE)
        steps = [step.name for step in traceback.extract_tb(error.__traceback__)]
        # It tells where the function failed, and of no other thread's calls.
        assert steps.count("caught") == 1 and steps.count("ask") == 1
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) <= 2


def test_retry_waiters_has_them_try_one_after_the_other(cache: Cache) -> None:
    @cache.memoize(retry_waiters=True)
    def ask() -> int:
        calls.append(1)
        time.sleep(0.02)
        if len(calls) < 4:
            raise OSError("busy")
        return 7

    results = together(ask)
    assert results.count(7) == WAITERS - 3 and len(calls) == 4


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_who_is_interrupted_has_not_failed(cache: Cache, interrupt: type[BaseException]) -> None:
    @cache.memoize
    def ask() -> int:
        calls.append(1)
        time.sleep(0.1)
        if len(calls) == 1:
            raise interrupt
        return 7

    results = together(ask)
    assert results.count(7) == WAITERS - 1 and len(calls) == 2


def test_how_deep_somebody_elses_stack_is_is_no_failure_of_the_function(cache: Cache) -> None:
    @cache.memoize
    def ask() -> int:
        calls.append(1)
        time.sleep(0.1)
        if len(calls) == 1:
            raise RecursionError
        return 7

    results = together(ask)
    assert results.count(7) == WAITERS - 1 and len(calls) == 2


async def test_tasks_that_wait_for_a_call_fail_with_it(cache: Cache) -> None:
    @cache.memoize
    async def ask(prompt: str) -> str:
        calls.append(1)
        await asyncio.sleep(0.2)
        if len(calls) == 1:
            raise refusal()
        return prompt

    errors = await asyncio.gather(*(ask("a") for _ in range(WAITERS)), return_exceptions=True)
    assert calls == [1] and [type(error) for error in errors] == [Refused] * WAITERS
    assert len({id(error) for error in errors}) == WAITERS
    assert await ask("a") == "a"


async def test_tasks_try_one_after_the_other_if_told_to(cache: Cache) -> None:
    @cache.memoize(retry_waiters=True)
    async def ask() -> int:
        calls.append(1)
        await asyncio.sleep(0.01)
        if len(calls) < 3:
            raise OSError("busy")
        return len(calls)

    results = await asyncio.gather(*(ask() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results].count(OSError) == 2 and results.count(3) == 3 and len(calls) == 3


async def test_tasks_of_other_loops_and_threads_fail_with_it(cache: Cache) -> None:
    def make() -> Any:
        calls.append(1)
        time.sleep(0.4)
        raise refusal()

    def of_thread() -> Any:
        return cache.get_or_set("key", make)

    def of_loop() -> Any:
        return asyncio.run(cache.aget_or_set("key", make))

    for first, second in ((of_thread, of_loop), (of_loop, of_thread), (of_loop, of_loop)):
        calls.clear()
        with ThreadPoolExecutor(WAITERS) as pool:
            leading = pool.submit(first)
            while not calls:
                await asyncio.sleep(0.01)
            waiting = [pool.submit(second) for _ in range(WAITERS - 1)]
            errors = [await asyncio.to_thread(each.exception, 30) for each in (leading, *waiting)]
        assert calls == [1] and [type(error) for error in errors] == [Refused] * WAITERS


async def test_a_cancelled_task_has_not_failed(cache: Cache) -> None:
    @cache.memoize
    async def ask() -> int:
        calls.append(1)
        await asyncio.sleep(3600 if len(calls) == 1 else 0)
        return len(calls)

    first = asyncio.create_task(ask())
    await asyncio.sleep(0.05)
    others = [asyncio.create_task(ask()) for _ in range(3)]
    await asyncio.sleep(0.05)
    first.cancel()
    assert await asyncio.wait_for(asyncio.gather(*others), 5) == [2, 2, 2]


def test_those_who_wait_for_a_stream_fail_with_it(cache: Cache) -> None:
    @cache.memoize
    def words() -> Iterator[int]:
        calls.append(1)
        yield 1
        time.sleep(0.2)
        raise refusal()

    errors = together(lambda: list(words()))
    assert calls == [1] and [type(error) for error in errors] == [Refused] * WAITERS


async def test_tasks_that_wait_for_a_stream_fail_with_it(cache: Cache) -> None:
    @cache.memoize
    async def words() -> Any:
        calls.append(1)
        yield 1
        await asyncio.sleep(0.2)
        raise refusal()

    async def read() -> list[int]:
        return [word async for word in words()]

    errors = await asyncio.gather(*(read() for _ in range(WAITERS)), return_exceptions=True)
    assert calls == [1] and [type(error) for error in errors] == [Refused] * WAITERS


def test_what_a_consumer_throws_into_a_stream_is_no_failure(cache: Cache) -> None:
    @cache.memoize
    def words() -> Iterator[int]:
        calls.append(1)
        yield 1
        yield 2

    first = words()
    assert next(first) == 1
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(words()))
        time.sleep(0.2)
        with pytest.raises(ZeroDivisionError):
            first.throw(ZeroDivisionError)  # type: ignore[attr-defined]
        assert other.result(10) == [1, 2]


def test_a_failure_keeps_nothing_alive(cache: Cache) -> None:
    @cache.memoize
    def ask() -> str:
        import weakref

        mine = Held()
        alive.append(weakref.ref(mine))
        time.sleep(0.1)
        raise ValueError

    together(ask, 4)
    gc.collect()
    assert [each() for each in alive] == [None] * len(alive)


alive: list[Any] = []


class Held:
    pass


class Own(OSError):
    pass


class Odd(Exception):
    def __new__(cls, *args: Any) -> Odd:
        if len(args) != 2:
            raise TypeError("two")
        return super().__new__(cls, *args[:1])


def raised() -> list[Exception]:
    made: list[Exception] = [refusal(), Own(2, "no", "file")]
    for go in (
        lambda: open("/nowhere/at/all"),
        lambda: b"\xff".decode(),
        lambda: {}["key"],
        lambda: compile("a b", "file", "exec"),
        lambda: object().nothing,  # type: ignore[attr-defined]
        lambda: __import__("no_such_module"),
        lambda: 1 / 0,
    ):
        try:
            go()
        except Exception as error:
            made.append(error)
    return made


@pytest.mark.parametrize("error", raised(), ids=lambda error: type(error).__name__)
def test_an_exception_again_is_as_it_was(error: Exception) -> None:
    error.__notes__ = ["a note"]
    again: Any = Failure(error).again()
    assert again is not error and type(again) is type(error)
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
    assert again.__dict__ == error.__dict__ and again.__traceback__ is error.__traceback__
    for name in ("errno", "filename", "name", "obj", "lineno", "text", "reason", "object", "code", "exceptions"):
        assert getattr(again, name, None) == getattr(error, name, None)


def test_one_that_cannot_be_made_again_is_shared() -> None:
    error = Odd(1, 2)
    assert Failure(error).again().args == error.args


def test_what_is_no_failure_of_a_function() -> None:
    for kind in (KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit, RecursionError):
        assert not is_of_function(kind())
    assert is_of_function(ValueError())
