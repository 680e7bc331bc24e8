"""Many processes on one store: no stale read, no error, nobody starves, nothing is computed or counted twice."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from cachemere import Cache, PersistDict
from other_process import OtherProcess

KEYS = 64
context: Any = multiprocessing.get_context("spawn")


def in_processes(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What each of several processes that start working at once gives back."""
    queue, barrier = context.Queue(), context.Barrier(count)
    started = [
        context.Process(target=report, args=(queue, barrier, work, number, *arguments)) for number in range(count)
    ]
    for process in started:
        process.start()
    found = [queue.get(timeout=300) for _ in started]
    for process in started:
        process.join(60)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return found


def report(queue: Any, barrier: Any, work: Callable[..., Any], *arguments: Any) -> None:
    try:
        queue.put(work(barrier, *arguments))
    except BaseException as error:
        queue.put(RuntimeError(f"{type(error).__name__}: {error}"))
        raise


# --- reads and writes -------------------------------------------------------------------------------------------------


def read_and_write(barrier: Any, number: int, path: Path, seconds: float) -> dict[str, Any]:
    """90 % reads, 10 % writes, as fast as it goes.

    Each key is written by one process, with rising version numbers. Before and after each write its version is noted in
    shared memory: a read may not give less than what was noted as written before the read began.
    """
    handle: Any = PersistDict(path)
    written = memory(path)
    mine = [key for key in range(KEYS) if key % barrier.parties == number]
    versions = dict.fromkeys(mine, 0)
    chance = random.Random(number)
    times: dict[str, list[float]] = {"get": [], "set": []}
    stale = 0
    barrier.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(50):
            if chance.random() < 0.1:
                key = chance.choice(mine)
                versions[key] += 1
                value = {"version": versions[key], "filler": "x" * 500}
                before = time.perf_counter()
                handle[key] = value
                times["set"].append(time.perf_counter() - before)
                written[key] = versions[key]
            else:
                key = chance.randrange(KEYS)
                least = written[key]
                before = time.perf_counter()
                found = handle.get(key)
                times["get"].append(time.perf_counter() - before)
                if (found["version"] if found else 0) < least:
                    stale += 1
    handle.close()
    return {"stale": stale, "times": times}


