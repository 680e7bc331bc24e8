"""The transport beneath, where the program gives none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from chat_endpoint import ChatEndpoint
from libraries import KINDS, Kind, every_kind


def inner(kind: Kind, path: Path) -> Any:
    return kind.transport(Cache(path))._inner


def pools(kind: Kind, path: Path, url: str) -> Any:
    """The pool of connections that a request to a URL would take."""
    return inner(kind, path)._routes.to(kind.library.URL(url))._pool


@every_kind
def test_requests_go_by_the_proxies_of_the_environment(kind: Kind, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    direct = pools(kind, path, "https://models.example")
    assert "Proxy" not in type(direct).__name__
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example,127.0.0.1")
    assert "Proxy" in type(pools(kind, path, "https://models.example")).__name__
    for url in ("http://models.example", "https://inside.example", "https://a.inside.example", "https://127.0.0.1"):
        assert "Proxy" not in type(pools(kind, path, url)).__name__
    monkeypatch.setenv("ALL_PROXY", "proxy.example:3128")
    assert "Proxy" in type(pools(kind, path, "http://models.example")).__name__


@every_kind
def test_it_has_as_many_connections_as_the_clients_of_models_want(kind: Kind, path: Path) -> None:
    pool = pools(kind, path, "https://models.example")
    assert (pool._max_connections, pool._max_keepalive_connections) == (1000, 100)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.of_tasks], ids=repr)
def test_an_answer_by_a_real_proxy_is_kept(
    kind: Kind, path: Path, endpoint: ChatEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", endpoint.url)
    monkeypatch.setenv("http_proxy", endpoint.url)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with kind.library.Client(transport=kind.transport(Cache(path), on_error="raise")) as client:
        for seen in ("miss", "hit"):
            answer = client.post("http://models.example/v1/chat/completions", json={"model": "m", "messages": []})
            assert answer.status_code == 200 and answer.headers["x-cachemere"] == seen
    assert [asked.headers["host"] for asked in endpoint.asked] == ["models.example"]
