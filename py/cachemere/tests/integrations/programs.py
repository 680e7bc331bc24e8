"""Programs with a host and its cache, each run in a process of its own: `programs.py NAME STORE`.

Each prints what it answers and how often it computed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

SECRET = b"s" * 32
FOUND = "found: "


class State(TypedDict, total=False):
    """Of the graph. LangGraph looks it up by its name, in this module."""

    question: str
    answer: Any
    pair: tuple[int, int]


def run(name: str, store: Path) -> Any:
    """What a program prints, run in another process."""
    done = subprocess.run([sys.executable, __file__, name, str(store)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Hosts say things of their own, before and after.
    [found] = [line for line in done.stdout.splitlines() if line.startswith(FOUND)]
    return json.loads(found.removeprefix(FOUND))


def chat(store: str) -> Any:
    from cachemere import Cache
    from cachemere.integrations.langchain import CachemereCache
    from langchain_core.globals import set_llm_cache
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    set_llm_cache(CachemereCache(Cache(store, encryption_key=SECRET), on_error="raise"))
    call = {"name": "look", "args": {"at": "sky"}, "id": "1", "type": "tool_call"}
    answers = iter([AIMessage("blue", tool_calls=[call], id="of the model"), AIMessage("green")])
    model = GenericFakeChatModel(messages=answers)
    first = model.invoke("Why?", stop=["."])
    second = asyncio.run(model.ainvoke("Why?", stop=["."]))
    assert isinstance(first, AIMessage) and isinstance(second, AIMessage)
    assert first.tool_calls == second.tool_calls == [call]
    return [first.content, second.content, 2 - len(list(answers))]


def embeddings(store: str) -> Any:
    from cachemere import Cache
    from cachemere.integrations.langchain import CachemereByteStore
    from langchain_classic.embeddings import CacheBackedEmbeddings
    from langchain_core.embeddings import DeterministicFakeEmbedding

    asked: list[str] = []

    class Model(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            asked.extend(texts)
            return super().embed_documents(texts)

    bytes_store = CachemereByteStore(Cache(store), on_error="raise")
    cached = CacheBackedEmbeddings.from_bytes_store(
        Model(size=3), bytes_store, namespace="fake", key_encoder="sha256", query_embedding_cache=True
    )
    return [cached.embed_documents(["a", "b"]), cached.embed_query("a"), asked]


def graph(store: str) -> Any:
    from cachemere import Cache
    from cachemere.integrations.langgraph import CachemereCache
    from langchain_core.messages import AIMessage
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import CachePolicy, Send

    ran: list[str] = []

    def think(state: State) -> Any:
        ran.append("think")
        return {"answer": AIMessage(state["question"].upper()), "pair": (1, 2)}

    def spread(state: State) -> Any:
        return [Send("end", state)]

    def end(state: State) -> Any:
        ran.append("end")
        return {}

    builder = StateGraph(State)
    builder.add_node("think", think, cache_policy=CachePolicy(ttl=60))
    builder.add_node("end", end, cache_policy=CachePolicy(key_func=lambda state: state["question"]))
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", spread, ["end"])
    builder.add_edge("end", END)
    compiled: Any = builder.compile(cache=CachemereCache(Cache(store), on_error="raise"))
    first = compiled.invoke({"question": "why"})
    second = asyncio.run(compiled.ainvoke({"question": "why"}))
    assert first == second and type(first["answer"]) is AIMessage and first["pair"] == (1, 2)
    return [first["answer"].content, ran]


def litellm_calls(store: str) -> Any:
    """All but embeddings are mock answers with the number of this process in them."""
    import litellm
    from cachemere import Cache
    from cachemere.integrations.litellm import enable_cache

    embedded: list[str] = []

    class Model(litellm.CustomLLM):
        def embedding(self, model: str, input: list[Any], **options: Any) -> Any:
            embedded.extend(input)
            data = [{"object": "embedding", "index": n, "embedding": [float(n), 0.5]} for n, _ in enumerate(input)]
            return litellm.EmbeddingResponse(model=model, data=data)

        async def aembedding(self, *arguments: Any, **options: Any) -> Any:
            options.pop("model_response", None)
            return self.embedding(*arguments, **options)

    litellm.custom_provider_map = [{"provider": "own", "custom_handler": Model()}]
    enable_cache(Cache(store, encryption_key=SECRET), on_error="raise")
    mock = f"of process {os.getpid()}"

    def ask(text: str, **options: Any) -> dict[str, Any]:
        # More than four messages, which LiteLLM alone would not keep the answer to.
        messages = [{"role": "user", "content": text}] * 6
        return {"model": "gpt-4o", "messages": messages, "mock_response": mock, **options}

    def content(answer: Any) -> str:
        return str(answer.choices[0].message.content)

    def streamed(chunks: list[Any]) -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def later() -> list[Any]:
        answers = [content(await litellm.acompletion(**ask("later"))), content(await litellm.acompletion(**ask("a")))]
        stream: Any = await litellm.acompletion(**ask("later, streamed", stream=True))
        answers.append(streamed([chunk async for chunk in stream]))
        vectors: Any = await litellm.aembedding(model="own/model", input=["later", "and later"])
        if not hasattr(litellm.constants, "CACHE_WRITE_SHUTDOWN_FLUSH_TIMEOUT_SECONDS"):
            # It writes in a task of its own, which the end of the loop cancels; later versions write then all the same.
            await asyncio.sleep(0.5)
        return [*answers, [dict(it)["embedding"] for it in vectors.data]]

    answers = [content(litellm.completion(**ask("a", temperature=t))) for t in (None, 0.5)]
    answers.append(streamed(list(litellm.completion(**ask("streamed", stream=True)))))
    vectors: Any = litellm.embedding(model="own/model", input=["a", "b"])
    answers.append([dict(it)["embedding"] for it in vectors.data])
    return [[*answers, *asyncio.run(later())], embedded]


def ingestion(store: str) -> Any:
    from cachemere import Cache
    from cachemere.integrations.llama_index import CachemereKVStore
    from llama_index.core.data_structs import IndexList
    from llama_index.core.ingestion import IngestionCache, IngestionPipeline
    from llama_index.core.schema import Document, TransformComponent
    from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
    from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore

    ran: list[str] = []

    class Upper(TransformComponent):
        def __call__(self, nodes: Any, **_: Any) -> Any:
            ran.extend(node.node_id for node in nodes)
            return [node.model_copy(update={"metadata": {"loud": node.get_content().upper()}}) for node in nodes]

    kept = CachemereKVStore(Cache(store, encryption_key=SECRET), on_error="raise")
    pipeline = IngestionPipeline(transformations=[Upper()], cache=IngestionCache(cache=kept))
    documents = [Document(text="one", id_="1"), Document(text="two", id_="2", metadata={"n": [1, None]})]
    first = pipeline.run(documents=documents)
    second = asyncio.run(pipeline.arun(documents=documents))
    assert first == second

    stored, indexes = KVDocumentStore(kept), KVIndexStore(kept)
    before = sorted(stored.docs)
    stored.add_documents(first)
    asyncio.run(stored.async_add_documents(documents))
    indexes.add_index_struct(IndexList(index_id="i", nodes=["1", "2"]))
    assert stored.get_document("2") == documents[1] and asyncio.run(stored.aget_document("2")) == documents[1]
    [index] = indexes.index_structs()
    assert isinstance(index, IndexList) and index.nodes == ["1", "2"]
    return [[node.metadata["loud"] for node in first], ran, before]


def tools(store: str) -> Any:
    from cachemere import Cache
    from cachemere.integrations.key_value import CachemereStore
    from fastmcp import Client, FastMCP
    from fastmcp.server.middleware.caching import ResponseCachingMiddleware

    ran: list[str] = []
    server = FastMCP("adds")
    kept = CachemereStore(Cache(store, encryption_key=SECRET), on_error="raise")
    server.add_middleware(ResponseCachingMiddleware(cache_storage=kept))

    @server.tool
    def add(a: int, b: int) -> int:
        ran.append("add")
        return a + b

    @server.resource("data://text")
    def text() -> str:
        ran.append("text")
        return "text"

    async def ask() -> list[Any]:
        async with Client(server) as client:
            sums = [(await client.call_tool("add", {"a": 1, "b": b})).data for b in (2, 2, 3)]
            [content] = await client.read_resource("data://text")
            return [*sums, getattr(content, "text", None)]

    return [asyncio.run(ask()), ran]


if __name__ == "__main__":
    print("\n" + FOUND + json.dumps(globals()[sys.argv[1]](sys.argv[2])))
