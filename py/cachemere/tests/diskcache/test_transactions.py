"""Transactions of one thread: what is written in one, is seen in it, and is there at its end or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import CacheError, diskcache
from cachemere.errors import KeyFormError, StoreFullError, UnsafeValueError


@pytest.fixture
def cache(path: Path) -> Iterator[diskcache.Cache]:
    with diskcache.Cache(path, timeout=2) as made:
        made["old"], made["other"] = 1, [2]
        yield made


def contents(cache: diskcache.Cache) -> list[Any]:
    return [(key, cache[key]) for key in cache]


def test_what_is_written_is_there_at_the_end_in_one_go(cache: diskcache.Cache, path: Path) -> None:
    with diskcache.Cache(path) as reader, cache.transact():
        cache["new"] = {"a": (1, 2)}
        del cache["old"]
        cache.set("tagged", 1, expire=100, tag="t")
        assert contents(cache) == [("other", [2]), ("new", {"a": (1, 2)}), ("tagged", 1)]
        assert contents(reader) == [("old", 1), ("other", [2])], "nobody else sees it"
    assert contents(cache) == [("other", [2]), ("new", {"a": (1, 2)}), ("tagged", 1)]
    value, expires, tag = cache.get("tagged", expire_time=True, tag=True)
    assert (value, tag) == (1, "t") and expires is not None


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_leaves_it_undoes_all(cache: diskcache.Cache, raised: type[BaseException]) -> None:
    with pytest.raises(raised), cache.transact():
        cache["old"] = 2
        cache.push("x")
        cache.clear()
        cache["new"] = 3
        with cache.transact():
            cache["inner"] = 4
        raise raised
    assert contents(cache) == [("old", 1), ("other", [2])]
    assert cache.pull() == (None, None)
    assert cache.set("after", 1)


def test_of_blocks_in_each_other_the_outermost_counts(cache: diskcache.Cache) -> None:
    with cache.transact():
        with cache.transact():
            cache["a"] = 1
        with pytest.raises(ValueError), cache.transact():
            cache["b"] = 2
            raise ValueError
        assert cache["a"] == 1 and cache["b"] == 2, "as with diskcache: an inner block undoes nothing by itself"
    assert cache["a"] == 1 and cache["b"] == 2


def test_values_are_those_of_when_they_were_written(cache: diskcache.Cache) -> None:
    value = [1]
    with cache.transact():
        cache["a"] = value
        value.append(2)
        cache["a"].append(3)
        assert cache["a"] == [1] and cache.get("other") == [2]
    assert cache["a"] == [1]


def test_what_cannot_be_written_is_told_at_once_and_changes_nothing(cache: diskcache.Cache) -> None:
    refused: list[tuple[Callable[[], Any], type[CacheError]]] = [
        (lambda: cache.set("a", object()), UnsafeValueError),
        (lambda: cache.set(["a"], 1), KeyFormError),
        (lambda: cache.incr("other"), CacheError),
    ]
    for write, error in refused:
        with cache.transact():
            cache["sound"] = 1
            with pytest.raises(error):
                write()
            assert cache.get("a") is None
        assert contents(cache) == [("old", 1), ("other", [2]), ("sound", 1)]
        del cache["sound"]


def test_an_end_that_fails_has_written_nothing(path: Path) -> None:
    with diskcache.Cache(path, size_limit=4 << 20) as cache:
        cache["a"] = 1
        with pytest.raises(StoreFullError), cache.transact():
            cache["a"] = 2
            cache["large"] = b"x" * (3 << 20)
        assert contents(cache) == [("a", 1)]
        with cache.transact():
            cache["a"] = 3
        assert cache["a"] == 3


def test_an_entry_that_expires_meanwhile_is_not_written(cache: diskcache.Cache) -> None:
    with cache.transact():
        cache.set("short", 1, expire=0.05)
        assert cache["short"] == 1 and len(cache) == 3
        threading.Event().wait(0.06)
        assert cache.get("short") is None and "short" not in cache and len(cache) == 2
        assert list(cache) == ["old", "other"]
    assert contents(cache) == [("old", 1), ("other", [2])]


def test_what_was_removed_and_written_again_is_the_last(cache: diskcache.Cache) -> None:
    with cache.transact():
        cache["old"] = 5
        assert list(cache) == ["old", "other"]
        del cache["old"]
        cache["old"] = 6
        assert list(cache) == ["other", "old"] and cache.peekitem() == ("old", 6)
    assert contents(cache) == [("other", [2]), ("old", 6)]


def test_keys_are_typed_as_outside(cache: diskcache.Cache) -> None:
    with cache.transact():
        cache[1], cache["1"], cache[b"1"], cache[("1",)] = 1, 2, 3, 4
        assert [cache[True], cache[1.0], cache["1"], cache[b"1"], cache[("1",)]] == [1, 1, 2, 3, 4]
    assert [cache[True], cache[1.0], cache["1"], cache[b"1"], cache[("1",)]] == [1, 1, 2, 3, 4]


def test_what_looks_at_all_entries_at_once_is_refused_within(cache: diskcache.Cache) -> None:
    with cache.transact():
        for refused in (cache.expire, cache.cull, lambda: cache.evict("t")):
            with pytest.raises(NotImplementedError, match="within transact"):
                refused()


def test_what_was_pulled_is_given_though_the_ends_of_the_queue_cannot_be_written(
    cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        cache.push(number)

    def full(*_: Any) -> None:
        raise StoreFullError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_put_ends", full)
        assert [cache.pull()[1] for _ in range(40)] == list(range(40))
        with pytest.raises(StoreFullError):
            for number in range(20):
                cache.push(number)
    assert [cache.pull()[1] for _ in range(10)] == list(range(40, 50))


def test_closing_within_leaves_what_was_written(cache: diskcache.Cache) -> None:
    with cache.transact():
        cache["a"] = 1
        cache.close()
        cache["b"] = cache["a"] + 1
    assert cache["a"] == 1 and cache["b"] == 2


def test_pickled_values_work_where_they_are_allowed(path: Path) -> None:
    with diskcache.Cache(path, allow_pickle=True) as cache:
        with cache.transact():
            cache["a"] = Pickled([1])
            assert cache["a"].items == [1] and cache["a"] is not cache["a"]
        assert cache["a"].items == [1]


class Pickled:
    """Has no safe form."""

    def __init__(self, items: list[int]) -> None:
        self.items = items


def test_a_transaction_that_is_larger_than_the_limit_fails_at_its_end_and_writes_nothing(path: Path) -> None:
    with diskcache.Cache(path, size_limit=4 << 20) as cache:
        cache["before"] = 1
        reached = []
        with pytest.raises(StoreFullError), cache.transact():
            for number in range(80):
                cache[number] = os.urandom(100_000)
            reached.append("end")
        assert reached == ["end"] and list(cache) == ["before"]
        for number in range(80):
            cache[number] = os.urandom(100_000)
        assert 79 in cache and cache.volume() < 4 << 20
