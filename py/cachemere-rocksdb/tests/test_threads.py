"""Threads: they work at the same time, and what is one step is one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import ClosedError
from cachemere.rocksdb import RocksDBDict

WORKERS = 8


def test_python_runs_while_rocksdb_works(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update((number, str(number) * 20) for number in range(300_000))
    beats: list[float] = []
    is_done = threading.Event()

    def beat() -> None:
        while not is_done.is_set():
            beats.append(time.perf_counter())
            time.sleep(0.001)

    heart = threading.Thread(target=beat)
    heart.start()
    time.sleep(0.02)
    counted = len(beats)
    start = time.perf_counter()
    assert len(d) == 300_000
    d.compact()
    took = time.perf_counter() - start
    met = len(beats) - counted
    is_done.set()
    heart.join()
    # With the GIL held, there would be none but at the ends.
    assert met > 10 and took > 0.02


def test_each_entry_is_popped_by_one(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update((number, number) for number in range(2000))

    def work(_: int) -> list[int]:
        got = []
        while True:
            try:
                got.append(d.popitem()[0])
            except KeyError:
                return got

    with ThreadPoolExecutor(WORKERS) as pool:
        got = [key for keys in pool.map(work, range(WORKERS)) for key in keys]
    assert sorted(got) == list(range(2000)) and len(d) == 0


def test_all_get_the_same_default(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    barrier = threading.Barrier(WORKERS)

    def work(number: int) -> list[int]:
        barrier.wait()
        return [d.setdefault(key, number) for key in range(500)]

    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(work, range(WORKERS)))
    assert all(result == results[0] == [d[key] for key in range(500)] for result in results)


def test_a_batch_is_seen_whole(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update({key: 0 for key in range(50)})
    is_done = threading.Event()

    def write() -> None:
        for number in range(300):
            d.update({key: number for key in range(50)})
        is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not is_done.is_set():
        # What is read at once is of one moment.
        assert len(set(d.get_many(range(50)).values())) == 1
    writer.join()


def test_closing_waits_for_others_and_ends_them(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update((number, "x" * 100) for number in range(20_000))
    barrier = threading.Barrier(WORKERS + 1)

    def work(number: int) -> str:
        barrier.wait()
        try:
            while True:
                if number % 2:
                    len(d)
                else:
                    d[number] = list(d.values())[:3]
        except ClosedError:
            return "closed"

    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, number) for number in range(WORKERS)]
        barrier.wait()
        time.sleep(0.05)
        d.close()
        assert [future.result(timeout=30) for future in futures] == ["closed"] * WORKERS
    again: RocksDBDict[Any, Any] = RocksDBDict(path)
    assert len(again) == 20_000


def test_one_walk_can_be_shared(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update((number, number) for number in range(20_000))
    walk = iter(d)
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = list(pool.map(lambda _: list(walk), range(WORKERS)))
    assert sorted(key for part in parts for key in part) == list(range(20_000))


def test_a_function_may_use_the_database_and_even_its_walk(path: Path) -> None:
    def look(view: memoryview) -> bytes:
        next(walk, None)
        return b"%d" % len(d)

    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, deser_value=look, ser_value=bytes)
    d.update({b"a": b"", b"b": b"", b"c": b""})
    walk = iter(d.keys())
    assert d["a"] == b"3" and list(d.values()) == [b"3"] * 3
    walk = iter(d.values())
    assert next(walk) == b"3"


@pytest.mark.parametrize("way", ["readonly", "secondary_mode"])
def test_readers_work_in_threads(path: Path, way: Any) -> None:
    writer: RocksDBDict[Any, Any] = RocksDBDict(path)
    writer.update((number, number) for number in range(1000))
    reader: RocksDBDict[Any, Any] = RocksDBDict(path, **{way: True})
    with ThreadPoolExecutor(WORKERS) as pool:
        assert list(pool.map(lambda number: reader[number], range(1000))) == list(range(1000))
