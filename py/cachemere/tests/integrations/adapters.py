"""All adapters with what their hosts ask of them, for the tests of what they have in common.

An entry per adapter: how it is made, how the entry of one key is written and read as the host does it, and under which
key it is in the store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from cachemere import Cache
from cachemere.integrations.key_value import CachemereStore
from cachemere.integrations.langchain import CachemereByteStore
from cachemere.integrations.langchain import CachemereCache as CacheOfLangChain
from cachemere.integrations.langgraph import CachemereCache as CacheOfLangGraph
from cachemere.integrations.litellm import CachemereCache as CacheOfLiteLLM
from cachemere.integrations.llama_index import CachemereKVStore
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

TEXT = "of an answer, " * 70


@dataclasses.dataclass(frozen=True)
class Adapter:
    name: str
    make: Callable[..., Any]
    #: Of the namespace, where none is given.
    namespace: str
    #: Under which the entry is in the store.
    key: Any
    value: Any
    awrite: Callable[[Any, Any], Awaitable[Any]]
    aread: Callable[[Any], Awaitable[Any]]
    #: `None`: it has none but the asynchronous ways.
    write: Callable[[Any, Any], Any] | None = None
    read: Callable[[Any], Any] | None = None

    def __str__(self) -> str:
        return self.name


NODE = (("writes", "node"), "k")

ADAPTERS = [
    Adapter(
        "langchain",
        CacheOfLangChain,
        "langchain",
        ("p", "l"),
        [ChatGeneration(message=AIMessage(TEXT))],
        awrite=lambda made, value: made.aupdate("p", "l", value),
        aread=lambda made: made.alookup("p", "l"),
        write=lambda made, value: made.update("p", "l", value),
        read=lambda made: made.lookup("p", "l"),
    ),
    Adapter(
        "langchain-bytes",
        CachemereByteStore,
        "langchain-bytes",
        "k",
        [TEXT.encode()],
        awrite=lambda made, value: made.amset([("k", value[0])]),
        aread=lambda made: _known(made.amget(["k"])),
        write=lambda made, value: made.mset([("k", value[0])]),
        read=lambda made: [value for value in made.mget(["k"]) if value is not None] or None,
    ),
    Adapter(
        "langgraph",
        CacheOfLangGraph,
        "langgraph",
        NODE,
        {NODE: [("answer", TEXT), ("messages", [AIMessage(TEXT)])]},
        awrite=lambda made, value: made.aset({key: (writes, None) for key, writes in value.items()}),
        aread=lambda made: _known(made.aget([NODE])),
        write=lambda made, value: made.set({key: (writes, None) for key, writes in value.items()}),
        read=lambda made: made.get([NODE]) or None,
    ),
    Adapter(
        "litellm",
        CacheOfLiteLLM,
        "litellm",
        "k",
        {"timestamp": 1.5, "response": TEXT},
        awrite=lambda made, value: made.async_set_cache("k", value),
        aread=lambda made: made.async_get_cache("k"),
        write=lambda made, value: made.set_cache("k", value),
        read=lambda made: made.get_cache("k"),
    ),
    Adapter(
        "llama-index",
        CachemereKVStore,
        "llama-index",
        ("data", "k"),
        {"nodes": [{"__data__": {"text": TEXT}}]},
        awrite=lambda made, value: made.aput("k", value),
        aread=lambda made: made.aget("k"),
        write=lambda made, value: made.put("k", value),
        read=lambda made: made.get("k"),
    ),
    Adapter(
        "key-value",
        CachemereStore,
        "key-value",
        ("default_collection", "k"),
        {"text": TEXT},
        awrite=lambda made, value: made.put("k", value),
        aread=lambda made: made.get("k"),
    ),
]


async def _known(found: Awaitable[Any]) -> Any:
    """What is found; `None` if it says only that there is nothing."""
    known = await found
    return None if known in ([None], {}) else known


def opened(adapter: Adapter, cache: Cache) -> Any:
    """An adapter that raises whatever goes wrong."""
    return adapter.make(cache, on_error="raise")
