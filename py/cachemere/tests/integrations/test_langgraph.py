"""The cache for LangGraph's nodes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import CacheError, InvalidOptionError, UnsafeValueError
from cachemere.integrations.langgraph import CachemereCache
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langgraph.types import Overwrite, Send

NODE = ("writes", "function", "node")
KEY = (NODE, "k")


@pytest.fixture
def cache(path: Path) -> CachemereCache:
    return CachemereCache(Cache(path), on_error="raise")


async def test_what_a_node_wrote_comes_out_as_it_was(path: Path, cache: CachemereCache) -> None:
    writes = [
        ("plain", {"a": [1, (2, 3)], 4: {5}}),
        ("messages", [HumanMessage("h")]),
        ("documents", (Document("text", metadata={"n": 1}),)),
        ("whole", Overwrite([1])),
        ("none", None),
        ("__pregel_tasks", Send("node", {"message": HumanMessage("s")})),
    ]
    await cache.aset({KEY: (writes, None)})
    other = CachemereCache(Cache(path, memory_bytes=0), on_error="raise")
    assert other.get([KEY, (NODE, "other")]) == {KEY: writes} == await cache.aget([KEY])
    other.get([KEY])[KEY][0][1]["a"].append("changed")
    assert other.get([KEY]) == {KEY: writes}


@pytest.mark.parametrize(
    "value",
    [{"ab": 1}, {"ab": [1, {"c": None}]}, {}, [], "ab", "", 5, 1.5, True, b"ab", ["ab"], [1], (1, 2), ("ab", 1), {1, 2}]
    + [[("a", 1, 2)], [["a", 1]], [("a", 1), "b"], (("a", 1),), {"x": Overwrite([1])}, Send("node", {"a": 1})],
    ids=repr,
)
def test_any_plain_value_comes_out_as_it_was(path: Path, cache: CachemereCache, value: Any) -> None:
    cache.set({KEY: (value, None)})
    other = CachemereCache(Cache(path, memory_bytes=0), on_error="raise")
    for found in (cache.get([KEY]), other.get([KEY])):
        assert found == {KEY: value} and type(found[KEY]) is type(value)


def test_an_entry_lives_as_long_as_its_policy_says(cache: CachemereCache) -> None:
    cache.set({KEY: ([("a", 1)], 1), (NODE, "long"): ([("a", 1)], 60)})
    assert set(cache.get([KEY, (NODE, "long")])) == {KEY, (NODE, "long")}
    time.sleep(1.05)
    assert set(cache.get([KEY, (NODE, "long")])) == {(NODE, "long")}
    cache.set({(NODE, "long"): ([("a", 2)], 0)})
    assert cache.get([(NODE, "long")]) == {}


async def test_namespaces_are_not_run_together_and_cleared_one_by_one(cache: CachemereCache) -> None:
    keys = [(("a", "b"), "c"), (("a",), "b"), (("a,b",), "c"), ((), "c"), (("a",), "c")]
    cache.set({key: ([("n", number)], None) for number, key in enumerate(keys)})
    assert cache.get(keys) == {key: [("n", number)] for number, key in enumerate(keys)}
    cache.clear([("a",), ("absent",)])
    assert list(cache.get(keys)) == [keys[0], keys[2], keys[3]]
    await cache.aclear()
    assert cache.get(keys) == {}


class Attack:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._mark),)


async def test_a_hostile_entry_is_refused_and_nothing_run(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    by_name = {"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [str(mark)]}
    # As LangGraph's serializer writes a call of a class by its name.
    ormsgpack = pytest.importorskip("ormsgpack")
    call = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("os", "mkdir", str(mark)))))
    for value in (Attack(mark), by_name, [by_name], ("msgpack", call), ([by_name],), ([("a", Attack(mark))],)):
        with Cache(path, namespace="langgraph", allow_pickle=True) as store:
            store[KEY] = value
        allowing = Cache(path, allow_pickle=True)
        with pytest.raises(CacheError):
            CachemereCache(allowing, on_error="raise").get([KEY])
        lenient = CachemereCache(allowing)
        assert lenient.get([KEY]) == {} == await lenient.aget([KEY])
        lenient.set({KEY: ([("a", 1)], None)})
        assert lenient.get([KEY]) == {KEY: [("a", 1)]}
    assert not mark.exists()


def test_what_cannot_be_stored_breaks_no_call(path: Path, cache: CachemereCache) -> None:
    writes = [("a", object())]
    with pytest.raises(UnsafeValueError):
        cache.set({KEY: (writes, None)})
    lenient = CachemereCache(Cache(path))
    lenient.set({KEY: (writes, None), (NODE, "sound"): ([("a", 1)], None)})
    assert lenient.get([KEY, (NODE, "sound")]) == {(NODE, "sound"): [("a", 1)]}


def test_a_store_that_cannot_be_opened_breaks_no_call(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("a file, not a directory")
    cache = CachemereCache(Cache(path))
    cache.set({KEY: ([("a", 1)], None)})
    assert cache.get([KEY]) == {} and "goes on without this entry" in caplog.text
    for namespaces in (None, [NODE]):
        with pytest.raises(CacheError):
            cache.clear(namespaces)


def test_it_is_true_and_has_no_length(cache: CachemereCache) -> None:
    assert cache and not hasattr(type(cache), "__len__")
    with pytest.raises(InvalidOptionError):
        CachemereCache({})  # type: ignore[arg-type]
