"""A transport under a client that it is not for says which one is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import cachemere.integrations.httpx
import cachemere.integrations.httpx2
import httpx
import httpx2
import openai
import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError
from libraries import URL, Kind, every_kind


@every_kind
def test_a_client_of_the_other_library_is_told_which_module_to_import(kind: Kind, path: Path) -> None:
    other: Any = httpx2 if kind.library is httpx else httpx
    transport = kind.transport(Cache(path))
    said = f"import .* from cachemere.integrations.{other.__name__}$"
    if not kind.of_tasks:
        for method in ("POST", "GET"):
            with other.Client(transport=transport) as client, pytest.raises(InvalidOptionError, match=said):
                client.request(method, URL)
        return

    async def ask(method: str) -> None:
        async with other.AsyncClient(transport=transport) as client:
            await client.request(method, URL)

    for method in ("POST", "GET"):
        with pytest.raises(InvalidOptionError, match=said):
            asyncio.run(ask(method))
    assert not path.exists()


@every_kind
def test_a_client_for_tasks_is_told_which_transport_it_takes_and_so_is_one_for_threads(kind: Kind, path: Path) -> None:
    transport = kind.transport(Cache(path))
    if kind.of_tasks:
        with pytest.raises(InvalidOptionError, match=" CachemereTransport"), kind.library.Client(transport=transport):
            pytest.fail("entered")
        client = kind.library.Client(transport=transport)
        with pytest.raises(InvalidOptionError, match=" CachemereTransport"):
            client.post(URL, json={})
        client.close()
        return

    async def enter() -> None:
        async with kind.library.AsyncClient(transport=transport):
            pytest.fail("entered")

    async def ask() -> None:
        client = kind.library.AsyncClient(transport=transport)
        try:
            await client.post(URL, json={})
        finally:
            await client.aclose()

    for wrong in (enter, ask):
        with pytest.raises(InvalidOptionError, match=" AsyncCachemereTransport"):
            asyncio.run(wrong())


def test_the_clients_of_models_hand_it_on(path: Path) -> None:
    # Of the library that OpenAI's client would not make itself, but takes.
    transport: Any = cachemere.integrations.httpx2.CachemereTransport(Cache(path))
    of_httpx: Any = httpx.Client(transport=transport)
    client = openai.OpenAI(base_url="http://models.example/v1", api_key="key", http_client=of_httpx)
    with pytest.raises(InvalidOptionError, match="from cachemere.integrations.httpx$"):
        client.embeddings.create(model="m", input="a")
    threads = cachemere.integrations.httpx2.CachemereTransport(Cache(path))
    of_tasks = anthropic.AsyncAnthropic(
        base_url="http://models.example",
        api_key="key",
        http_client=httpx2.AsyncClient(transport=threads),  # type: ignore[arg-type]
    )
    with pytest.raises(InvalidOptionError, match="AsyncCachemereTransport"):
        asyncio.run(of_tasks.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "a"}]))
