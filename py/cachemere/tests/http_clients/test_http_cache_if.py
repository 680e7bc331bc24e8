"""Answers that were cut off, are empty or are errors are not kept, unless `cache_if` says otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError
from cachemere.integrations._finished import is_finished
from libraries import Kind, every_kind

EVENTS = "text/event-stream"


def chat(content: str | None = "text", reason: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    return {"object": "chat.completion", "choices": [{"message": message, "finish_reason": reason}]}


def chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"delta": delta, "finish_reason": reason}]}


def message(reason: str, content: list[Any]) -> dict[str, Any]:
    return {"type": "message", "stop_reason": reason, "content": content}


CALL = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
TEXT = [{"type": "text", "text": "t"}]
START, BLOCK = {"type": "message_start", "message": {}}, {"type": "content_block_start"}
USAGE = {"object": "chat.completion.chunk", "choices": [], "usage": {}}

FINISHED: dict[str, Any] = {
    "chat": chat(),
    "chat of calls": chat(None, "tool_calls", tool_calls=CALL),
    "completion": {"object": "text_completion", "choices": [{"text": "t", "finish_reason": "stop"}]},
    "response": {"object": "response", "status": "completed", "output": [{"type": "message"}]},
    "message": message("end_turn", TEXT),
    "message of calls": message("tool_use", [{"type": "tool_use"}]),
    "embeddings": {"object": "list", "data": [{"embedding": [1.0]}]},
    "of others": {"answer": ""},
    "choices of others": {"choices": [{"label": "a"}]},
    "no object": [1, 2],
    "chat in chunks": [chunk(role="assistant"), chunk(content="t"), chunk("stop"), USAGE],
    "calls in chunks": [chunk(tool_calls=CALL), chunk("tool_calls")],
    "message in events": [START, BLOCK, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}],
    "response in events": [{"type": "response.completed", "response": {}}],
    "events of others": [{"a": 1}, "text"],
}

UNFINISHED: dict[str, Any] = {
    "chat cut off": chat("text", "length"),
    "chat filtered": chat("text", "content_filter"),
    "empty chat": chat(""),
    "chat of nothing": chat(None),
    "no choice": {"object": "chat.completion", "choices": []},
    "one of two cut off": {"choices": [*chat()["choices"], *chat("t", "length")["choices"]]},
    "completion cut off": {"object": "text_completion", "choices": [{"text": "t", "finish_reason": "length"}]},
    "empty completion": {"object": "text_completion", "choices": [{"text": "", "finish_reason": "stop"}]},
    "response cut off": {"object": "response", "status": "incomplete", "output": [{}]},
    "empty response": {"object": "response", "status": "completed", "output": []},
    "message cut off": message("max_tokens", TEXT),
    "message refused": message("refusal", TEXT),
    "empty message": message("end_turn", []),
    "no embeddings": {"object": "list", "data": []},
    "chunks cut off": [chunk(content="t"), chunk("length")],
    "chunks filtered": [chunk(content="t"), chunk("content_filter")],
    "empty chunks": [chunk(role="assistant", content=""), chunk("stop")],
    "events cut off": [START, BLOCK, {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}],
    "empty events": [START, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}],
    "events of a response cut off": [{"type": "response.incomplete", "response": {}}],
}

ODD: list[Any] = [None, 1, "x", [], {}, {"choices": [1]}, {"choices": [{"message": 1}]}, [{"choices": [{"delta": 1}]}]]


@pytest.mark.parametrize("name", FINISHED)
def test_a_whole_answer_is_finished(name: str) -> None:
    assert is_finished(FINISHED[name])


@pytest.mark.parametrize("name", UNFINISHED)
def test_one_cut_off_or_empty_is_not(name: str) -> None:
    assert not is_finished(UNFINISHED[name])


def test_of_what_is_odd_nothing_is_said() -> None:
    for odd in ODD:
        assert is_finished(odd) in (True, False)


def times_asked(kind: Kind, path: Path, answer: Any, **options: Any) -> int:
    asked = []

    def server(request: Any) -> Any:
        asked.append(request)
        if isinstance(answer, list):
            parts = [f"data: {json.dumps(event)}\n\n".encode() for event in answer] + [b"data: [DONE]\n\n"]
            return kind.response(parts, content_type=EVENTS)
        return kind.response([json.dumps(answer).encode()], content_type="application/json")

    with Cache(path) as cache:
        for _ in range(2):
            kind.ask(cache, server, json={"stream": isinstance(answer, list)}, **options)
    return len(asked)


@every_kind
@pytest.mark.parametrize("name", ["chat", "message of calls", "chat in chunks", "message in events", "of others"])
def test_finished_ones_are_kept(kind: Kind, path: Path, name: str) -> None:
    assert times_asked(kind, path, FINISHED[name]) == 1


@every_kind
@pytest.mark.parametrize("name", ["chat cut off", "empty chat", "message cut off", "chunks cut off", "empty events"])
def test_unfinished_ones_are_not_unless_the_program_wants_them(kind: Kind, path: Path, name: str) -> None:
    assert times_asked(kind, path, UNFINISHED[name]) == 2
    assert times_asked(kind, path, UNFINISHED[name], cache_if=lambda answer: True) == 1


@every_kind
def test_it_is_called_with_what_an_answer_says(kind: Kind, path: Path) -> None:
    seen: list[Any] = []

    def judge(answer: Any) -> bool:
        seen.append(answer)
        return False

    for answer in (chat(), [chunk(content="t"), chunk("stop")]):
        assert times_asked(kind, path, answer, cache_if=judge) == 2
        assert seen == [answer, answer]
        seen.clear()
    # An error is not kept whatever it says, and it is not asked.
    assert times_asked(kind, path, {"error": {"message": "overloaded"}}, cache_if=judge) == 2 and seen == []


@every_kind
def test_one_that_fails_costs_no_answer(kind: Kind, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def judge(answer: Any) -> bool:
        raise LookupError("mine")

    assert times_asked(kind, path, chat(), cache_if=judge, on_error="bypass") == 2
    assert "mine" in caplog.text
    with pytest.raises(InvalidOptionError, match="cache_if must be a function"):
        times_asked(kind, path, chat(), cache_if="yes")
