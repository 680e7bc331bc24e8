"""aget_or_set: of all tasks, threads and processes that miss at once one makes the value, and the loop goes on."""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import ClosedError, InvalidOptionError, KeyFormError, StoreIOError, UnsafeValueError

TASKS = 20


@pytest.fixture(params=[None, 0], ids=["memory", "no memory"])
def cache(path: Path, request: pytest.FixtureRequest) -> Iterator[Cache]:
    with Cache(path) if request.param is None else Cache(path, memory_bytes=0) as made:
        yield made


class Maker:
    """Makes a value in one of the ways a caller can have it made, and counts."""

    def __init__(self, kind: str, value: Any = "made", seconds: float = 0.05) -> None:
        self.runs = 0
        self._value, self._seconds = (copy.deepcopy(value) if isinstance(value, dict) else value), seconds
        self.begun = threading.Event()
        self.make: Any = {
            "function": self._plain,
            "coroutine function": self._coroutine,
            "partial": functools.partial(self._coroutine),
            "awaitable": lambda: self._coroutine(),
            "object": self,
        }[kind]

    def _made(self) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def _plain(self) -> Any:
        self.runs += 1
        self.begun.set()
        time.sleep(self._seconds)
        return self._made()

    async def _coroutine(self) -> Any:
        self.runs += 1
        self.begun.set()
        await asyncio.sleep(self._seconds)
        return self._made()

    async def __call__(self) -> Any:
        return await self._coroutine()


KINDS = ["function", "coroutine function", "partial", "awaitable", "object"]
every_kind = pytest.mark.parametrize("kind", KINDS)


async def begun(maker: Maker) -> None:
    assert await asyncio.to_thread(maker.begun.wait, 30)


@every_kind
@pytest.mark.parametrize("value", [None, {"a": [1]}], ids=["None", "dict"])
async def test_of_many_tasks_one_makes_it(cache: Cache, kind: str, value: Any) -> None:
    maker = Maker(kind, value)
    made = await asyncio.gather(*(cache.aget_or_set("k", maker.make) for _ in range(TASKS)))
    assert made == [value] * TASKS and maker.runs == 1
    assert await cache.aget_or_set("k", maker.make) == value and maker.runs == 1
    assert cache.get("k", "absent") == value
    if value is not None:
        for it in made:
            it["a"].append(2)
        assert cache["k"] == {"a": [1]}, "what is given out is not what is stored"


async def test_lifetime_and_tags_are_given(cache: Cache) -> None:
    assert await cache.aget_or_set("k", lambda: 1, 3600, ("t",)) == 1
    assert await cache.aget_or_set("l", lambda: 2, tags=("u",)) == 2
    assert await cache.aget_or_set("m", lambda: 3, ttl=0.01) == 3
    await asyncio.sleep(0.05)
    assert await cache.aget_or_set("m", lambda: 4) == 4
    info = cache.info("k")
    assert info is not None and info.expires_at is not None
    assert cache.evict("t") == 1 and cache.evict("u") == 1


async def test_wrong_arguments_are_told_before_anything_is_made(cache: Cache) -> None:
    maker = Maker("function")
    for arguments in ({"ttl": -1}, {"tags": "abc"}):
        with pytest.raises(InvalidOptionError):
            await cache.aget_or_set("k", maker.make, **arguments)
    with pytest.raises(KeyFormError):
        await cache.aget_or_set([1], maker.make)  # type: ignore[arg-type]
    assert maker.runs == 0
    assert await cache.aget_or_set("k", maker.make) == "made", "nobody has the turn any more"


@every_kind
async def test_who_waits_for_one_that_raises_raises_too_and_the_next_call_makes_it(cache: Cache, kind: str) -> None:
    bad, good = Maker(kind, OSError("no")), Maker(kind)
    first = asyncio.create_task(cache.aget_or_set("k", bad.make))
    await begun(bad)
    others = [asyncio.create_task(cache.aget_or_set("k", good.make)) for _ in range(3)]
    for each in (first, *others):
        with pytest.raises(OSError, match="no"):
            await each
    assert (bad.runs, good.runs) == (1, 0)
    assert await cache.aget_or_set("k", good.make) == "made"


@every_kind
async def test_an_iterator_s_end_does_not_hang(cache: Cache, kind: str) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(cache.aget_or_set("k", Maker(kind, StopIteration()).make), 10)
    assert await cache.aget_or_set("k", lambda: 1) == 1


@every_kind
async def test_a_value_that_cannot_be_stored_is_not_lost(cache: Cache, kind: str) -> None:
    value = object()
    with pytest.raises(UnsafeValueError) as caught:
        await cache.aget_or_set("k", Maker(kind, value).make, strict=True)
    assert caught.value.result is value
    assert await cache.aget_or_set("k", Maker(kind, value).make) is value
    assert await cache.aget_or_set("k", lambda: 1) == 1


async def test_a_cancelled_coroutine_lets_another_take_over_at_once(cache: Cache) -> None:
    endless, good = Maker("coroutine function", seconds=3600), Maker("coroutine function")
    first = asyncio.create_task(cache.aget_or_set("k", endless.make))
    await begun(endless)
    others = [asyncio.create_task(cache.aget_or_set("k", good.make)) for _ in range(3)]
    await asyncio.sleep(0.05)
    first.cancel()
    assert await asyncio.wait_for(asyncio.gather(*others), 10) == ["made"] * 3
    assert good.runs == 1 and first.cancelled()


