"""Credentials are found neither in keys nor in the files of a store, encrypted or not."""

from __future__ import annotations

from pathlib import Path

import httpx
import httpx2
from cachemere import Cache
from cachemere.integrations.httpx import CachemereTransport
from cachemere.integrations.httpx2 import CachemereTransport as CachemereTransport2
from chat_endpoint import SECRET_COOKIE, SECRET_ORGANIZATION, ChatEndpoint
from clients import API_KEY, MESSAGES, anthropic_client, ask_anthropic, ask_openai, openai_client

SECRETS = [API_KEY, "org-secret", SECRET_COOKIE, SECRET_ORGANIZATION, "of-the-query", "of-the-url", "of-the-browser"]


def all_bytes(store: Path) -> bytes:
    files = [file for file in store.rglob("*") if file.is_file()]
    assert files
    return b"".join(file.read_bytes() for file in files)


def test_no_credential_is_on_the_disk(endpoint: ChatEndpoint, path: Path) -> None:
    cache = Cache(path)
    ask_openai(openai_client(endpoint.url, cache, account=API_KEY), "first-model")
    ask_anthropic(anthropic_client(endpoint.url, cache), "second-model")
    url = endpoint.url.replace("http://", "http://user:of-the-url@") + "/v1/chat/completions?api_key=of-the-query&a=1"
    for client in (
        httpx.Client(transport=CachemereTransport(cache, on_error="raise", headers=("accept", "x-own"))),
        httpx2.Client(transport=CachemereTransport2(cache, on_error="raise")),
    ):
        for _ in range(2):
            client.cookies.set("session", "of-the-browser")
            answer = client.post(
                url, headers={"api-key": API_KEY, "x-own": "1"}, json={"model": "third-model", "messages": MESSAGES}
            )
        assert answer.headers["x-cachemere"] == "hit"
    # The server was told all of them.
    told = repr(endpoint.asked)
    assert all(secret in told for secret in (API_KEY, "org-secret", "of-the-query", "of-the-browser"))

    keys = repr(list(cache.namespace("http")))
    cache.flush()
    stored = all_bytes(path)
    # What the models said can be read in it, so the credentials could be.
    assert b"of first-model" in stored and b"of second-model" in stored and b"of third-model" in stored
    for secret in SECRETS:
        assert secret not in keys
        assert secret.encode() not in stored and secret.encode("utf-16-le") not in stored
        assert secret.encode().hex().encode() not in stored
    # Nor what was asked, of which there is but a hash.
    assert MESSAGES[0]["content"].encode() not in stored
    cache.close()


def test_in_an_encrypted_store_the_answers_cannot_be_read_either(endpoint: ChatEndpoint, path: Path) -> None:
    cache = Cache(path, encryption_key=b"k" * 32)
    ask_openai(openai_client(endpoint.url, cache), "first-model")
    cache.flush()
    stored = all_bytes(path)
    assert b"first-model" not in stored and b"completions" not in stored and b"127.0.0.1" not in stored
    cache.close()
