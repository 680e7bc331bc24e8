"""The store for py-key-value. Its own suite is in no distribution: `key_value_suite.py` runs it from a checkout."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import CacheError, ClosedError
from cachemere.integrations.key_value import CachemereStore
from key_value.aio.protocols.key_value import (
    AsyncCullProtocol,
    AsyncDestroyCollectionProtocol,
    AsyncDestroyStoreProtocol,
    AsyncEnumerateCollectionsProtocol,
    AsyncEnumerateKeysProtocol,
    AsyncKeyValue,
)


@pytest.fixture
def store(path: Path) -> CachemereStore:
    return CachemereStore(Cache(path), on_error="raise")


def test_it_is_what_the_library_asks_for(store: CachemereStore) -> None:
    for protocol in (
        AsyncKeyValue,
        AsyncCullProtocol,
        AsyncDestroyCollectionProtocol,
        AsyncDestroyStoreProtocol,
        AsyncEnumerateCollectionsProtocol,
        AsyncEnumerateKeysProtocol,
    ):
        assert isinstance(store, protocol)


VALUE = {"text": "é\n🌍", "none": None, "yes": True, "n": [1, -2.5, 10**18], "deep": {"list": [{}, []]}}


async def test_json_comes_out_as_json(path: Path, store: CachemereStore) -> None:
    await store.put("k", VALUE)
    await store.put("pair", {"pair": (1, 2)})
    other = CachemereStore(Cache(path, memory_bytes=0), on_error="raise")
    assert await other.get("k") == VALUE and await other.get("pair") == {"pair": [1, 2]}
    found = await store.get("k")
    assert found is not None
    found["n"].append("changed")
    assert await store.get("k") == VALUE


@pytest.mark.parametrize("on_error", ["raise", "bypass"])
async def test_what_is_not_json_is_the_library_s_own_error(path: Path, on_error: str) -> None:
    store = CachemereStore(Cache(path), on_error=on_error)
    values: list[dict[str, Any]] = [{"v": datetime.now()}, {"v": b"bytes"}, {"v": {1, 2}}, {"v": object()}]
    for value in values:
        with pytest.raises(Exception, match="JSON") as told:
            await store.put("k", value)
        assert type(told.value).__name__ == "SerializationError"
        with pytest.raises(Exception, match="JSON"):
            await store.put_many(["sound", "k"], [{"v": 1}, value])
    for ttl in (0, -1, True):
        with pytest.raises(Exception, match="TTL"):
            await store.put("k", {}, ttl=ttl)
    assert await store.get_many(["k", "sound"]) == [None, None]


async def test_entries_live_as_long_as_is_said(path: Path, store: CachemereStore) -> None:
    await store.put("short", {"n": 1}, ttl=1)
    await store.put_many(["a", "b"], [{"n": 2}, {"n": 3}], ttl=60)
    await store.put("ever", {"n": 4})
    value, left = await store.ttl("a")
    assert value == {"n": 2} and left is not None and 58 < left <= 60
    assert await store.ttl("ever") == ({"n": 4}, None)
    await asyncio.sleep(1.05)
    assert await store.get_many(["short", "a", "b", "ever"]) == [None, {"n": 2}, {"n": 3}, {"n": 4}]
    assert await store.ttl("short") == (None, None)
    assert sorted(await store.keys()) == ["a", "b", "ever"]
    await store.cull()
    # As the cache says, where the call does not.
    brief = CachemereStore(Cache(path, ttl=0.5), namespace="brief", on_error="raise")
    await brief.put("k", {})
    left = (await brief.ttl("k"))[1]
    assert left is not None and 0 < left <= 0.5
    await asyncio.sleep(0.55)
    assert await brief.get("k") is None


async def test_collections_are_not_run_together(store: CachemereStore) -> None:
    places = [("a", "b::c"), ("a::b", "c"), ("a", "b"), ("ab", ""), ("c" * 2000, "k" * 2000)]
    for number, (collection, key) in enumerate(places):
        await store.put(key, {"n": number}, collection=collection)
    await store.put("b", {"n": "default"})
    for number, (collection, key) in enumerate(places):
        assert await store.get(key, collection=collection) == {"n": number}
    assert await store.get("b") == {"n": "default"}
    assert await store.collections() == ["a", "a::b", "ab", "c" * 2000, "default_collection"]
    assert await store.collections(limit=2) == ["a", "a::b"]
    assert await store.keys("a") == ["b::c", "b"] and await store.keys("a", limit=1) == ["b::c"]
    assert await store.destroy_collection("a") and not await store.destroy_collection("a")
    assert await store.keys("a") == [] and await store.get("c", collection="a::b") == {"n": 1}
    assert await store.delete("c", collection="a::b") and not await store.delete("c", collection="a::b")
    assert await store.delete_many(["b", "absent"]) == 1
    assert await store.destroy() and await store.collections() == []


async def test_destroying_leaves_what_others_have_in_the_store(path: Path) -> None:
    own = Cache(path)
    own["k"] = 1
    store, other = CachemereStore(own), CachemereStore(own, namespace="other", default_collection="c")
    await store.put("k", {})
    await other.put("k", {"n": 1})
    await store.destroy()
    assert own["k"] == 1 and await other.get("k", collection="c") == {"n": 1}


async def test_one_entry_that_cannot_be_read_does_not_take_the_others_with_it(path: Path) -> None:
    store = CachemereStore(Cache(path))
    await store.put_many(["a", "b"], [{"n": 1}, {"n": 2}])
    with Cache(path, namespace="key-value", allow_pickle=True) as writer:
        writer["default_collection", "a"] = object
        writer["a key of another"] = 1
    assert await store.get_many(["a", "b"]) == [None, {"n": 2}]
    assert await store.ttl_many(["a", "b"]) == [(None, None), ({"n": 2}, None)]
    assert await store.keys() == ["a", "b"] and await store.collections() == ["default_collection"]


async def test_a_store_that_cannot_be_opened_does_not_say_that_something_is_gone(path: Path) -> None:
    path.write_text("a file, not a directory")
    store = CachemereStore(Cache(path))
    assert await store.keys() == [] and await store.collections() == []
    removals: list[Any] = [store.delete("k"), store.delete_many(["k"]), store.destroy(), store.destroy_collection("c")]
    for removal in removals:
        with pytest.raises(CacheError):
            await removal


async def test_closing_closes_this_handle_alone(path: Path) -> None:
    cache = Cache(path)
    async with CachemereStore(cache, on_error="raise") as store:
        await store.put("k", {"n": 1})
    with pytest.raises(ClosedError):
        await store.get("k")
    cache["k"] = 1
    again = CachemereStore(cache, on_error="raise")
    assert await again.get("k") == {"n": 1}
    await again.close()
