"""Many processes and threads on one directory: nothing is lost, nothing twice, and nobody in between."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cachemere import diskcache
from workers import killed, result, say, start, tell


def test_numbers_are_counted_exactly(path: Path, torture: bool) -> None:
    times = 5000 if torture else 200
    processes = [start("count", path, times) for _ in range(4)]
    for process in processes:
        result(process)
    with diskcache.Cache(path) as cache:
        assert [cache[name] for name in ("alone", "together", "mixed")] == [4 * times, 4 * times, 8 * times]


def test_of_several_at_one_key_each_counts_and_one_pops(path: Path, torture: bool) -> None:
    times = 20_000 if torture else 1500
    with diskcache.Cache(path) as cache:
        with cache.transact():
            for number in range(times):
                cache[number] = number
        cache.set("expiring", 0, expire=1000, tag="t")
        processes = [start("race", path, times) for _ in range(4)]
        popped = sorted(number for process in processes for number in result(process))
        assert popped == list(range(times)) and cache["raced"] == 4 * times
        value, expires, tag = cache.get("expiring", expire_time=True, tag=True)
        assert (value, tag) == (-4 * times, "t") and 900 < expires - time.time() <= 1000.5


def test_a_transaction_is_seen_whole_or_not_at_all(path: Path, torture: bool) -> None:
    with diskcache.Cache(path) as cache:
        for number in range(4):
            cache[number] = 100
    processes = [start("move", path, 3000 if torture else 150) for _ in range(4)]
    assert all(result(process) == [400] for process in processes)


def test_a_transaction_comes_to_its_turn_among_writers_without_a_pause(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        processes = [start("write", path, 3) for _ in range(4)]
        while "busy" not in cache:
            time.sleep(0.01)
        waits = []
        for _ in range(50):
            began = time.monotonic()
            with cache.transact():
                waits.append(time.monotonic() - began)
                seen = cache["busy"]
                time.sleep(0.001)
                assert cache["busy"] == seen, "somebody wrote in it"
    assert max(waits) < 1
    assert all(result(process) > 100 for process in processes)


def test_what_is_pushed_is_pulled_once(path: Path, torture: bool) -> None:
    times = 2000 if torture else 120
    producers = [start("produce", path, name, times) for name in "ab"]
    consumers = [start("consume", path) for _ in range(2)]
    for producer in producers:
        result(producer)
    with diskcache.Cache(path) as cache:
        cache["all is pushed"] = True
    got = Counter(tuple(value) for consumer in consumers for value in result(consumer))
    assert got == Counter((name, number) for name in "ab" for number in range(times))


@pytest.mark.parametrize("kind", ["Lock", "RLock", "BoundedSemaphore"])
def test_a_lock_excludes(path: Path, kind: str, torture: bool) -> None:
    times = 500 if torture else 40
    processes = [start("held", path, kind, times) for _ in range(3)]
    assert [result(process) for process in processes] == [0, 0, 0]
    with diskcache.Cache(path) as cache:
        assert cache["in it"] == 3 * times


# --- killed -----------------------------------------------------------------------------------------------------------


def test_who_is_killed_in_a_transaction_has_written_nothing_and_holds_up_nobody(path: Path) -> None:
    with diskcache.Cache(path, timeout=5) as cache:
        cache["kept"] = 1
        killed(start("die_in_transaction", path))
        assert cache.set("after", 2)
        assert dict(cache_items(cache)) == {"kept": 1, "after": 2}
        with cache.transact():
            cache["more"] = 3
        assert cache["more"] == 3


def cache_items(cache: diskcache.Cache) -> list[tuple[object, object]]:
    return [(key, cache[key]) for key in cache]


def test_the_lock_of_who_is_killed_is_free_when_it_expires(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        killed(start("die_with_lock", path, 1.5))
        lock = diskcache.Lock(cache, "lock")
        assert lock.locked()
        lock.acquire()
        lock.release()
        killed(start("die_with_lock", path, 0))
        time.sleep(0.1)
        assert lock.locked(), "without expire it is held until somebody releases it"
        lock.release()
        assert not lock.locked()


def test_a_queue_is_whole_after_a_kill_at_any_moment(path: Path, torture: bool) -> None:
    for round_ in range(20 if torture else 3):
        process = start("die_pushing", path)
        killed(process, "pushed one", after=0.05 + round_ * 0.01)
        with diskcache.Cache(path) as cache:
            got = []
            while (pulled := cache.pull()) != (None, None):
                got.append(pulled[1])
            assert got == list(range(len(got))) and got and len(cache) == 0


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_write_waits_for_a_transaction_as_long_as_it_is_told_to(path: Path) -> None:
    process = start("hold", path)
    assert say(process) == "ready"
    with diskcache.Cache(path, timeout=0.05) as cache, diskcache.FanoutCache(path) as fanout:
        for refused in (
            lambda: cache.set("a", 1),
            lambda: cache.delete("a"),
            lambda: cache.incr("a"),
            lambda: cache.push(1),
            lambda: cache.clear(),
            lambda: cache.transact().__enter__(),
        ):
            with pytest.raises(diskcache.Timeout, match="transaction"):
                refused()
        assert fanout.set("a", 1) is False and fanout.add("a", 1) is False and fanout.incr("a") is None
        assert fanout.delete("a") is False and fanout.pop("a", 5) == 5 and fanout.touch("a") is False
        assert cache.get("held") is None and "a" not in cache, "reads do not wait, and see nothing of it"
        threading.Timer(0.2, tell, [process]).start()
        assert cache.set("a", 1, retry=True)
        assert cache["held"] == 1, "the transaction ended before"
    result(process)


def test_threads_of_one_handle_exclude_each_other(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache["n"] = 0

        def work(_: int) -> None:
            for _ in range(30):
                with cache.transact(retry=True):
                    seen = cache["n"]
                    time.sleep(0.000_1)
                    cache["n"] = seen + 1
                cache.incr("m", retry=True)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert cache["n"] == cache["m"] == 120


def test_other_threads_are_not_in_a_transaction(path: Path) -> None:
    with diskcache.Cache(path, timeout=0.05) as cache:
        seen: list[object] = []
        writes = threading.Event()

        def other() -> None:
            seen.extend([cache.get("a"), len(cache), "a" in cache, list(cache)])
            writes.set()
            cache["b"] = 1

        with cache.transact():
            cache["a"] = 1
            thread = threading.Thread(target=other)
            thread.start()
            assert writes.wait(30)
            time.sleep(0.2)
            assert seen == [None, 0, False, []] and "b" not in cache, "writing by [] waits however long it takes"
        thread.join()
        assert cache["b"] == 1


def test_a_child_that_is_forked_within_a_transaction_is_not_in_it(path: Path) -> None:
    with diskcache.Cache(path, timeout=2) as cache:
        cache["before"] = 1
        with cache.transact():
            cache["within"] = 1
            child = os.fork()
            if child == 0:
                # The parent's locks are not the child's, and it must not write what is the parent's to write.
                try:
                    ok = cache.get("within") is None and cache["before"] == 1
                finally:
                    os._exit(0 if ok else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert cache["within"] == 1
        assert cache["within"] == 1
        child = os.fork()
        if child == 0:
            cache.set("of the child", 1)
            with cache.transact():
                cache["too"] = 1
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache["of the child"] == cache["too"] == 1


def test_a_child_that_is_forked_while_a_lock_is_held_does_not_wait_for_it(path: Path) -> None:
    with diskcache.Cache(path, timeout=2) as cache:
        cache.stats(enable=True)
        with cache._swapping, cache._counting, cache._gate._making:
            child = os.fork()
            if child == 0:
                cache.push("x")
                cache.get("none")
                cache.close()
                os._exit(0 if cache.pull()[1] == "x" and cache.stats() == (0, 1) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_that_leaves_the_transaction_of_its_parent_writes_nothing(path: Path) -> None:
    with diskcache.Cache(path, timeout=2) as cache:
        child = -1
        with cache.transact():
            cache["within"] = 1
            child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache["within"] == 1
        assert cache.set("after", 1), "and lets nobody wait"
