"""The key-value store for LlamaIndex."""

from __future__ import annotations

import asyncio
import datetime
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import CacheError, UnsafeValueError, ValueFormError
from cachemere.integrations.llama_index import CachemereKVStore
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import Document, ImageNode, IndexNode, NodeRelationship, TextNode, TransformComponent
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.storage.kvstore.types import BaseKVStore


@pytest.fixture
def store(path: Path) -> CachemereKVStore:
    return CachemereKVStore(Cache(path), on_error="raise")


async def work(store: BaseKVStore) -> list[Any]:
    """All that a store can do, and what it says."""
    said: list[Any] = [store.get("k"), await store.aget("k"), store.get_all(), store.delete("k")]
    store.put("k", {"n": 1})
    store.put("k", {"n": 2}, collection="c")
    await store.aput("a", {"n": [3]})
    store.put_all([("b", {"n": 4}), ("c", {})])
    await store.aput_all([("d", {"n": 5}), ("b", {"n": 6})], collection="c")
    said += [store.get("k"), store.get("k", collection="c"), await store.aget("a"), await store.aget("absent")]
    said += [store.get_all(), await store.aget_all(), await store.aget_all(collection="c"), store.get_all("absent")]
    said += [store.delete("k"), store.delete("k"), await store.adelete("a"), await store.adelete("a")]
    said += [await store.adelete("b", collection="c"), store.get_all(), store.get_all("c")]
    return said


async def test_it_does_what_the_library_s_own_store_does(store: CachemereKVStore) -> None:
    assert await work(store) == await work(SimpleKVStore())


def test_collections_are_not_run_together(store: CachemereKVStore) -> None:
    places = [("a", "b/c"), ("a/b", "c"), ("a", "b"), ("", "a"), ("c" * 2000, "k" * 2000)]
    for number, (collection, key) in enumerate(places):
        store.put(key, {"n": number}, collection)
    for number, (collection, key) in enumerate(places):
        assert store.get(key, collection) == {"n": number}
    assert store.get_all("a") == {"b/c": {"n": 0}, "b": {"n": 2}}


def test_what_comes_out_is_the_caller_s_own(store: CachemereKVStore) -> None:
    given = {"n": [1]}
    store.put("k", given)
    given["n"].append(2)
    for _ in range(2):
        for found in (store.get("k"), store.get_all()["k"]):
            assert found == {"n": [1]}
            found["n"].append(2)


def test_entries_live_as_long_as_is_said(path: Path) -> None:
    store = CachemereKVStore(Cache(path), ttl=1, on_error="raise")
    store.put("k", {})
    assert store.get("k") == {}
    time.sleep(1.05)
    assert store.get("k") is None and store.get_all() == {}


def test_all_pairs_are_written_or_none(path: Path, store: CachemereKVStore) -> None:
    for pair, error in (
        (("b", [1]), ValueFormError),
        ((1, {}), ValueFormError),
        (("b", {"o": {}.keys()}), UnsafeValueError),
    ):
        pairs: Any = [("a", {}), pair]
        with pytest.raises(error):
            store.put_all(pairs)
        CachemereKVStore(Cache(path)).put_all(pairs)
    assert store.get_all() == {}


def test_one_entry_that_cannot_be_read_does_not_take_the_others_with_it(path: Path) -> None:
    store = CachemereKVStore(Cache(path))
    store.put_all([("a", {"n": 1}), ("b", {"n": 2})])
    with Cache(path, namespace="llama-index", allow_pickle=True) as writer:
        writer["data", "a"] = object
        writer["a key of another"] = 1
    assert store.get_all() == {"b": {"n": 2}}
    with pytest.raises(CacheError):
        CachemereKVStore(Cache(path), on_error="raise").get_all()


async def test_a_store_that_cannot_be_opened_does_not_say_that_something_is_gone(path: Path) -> None:
    path.write_text("a file, not a directory")
    store = CachemereKVStore(Cache(path))
    assert store.get_all() == {} == await store.aget_all()
    with pytest.raises(CacheError):
        store.delete("k")
    with pytest.raises(CacheError):
        await store.adelete("k")


class Loud(TransformComponent):
    """Writes down that it ran, in a file, since it runs in other processes too."""

    where: str

    def __call__(self, nodes: Any, **_: Any) -> Any:
        with open(self.where, "a") as file:
            file.writelines(f"{node.node_id}\n" for node in nodes)
        return [node.model_copy(update={"metadata": {"loud": node.get_content().upper()}}) for node in nodes]


NODES = [
    TextNode(text="one", id_="1", embedding=[0.5, 1.5], metadata={"n": [1, None], "day": datetime.date(2024, 1, 2)}),
    IndexNode(text="two", id_="2", index_id="i"),
    ImageNode(text="three", id_="3", image_url="http://image.example"),
    Document(text="four", id_="4", relationships={NodeRelationship.SOURCE: TextNode(id_="1").as_related_node_info()}),
]


def test_nodes_of_each_kind_come_out_as_they_were(path: Path, store: CachemereKVStore) -> None:
    IngestionCache(cache=store).put("k", NODES)
    again = IngestionCache(cache=CachemereKVStore(Cache(path, memory_bytes=0), on_error="raise"))
    found = again.get("k")
    assert found == NODES and [type(node) for node in found] == [type(node) for node in NODES]
    again.clear()
    assert again.get("k") is None

    documents = KVDocumentStore(store)
    documents.add_documents(NODES)
    assert KVDocumentStore(CachemereKVStore(Cache(path))).docs == {node.node_id: node for node in NODES}
    documents.delete_document("1")
    assert not documents.document_exists("1") and documents.document_exists("2")


def test_a_pipeline_in_several_processes_uses_the_cache(path: Path, tmp_path: Path) -> None:
    store = CachemereKVStore(Cache(path), on_error="raise")
    assert pickle.loads(pickle.dumps(store)).get_all() == {}
    where = tmp_path / "ran"
    documents = [Document(text=text, id_=text) for text in ("a", "b", "c", "d")]
    for _ in range(2):
        pipeline = IngestionPipeline(transformations=[Loud(where=str(where))], cache=IngestionCache(cache=store))
        nodes = pipeline.run(documents=documents, num_workers=2)
        assert sorted(node.metadata["loud"] for node in nodes) == ["A", "B", "C", "D"]
    assert sorted(where.read_text().split()) == ["a", "b", "c", "d"]


def test_a_cache_that_fails_breaks_no_pipeline(path: Path, tmp_path: Path) -> None:
    path.write_text("a file, not a directory")
    where = tmp_path / "ran"
    cache = IngestionCache(cache=CachemereKVStore(Cache(path)))
    pipeline = IngestionPipeline(transformations=[Loud(where=str(where))], cache=cache)
    for _ in range(2):
        assert pipeline.run(documents=[Document(text="a", id_="a")])[0].metadata == {"loud": "A"}
    assert asyncio.run(pipeline.arun(documents=[Document(text="a", id_="a")]))[0].metadata == {"loud": "A"}
    assert where.read_text().split() == ["a", "a", "a"]
