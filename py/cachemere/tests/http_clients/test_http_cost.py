"""What a hit costs over `cache.get` of the same bytes, without the host's own objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import httpx2
import pytest
from cachemere import Cache
from cachemere.integrations import httpx as with_httpx
from cachemere.integrations import httpx2 as with_httpx2

#: Microseconds, and what they are on a busy machine.
PROMISED = 30
GENEROUS = 3

BODY = {
    "model": "m",
    "temperature": 0.5,
    "messages": [{"role": "system", "content": "Be brief. " * 10}, {"role": "user", "content": "Why? " * 100}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
}
ANSWER = b'{"choices": [{"message": {"role": "assistant", "content": "%b"}}]}' % (b"word " * 400)


def micros(call: Callable[[], Any], times: int = 200) -> float:
    began = perf_counter()
    for _ in range(times):
        call()
    return (perf_counter() - began) / times * 1e6


@pytest.mark.parametrize(("library", "integration"), [(httpx, with_httpx), (httpx2, with_httpx2)])
def test_a_hit_costs_little_more_than_the_bytes(path: Path, library: Any, integration: Any) -> None:
    cache = Cache(path)
    headers = {"content-type": "application/json", "x-request-id": "1", "date": "today"}
    server = library.MockTransport(lambda request: library.Response(200, headers=headers, content=ANSWER))
    transport = integration.CachemereTransport(cache, server, on_error="raise")
    request = library.Request(
        "POST",
        "https://models.example/v1/chat/completions",
        headers={"accept": "application/json", "authorization": "Bearer key", "user-agent": "client"},
        json=BODY,
    )
    transport.handle_request(request).read()
    assert transport.handle_request(request).headers["x-cachemere"] == "hit"
    cache["bytes"] = ANSWER
    answers = transport._answers
    exchange = answers.find(answers.asked(request, request.content, "normal").key)
    calls: dict[str, Callable[[], Any]] = {
        "hit": lambda: transport.handle_request(request),
        "get": lambda: cache.get("bytes"),
        "objects": lambda: transport._replayed(exchange),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(25):
        for name, call in calls.items():
            taken[name].append(micros(call))
    # The best of each, since anything else on the machine only makes it worse.
    least = {name: min(times) for name, times in taken.items()}
    added = least["hit"] - least["get"] - least["objects"]
    print(f"{library.__name__}: {added:.1f} µs added to {least['get']:.1f} µs")
    assert added < PROMISED * GENEROUS
