"""Writes and removals in one transaction, which adapters and imports are made of, and the times that imports give."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import (
    ClosedError,
    InvalidOptionError,
    KeyFormError,
    ReadOnlyError,
    UnsafeValueError,
)

KEY = b"0123456789abcdefghijklmnopqrstuv"
DAY = 86_400.0


@pytest.fixture(params=[{}, {"encryption_key": KEY, "compression": True}], ids=["plain", "encrypted"])
def options(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def cache(path: Path, options: Any) -> Iterator[Cache]:
    with Cache(path, **options) as made:
        yield made
        assert made.verify().is_clean


def plain(key: Any, value: Any) -> Any:
    return key, value, None, None, None


def aged(key: Any, value: Any, created: float, accessed: float, expires: float | None) -> Any:
    return key, value, None, None, (created, accessed, expires)


def test_writes_and_removals_are_made_together(cache: Cache) -> None:
    cache.set_many({"a": 1, "b": 2, "c": 3})
    before = cache._store.times("b")
    assert before is not None
    cache._store.apply([plain("new", {"n": [1]}), plain("b", 20), (("t", 1), 5, 60.0, ("x",), None)], ["a", "absent"])
    assert list(cache.items()) == [("b", 20), ("c", 3), ("new", {"n": [1]}), (("t", 1), 5)]
    after = cache._store.times("b")
    assert after is not None and after[0] == before[0] and after[2] > before[2]
    expires = cache._store.times(("t", 1))
    assert expires is not None and expires[3] is not None and 0 < expires[3] - time.time() <= 60
    assert cache.evict("x") == 1
    cache._store.apply([], [])
    cache._store.apply([], ["b", "c", "new"])
    assert len(cache) == 0


def test_a_key_that_is_in_both_is_new_afterwards(cache: Cache) -> None:
    cache.set_many({"a": 1, "b": 2})
    before = cache._store.times("a")
    time.sleep(0.002)
    cache._store.apply([plain("a", 3), plain("a", 4)], ["a"])
    after = cache._store.times("a")
    assert list(cache.items()) == [("b", 2), ("a", 4)]
    assert before is not None and after is not None and after[0] > before[0]


def test_what_is_in_memory_is_never_what_was_there_before(path: Path, options: Any) -> None:
    with Cache(path, **options) as one, Cache(path, **options) as other:
        for round in range(50):
            one._store.apply([plain("a", round), plain("b", [round])], [])
            for cache in (one, other, one, other):
                assert (cache["a"], cache["b"]) == (round, [round])
            other._store.apply([plain("a", -round)], ["b"])
            for cache in (one, other, one, other):
                assert cache["a"] == -round and "b" not in cache and cache.get("b") is None


def test_an_error_changes_nothing(cache: Cache) -> None:
    cache["a"] = 1
    now = time.time()
    for error, writes, removals in [
        (UnsafeValueError, [plain("a", 2), plain("b", object())], ["a"]),
        (KeyFormError, [plain("a", 2)], ["a", object()]),
        (InvalidOptionError, [plain("a", 2), ("b", 1, -1.0, None, None)], []),
        (InvalidOptionError, [aged("a", 2, -1.0, now, None)], []),
        (InvalidOptionError, [aged("a", 2, now, float("nan"), None)], []),
        (InvalidOptionError, [aged("a", 2, now * 1000, now, None)], []),
        (InvalidOptionError, [aged("a", 2, now, now, float("inf"))], []),
        (TypeError, [("a", 2)], []),
        (TypeError, [("a", 2, None, None, (now, now))], []),
    ]:
        writes_given: Any = writes
        removals_given: Any = removals
        with pytest.raises((error, ValueError) if error is TypeError else error):
            cache._store.apply(writes_given, removals_given)
        assert list(cache.items()) == [("a", 1)]
    with pytest.raises(InvalidOptionError, match="creation time must be a time in seconds since 1970, not -1"):
        cache._store.apply([aged("a", 2, -1.0, now, None)], [])
    with pytest.raises(InvalidOptionError, match="None for never"):
        cache._store.apply([aged("a", 2, now, now, float("inf"))], [])


def test_read_only_and_closed_handles_refuse(path: Path) -> None:
    with Cache(path) as cache:
        cache["a"] = 1
    with Cache(path, read_only=True) as reader:
        with pytest.raises(ReadOnlyError):
            reader._store.apply([plain("a", 2)], [])
        assert reader["a"] == 1
    with pytest.raises(ClosedError):
        cache._store.apply([], ["a"])


def test_given_times_are_kept(path: Path, options: Any) -> None:
    now = time.time()
    # To the microsecond, however a float rounds it.
    given = {
        f"k{n}": (now - n * DAY - n / 7, now - n / 13, None if n % 2 else now + DAY + n / 11) for n in range(1, 60)
    }
    with Cache(path, ttl=5, **options) as cache:
        cache["k1"] = "present"
        cache._store.apply([(key, {"of": key}, 9.0, ("t",), times) for key, times in given.items()], [])
    with Cache(path, **options) as cache:
        assert list(cache) == list(given)
        for key, (created, accessed, expires) in given.items():
            times = cache._store.times(key)
            assert times is not None
            again = (times[0], times[1], times[3])
            assert again == pytest.approx((created, accessed, expires), abs=1e-6)
            assert times[2] == times[0], "it was last written when it was made"
            # What was exported is imported as it was.
            cache._store.apply([(key, cache[key], None, None, again)], [])
            imported = cache._store.times(key)
            assert imported is not None and (imported[0], imported[1], imported[3]) == again
            assert cache[key] == {"of": key}
        assert cache.verify().is_clean


def test_times_of_the_future_and_expired_entries(cache: Cache) -> None:
    now = time.time()
    cache.set_many({"a": 1, "b": 1})
    cache._store.apply(
        [
            aged("a", 2, now - DAY, now, now - 1),
            aged("b", 2, now - DAY, now, -5.0),
            aged("expired", 2, now - DAY, now, 0.0),
            aged("future", 2, now + DAY, now + 2 * DAY, now + 3 * DAY),
            aged("read before", 2, now - 1, now - 2, None),
        ],
        [],
    )
    assert list(cache) == ["future", "read before"]
    future, before = cache.info("future"), cache.info("read before")
    assert future is not None and before is not None
    assert now - 1e-6 <= future.created <= time.time() + 1e-6 and future.atime == future.created
    assert future.expires_at == pytest.approx(now + 3 * DAY, abs=1e-6)
    assert before.atime == before.created == pytest.approx(now - 1, abs=1e-6)


def test_the_oldest_go_first_over_a_limit(path: Path) -> None:
    now = time.time()
    with Cache(path, max_entries=3) as cache:
        cache["present"] = 0
        cache._store.apply([aged(n, n, now - 9 * DAY, now - n * DAY, None) for n in (4, 1, 3, 2)], [])
        assert list(cache) == ["present", 1, 2]
        assert cache.verify().is_clean


WRITER = """
import sys
from cachemere import Cache
cache = Cache(sys.argv[1])
for n in range(1, 1_000_000):
    keys = [(n, i) for i in range(20)]
    cache._store.apply([(key, "x" * 500, None, None, None) for key in keys], [(n - 1, i) for i in range(20)])
    if n == 1:
        print("writing", flush=True)
"""


def test_another_process_sees_all_or_nothing_also_of_a_killed_one(path: Path, torture: bool) -> None:
    with Cache(path) as cache:
        for _ in range(20 if torture else 3):
            cache.clear()
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            seen: set[int] = set()
            end = time.monotonic() + 60
            while len(seen) < 20:
                assert time.monotonic() < end
                numbers = {key[0] for key in cache}
                newest = max(numbers, default=1)
                wanted = [(n, i) for n in range(newest, newest + 3) for i in range(20)]
                got = cache.get_many(wanted)
                found = {n: sum(key[0] == n for key in got) for n in range(newest, newest + 3)}
                assert set(found.values()) <= {0, 20} and list(found.values()).count(20) <= 1, found
                seen.update(n for n, count in found.items() if count)
            writer.kill()
            writer.wait()
            writer.stdout.close()
            left = list(cache)
            assert left == [(left[0][0], i) for i in range(20)]
            assert cache.verify().is_clean
