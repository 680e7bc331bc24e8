"""A store is what lies at its path now: directories that are removed, renamed or replaced while handles are open."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import cachemere
import cachemere.diskcache
import pytest
from cachemere import Cache, CacheError, PersistDict
from cachemere.errors import StoreGoneError
from other_process import OtherProcess


def refused(work: Callable[[], Any], path: Path) -> None:
    """Fails unless it is an error that says what has become of the store, and what to do."""
    with pytest.raises(StoreGoneError, match="removed, renamed or replaced.*open it again") as caught:
        work()
    assert isinstance(caught.value, CacheError) and isinstance(caught.value, OSError)
    assert str(path) in str(caught.value)


# --- handles ----------------------------------------------------------------------------------------------------------

WRITES_OF_CACHE: dict[str, Callable[[Any], Any]] = {
    "set": lambda it: it.set("k", 2),
    "setitem": lambda it: it.__setitem__("k", 2),
    "add": lambda it: it.add("new", 2),
    "delete": lambda it: it.delete("k"),
    "pop": lambda it: it.pop("k"),
    "incr": lambda it: it.incr("k"),
    "touch": lambda it: it.touch("k"),
    "set_many": lambda it: it.set_many({"k": 2, "new": 3}),
    "delete_many": lambda it: it.delete_many(["k"]),
    "evict": lambda it: it.evict("t"),
    "clear": lambda it: it.clear(),
    "sweep": lambda it: it.sweep(),
    "get_or_set": lambda it: it.get_or_set("new", never),
}
WRITES_OF_DICT: dict[str, Callable[[Any], Any]] = {
    "set": lambda it: it.set("k", 2),
    "setitem": lambda it: it.__setitem__("k", 2),
    "delitem": lambda it: it.__delitem__("k"),
    "pop": lambda it: it.pop("k"),
    "popitem": lambda it: it.popitem(),
    "setdefault": lambda it: it.setdefault("new", 2),
    "update": lambda it: it.update({"k": 2, "new": 3}),
    "or": lambda it: it.__ior__({"k": 2}),
    "clear": lambda it: it.clear(),
}
READS: dict[str, Callable[[Any], Any]] = {
    "item": lambda it: it["k"],
    "get": lambda it: it.get("k"),
    "contains": lambda it: "k" in it,
    "len": len,
    "keys": list,
    "items": lambda it: list(it.items()),
    "info": lambda it: it.info("k"),
    "describe": lambda it: it.describe(),
    "verify": lambda it: it.verify(),
}


def never() -> Any:
    raise AssertionError("nothing is computed in vain")


@pytest.mark.parametrize(
    ("face", "write"),
    [
        pytest.param(face, write, id=f"{face.__name__} {name}")
        for face, writes in ((Cache, WRITES_OF_CACHE), (PersistDict, WRITES_OF_DICT))
        for name, write in writes.items()
    ],
)
def test_the_next_write_says_that_the_directory_was_removed(path: Path, face: Any, write: Callable[[Any], Any]) -> None:
    it = face(path)
    it.set("k", 1, **({"tags": ["t"]} if face is Cache else {}))
    assert it["k"] == 1
    shutil.rmtree(path)
    refused(lambda: write(it), path)
    for read in READS.values():
        refused(lambda read=read: read(it), path)
    refused(lambda: write(it), path)
    assert not path.exists(), "nothing is made anew behind anybody's back"
    it.close()
    assert not path.exists()


@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_what_is_opened_there_again_is_a_new_store(path: Path, face: Any) -> None:
    old = []
    for number in range(3):
        it = face(path)
        assert it.get("k") is None and len(it) == 0, "nothing of the old one is served"
        it["k"] = number
        assert it["k"] == number and it.get("k") == number
        shutil.rmtree(path)
        old.append(it)
    new = face(path)
    new["k"] = "new"
    for it in old:
        refused(lambda it=it: it.get("k"), path)
        it.close()
    assert new["k"] == "new" and new.verify().is_clean
    new.close()
    with face(path) as it:
        assert dict(it.items()) == {"k": "new"}


@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_a_renamed_store_is_opened_where_it_is_with_all_it_had(path: Path, face: Any) -> None:
    old = face(path)
    old["k"] = 1
    moved = path.with_name("moved")
    path.rename(moved)
    new = face(moved)
    assert new["k"] == 1
    refused(lambda: old.__setitem__("k", 2), path)
    new["more"] = 2
    old.close()
    assert dict(new.items()) == {"k": 1, "more": 2} and new.verify().is_clean
    with face(path) as other:
        assert len(other) == 0
    new.close()


@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_one_that_was_put_in_its_place_is_that_one(path: Path, face: Any) -> None:
    other = path.with_name("other")
    with face(other) as it:
        it["k"] = "of the other"
    old = face(path)
    old["k"] = "of the first"
    assert old["k"] == "of the first"
    path.rename(path.with_name("aside"))
    other.rename(path)
    with face(path) as new:
        assert new["k"] == "of the other"
        refused(lambda: old["k"], path)
        new["k"] = "written"
    old.close()
    with face(path.with_name("aside")) as aside, face(path) as new:
        assert (aside["k"], new["k"]) == ("of the first", "written")


def test_all_namespaces_are_gone_with_the_store(path: Path) -> None:
    first, second, values = Cache(path), Cache(path, namespace="second"), PersistDict[str, int](path, namespace="third")
    for it in (first, second, values):
        it["k"] = 1
        assert it["k"] == 1
    shutil.rmtree(path)
    refused(lambda: second.set("k", 2), path)
    for it in (first, values):
        refused(lambda it=it: it["k"], path)
    with Cache(path, namespace="second") as new:
        assert new.get("k") is None and [made.name for made in new.describe().namespaces] == ["second"]
    for it in (first, second, values):
        it.close()


def test_other_options_are_possible_for_what_is_made_in_its_place(path: Path) -> None:
    old = Cache(path)
    old["k"] = 1
    shutil.rmtree(path)
    with Cache(path, encryption_key=b"k" * 32, max_bytes=8 << 20, compression=True) as new:
        new["k"] = 2
        assert (new["k"], new.describe().max_bytes) == (2, 8 << 20)
        assert new.describe().cipher == "xchacha20poly1305"
        refused(lambda: old["k"], path)
    old.close()


def test_a_walk_does_not_go_on_in_what_is_gone(path: Path) -> None:
    cache = Cache(path)
    cache.set_many({number: number for number in range(5000)})
    walk = iter(cache)
    assert next(walk) == 0
    shutil.rmtree(path)
    refused(lambda: cache.set("k", 1), path)
    refused(lambda: list(walk), path)
    cache.close()


def test_who_only_reads_notices_after_some_seconds(path: Path) -> None:
    cache = Cache(path)
    cache["k"] = 1
    shutil.rmtree(path)
    until = time.monotonic() + 60
    with pytest.raises(StoreGoneError):
        while time.monotonic() < until:
            assert cache["k"] == 1
            time.sleep(0.1)
    cache.close()


def test_a_handle_that_comes_by_pickle_opens_what_is_there(path: Path) -> None:
    cache = Cache(path)
    cache["k"] = 1
    shutil.rmtree(path)
    refused(lambda: cache.set("k", 2), path)
    with pickle.loads(pickle.dumps(cache)) as again:
        assert again.get("k") is None
        again["k"] = 3
        assert again["k"] == 3
    cache.close()


def test_a_cache_that_is_bypassed_in_trouble_is_so_then(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(path, on_error="bypass")
    cache["k"] = 1
    shutil.rmtree(path)
    cache["k"] = 2
    assert cache.get("k", "default") == "default" and cache.get_or_set("k", lambda: "made") == "made"
    told = [record for record in caplog.records if "is bypassed" in record.getMessage()]
    assert len(told) == 1 and "removed, renamed or replaced" in told[0].getMessage()
    assert not path.exists()
    cache.close()


def test_a_facade_of_diskcache_says_so_too(path: Path) -> None:
    old = cachemere.diskcache.Cache(str(path))
    old["k"] = 1
    shutil.rmtree(path)
    refused(lambda: old.set("k", 2), path)
    with cachemere.diskcache.Cache(str(path)) as new:
        assert new.get("k") is None
        new["k"] = 3
        assert new["k"] == 3
    old.close()


# --- another process --------------------------------------------------------------------------------------------------


def test_another_process_notices_too(path: Path) -> None:
    other = OtherProcess(path)
    try:
        other.call("update", {"k": 1})
        with PersistDict[str, Any](path) as d:
            assert d["k"] == 1
            shutil.rmtree(path)
            refused(lambda: d.set("k", 2), path)
        # Nobody has told it.
        refused(lambda: other.call("set", "k", 3), path)
        refused(lambda: other.call("get", "k"), path)
        with PersistDict[str, Any](path) as d:
            assert len(d) == 0
            d["k"] = "new"
            refused(lambda: other.call("get", "k"), path)
            other.call("reopen")
            assert other.call("get", "k") == "new"
            other.call("update", {"k": "of the other"})
            assert d["k"] == "of the other"
    finally:
        other.stop()


# --- memoized functions -----------------------------------------------------------------------------------------------


def test_a_cell_of_a_notebook_that_is_run_again(path: Path) -> None:
    calls: list[int] = []
    cells = []

    def cell() -> tuple[Cache, Any]:
        cache = Cache(path)

        @cache.memoize
        def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        # Whatever a notebook shows stays alive.
        cells.append((cache, double))
        return cache, double

    cache, double = cell()
    assert [double(1), double(1), double(2)] == [2, 2, 4] and calls == [1, 2]
    for _ in range(3):
        shutil.rmtree(path)
        calls.clear()
        cache, double = cell()
        assert [double(1), double(1), double(2)] == [2, 2, 4], "and it works"
        assert calls == [1, 2], "nothing of the old store is served"
        assert len(cache) == 2
    calls.clear()
    _, double = cell()
    assert [double(1), double(2), calls] == [2, 4, []], "where nothing was removed, everything is found"
    for cache, double in cells[:-2]:
        with pytest.raises(StoreGoneError):
            double(1)
        cache.close()
    assert calls == []


def memoized(cache: Cache, computed: list[int]) -> dict[str, Callable[[int], Any]]:
    """A function of each kind, by each of the ways to call it that can compute."""

    @cache.memoize
    def plain(x: int) -> int:
        computed.append(x)
        return x

    @cache.memoize
    def items(x: int) -> Iterator[int]:
        computed.append(x)
        yield x

    @cache.memoize
    async def later(x: int) -> int:
        computed.append(x)
        return x

    @cache.memoize
    async def items_later(x: int) -> AsyncIterator[int]:
        computed.append(x)
        yield x

    async def collected(stream: AsyncIterator[int]) -> list[int]:
        return [item async for item in stream]

    async def awaited(work: Awaitable[int]) -> int:
        return await work

    def make(x: int) -> int:
        computed.append(x)
        return x

    async def make_later(x: int) -> int:
        return make(x)

    return {
        "plain": plain,
        "refresh": plain.refresh,
        "salted": plain.salted("salt"),
        "stream": lambda x: list(items(x)),
        "stream refresh": lambda x: list(items.refresh(x)),
        "async": lambda x: asyncio.run(awaited(later(x))),
        "async refresh": lambda x: asyncio.run(awaited(later.refresh(x))),
        "async stream": lambda x: asyncio.run(collected(items_later(x))),
        "async stream refresh": lambda x: asyncio.run(collected(items_later.refresh(x))),
        "get_or_set": lambda x: cache.get_or_set(x, lambda: make(x)),
        "aget_or_set": lambda x: asyncio.run(cache.aget_or_set(x, lambda: make_later(x))),
    }


WAYS = [
    "plain", "refresh", "salted", "stream", "stream refresh", "async", "async refresh", "async stream",
    "async stream refresh", "get_or_set", "aget_or_set",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_memoized_function_whose_store_is_gone_raises_before_it_computes(path: Path, way: str) -> None:
    computed: list[int] = []
    cache = Cache(path)
    call = memoized(cache, computed)[way]
    call(1)
    assert computed == [1]
    shutil.rmtree(path)
    for x in (2, 1, 2):
        refused(lambda x=x: call(x), path)
    assert computed == [1] and not path.exists()
    # What its user does then.
    with Cache(path) as new:
        call = memoized(new, computed)[way]
        call(2)
        assert computed == [1, 2] and len(new) == 1
    cache.close()


@pytest.mark.parametrize("way", WAYS)
def test_or_it_computes_each_time_where_troubles_are_bypassed(path: Path, way: str) -> None:
    computed: list[int] = []
    cache = Cache(path, on_error="bypass")
    call = memoized(cache, computed)[way]
    call(1)
    shutil.rmtree(path)
    expected = call(2)
    assert call(2) == expected and computed == [1, 2, 2] and not path.exists()
    cache.close()


def test_a_function_that_is_memoized_in_the_default_store(tmp_path: Path) -> None:
    computed: list[int] = []

    def make() -> Any:
        @cachemere.memoize(on_error="raise")
        def double(x: int) -> int:
            computed.append(x)
            return 2 * x

        return double

    old = make()
    assert [old(1), old(1)] == [2, 2]
    bypassing = cachemere.memoize(lambda x: -x)
    assert bypassing(1) == -1
    shutil.rmtree(tmp_path / "home-cache")
    with pytest.raises(StoreGoneError):
        old(2)
    assert computed == [1] and bypassing(1) == -1
    # Its user has no handle to open again: to memoize it again is enough.
    new = make()
    assert [new(1), new(1), new(2)] == [2, 2, 4] and computed == [1, 1, 2]
    with cachemere.open() as cache:
        assert len(cache) == 2