@pytest.mark.parametrize("kind", ["function", "awaitable"])
async def test_a_cancelled_thread_ends_and_nobody_begins_beside_it(cache: Cache, kind: str) -> None:
    slow, other = Maker("function", seconds=0.3), Maker("function", "other")
    make = slow.make if kind == "function" else lambda: (slow.make(), other._coroutine())[1]
    first = asyncio.create_task(cache.aget_or_set("k", make))
    await begun(slow)
    waiting = asyncio.create_task(cache.aget_or_set("k", other.make))
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not waiting.done()
    # What it made is not lost; a coroutine that it would have made was not begun.
    assert await asyncio.wait_for(waiting, 10) == ("made" if kind == "function" else "other")
    assert (slow.runs, other.runs) == (1, 0 if kind == "function" else 1)


async def test_the_failure_of_a_cancelled_thread_is_logged(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    bad = Maker("function", OSError("no disk"), seconds=0.1)
    first = asyncio.create_task(cache.aget_or_set("k", bad.make))
    await begun(bad)
    first.cancel()
    assert await cache.aget_or_set("k", lambda: "other") == "other"
    assert ["no disk" in record.getMessage() for record in caplog.records] == [True]


async def test_the_loop_goes_on_while_a_function_works(cache: Cache) -> None:
    maker = Maker("function", seconds=0.3)
    working = asyncio.create_task(cache.aget_or_set("k", maker.make))
    turns = 0
    while not working.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 10 and await working == "made"


async def test_the_loop_goes_on_while_another_thread_has_the_turn(cache: Cache) -> None:
    lead = cache._store.lead("k")
    assert lead is not None
    waiting = asyncio.create_task(cache.aget_or_set("k", lambda: 1))
    before = time.perf_counter()
    await asyncio.sleep(0.1)
    assert time.perf_counter() - before < 1 and not waiting.done()
    lead.release()
    assert await asyncio.wait_for(waiting, 10) == 1


async def test_threads_loops_and_other_handles_make_it_once(path: Path, cache: Cache) -> None:
    maker = Maker("function", seconds=0.2)
    with Cache(path) as other:
        made = await asyncio.gather(
            cache.aget_or_set("k", maker.make),
            other.aget_or_set("k", maker.make),
            asyncio.to_thread(cache.get_or_set, "k", maker.make),
            asyncio.to_thread(lambda: asyncio.run(other.aget_or_set("k", maker.make))),
        )
    assert made == ["made"] * 4 and maker.runs == 1


async def test_a_circle_ends(cache: Cache) -> None:
    async def one(depth: int = 0) -> Any:
        return "end" if depth > 3 else await cache.aget_or_set("other", lambda: other(depth + 1))

    async def other(depth: int = 0) -> Any:
        return "end" if depth > 3 else await cache.aget_or_set("one", lambda: one(depth + 1))

    both = asyncio.gather(cache.aget_or_set("one", one), cache.aget_or_set("other", other))
    assert await asyncio.wait_for(both, 20) == ["end", "end"]


async def test_disabled_it_makes_each_time(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache["k"] = "stored"
    monkeypatch.setenv("CACHEMERE_DISABLE", "1")
    for kind in KINDS:
        maker = Maker(kind)
        assert [await cache.aget_or_set("k", maker.make) for _ in range(2)] == ["made"] * 2 and maker.runs == 2
    monkeypatch.delenv("CACHEMERE_DISABLE")
    assert cache["k"] == "stored"


@every_kind
async def test_a_store_that_cannot_be_opened_is_bypassed(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("a file, not a directory")
    maker = Maker(kind)
    cache = Cache(path, on_error="bypass")
    assert [await cache.aget_or_set("k", maker.make) for _ in range(2)] == ["made"] * 2 and maker.runs == 2
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    with pytest.raises(StoreIOError):
        await Cache(path).aget_or_set("k", maker.make)
    assert maker.runs == 2


async def test_a_closed_handle_makes_nothing(cache: Cache) -> None:
    maker = Maker("function")
    cache.close()
    with pytest.raises(ClosedError):
        await cache.aget_or_set("k", maker.make)
    assert maker.runs == 0


PROGRAM = """
import asyncio, os, sys, time
from cachemere import Cache

path, runs, kind = sys.argv[1:]

def note():
    with open(runs, "a") as file:
        file.write("ran\\n")

async def acomputed():
    note()
    await asyncio.sleep(0.3)
    return os.getpid()

def computed():
    note()
    time.sleep(0.3)
    return os.getpid()

async def main():
    async with Cache(path) as cache:
        made = {"async": acomputed, "plain": computed}[kind]
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(*await asyncio.gather(*(cache.aget_or_set("k", made) for _ in range(4))))

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_of_many_processes_one_makes_it(tmp_path: Path, kind: str) -> None:
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(tmp_path / "runs"), kind]
    programs = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    told = " ".join(program.communicate(timeout=60)[0] for program in programs).split()
    assert len(told) == 16 and len(set(told)) == 1
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert [program.returncode for program in programs] == [0] * 4
