"""Which requests are the same, and which are none of the cache's concern."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError
from cachemere.integrations._http.bodies import canonical
from cachemere.integrations._http.request_key import KEY_HEADERS, Key, RequestKeys
from hypothesis import given
from hypothesis import strategies as st
from libraries import KINDS, URL, Kind, every_kind

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def key(
    content: bytes = b"{}",
    *,
    url: str = URL,
    account: str | None = None,
    ignore: tuple[str, ...] = (),
    **headers: str,
) -> Key:
    named = {"content-type": "application/json"} | {name.replace("_", "-"): it for name, it in headers.items()}
    request = httpx2.Request("POST", url, content=content, headers=named)
    return RequestKeys(KEY_HEADERS, ignore, account).asked(request, content).key


def shuffled(value: Any) -> Any:
    """The same JSON with the members of its objects in the opposite order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_how_json_is_written_does_not_matter(value: Any) -> None:
    plain = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        plain.decode()
    except UnicodeDecodeError:
        plain = json.dumps(value).encode()
    written = json.dumps(shuffled(value), indent=3, separators=(" ,", ":  ")).encode()
    assert canonical("application/json", plain) == canonical("application/json; charset=utf-8", written)


def canonical_value(value: Any) -> Any:
    """What a value is to the one who compares numbers as doubles."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [canonical_value(item) for item in value]
    return {name: canonical_value(it) for name, it in value.items()} if isinstance(value, dict) else value


@given(JSON, JSON)
def test_what_json_says_does_matter(one: Any, other: Any) -> None:
    are_same = repr(sorted_members(canonical_value(one))) == repr(sorted_members(canonical_value(other)))
    forms = [canonical("application/json", json.dumps(value).encode()).form for value in (one, other)]
    assert (forms[0] == forms[1]) == are_same


def sorted_members(value: Any) -> Any:
    if isinstance(value, dict):
        return "object", sorted((name, sorted_members(it)) for name, it in value.items())
    return [sorted_members(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 1}', '{"a": 1e0}'),
        ('{"a": 0}', '{"a": -0.0}'),
        ('{"a": 0.1}', '{"a": 1e-1}'),
        ('{"a": "\\u00e9"}', '{"a": "é"}'),
        ('{"a": "\\/"}', '{"a": "/"}'),
        ('{"a": 1, "b": [2]}', ' {"b" :[ 2 ],\n"a":1} '),
    ],
)
def test_these_are_the_same(one: str, other: str) -> None:
    assert key(one.encode()) == key(other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": null}', "{}"),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": 9007199254740993}', '{"a": 9007199254740992}'),
        # A member that is there twice: servers differ in which they take.
        ('{"a": 1, "a": 2}', '{"a": 2}'),
        ('{"a": 1, "a": 2}', '{"a": 2, "a": 1}'),
        ('{"a": 1e999}', '{"a": 2e999}'),
        ('{"a": NaN}', '{"a": Infinity}'),
        ("[" * 5000 + "]" * 5000, "[" * 5001 + "]" * 5001),
        ("{", "{ "),
        ('{"a": "é"}', '{"a": "e\u0301"}'),
    ],
)
def test_these_are_not_the_same(one: str, other: str) -> None:
    assert key(one.encode()) != key(other.encode())


def test_of_bodies_that_are_no_json_each_byte_matters() -> None:
    kinds = ("text/plain", "application/octet-stream", "application/json")
    keys = [key(content, content_type=kind) for kind in kinds for content in (b"\xff\x00", b"\xff\x00 ", b"")]
    assert len(set(keys)) == len(keys)


def test_the_boundary_of_a_form_does_not_matter_but_its_parts_do() -> None:
    def form(boundary: str, *parts: str) -> Key:
        body = "".join(f"--{boundary}\r\n\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
        return key(body.encode(), content_type=f"multipart/form-data; boundary={boundary}")

    assert form("one", "a", "b") == form("two", "a", "b")
    assert (
        len({form("one", *parts) for parts in (("a", "b"), ("ab",), ("b", "a"), ("a", "b", ""), ("a\r\n", "b"))}) == 5
    )


def test_a_url_is_the_same_however_it_is_written() -> None:
    assert key(url=URL) == key(url="HTTPS://Models.Example:443/v1/chat/completions#part")
    assert key(url=URL + "?b=2&a=1") == key(url=URL + "?a=1&b=2")
    others = ("?a=1", "?a=2", "?a=1&a=2", "?a=2&a=1", "?a", "/", "%2F", "?keys=1", "?max_tokens=1")
    urls = [URL, URL.replace("https", "http"), URL.replace("models", "other"), *(URL + other for other in others)]
    urls.append(URL.replace("example", "example:8443"))
    urls.append(URL.replace("/v1", "%2Fv1"))
    assert len({key(url=url) for url in urls}) == len(urls)


SECRETS = ["https://user:sk-secret@models.example/v1/chat/completions"]
SECRETS += [f"{URL}?{name}=sk-secret" for name in ("key", "api_key", "API-Key", "access_token", "sig", "%6Bey")]


@pytest.mark.parametrize("url", SECRETS)
def test_credentials_in_a_url_are_not_part_of_the_key(url: str) -> None:
    assert key(url=url) == key(url=URL) and "secret" not in repr(key(url=url))


def test_credentials_in_headers_are_not_part_of_the_key() -> None:
    secrets = {"authorization": "Bearer sk-secret", "x_api_key": "sk-secret", "cookie": "sk-secret", "user_agent": "a"}
    assert key(**secrets, openai_organization="org", x_stainless_retry_count="1", idempotency_key="1") == key()
    for name in ("Authorization", "X-API-Key", "api-key", "Cookie"):
        with pytest.raises(InvalidOptionError, match="account="):
            RequestKeys(("accept", name), (), None)


def test_accounts_share_answers_unless_they_are_told_apart() -> None:
    keys = [key(account=account) for account in (None, "", "a", "b")]
    assert len(set(keys)) == 4 and key(account="a") == keys[2]
    # Should somebody give a secret: it cannot be read in the key.
    assert "sk-secret" not in repr(key(account="sk-secret")) and b"sk-secret".hex() not in repr(
        key(account="sk-secret")
    )


def test_chosen_headers_are_part_of_the_key() -> None:
    given = [{}, {"accept": "a"}, {"accept": "b"}, {"anthropic_beta": "a"}, {"openai_beta": "a"}, {"accept": ""}]
    keys = [key(**headers) for headers in given]
    # httpx sends no `accept` of its own accord in a request that is made by hand.
    assert len(set(keys)) == len(keys)
    assert key(x_own="1") == key(x_own="2")


def test_members_of_a_body_can_be_left_out() -> None:
    one, other = b'{"user": "a", "input": {"user": 1}}', b'{"input": {"user": 1}, "user": {"b": 2}}'
    assert key(one) != key(other)
    assert (
        key(one, ignore=("user",)) == key(other, ignore=("user",)) == key(b'{"input": {"user": 1}}', ignore=("user",))
    )
    assert key(one, ignore=("user",)) != key(b'{"user": "a", "input": {}}', ignore=("user",))
    # Those that leave something out do not share with those that do not.
    assert key(b"{}", ignore=("user",)) != key(b"{}") and key(b"[1]", ignore=("user",)) != key(b"[]", ignore=("user",))


class Server:
    """Counts, and answers with the number."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.asked: list[Any] = []

    def __call__(self, request: Any) -> Any:
        self.asked.append(request)
        return self._kind.library.Response(200, json={"number": len(self.asked)})


