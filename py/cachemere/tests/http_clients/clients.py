"""The real clients of OpenAI and Anthropic over the transports, and all that the tests ask them.

As a program it asks everything, in a process of its own, and prints the answers: `clients.py URL STORE`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic
import cachemere.integrations.httpx
import cachemere.integrations.httpx2
import httpx
import httpx2
import openai
from cachemere import Cache

SECRET = b"s" * 32
#: As which the clients show themselves. Not to be found in a store.
API_KEY = "sk-the-key-of-the-account"

MESSAGES: Any = [{"role": "user", "content": "Why is the sky blue?"}]

Options = dict[str, Any]

#: The adapter of the library that OpenAI's client itself uses: httpx before its version 3, httpx2 from then on.
OF_OPENAI: Any = (
    cachemere.integrations.httpx2
    if issubclass(openai.DefaultHttpxClient, httpx2.Client)
    else cachemere.integrations.httpx
)


def openai_client(url: str, cache: Cache, **options: Any) -> openai.OpenAI:
    """Over the library that the client itself uses."""
    transport = OF_OPENAI.CachemereTransport(cache, on_error="raise", **options)
    http_client = openai.DefaultHttpxClient(transport=transport)
    return openai.OpenAI(base_url=url + "/v1", api_key=API_KEY, http_client=http_client, organization="org-secret")


def openai_client_of_httpx(url: str, cache: Cache, **options: Any) -> openai.OpenAI:
    transport = cachemere.integrations.httpx.CachemereTransport(cache, on_error="raise", **options)
    http_client: Any = httpx.Client(transport=transport)
    return openai.OpenAI(base_url=url + "/v1", api_key=API_KEY, http_client=http_client, organization="org-secret")


def async_openai_client(url: str, cache: Cache, **options: Any) -> openai.AsyncOpenAI:
    transport = OF_OPENAI.AsyncCachemereTransport(cache, on_error="raise", **options)
    http_client = openai.DefaultAsyncHttpxClient(transport=transport)
    return openai.AsyncOpenAI(base_url=url + "/v1", api_key=API_KEY, http_client=http_client, organization="org-secret")


def async_openai_client_of_httpx(url: str, cache: Cache, **options: Any) -> openai.AsyncOpenAI:
    transport = cachemere.integrations.httpx.AsyncCachemereTransport(cache, on_error="raise", **options)
    http_client: Any = httpx.AsyncClient(transport=transport)
    return openai.AsyncOpenAI(base_url=url + "/v1", api_key=API_KEY, http_client=http_client, organization="org-secret")


def anthropic_client(url: str, cache: Cache, **options: Any) -> anthropic.Anthropic:
    transport = cachemere.integrations.httpx2.CachemereTransport(cache, on_error="raise", **options)
    http_client = anthropic.DefaultHttpxClient(transport=transport)
    return anthropic.Anthropic(base_url=url, api_key=API_KEY, http_client=http_client)


def async_anthropic_client(url: str, cache: Cache, **options: Any) -> anthropic.AsyncAnthropic:
    transport = cachemere.integrations.httpx2.AsyncCachemereTransport(cache, on_error="raise", **options)
    http_client = anthropic.DefaultAsyncHttpxClient(transport=transport)
    return anthropic.AsyncAnthropic(base_url=url, api_key=API_KEY, http_client=http_client)


def ask_openai(client: openai.OpenAI, model: str) -> list[Any]:
    """All that is asked of OpenAI's client: plain and streamed."""
    chat = client.chat.completions.create(model=model, messages=MESSAGES)
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    response = client.responses.create(model=model, input="Why?")
    events = list(client.responses.create(model=model, input="Why?", stream=True))
    vectors = client.embeddings.create(model=model, input=["a", "bb"])
    return [it.to_dict() for it in (chat, *chunks, response, *events, vectors)]


async def async_ask_openai(client: openai.AsyncOpenAI, model: str) -> list[Any]:
    chat = await client.chat.completions.create(model=model, messages=MESSAGES)
    chunks = [it async for it in await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)]
    response = await client.responses.create(model=model, input="Why?")
    events = [it async for it in await client.responses.create(model=model, input="Why?", stream=True)]
    vectors = await client.embeddings.create(model=model, input=["a", "bb"])
    return [it.to_dict() for it in (chat, *chunks, response, *events, vectors)]


def ask_anthropic(client: anthropic.Anthropic, model: str) -> list[Any]:
    message = client.messages.create(model=model, max_tokens=9, messages=MESSAGES)
    with client.messages.stream(model=model, max_tokens=9, messages=MESSAGES) as stream:
        texts = list(stream.text_stream)
        whole = stream.get_final_message()
    events = list(client.messages.create(model=model, max_tokens=9, messages=MESSAGES, stream=True))
    return [message.to_dict(), texts, whole.to_dict(), *(it.to_dict() for it in events)]


async def async_ask_anthropic(client: anthropic.AsyncAnthropic, model: str) -> list[Any]:
    message = await client.messages.create(model=model, max_tokens=9, messages=MESSAGES)
    async with client.messages.stream(model=model, max_tokens=9, messages=MESSAGES) as stream:
        texts = [text async for text in stream.text_stream]
        whole = await stream.get_final_message()
    events = [
        it async for it in await client.messages.create(model=model, max_tokens=9, messages=MESSAGES, stream=True)
    ]
    return [message.to_dict(), texts, whole.to_dict(), *(it.to_dict() for it in events)]


def ask_all(url: str, store: str) -> dict[str, list[Any]]:
    """What all clients answer, over one encrypted store. Each has a model of its own."""
    cache = Cache(store, encryption_key=SECRET)

    async def in_tasks() -> dict[str, list[Any]]:
        return {
            "AsyncOpenAI": await async_ask_openai(async_openai_client(url, cache), "a"),
            "AsyncOpenAI of httpx": await async_ask_openai(async_openai_client_of_httpx(url, cache), "b"),
            "AsyncAnthropic": await async_ask_anthropic(async_anthropic_client(url, cache), "c"),
        }

    answers = asyncio.run(in_tasks())
    answers["OpenAI"] = ask_openai(openai_client(url, cache), "d")
    answers["OpenAI of httpx"] = ask_openai(openai_client_of_httpx(url, cache), "e")
    answers["Anthropic"] = ask_anthropic(anthropic_client(url, cache), "f")
    cache.close()
    return answers


def ask_all_in_a_process(url: str, store: Path) -> Any:
    """As :func:`ask_all`, in another process."""
    done = subprocess.run([sys.executable, __file__, url, str(store)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(ask_all(sys.argv[1], sys.argv[2])))
