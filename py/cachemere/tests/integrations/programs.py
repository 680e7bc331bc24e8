"""Programs with a host and its cache, each run in a process of its own: `programs.py NAME STORE`.

Each prints what it answers and how often it computed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

SECRET = b"s" * 32


class State(TypedDict, total=False):
    """Of the graph. LangGraph looks it up by its name, in this module."""

    question: str
    answer: Any
    pair: tuple[int, int]


def run(name: str, store: Path) -> Any:
    """What a program prints, run in another process."""
    done = subprocess.run([sys.executable, __file__, name, str(store)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