@every_kind
def test_the_program_says_which_requests_and_headers_count(kind: Kind, path: Path) -> None:
    cache, server = Cache(path), Server(kind)

    def ask(url: str, **options: Any) -> int:
        return int(kind.ask(cache, server, url, json={"a": 1}, **options).json()["number"])

    own = "https://own.example/compute"
    assert [ask(own), ask(own)] == [1, 2]
    match = {"match": lambda request: request.url.path == "/compute"}
    assert [ask(own, **match), ask(own, **match), ask(URL, **match)] == [3, 3, 4]
    assert [ask(own, **match, headers=("x-own",)), ask(own, **match)] == [5, 3]
    assert [ask(own, **match, namespace="other"), ask(own, **match)] == [6, 3]


@every_kind
def test_a_form_with_files_is_found_again(kind: Kind, path: Path) -> None:
    cache, server = Cache(path), Server(kind)
    for content in (b"a", b"b", b"a"):
        files = {"file": ("name", content)}
        kind.ask(cache, server, "https://own.example/transcribe", files=files, match=lambda request: True)
    assert len(server.asked) == 2 and b"name" in server.asked[0].content


@every_kind
def test_a_redirection_is_followed_and_what_comes_of_it_kept(kind: Kind, path: Path) -> None:
    cache, asked = Cache(path), []

    def server(request: Any) -> Any:
        asked.append(request.url.path)
        if request.url.path.startswith("/old"):
            return kind.library.Response(307, headers={"location": URL})
        return kind.library.Response(200, json={"number": len(asked)})

    answers = [kind.ask(cache, server, "https://models.example/old/v1/chat/completions", json={}) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"number": 2}] * 2
    assert asked == ["/old/v1/chat/completions", "/v1/chat/completions", "/old/v1/chat/completions"]


@pytest.mark.parametrize("kind", KINDS[::2], ids=repr)
def test_wrong_arguments_are_told_at_once(kind: Kind, path: Path) -> None:
    cache = Cache(path)
    wrong: list[dict[str, Any]] = [
        {"ttl": 0},
        {"mode": "record"},
        {"max_body": 0},
        {"max_body": "1"},
        {"match": "path"},
        {"headers": "accept"},
        {"headers": (1,)},
        {"ignore": "user"},
        {"ignore": (1,)},
        {"account": 1},
        {"on_error": "ignore"},
        {"namespace": ""},
        {"transport": 1},
        # Of the other kind of client.
        {"transport": kind.library.AsyncHTTPTransport()},
    ]
    for arguments in wrong:
        with pytest.raises(InvalidOptionError, match=next(iter(arguments))):
            kind.transport(cache, **arguments)
    with pytest.raises(InvalidOptionError, match=r"cachemere\.Cache"):
        kind.transport({})
    with pytest.raises(InvalidOptionError, match="x-cachemere"):
        kind.ask(cache, Server(kind), json={}, extensions={"cachemere": "twice"}, on_error="bypass")
    transport = kind.transport(cache)
    assert transport and not hasattr(type(transport), "__len__")