def memory(path: Path) -> Any:
    """Numbers that all processes see at once."""
    with open(path.with_suffix(".board"), "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), KEYS * 8)).cast("q")


def test_no_read_is_stale_and_nobody_starves(path: Path, torture: bool) -> None:
    path.with_suffix(".board").write_bytes(bytes(KEYS * 8))
    seconds = 60 if torture else 3
    found = in_processes(4, read_and_write, path, seconds)
    for name in ("get", "set"):
        times = sorted(time for one in found for time in one["times"][name])
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(
            f"4 processes, {os.cpu_count()} cores: {name} {len(times) / seconds:,.0f}/s, "
            f"p50 {p50 * 1e6:.1f} µs, p99 {p99 * 1e6:.1f} µs, max {times[-1] * 1e3:.1f} ms"
        )
    assert [one["stale"] for one in found] == [0] * 4
    shares = [len(one["times"]["set"]) for one in found]
    print("writes of each process:", shares)
    assert min(shares) >= sum(shares) / 4 / 10
    with PersistDict[int, Any](path) as d:
        assert len(d) <= KEYS and d.verify().is_clean


def write_only(barrier: Any, number: int, path: Path, seconds: float) -> tuple[int, float]:
    with Cache(path) as cache:
        cache[number] = 0
        barrier.wait()
        end, count, longest = time.monotonic() + seconds, 0, 0.0
        while time.monotonic() < end:
            before = time.perf_counter()
            cache[number, count % 100] = "x" * 200
            longest = max(longest, time.perf_counter() - before)
            count += 1
        return count, longest


def test_writers_are_fair(path: Path, torture: bool) -> None:
    found = in_processes(4, write_only, path, 20 if torture else 2)
    counts = [count for count, _ in found]
    print("writes:", counts, "longest:", [f"{longest * 1e3:.0f} ms" for _, longest in found])
    assert min(counts) >= sum(counts) / 4 / 10


# --- counting -------------------------------------------------------------------------------------------------------


def count(barrier: Any, number: int, path: Path, times: int) -> list[int]:
    with Cache(path) as cache:
        barrier.wait()
        return [cache.incr("count") for _ in range(times)]


def test_counting_is_exact_among_processes(path: Path, torture: bool) -> None:
    times = 5000 if torture else 300
    found = in_processes(4, count, path, times)
    assert sorted(value for one in found for value in one) == list(range(1, 4 * times + 1))
    with Cache(path) as cache:
        assert cache["count"] == 4 * times


def test_counting_is_exact_among_threads(path: Path) -> None:
    with Cache(path) as cache:
        threads = [Thread(target=lambda: [cache.incr("count") for _ in range(200)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache["count"] == 1600


def take(barrier: Any, number: int, path: Path) -> list[Any]:
    with PersistDict[Any, Any](path) as d:
        barrier.wait()
        taken = []
        for key in range(300):
            if (value := d.pop(key, None)) is not None:
                taken.append(value)
        while True:
            try:
                taken.append(d.popitem()[1])
            except KeyError:
                return taken


def test_what_is_popped_goes_to_one(path: Path) -> None:
    with PersistDict[Any, Any](path) as d:
        d.update((key, ("value", key)) for key in range(300))
        d.update(((key, "end"), ("value", key, "end")) for key in range(100))
    found = in_processes(4, take, path)
    taken = [value for one in found for value in one]
    assert len(taken) == len(set(taken)) == 400


def default(barrier: Any, number: int, path: Path) -> list[Any]:
    with PersistDict[Any, Any](path) as d:
        barrier.wait()
        return [d.setdefault(key, number) for key in range(200)]


def test_of_several_defaults_one_is_set_for_all(path: Path) -> None:
    found = in_processes(4, default, path)
    assert all(len(set(given)) == 1 for given in zip(*found, strict=True))


def add(barrier: Any, number: int, path: Path) -> int:
    with Cache(path) as cache:
        barrier.wait()
        return sum(cache.add(key, number) for key in range(200))


def test_of_several_that_add_a_key_one_does(path: Path) -> None:
    assert sum(in_processes(4, add, path)) == 200


# --- single flight --------------------------------------------------------------------------------------------------


def make_in_threads(barrier: Any, number: int, path: Path, log: Path) -> list[Any]:
    def make() -> Any:
        with open(log, "a") as file:
            file.write(f"{number}\n")
        time.sleep(0.3)
        return {"made by": [number]}

    with Cache(path) as cache:
        found: list[Any] = []
        ready = Barrier(4)

        def work() -> None:
            ready.wait()
            found.append(cache.get_or_set("k", make))

        threads = [Thread(target=work) for _ in range(4)]
        barrier.wait()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def test_of_8_processes_with_4_threads_one_makes_the_value(path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = in_processes(8, make_in_threads, path, log)
    made = log.read_text().split()
    assert len(made) == 1
    assert [value for one in found for value in one] == [{"made by": [int(made[0])]}] * 32


def die_while_making(path: Path) -> None:
    with Cache(path) as cache:
        cache.get_or_set("k", lambda: os._exit(7))


def test_another_takes_over_when_the_one_that_makes_it_is_killed(path: Path) -> None:
    process = context.Process(target=die_while_making, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 7
    with Cache(path) as cache:
        assert cache.get_or_set("k", lambda: "made here") == "made here"


# --- writes of others are seen ----------------------------------------------------------------------------------------


def test_anothers_write_is_seen_by_the_next_read(path: Path) -> None:
    other = OtherProcess(path)
    with PersistDict[Any, Any](path) as d:
        for number in range(200):
            other.call("__setitem__", "k", [number])
            assert d["k"] == [number] and d.get("k") == [number] and d["k"] == [number]
            assert "k" in d and list(d) == ["k"] and len(d) == 1
            d["k"] = -number
            assert other.call("get", "k") == -number
        other.call("pop", "k")
        with pytest.raises(KeyError):
            d["k"]
        other.call("update", {number: number for number in range(100)})
        assert len(d) == 100 and d[5] == 5
        other.call("clear")
        assert d == {} and d.get(5) is None
    other.stop()
