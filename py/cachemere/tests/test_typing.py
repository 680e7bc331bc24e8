"""What type checkers see of a `PersistDict` is a `dict`, and of a `Cache` what its documentation says."""

from __future__ import annotations

from pathlib import Path

from type_checker import check_types

HEAD = """
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from typing_extensions import assert_type
import cachemere
from cachemere import Cache, EntryInfo, NamespaceInfo, PersistDict, Stats, StoreInfo, VerifyReport

"""

CACHE = """
cache = Cache("/nowhere", ttl=1, idle=1.5, max_bytes=1 << 30, encryption_key=b"k" * 32, types=[int], on_error="bypass")
assert_type(cachemere.open(), Cache)
assert_type(Cache(Path("/nowhere"), compression=True), Cache)
Cache(os.fsencode("/nowhere"))  # error: arg-type
Cache("/nowhere", ttl=[1])  # error: arg-type
Cache("/nowhere", "name")  # error: call-arg
Cache("/nowhere", nonsense=1)  # error: call-arg
cachemere.open("/nowhere", nonsense=1)  # error: call-arg
cachemere.open("/nowhere", ttl=[1])  # error: arg-type

assert_type(cache["k"], Any)
assert_type(cache.get(("k", 1)), Any)
assert_type(cache.set("k", object(), ttl=1, tags=["t"]), None)
assert_type(cache.set("k", object(), ttl="30d"), None)
assert_type(Cache("/nowhere", ttl="12h", max_bytes="1GB", memory_bytes=1e8), Cache)
assert_type(cache.get_or_set_many(["k"], lambda keys: [len(key) for key in keys], "1h", batch_size=3), dict[str, int])
assert_type(cache.add("k", 1), bool)
assert_type(cache.delete("k"), bool)
assert_type(cache.pop("k", None), Any)
assert_type(cache.incr("k", 2), Any)
assert_type(cache.touch("k", 1.5), bool)
assert_type(cache.get_or_set("k", lambda: 1), int)
assert_type(cache.get_or_set("k", dict[str, int]), dict[str, int])
assert_type(cache.info("k"), EntryInfo | None)
assert_type("k" in cache, bool)
assert_type(cache.get_many(["k"]), dict[Any, Any])
assert_type(cache.set_many({"k": 1}), None)
assert_type(cache.set_many((n, str(n)) for n in range(3)), None)
assert_type(cache.delete_many({"k", 1}), int)
assert_type(cache.evict("t"), int)
assert_type(iter(cache), Iterator[Any])
assert_type(reversed(cache), Iterator[Any])
assert_type(cache.items(), Iterator[tuple[Any, Any]])
assert_type(len(cache), int)
assert_type(cache.namespace("n"), Cache)
assert_type(cache.stats(), Stats)
assert_type(cache.describe(), StoreInfo)
assert_type(cache.describe().namespaces, tuple[NamespaceInfo, ...])
assert_type(cache.verify(), VerifyReport)
assert_type(cache.sweep(), int)
with cache as same:
    assert_type(same, Cache)

cache.get([])  # error: arg-type
cache.set({}, 1)  # error: arg-type
cache.set("k", 1, [])  # error: arg-type
cache.set("k", 1, tags=[1])  # error: list-item
cache.evict(1)  # error: arg-type
cache.get_or_set("k", 1)  # error: arg-type
cache.change_encryption_key("old", 5)  # error: arg-type


class Mine(Cache):
    pass


with Mine("/nowhere") as mine:
    assert_type(mine, Mine)


async def main() -> None:
    assert_type(await cache.aget("k"), Any)
    assert_type(await cache.aset("k", 1), None)
    assert_type(await cache.aadd("k", 1), bool)
    assert_type(await cache.alen(), int)
    assert_type(await cache.aget_many(["k"]), dict[Any, Any])
    assert_type(await cache.ainfo("k"), EntryInfo | None)
    assert_type(cache.aitems(), AsyncIterator[tuple[Any, Any]])
    async for key in cache:
        assert_type(key, Any)
    async with cache as same:
        assert_type(same, Cache)
    await cache.aset([], 1)  # error: arg-type
"""

DICT = """
d: PersistDict[str, int] = PersistDict("/nowhere", expiration_days=1.5, ttl=1, types=(int,))
assert_type(PersistDict[str, int](database_path=Path("/nowhere")), PersistDict[str, int])
PersistDict[str, int]()  # error: call-arg
PersistDict[str, int]("/nowhere", durability=1)  # error: arg-type
PersistDict[str, int]("/nowhere", idle=1)  # error: call-arg


def takes_a_dict(given: dict[str, int]) -> None: ...


takes_a_dict(d)
d["k"] = 1
assert_type(d["k"], int)
assert_type(d.get("k"), int | None)
assert_type(d.get("k", "x"), int | str)
assert_type(d.pop("k"), int)
assert_type(d.pop("k", None), int | None)
assert_type(d.popitem(), tuple[str, int])
assert_type(d.setdefault("k", 1), int)
assert_type(d.set("k", 1, ttl=1), None)
assert_type(iter(d), Iterator[str])
assert_type(reversed(d), Iterator[str])
assert_type(list(d), list[str])
assert_type(list(d.values()), list[int])
assert_type(list(d.items()), list[tuple[str, int]])
assert_type(d.walk(), Iterator[tuple[str, int]])
assert_type(len(d), int)
assert_type("k" in d, bool)
assert_type(d.copy(), dict[str, int])
assert_type(d.to_dict(skip_damaged=True), dict[str, int])
assert_type(d.info("k"), EntryInfo | None)
assert_type(d(a=1), PersistDict[str, int])
assert_type(d.update(a=1), None)
assert_type(d.path, str)
assert_type(d.stats(), Stats)
d |= {"k": 1}
assert_type(d, PersistDict[str, int])
with d as same:
    assert_type(same, PersistDict[str, int])

d[1] = 1  # error: index
d["k"] = "x"  # error: assignment
d.set("k", 1, "x")  # error: arg-type
takes_a_dict(PersistDict[str, str]("/nowhere"))  # error: arg-type
d.info([])  # error: arg-type
"""


def test_types_of_a_cache(tmp_path: Path) -> None:
    check_types(HEAD + CACHE, tmp_path)


def test_types_of_a_dict(tmp_path: Path) -> None:
    check_types(HEAD + DICT, tmp_path)
