"""What comes out of the caches for LangChain, and what they do when something is wrong."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import CacheError, DecodeError, InvalidOptionError, UnsafeValueError, ValueFormError
from cachemere.integrations.langchain import MESSAGES, CachemereByteStore, CachemereCache
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from pydantic import BaseModel

FIELDS: dict[str, dict[str, Any]] = {
    "ChatMessage": {"role": "r"},
    "ChatMessageChunk": {"role": "r"},
    "FunctionMessage": {"name": "f"},
    "FunctionMessageChunk": {"name": "f"},
    "ToolMessage": {"tool_call_id": "1", "artifact": {"kept": (1, 2)}, "status": "error"},
    "ToolMessageChunk": {"tool_call_id": "1"},
}


def message(kind: type[BaseMessage]) -> BaseMessage:
    if kind.__name__ == "RemoveMessage":
        return kind(id="1")  # type: ignore[call-arg]
    content: Any = ["text", {"type": "image_url", "image_url": "x"}]
    return kind(content=content, id="1", response_metadata={"n": {"tokens": 1}}, **FIELDS.get(kind.__name__, {}))


AI = AIMessage(
    [{"type": "text", "text": "t"}],
    tool_calls=[{"name": "f", "args": {"a": [1]}, "id": "1", "type": "tool_call"}],
    invalid_tool_calls=[{"name": "f", "args": "{", "id": "2", "error": "e", "type": "invalid_tool_call"}],
    usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    additional_kwargs={"tool_calls": [{"id": "1"}]},
    unknown_field=1,
)
CHUNK = AIMessageChunk("", tool_call_chunks=[{"name": "f", "args": "{}", "id": "1", "index": 0}], chunk_position="last")

GENERATIONS: list[Generation] = [
    Generation(text="t", generation_info={"logprobs": [-0.5], "pair": (1, 2)}),
    GenerationChunk(text=""),
    ChatGeneration(message=AI, generation_info={"finish_reason": "stop"}),
    ChatGenerationChunk(message=CHUNK),
    *(ChatGeneration(message=message(kind)) for kind in MESSAGES),
]


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda it: type(getattr(it, "message", it)).__name__)
def test_each_kind_of_answer_comes_out_as_it_was(path: Path, generation: Generation) -> None:
    # An empty one, too, which is not kept unless it is asked for.
    every = CachemereCache(Cache(path), cache_if=lambda answer: True, on_error="raise")
    every.update("p", "l", [generation, generation])
    # Another handle, whose memory has nothing.
    found = CachemereCache(Cache(path, memory_bytes=0), on_error="raise").lookup("p", "l")
    assert found == [generation, generation]
    for made in found:
        assert type(made) is type(generation) and made.model_dump() == generation.model_dump()
        assert type(getattr(made, "message", None)) is type(getattr(generation, "message", None))


def test_what_is_given_out_is_the_caller_s_own(path: Path) -> None:
    cache = CachemereCache(Cache(path), on_error="raise")
    given = ChatGeneration(message=AIMessage("a", additional_kwargs={"k": [1]}))
    cache.update("p", "l", [given])
    for _ in range(2):
        found = cache.lookup("p", "l")
        assert found == [ChatGeneration(message=AIMessage("a", additional_kwargs={"k": [1]}))]
        assert isinstance(found[0], ChatGeneration)
        found[0].message.additional_kwargs["k"].append(2)
        given.message.additional_kwargs["k"].append(3)


def test_prompt_and_parameters_are_not_run_together(path: Path) -> None:
    cache = CachemereCache(Cache(path), on_error="raise")
    cache.update("a,b", "c", [Generation(text="1")])
    assert cache.lookup("a", "b,c") is None and cache.lookup("a,b", "") is None


def test_adapters_are_true_and_have_no_length_and_are_pickled(path: Path) -> None:
    for made in (CachemereCache(Cache(path)), CachemereByteStore(Cache(path))):
        assert made and not hasattr(type(made), "__len__") and not hasattr(type(made), "__bool__")
    cache = CachemereCache(Cache(path), on_error="raise")
    cache.update("p", "l", [Generation(text="t")])
    assert pickle.loads(pickle.dumps(cache)).lookup("p", "l") == [Generation(text="t")]


class Parsed(BaseModel):
    number: int


class OwnMessage(AIMessage):
    pass


class OwnGeneration(Generation):
    pass


def test_classes_of_the_program_are_restored_once_registered(path: Path) -> None:
    answer = ChatGeneration(message=AIMessage("1", additional_kwargs={"parsed": Parsed(number=1)}))
    with pytest.raises(UnsafeValueError):
        CachemereCache(Cache(path), on_error="raise").update("p", "l", [answer])
    cache = CachemereCache(Cache(path, types=[Parsed]), on_error="raise")
    cache.update("p", "l", [answer])
    assert cache.lookup("p", "l") == [answer]


@pytest.mark.parametrize("answer", [OwnGeneration(text="t"), ChatGeneration(message=OwnMessage("t"))])
def test_a_subclass_is_not_stored_as_its_base(path: Path, answer: Generation, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueFormError):
        CachemereCache(Cache(path), on_error="raise").update("p", "l", [answer])
    cache = CachemereCache(Cache(path))
    cache.update("p", "l", [answer])
    assert cache.lookup("p", "l") is None and "goes on without this entry" in caplog.text


class Attack:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._mark),)


ENVELOPE = {"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"], "kwargs": {}}


def hostile(mark: Path) -> dict[str, Any]:
    """Values as somebody might write them who can write to the store."""
    return {
        "a pickle": Attack(mark),
        "bytes of a pickle in a list": [pickle.dumps(Attack(mark))],
        "an envelope": ENVELOPE,
        "JSON of an envelope": json.dumps([ENVELOPE]),
        "a list of envelopes": [ENVELOPE],
        "another class": [Parsed(number=1)],
        "a message that is none": [ChatGeneration.model_construct(text="t", message=Parsed(number=1))],
        "an answer that is no text": [Generation.model_construct(text=1)],
    }


def written(path: Path, namespace: str, key: Any, value: Any) -> None:
    types = [Parsed, Generation, ChatGeneration]
    with Cache(path, namespace=namespace, allow_pickle=True, types=types) as store:
        store[key] = value


@pytest.mark.parametrize("name", hostile(Path("/nowhere")))
async def test_a_hostile_entry_is_refused_and_nothing_run(path: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    value = hostile(mark)[name]
    written(path, "langchain", ("p", "l"), value)
    written(path, "langchain-bytes", "k", value)
    # Not even where the program allows pickle for its own entries.
    cache = Cache(path, allow_pickle=True)
    with pytest.raises(CacheError):
        CachemereCache(cache, on_error="raise").lookup("p", "l")
    with pytest.raises(CacheError):
        await CachemereCache(cache, on_error="raise").alookup("p", "l")
    with pytest.raises(CacheError):
        CachemereByteStore(cache, on_error="raise").mget(["k"])

    answers, store = CachemereCache(cache), CachemereByteStore(cache)
    store.mset([("other", b"1")])
    assert answers.lookup("p", "l") is None and store.mget(["k", "other"]) == [None, b"1"]
    answers.update("p", "l", [Generation(text="new")])
    store.mset([("k", b"new")])
    assert answers.lookup("p", "l") == [Generation(text="new")] and await store.amget(["k"]) == [b"new"]
    assert not mark.exists()


@pytest.mark.parametrize("kind", [CachemereCache, CachemereByteStore])
def test_wrong_arguments_are_told_at_once(path: Path, kind: Callable[..., Any]) -> None:
    for arguments in ({"on_error": "ignore"}, {"ttl": 0}, {"namespace": ""}):
        with pytest.raises(InvalidOptionError):
            kind(Cache(path), **arguments)
    with pytest.raises(InvalidOptionError, match="cachemere.Cache"):
        kind({})
    with pytest.raises(InvalidOptionError):
        CachemereCache(Cache(path)).clear(llm="x")


async def test_a_store_that_cannot_be_opened_breaks_no_call(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("a file, not a directory")
    cache, store = CachemereCache(Cache(path)), CachemereByteStore(Cache(path))
    for _ in range(2):
        await cache.aupdate("p", "l", [Generation(text="t")])
        assert await cache.alookup("p", "l") is None and cache.lookup("p", "l") is None
        store.mset([("k", b"v")])
        assert store.mget(["k"]) == [None] and list(store.yield_keys()) == []
        assert [key async for key in store.ayield_keys()] == []
    # Once for each adapter.
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2
    with pytest.raises(CacheError):
        cache.clear()
    with pytest.raises(CacheError):
        store.mdelete(["k"])
    assert path.read_text() == "a file, not a directory"


def test_clearing_leaves_what_others_have_in_the_store(path: Path) -> None:
    own = Cache(path)
    own["k"] = 1
    cache, store = CachemereCache(own), CachemereByteStore(own)
    store.mset([("k", b"v")])
    cache.update("p", "l", [Generation(text="t")])
    cache.clear()
    assert cache.lookup("p", "l") is None and store.mget(["k"]) == [b"v"] and own["k"] == 1


def test_bytes_alone_are_stored_as_bytes(path: Path) -> None:
    store: Any = CachemereByteStore(Cache(path), on_error="raise")
    for pair in (("k", "text"), (1, b"v")):
        with pytest.raises(ValueFormError):
            store.mset([("sound", b"v"), pair])
    assert store.mget(["sound", "k"]) == [None, None]
    with Cache(path, namespace="langchain-bytes") as other:
        other["k"] = "text"
    with pytest.raises(DecodeError, match="namespace of its own"):
        store.mget(["k"])


def said(text: str, **more: Any) -> ChatGeneration:
    return ChatGeneration(message=AIMessage(text, **more))


CALLS = [{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]
UNFINISHED: dict[str, list[Generation]] = {
    "empty": [said("")],
    "no generation": [],
    "cut off": [said("t", response_metadata={"finish_reason": "length"})],
    "cut off, of Anthropic": [said("t", response_metadata={"stop_reason": "max_tokens"})],
    "cut off, of Google": [said("t", response_metadata={"finish_reason": "MAX_TOKENS"})],
    "filtered": [said("t"), said("t", response_metadata={"finish_reason": "content_filter"})],
    "a completion cut off": [Generation(text="t", generation_info={"finish_reason": "length"})],
    "empty completion": [Generation(text="")],
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_answer_that_was_cut_off_or_is_empty_is_not_kept(path: Path, name: str) -> None:
    cache = CachemereCache(Cache(path), on_error="raise")
    cache.update("p", "l", UNFINISHED[name])
    assert cache.lookup("p", "l") is None
    every = CachemereCache(Cache(path), cache_if=lambda answer: True, on_error="raise")
    every.update("p", "l", UNFINISHED[name])
    assert every.lookup("p", "l") == UNFINISHED[name]


def test_a_finished_one_is_and_the_program_has_the_last_word(path: Path) -> None:
    cache = CachemereCache(Cache(path), on_error="raise")
    for number, answer in enumerate(
        ([said("t", response_metadata={"finish_reason": "stop"})], [said("", tool_calls=CALLS)])
    ):
        cache.update(str(number), "l", answer)
        assert cache.lookup(str(number), "l") == answer
    none = CachemereCache(Cache(path), cache_if=lambda answer: len(answer) > 1, on_error="raise")
    none.update("q", "l", [said("t")])
    assert none.lookup("q", "l") is None
    wrong: Any = "yes"
    with pytest.raises(InvalidOptionError, match="cache_if must be a function"):
        CachemereCache(Cache(path), cache_if=wrong)
