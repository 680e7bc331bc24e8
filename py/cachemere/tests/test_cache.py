"""Cache: every method, called as it is and by its asynchronous twin."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import (
    ClosedError,
    InvalidOptionError,
    KeyFormError,
    MissingKeyError,
    ReadOnlyError,
    UnsafeValueError,
    ValueFormError,
)


class Twins:
    """Calls the asynchronous twin of each method."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Callable[..., Any]:
        twin = getattr(self.cache, "a" + name)

        def call(*arguments: Any, **options: Any) -> Any:
            return asyncio.run(self.outcome(twin(*arguments, **options)))

        return call

    @staticmethod
    async def outcome(awaitable: Any) -> Any:
        if hasattr(awaitable, "__aiter__"):
            return [item async for item in awaitable]
        return await awaitable


class Plain:
    """Calls each method by the names the twins have."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Callable[..., Any]:
        special = {"contains": self.cache.__contains__, "len": self.cache.__len__}
        call: Callable[..., Any] = special.get(name) or getattr(self.cache, name)
        if name in ("keys", "values", "items"):
            return lambda: list(call())
        return call


@pytest.fixture
def cache(path: Path) -> Iterator[Cache]:
    with Cache(path) as made:
        yield made


@pytest.fixture(params=[Plain, Twins], ids=["plain", "async"])
def c(request: pytest.FixtureRequest, cache: Cache) -> Any:
    return request.param(cache)


def wait_until(done: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_set_get_delete(c: Any) -> None:
    assert c.get("k") is None and c.get("k", 5) == 5
    c.set("k", [1, None])
    assert c.get("k") == [1, None] and c.contains("k") and c.len() == 1
    assert c.delete("k") is True and c.delete("k") is False
    assert not c.contains("k") and c.len() == 0


def test_a_stored_none_is_a_hit(c: Any) -> None:
    c.set("k", None)
    assert c.get("k", "default") is None
    assert c.get_many(["k", "absent"]) == {"k": None}
    assert c.pop("k", "default") is None
    assert c.pop("k", "default") == "default"
    calls: list[int] = []
    for _ in range(3):
        assert c.cache.get_or_set("n", lambda: calls.append(1)) is None
    assert calls == [1]


def test_add_writes_only_what_is_absent(c: Any) -> None:
    assert c.add("k", 1) is True
    assert c.add("k", 2) is False
    assert c.get("k") == 1
    c.set("k", 3, ttl=0.001)
    wait_until(lambda: c.add("k", 4))
    assert c.get("k") == 4


def test_pop_gives_to_one(c: Any) -> None:
    c.set("k", {"a": 1})
    assert c.pop("k") == {"a": 1}
    assert c.pop("k") is None


def test_incr_and_decr(c: Any) -> None:
    assert c.incr("n") == 1
    assert c.incr("n", 5) == 6
    assert c.decr("n", 2) == 4
    assert c.incr("m", 1, 100) == 101
    assert c.incr("f", 0.5) == 0.5
    assert c.incr("big", 1, 2**80) == 2**80 + 1
    for value in ("text", None, True, [1]):
        c.set("s", value)
        with pytest.raises(ValueFormError, match="not a number"):
            c.incr("s")
        assert c.get("s") == value
    assert c.incr("expiring", ttl=0.001) == 1
    wait_until(lambda: not c.contains("expiring"))


def test_incr_keeps_tags(c: Any) -> None:
    c.set("n", 1, tags=["t"])
    c.incr("n")
    assert c.evict("t") == 1


def test_many_at_once(c: Any) -> None:
    c.set_many({"a": 1, "b": 2})
    c.set_many([("c", 3), (("d", 4), 5)])
    c.set_many([])
    assert c.get_many(["a", "c", ("d", 4), "absent", "a"]) == {"a": 1, "c": 3, ("d", 4): 5}
    assert c.get_many([]) == {}
    assert c.keys() == ["a", "b", "c", ("d", 4)]
    assert c.values() == [1, 2, 3, 5]
    assert c.items() == [("a", 1), ("b", 2), ("c", 3), (("d", 4), 5)]
    assert c.delete_many(["a", "absent", "b"]) == 2
    assert list(reversed(c.cache)) == [("d", 4), "c"]


def test_many_at_once_writes_all_or_nothing(c: Any) -> None:
    with pytest.raises(UnsafeValueError):
        c.set_many({"a": 1, "b": object()})
    with pytest.raises(KeyFormError):
        c.set_many([("a", 1), (object(), 2)])
    assert c.len() == 0


def test_tags(c: Any) -> None:
    c.set("a", 1, tags=["x", "y"])
    c.set("b", 2, tags=("y",))
    c.set_many({"c": 3, "d": 4}, tags={"z"})
    c.add("e", 5, tags=["x"])
    c.set("f", 6)
    assert c.evict("absent") == 0
    assert c.evict("x") == 2
    assert c.keys() == ["b", "c", "d", "f"]
    c.set("b", 7)
    assert c.evict("y") == 0, "the tags of the value that was replaced are gone"
    assert c.evict("z") == 2
    assert c.keys() == ["b", "f"]
    for tags in ("x", [1], [None]):
        with pytest.raises(InvalidOptionError, match="tags"):
            c.set("k", 1, tags=tags)
    assert not c.contains("k")


def test_namespaces_are_listed(c: Any, path: Path) -> None:
    c.set("k", 1)
    assert c.namespaces() == ["default"]
    with c.cache.namespace("other") as other:
        other.set_many({"a": 1, "b": 2})
        other.set("gone", 3, ttl=0.001)
        assert other.get("gone", 3) == 3
        assert c.namespaces() == ["default", "other"]
        wait_until(lambda: other._store.namespaces() == [("default", 1), ("other", 2)])
    with Cache(path, namespace="none", read_only=True) as reader:
        assert reader.namespaces() == ["default", "other"], "looking makes none"
    with Cache(path / "absent", read_only=True, on_error="bypass") as absent:
        assert absent.namespaces() == []


def test_ttl_and_touch(c: Any) -> None:
    c.set("short", 1, ttl=0.2)
    c.set("long", 2, ttl=1000)
    c.set("ever", 3)
    c.set_many({"many": 4}, ttl=0.2)
    info = c.info("long")
    assert 990 < info.expires_at - time.time() <= 1000
    assert c.info("ever").expires_at is None
    assert c.touch("short", 1000) is True and c.touch("absent") is False
    wait_until(lambda: not c.contains("many"))
    assert c.get("short") == 1 and c.len() == 3
    assert c.get_many(["many"]) == {} and c.keys() == ["short", "long", "ever"]
    assert c.sweep() in (0, 1)
    assert c.delete("many") is False


def test_idle_counts_from_the_last_read(path: Path) -> None:
    with Cache(path, idle=0.5) as cache:
        cache["read"], cache["unread"] = 1, 2
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            assert cache["read"] == 1
            time.sleep(0.05)
        assert "unread" not in cache and cache.get("unread") is None
        assert list(cache) == ["read"]
    with Cache(path, idle=0.5) as cache:
        assert cache["read"] == 1, "the last access was written down"
        time.sleep(0.6)
        assert cache.get("read") is None


def test_what_info_tells(c: Any) -> None:
    before = time.time() - 0.001
    c.set("k", "x" * 1000)
    info = c.info("k")
    assert before <= info.created == info.ctime <= info.mtime <= time.time() and info.atime >= info.created
    assert 1000 < info.size < 2000
    time.sleep(0.01)
    c.set("k", 1)
    again = c.info("k")
    assert again.created == info.created and again.mtime > info.mtime
    assert c.info("absent") is None


def test_info_of_a_dict_is_that_of_a_cache(path: Path) -> None:
    with PersistDict(path) as d, Cache(path) as cache:
        d["k"] = 1
        assert d.info("k") is not None and d.info("k") == cache.info("k")
        assert d.info("absent") is None


def test_open_takes_what_a_cache_takes() -> None:
    assert inspect.signature(cachemere.open) == inspect.signature(Cache)


def test_clear_and_namespaces(c: Any) -> None:
    other = c.cache.namespace("other")
    other["k"] = "other"
    c.set("k", 1)
    assert c.get("k") == 1 and other["k"] == "other" and len(other) == 1
    c.clear()
    assert c.len() == 0 and other["k"] == "other"
    assert c.cache.namespace("default").path == c.cache.path
    other.close()
    with pytest.raises(ClosedError):
        other["k"]
    c.set("k", 2)
    assert c.get("k") == 2


def test_the_store_as_a_whole(c: Any, tmp_path: Path) -> None:
    c.set_many({number: "x" * 100 for number in range(100)})
    c.get(1)
    c.get("absent")
    stats = c.stats()
    assert (stats.entries, stats.hits, stats.misses, stats.evictions) == (100, 1, 1, 0)
    c.flush()
    c.backup(tmp_path / "backup")
    report = c.verify()
    assert report.is_clean and report.entries == 100
    c.compact()
    assert c.get(5) == "x" * 100
    with Cache(tmp_path / "backup") as copy:
        assert len(copy) == 100
    c.close()
    with pytest.raises(ClosedError):
        c.get(1)


def test_items_and_missing_keys(cache: Cache) -> None:
    cache["k"] = 1
    assert cache["k"] == 1
    del cache["k"]
    for fail in (lambda: cache["k"], lambda: cache.__delitem__("k")):
        with pytest.raises(MissingKeyError) as caught:
            fail()
        assert caught.value.args == ("k",) and isinstance(caught.value, KeyError)


def test_a_cache_is_true_even_when_it_is_empty(cache: Cache) -> None:
    assert cache and len(cache) == 0
    assert (cache or None) is cache


def test_values_are_copies(cache: Cache) -> None:
    value = {"a": [1]}
    cache["k"] = value
    value["a"].append(2)
    for fetch in (
        lambda: cache["k"],
        lambda: cache.get("k"),
        lambda: cache.get_many(["k"])["k"],
        lambda: cache.get_or_set("k", dict),
        lambda: asyncio.run(cache.aget("k")),
        lambda: dict(cache.items())["k"],
    ):
        for _ in range(2):
            found = fetch()
            assert found == {"a": [1]}
            found["a"].append(3)


def test_context_managers_close(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    with pytest.raises(ClosedError):
        cache["k"]

    async def work() -> Cache:
        async with Cache(path) as cache:
            assert await cache.aget("k") == 1
            assert [key async for key in cache] == ["k"]
        return cache

    with pytest.raises(ClosedError):
        asyncio.run(work())["k"]


def test_a_read_only_cache_reads(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    with Cache(path, read_only=True) as cache:
        assert cache["k"] == 1 and list(cache) == ["k"]
        for write in (
            lambda: cache.set("k", 2),
            lambda: cache.delete("k"),
            lambda: cache.clear(),
            lambda: cache.incr("n"),
            lambda: cache.set_many({"a": 1}),
        ):
            with pytest.raises(ReadOnlyError) as caught:
                write()
            assert isinstance(caught.value, PermissionError)
        assert cache["k"] == 1


def test_get_or_set_makes_once_among_threads(cache: Cache) -> None:
    calls: list[int] = []

    def make() -> Any:
        calls.append(1)
        time.sleep(0.1)
        return {"made": len(calls)}

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(cache.get_or_set("k", make))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1] and found == [{"made": 1}] * 16


def test_get_or_set_passes_errors_on_and_lets_the_next_one_try(cache: Cache) -> None:
    def fail() -> Any:
        raise LookupError("mine")

    for _ in range(2):
        with pytest.raises(LookupError, match="mine"):
            cache.get_or_set("k", fail)
    assert "k" not in cache
    assert cache.get_or_set("k", lambda: 1) == 1
    with pytest.raises(UnsafeValueError):
        cache.get_or_set("bad", object, strict=True)
    assert cache.get_or_set("bad", lambda: 2) == 2


def test_get_or_set_within_get_or_set(cache: Cache) -> None:
    assert cache.get_or_set("outer", lambda: [cache.get_or_set("inner", lambda: 1)]) == [1]
    assert cache["inner"] == 1


def test_limits_evict_what_was_not_read(path: Path) -> None:
    with Cache(path, max_entries=100) as cache:
        for number in range(100):
            cache[number] = number
        for _ in range(2):
            time.sleep(1.1)  # An access that moves the time by less than a second is not written.
            assert cache[5] == 5
        for number in range(100, 160):
            cache[number] = number
        assert len(cache) <= 100 and cache.stats().evictions >= 60
        assert cache[5] == 5 and cache[159] == 159


def test_compression_makes_it_smaller(tmp_path: Path) -> None:
    value = "the same again " * 10_000
    sizes = []
    for compression in (False, True):
        with Cache(tmp_path / str(compression), compression=compression) as cache:
            cache["k"] = value
            assert cache["k"] == value
            info = cache.info("k")
            assert info is not None
            sizes.append(info.size)
    assert sizes[1] * 20 < sizes[0]


def test_other_secrets_can_be_given(path: Path) -> None:
    with Cache(path, encryption_key="old") as cache:
        cache["k"] = 1
        with pytest.raises(cachemere.errors.WrongSecretError):
            cache.change_encryption_key("wrong", "new")
        cache.change_encryption_key("old", "new")
        assert cache["k"] == 1
    with Cache(path, encryption_key="new") as cache:
        assert cache["k"] == 1
        cache.change_encryption_key("new", b"k" * 32, reencrypt=True)
        assert cache["k"] == 1
    with Cache(path, encryption_key="new") as cache, pytest.raises(cachemere.errors.WrongSecretError):
        cache["k"]
    with Cache(path, encryption_key=b"k" * 32) as cache:
        assert cache["k"] == 1
