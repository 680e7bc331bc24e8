"""Which answers are kept, and what comes out."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cachemere import Cache
from libraries import KINDS, Kind, every_kind

CHAT = [b'data: {"object": "chat.completion.chunk", "choices": [', b"]}\n\n", b"data: [DONE]\n\n"]
EVENTS = "text/event-stream; charset=utf-8"
ERROR = b'data: {"error": {"message": "overloaded"}}\n\n'


def times_asked(kind: Kind, cache: Cache, make: Callable[[], Any], **options: Any) -> int:
    """How often a server is asked by one who asks twice and reads to the end."""
    asked = []

    def server(request: Any) -> Any:
        asked.append(request)
        return make()

    for _ in range(2):
        try:
            kind.ask(cache, server, json={"stream": True}, **options)
        except kind.library.RequestError:
            pass
    return len(asked)


@every_kind
def test_a_stream_is_replayed_in_the_chunks_it_came_in(kind: Kind, path: Path) -> None:
    asked = []

    def server(request: Any) -> Any:
        asked.append(1)
        return kind.response(CHAT, content_type=EVENTS)

    assert kind.parts(Cache(path), server) == kind.parts(Cache(path), server) == CHAT
    assert len(asked) == 1


KEPT: dict[str, dict[str, Any]] = {
    "chat": {"chunks": CHAT, "content_type": EVENTS},
    "chat without an empty line at the end": {"chunks": [b"data: [DONE]"], "content_type": EVENTS},
    "messages": {"chunks": [b'event: message_stop\r\ndata: {"type": "message_stop"}\r\n\r\n'], "content_type": EVENTS},
    "a response": {"chunks": [b'data: {"type": "response.completed"}\n\n'], "content_type": EVENTS},
    "events of others": {"chunks": [b'data: {"a": 1}\n\n', b"data: text\n\n"], "content_type": EVENTS},
    "JSON": {"chunks": [b'{"a', b'": 1}'], "content_type": "application/json", "content_length": "8"},
    "JSON without a length": {"chunks": [b"{}"], "content_type": "application/vnd.own+json"},
    "JSON with no error": {"chunks": [b'{"error": null}'], "content_type": "application/json"},
    "lines of JSON": {"chunks": [b'{"a": 1}\n', b'{"done": true}\n'], "content_type": "application/x-ndjson"},
    "text": {"chunks": [b"a", b"b"], "content_type": "text/plain"},
    "of no type": {"chunks": [b"a"]},
    "nothing": {"chunks": [], "status": 204},
}


@every_kind
@pytest.mark.parametrize("name", KEPT)
def test_what_is_whole_is_kept(kind: Kind, path: Path, name: str) -> None:
    assert times_asked(kind, Cache(path), lambda: kind.response(**KEPT[name])) == 1


def broken(kind: Kind) -> BaseException:
    return kind.library.ReadError("the connection broke")  # type: ignore[no-any-return]


NOT_KEPT: dict[str, dict[str, Any]] = {
    "a stream that broke": {"chunks": [CHAT[0], broken], "content_type": EVENTS},
    "a stream that broke after its end": {"chunks": [*CHAT, broken], "content_type": EVENTS},
    "chat without its end": {"chunks": CHAT[:2], "content_type": EVENTS},
    "messages without their end": {"chunks": [b'data: {"type": "message_start"}\n\n'], "content_type": EVENTS},
    "an error in a stream": {"chunks": [CHAT[0], CHAT[1], ERROR, CHAT[2]], "content_type": EVENTS},
    "an event of error": {"chunks": [b"event: error\ndata: {}\n\n", *CHAT], "content_type": EVENTS},
    "a response that failed": {"chunks": [b'data: {"type": "response.failed"}\n\n'], "content_type": EVENTS},
    "cut in an event": {"chunks": [b'data: {"a": 1}\n\n', b"data: te"], "content_type": EVENTS},
    "no events": {"chunks": [b": comment\n\n"], "content_type": EVENTS},
    "no text": {"chunks": [b"data: \xff\n\n"], "content_type": EVENTS},
    "an error in JSON": {"chunks": [b'{"error": {"message": "x"}}'], "content_type": "application/json"},
    "JSON that is cut": {"chunks": [b'{"a": '], "content_type": "application/json"},
    "shorter than its length": {"chunks": [b"{}"], "content_type": "application/json", "content_length": "3"},
    "JSON that broke": {"chunks": [b"{}", broken], "content_type": "application/json"},
    "a response that is worked on": {
        "chunks": [b'{"object": "response", "status": "queued"}'],
        "content_type": "application/json",
    },
    "an error in lines of JSON": {"chunks": [b'{"a": 1}\n{"error": "x"}'], "content_type": "application/x-ndjson"},
    "later": {"chunks": [b"{}"], "status": 202, "content_type": "application/json"},
    "a part": {"chunks": [b"{}"], "status": 206, "content_type": "application/json"},
    **{f"status {status}": {"chunks": [b"{}"], "status": status} for status in (300, 400, 401, 404, 429, 500, 503)},
}


@every_kind
@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_is_not_whole_or_an_error_is_not_kept(kind: Kind, path: Path, name: str) -> None:
    answer = dict(NOT_KEPT[name])
    answer["chunks"] = [broken(kind) if chunk is broken else chunk for chunk in answer["chunks"]]
    cache = Cache(path)
    assert times_asked(kind, cache, lambda: kind.response(**answer)) == 2
    assert len(cache.namespace("http")) == 0


@pytest.mark.parametrize("kind", KINDS[::2], ids=repr)
def test_where_an_end_is_not_told_from_a_break_only_a_last_event_is_one(kind: Kind, path: Path) -> None:
    def undelimited(*chunks: bytes, content_type: str) -> Any:
        made = kind.response(chunks, content_type=content_type)
        made.extensions["http_version"] = b"HTTP/1.1"
        return made

    for number, (chunks, content_type, is_kept) in enumerate(
        [
            (CHAT, EVENTS, True),
            ([b"{}"], "application/json", True),
            ([b'data: {"a": 1}\n\n'], EVENTS, False),
            ([b"text"], "text/plain", False),
            ([b'{"a": 1}\n'], "application/x-ndjson", False),
        ]
    ):
        cache = Cache(path, namespace="any")
        options = {"namespace": f"n{number}"}
        made = times_asked(kind, cache, lambda c=chunks, t=content_type: undelimited(*c, content_type=t), **options)  # type: ignore[misc]
        assert made == (1 if is_kept else 2), content_type


def encoded(encoding: str, content: bytes) -> bytes:
    if encoding == "zstd":
        return zstandard.ZstdCompressor().compress(content)
    return gzip.compress(content) if encoding == "gzip" else zlib.compress(content)


# Which of the libraries that decode zstd there is, is a matter of the host's; httpx has it here.
ENCODED = [(kind, encoding) for kind in KINDS for encoding in ("gzip", "deflate")] + [(KINDS[0], "zstd")]


@pytest.mark.parametrize(("kind", "encoding"), ENCODED, ids=repr)
def test_an_encoded_body_is_stored_decoded(kind: Kind, path: Path, encoding: str) -> None:
    content = json.dumps({"text": "a" * 999}).encode()
    packed = encoded(encoding, content)
    cache = Cache(path)
    for content_type in ("application/json", "text/plain"):
        answer = {"content_type": content_type, "content_encoding": encoding, "content_length": str(len(packed))}
        make = lambda _, answer=answer: kind.response([packed[:9], packed[9:]], **answer)  # noqa: E731
        first, second = (kind.ask(cache, make, json={"for": content_type}) for _ in range(2))
        assert first.json() == second.json() == {"text": "a" * 999} and first.headers["content-encoding"] == encoding
        if (encoding, content_type) == ("zstd", "text/plain"):
            # Whether it was decoded cannot be seen.
            assert second.headers["x-cachemere"] == "miss"
            continue
        assert first.headers["x-cachemere"] == "miss" and second.headers["x-cachemere"] == "hit"
        assert "content-encoding" not in second.headers and "content-length" not in second.headers


CUT = gzip.compress(json.dumps(list(range(999))).encode())[:-99]


@every_kind
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", EVENTS])
@pytest.mark.parametrize(
    ("encoding", "packed"), [("gzip", CUT), ("gzip", b"no gzip"), ("own", b"{"), ("zstd", b"no zstd"), ("gzip", b"")]
)
def test_what_was_not_decoded_to_its_end_is_not_kept(
    kind: Kind, path: Path, encoding: str, packed: bytes, content_type: str
) -> None:
    answer = {"content_encoding": encoding, "content_type": content_type, "transfer_encoding": "chunked"}
    assert times_asked(kind, Cache(path), lambda: kind.response([packed], **answer)) == 2


@every_kind
def test_an_encoded_stream_is_replayed_event_by_event(kind: Kind, path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH) for chunk in CHAT] + [packer.flush()]
    answer = {"content_type": EVENTS, "content_encoding": "gzip"}
    assert kind.parts(Cache(path), lambda _: kind.response(packed, **answer)) == packed
    assert kind.parts(Cache(path), lambda _: pytest.fail("asked again")) == CHAT


@every_kind
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_stream_that_is_left_after_its_last_event_is_kept_and_before_it_is_not(
    kind: Kind, path: Path, is_packed: bool
) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH) for chunk in CHAT] + [packer.flush()]
    answer = {"content_type": EVENTS, "transfer_encoding": "chunked"} | (
        {"content_encoding": "gzip"} if is_packed else {}
    )
    asked = []

    def server(request: Any) -> Any:
        asked.append(1)
        return kind.response([*(packed if is_packed else CHAT), b""], **answer)

    cache = Cache(path)
    for leave_after in (1, 2, 3):
        kind.parts(cache, server, leave_after)
    assert len(asked) == 3
    assert kind.parts(cache, server) == CHAT and len(asked) == 3


@every_kind
def test_of_the_headers_only_those_in_a_list_are_stored(kind: Kind, path: Path) -> None:
    answer = {
        "content_type": "application/json",
        "x_request_id": "id-1",
        "set_cookie": "a=secret",
        "openai_organization": "secret",
        "x_ratelimit_remaining_requests": "1",
        "transfer_encoding": "chunked",
        "connection": "close",
        "date": "täglich".encode(),
    }
    cache = Cache(path)
    first, second = (kind.ask(cache, lambda _: kind.response([b"{}"], **answer), json={}) for _ in "12")
    assert first.headers["set-cookie"] == "a=secret" and first.headers["x-ratelimit-remaining-requests"] == "1"
    assert dict(second.headers) == {"content-type": "application/json", "x-request-id": "id-1", "x-cachemere": "hit"}
    assert second.status_code == 200 and second.reason_phrase == "OK" and second.http_version == "HTTP/1.1"


@every_kind
def test_a_body_over_the_limit_comes_through_whole_and_is_not_kept(kind: Kind, path: Path) -> None:
    chunks = [b'{"a": "', b"x" * 50, b"y" * 60, b'"}']
    size = sum(map(len, chunks))
    cache = Cache(path)
    make = lambda: kind.response(chunks, content_type="application/json")  # noqa: E731
    for _ in range(2):
        got = kind.ask(cache, lambda _: make(), json={}, max_body=size - 1)
        assert got.content == b"".join(chunks) and got.headers["x-cachemere"] == "miss"
    assert times_asked(kind, cache, make, max_body=size) == 1
    # What is small only as long as it is encoded.
    bomb = encoded("gzip", b'"' + b"a" * 9999 + b'"')
    answer = {"content_type": "application/json", "content_encoding": "gzip"}
    assert times_asked(kind, cache, lambda: kind.response([bomb], **answer), namespace="bomb", max_body=9999) == 2


@pytest.mark.parametrize("kind", KINDS[:2], ids=repr)
def test_an_answer_lives_as_long_as_is_said(kind: Kind, path: Path) -> None:
    make = lambda: kind.response([b"{}"], content_type="application/json")  # noqa: E731
    cache = Cache(path)
    assert times_asked(kind, cache, make, ttl=1) == 1
    time.sleep(1.05)
    assert times_asked(kind, cache, make, ttl=1) == 1
    # Or as the cache says.
    assert times_asked(kind, Cache(path, ttl=1), make, namespace="other") == 1
    time.sleep(1.05)
    assert times_asked(kind, Cache(path, ttl=1), make, namespace="other") == 1


@every_kind
def test_what_is_given_out_is_the_caller_s_own(kind: Kind, path: Path) -> None:
    cache = Cache(path)
    make = lambda _: kind.response([b"{}"], content_type="application/json")  # noqa: E731
    for _ in range(3):
        got = kind.ask(cache, make, json={})
        assert "x-own" not in got.headers and got.content == b"{}"
        got.headers["x-own"] = "changed"


@every_kind
def test_both_libraries_read_each_other_s_entries(kind: Kind, path: Path) -> None:
    cache = Cache(path)
    kind.ask(cache, lambda _: kind.response([b"{}"], content_type="application/json"), json={"a": 1})
    for other in KINDS:
        got = other.ask(cache, lambda _: pytest.fail("asked again"), json={"a": 1})
        assert got.json() == {} and isinstance(got, other.library.Response)
