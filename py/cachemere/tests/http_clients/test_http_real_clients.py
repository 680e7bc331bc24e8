"""The clients of OpenAI and Anthropic, as they are published, over the transports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from cachemere import Cache
from cachemere.errors import ReadOnlyError, ReplayMissError
from chat_endpoint import ChatEndpoint
from clients import (
    MESSAGES,
    anthropic_client,
    ask_all,
    ask_all_in_a_process,
    async_anthropic_client,
    async_openai_client,
    openai_client,
    openai_client_of_httpx,
)


def test_with_the_server_stopped_the_answers_are_the_same_also_in_another_process(
    endpoint: ChatEndpoint, path: Path
) -> None:
    first = ask_all(endpoint.url, str(path))
    asked = len(endpoint.asked)
    # Twice five or, of Anthropic's, three; its two streams are one request.
    assert asked == 4 * 5 + 2 * 2
    assert all(len(answers) >= 5 for answers in first.values())
    # Each answer was one of its own.
    assert len({str(answers) for answers in first.values()}) == len(first)
    endpoint.stop()
    assert ask_all(endpoint.url, str(path)) == first
    assert ask_all_in_a_process(endpoint.url, path) == first
    assert len(endpoint.asked) == asked


CHANGES: list[dict[str, Any]] = [
    {"temperature": 0.5},
    {"temperature": 0},
    {"model": "another"},
    {"messages": [{"role": "system", "content": "Be brief."}, *MESSAGES]},
    {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
    {"tools": [{"type": "function", "function": {"name": "see", "parameters": {"type": "object"}}}]},
    {"stop": ["."]},
    {"seed": 1},
    {"extra_query": {"api-version": "2"}},
    {"extra_headers": {"OpenAI-Beta": "assistants=v2"}},
]


def test_whatever_changes_the_request_of_openai_s_client_is_a_miss(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path))

    def ask(**change: Any) -> str:
        return client.chat.completions.create(**({"model": "m", "messages": MESSAGES} | change)).id

    answers = [ask()] + [ask(**change) for change in CHANGES]
    assert len(set(answers)) == len(answers) == len(endpoint.asked)
    assert [ask()] + [ask(**change) for change in CHANGES] == answers
    # What does not change it: who asks, when, how long they wait.
    other = openai.OpenAI(
        base_url=endpoint.url + "/v1", api_key="another", http_client=client._client, timeout=3, max_retries=0
    )
    same = other.chat.completions.create(
        model="m", messages=MESSAGES, extra_headers={"Idempotency-Key": "k", "X-Trace": "1"}
    )
    assert same.id == answers[0] and len(endpoint.asked) == len(answers)


def test_whatever_changes_the_request_of_anthropic_s_client_is_a_miss(endpoint: ChatEndpoint, path: Path) -> None:
    client = anthropic_client(endpoint.url, Cache(path))
    tool = {"name": "look", "input_schema": {"type": "object"}}
    changes: list[dict[str, Any]] = [
        {},
        {"system": "Be brief."},
        {"system": "Be long."},
        {"extra_body": {"temperature": 0.5}},
        {"max_tokens": 10},
        {"model": "another"},
        {"tools": [tool]},
        {"tools": [tool | {"name": "see"}]},
        {"extra_headers": {"anthropic-beta": "of-today"}},
        {"extra_headers": {"anthropic-version": "2030-01-01"}},
    ]

    def ask(**change: Any) -> str:
        return client.messages.create(**({"model": "m", "max_tokens": 9, "messages": MESSAGES} | change)).id

    answers = [ask(**change) for change in changes]
    assert len(set(answers)) == len(answers) == len(endpoint.asked)
    assert [ask(**change) for change in changes] == answers and len(endpoint.asked) == len(answers)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
def test_an_error_is_not_kept(endpoint: ChatEndpoint, path: Path, status: int) -> None:
    cache = Cache(path)
    clients: list[tuple[Any, Any]] = [
        (openai_client(endpoint.url, cache).with_options(max_retries=0), openai.APIStatusError),
        (anthropic_client(endpoint.url, cache).with_options(max_retries=0), anthropic.APIStatusError),
    ]
    for client, error in clients:
        ask = client.embeddings.create if error is openai.APIStatusError else client.messages.create
        arguments: Any = {"input": "a"} if error is openai.APIStatusError else {"max_tokens": 9, "messages": MESSAGES}
        endpoint.troubles = [status, status]
        for _ in range(2):
            with pytest.raises(error) as caught:
                ask(model="m", **arguments)
            assert caught.value.status_code == status
        assert endpoint.troubles == []
        assert ask(model="m", **arguments) == ask(model="m", **arguments)
    assert len(endpoint.asked) == 6


def test_the_retries_of_a_client_go_through_and_only_the_answer_is_kept(
    endpoint: ChatEndpoint, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    client = openai_client(endpoint.url, Cache(path))
    endpoint.troubles = [429]
    first = client.chat.completions.create(model="m", messages=MESSAGES)
    assert first.id == "chat-2" and len(endpoint.asked) == 2 and "Retrying request" in caplog.text
    assert client.chat.completions.create(model="m", messages=MESSAGES) == first and len(endpoint.asked) == 2


@pytest.mark.parametrize("trouble", ["error event", "break", "end"])
async def test_a_stream_that_fails_is_not_kept(endpoint: ChatEndpoint, path: Path, trouble: str) -> None:
    cache = Cache(path)
    of_openai, of_anthropic = openai_client(endpoint.url, cache), anthropic_client(endpoint.url, cache)
    in_tasks, anthropic_in_tasks = async_openai_client(endpoint.url, cache), async_anthropic_client(endpoint.url, cache)

    async def openai_in_tasks() -> list[Any]:
        stream = await in_tasks.chat.completions.create(model="b", messages=MESSAGES, stream=True)
        return [it async for it in stream]

    async def messages_in_tasks() -> list[Any]:
        stream = await anthropic_in_tasks.messages.create(model="d", max_tokens=9, messages=MESSAGES, stream=True)
        return [it async for it in stream]

    async def openai_in_threads() -> list[Any]:
        return list(of_openai.chat.completions.create(model="a", messages=MESSAGES, stream=True))

    async def messages_in_threads() -> list[Any]:
        return list(of_anthropic.messages.create(model="c", max_tokens=9, messages=MESSAGES, stream=True))

    asks: list[Callable[[], Any]] = [openai_in_threads, openai_in_tasks, messages_in_threads, messages_in_tasks]
    for ask in asks:
        before = len(endpoint.asked)
        endpoint.troubles = [trouble]
        got: list[Any] = []
        try:
            got = await ask()
        except Exception:
            assert trouble != "end"
        else:
            # The clients do not notice that an end came too early.
            assert trouble == "end"
        whole = await ask()
        assert len(whole) > len(got) and len(endpoint.asked) == before + 2
        assert await ask() == whole and len(endpoint.asked) == before + 2


async def test_a_stream_that_is_left_is_not_kept(endpoint: ChatEndpoint, path: Path) -> None:
    cache = Cache(path)
    client, in_tasks = openai_client(endpoint.url, cache), async_openai_client(endpoint.url, cache)
    for number in (1, 2):
        with client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
            assert next(stream).id == f"chat-{number}"
    for number in (3, 4):
        async with await in_tasks.chat.completions.create(model="m", messages=MESSAGES, stream=True) as left:
            assert (await anext(left)).id == f"chat-{number}"
    # Dropped, and not even closed.
    next(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    whole = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert whole[0].id == "chat-6" and len(endpoint.asked) == 6
    again = await in_tasks.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert [it async for it in again] == whole and len(endpoint.asked) == 6


async def test_in_replay_mode_a_miss_is_told_at_once_by_the_clients(
    endpoint: ChatEndpoint, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cache = Cache(path)
    recorded = openai_client(endpoint.url, cache).embeddings.create(model="m", input="a")
    clients: list[Any] = [
        openai_client(endpoint.url, cache, mode="replay"),
        openai_client_of_httpx(endpoint.url, cache, mode="replay"),
    ]
    for client in clients:
        assert client.embeddings.create(model="m", input="a") == recorded
    monkeypatch.setenv("CACHEMERE_MODE", "replay")
    clients.append(openai_client(endpoint.url, cache))
    for client in clients:
        with pytest.raises(ReplayMissError, match="replay mode") as caught:
            client.embeddings.create(model="m", input="b")
        assert isinstance(caught.value, openai.OpenAIError)
    with pytest.raises(ReplayMissError):
        await async_openai_client(endpoint.url, cache).responses.create(model="m", input="b")
    with pytest.raises(ReplayMissError) as of_anthropic:
        anthropic_client(endpoint.url, cache).messages.create(model="m", max_tokens=9, messages=MESSAGES)
    assert isinstance(of_anthropic.value, anthropic.AnthropicError)
    with pytest.raises(ReplayMissError):
        await async_anthropic_client(endpoint.url, cache).messages.create(model="m", max_tokens=9, messages=MESSAGES)
    assert "Retrying request" not in caplog.text and len(endpoint.asked) == 1


def test_a_single_call_can_be_asked_anew_or_go_by(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path))

    def ask(mode: str | None = None) -> tuple[str, str | None]:
        headers = {"x-cachemere": mode} if mode else {}
        raw = client.responses.with_raw_response.create(model="m", input="a", extra_headers=headers)
        return raw.parse().id, raw.headers.get("x-cachemere")

    assert ask() == ("response-1", "miss")
    assert ask() == ("response-1", "hit")
    assert ask("refresh") == ("response-2", "miss")
    assert ask("bypass") == ("response-3", None)
    assert ask("replay") == ask("normal") == ask() == ("response-2", "hit")
    assert all("x-cachemere" not in asked.headers for asked in endpoint.asked)


def test_what_depends_on_more_than_the_request_is_not_kept(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path))
    others: list[dict[str, Any]] = [{"conversation": "conv_1"}, {"background": True}]
    for more in others:
        assert client.responses.create(model="m", input="a", **more) != client.responses.create(
            model="m", input="a", **more
        )


def test_other_requests_of_a_client_go_through_as_they_are(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path))
    for number in (1, 2):
        raw = client.models.with_raw_response.list()
        assert raw.http_response.json()["number"] == number and "x-cachemere" not in raw.headers
    for number in (3, 4):
        # A POST whose path is not that of a model call.
        raw_file = client.files.with_raw_response.create(file=b"content", purpose="batch")
        assert raw_file.http_response.json()["number"] == number and "x-cachemere" not in raw_file.headers
        assert "content" in endpoint.asked[-1].body


def test_instructor_gets_its_objects_from_disk(endpoint: ChatEndpoint, path: Path) -> None:
    import instructor
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    for _ in range(2):
        client = instructor.from_openai(openai_client(endpoint.url, Cache(path)))
        person = client.chat.completions.create(model="m", response_model=Person, messages=MESSAGES)
        assert (person.name, person.age) == ("text", 1)
    assert len(endpoint.asked) == 1


def test_what_clients_make_of_an_error_that_is_raised(endpoint: ChatEndpoint, path: Path) -> None:
    Cache(path)["made"] = 1
    reading = Cache(path, read_only=True)
    of_openai = openai_client(endpoint.url, reading).with_options(max_retries=1)
    of_anthropic = anthropic_client(endpoint.url, reading).with_options(max_retries=1)
    with pytest.raises(openai.APIConnectionError) as of_one:
        of_openai.chat.completions.create(model="m", messages=MESSAGES)
    with pytest.raises(anthropic.APIConnectionError) as of_other:
        of_anthropic.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    assert type(of_one.value.__cause__) is type(of_other.value.__cause__) is ReadOnlyError
    # They ask again, though it was the writing that failed.
    assert len(endpoint.asked) == 4
    with pytest.raises(ReadOnlyError):
        list(of_openai.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    with pytest.raises(ReadOnlyError):
        list(of_anthropic.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True))
    assert len(endpoint.asked) == 6
