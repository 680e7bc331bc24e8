"""What becomes of a call when something is wrong with the store, or somebody else has written to it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import CacheError, DecodeError, ReplayMissError
from libraries import Kind, every_kind


class Attack:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._mark),)


def hostile(mark: Path) -> dict[str, Any]:
    """Values as somebody might write them who can write to the store."""
    headers = (("content-type", "application/json"),)
    return {
        "a pickle": Attack(mark),
        "an answer with a pickle": ("http answer 1", 200, headers, [Attack(mark)]),
        "bytes of a pickle": pickle.dumps(Attack(mark)),
        "text": "{}",
        "another adapter's": [("a", 1)],
        "a later form": ("http answer 2", 200, headers, [b"{}"]),
        "another status": ("http answer 1", 302, (("location", "https://other.example"),), [b""]),
        "no status": ("http answer 1", "200", headers, [b"{}"]),
        "a header that is not stored": ("http answer 1", 200, (("set-cookie", "a=b"),), [b"{}"]),
        "a header of two lines": ("http answer 1", 200, (("date", "a\r\nset-cookie: a=b"),), [b"{}"]),
        "a header that cannot be sent": ("http answer 1", 200, (("date", "ä\u2028"),), [b"{}"]),
        "no header": ("http answer 1", 200, ("date",), [b"{}"]),
        "a body of text": ("http answer 1", 200, headers, ["{}"]),
        "no chunks": ("http answer 1", 200, headers, b"{}"),
    }


@every_kind
@pytest.mark.parametrize("name", hostile(Path("/nowhere")))
def test_a_hostile_entry_is_refused_and_nothing_run(kind: Kind, path: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    asked = []

    def server(request: Any) -> Any:
        asked.append(request)
        return kind.library.Response(200, json={"number": len(asked)})

    # Not even where the program allows pickle for its own entries.
    with Cache(path, allow_pickle=True) as cache:
        kind.ask(cache, server, json={})
        with Cache(path, namespace="http", allow_pickle=True) as store:
            (key,) = store
            store[key] = hostile(mark)[name]
        with pytest.raises(CacheError):
            kind.ask(cache, server, json={})
        assert len(asked) == 1
        # In replay mode it is a miss.
        with pytest.raises(ReplayMissError):
            kind.ask(cache, server, json={}, on_error="bypass", mode="replay")
        assert kind.ask(cache, server, json={}, on_error="bypass").json() == {"number": 2}
        assert kind.ask(cache, server, json={}).json() == {"number": 2}
    assert not mark.exists()


@every_kind
def test_a_store_that_cannot_be_opened_breaks_no_call(kind: Kind, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("a file, not a directory")
    asked = []

    def server(request: Any) -> Any:
        asked.append(request)
        return kind.library.Response(200, json={"number": len(asked)})

    for number in (1, 2):
        assert kind.ask(Cache(path), server, json={}, on_error="bypass").json() == {"number": number}
    assert "the HTTP client goes on without this entry" in caplog.text
    with pytest.raises(CacheError):
        kind.ask(Cache(path), server, json={})
    with pytest.raises(ReplayMissError):
        kind.ask(Cache(path), server, json={}, on_error="bypass", mode="replay")
    assert len(asked) == 2


@every_kind
def test_a_store_that_cannot_be_written_breaks_no_call(kind: Kind, path: Path) -> None:
    Cache(path)["made"] = 1
    asked = []

    def server(request: Any) -> Any:
        asked.append(request)
        return kind.library.Response(200, json={"number": len(asked)})

    reading = Cache(path, read_only=True)
    for number in (1, 2):
        assert kind.ask(reading, server, json={}, on_error="bypass").json() == {"number": number}
    with pytest.raises(CacheError):
        kind.ask(reading, server, json={})


@every_kind
def test_the_entry_of_another_is_told_by_name(kind: Kind, path: Path) -> None:
    cache = Cache(path)
    kind.ask(cache, lambda _: kind.library.Response(200, json={}), json={})
    with Cache(path, namespace="http") as store:
        (key,) = store
        store[key] = {"of": "another"}
    with pytest.raises(DecodeError, match="namespace of its own"):
        kind.ask(cache, lambda _: pytest.fail("asked"), json={})


@every_kind
def test_a_request_that_has_no_key_breaks_no_call_and_is_not_asked_in_replay_mode(
    kind: Kind, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise ValueError("no key")

    monkeypatch.setattr("cachemere.integrations._http.request_key.RequestKeys.asked", fail)
    answer = kind.ask(Cache(path), lambda _: kind.library.Response(200, json={"a": 1}), json={}, on_error="bypass")
    assert answer.json() == {"a": 1}
    with pytest.raises(ReplayMissError):
        kind.ask(Cache(path), lambda _: pytest.fail("asked"), json={}, on_error="bypass", mode="replay")


@every_kind
def test_the_error_of_a_server_comes_through_as_it_is(kind: Kind, path: Path) -> None:
    def refuse(request: Any) -> Any:
        raise kind.library.ConnectError("nobody listens")

    for body in ({}, {"stream": True}):
        with pytest.raises(kind.library.ConnectError, match="nobody listens") as caught:
            kind.ask(Cache(path), refuse, json=body)
        assert caught.value.request.method == "POST"


@every_kind
def test_closing_the_transport_closes_the_one_beneath_and_not_the_cache(kind: Kind, path: Path) -> None:
    closed = []

    class Beneath(kind.library.MockTransport):  # type: ignore[misc, name-defined]
        def close(self) -> None:
            closed.append("in threads")

        async def aclose(self) -> None:
            closed.append("in tasks")

    kind.mock = Beneath  # type: ignore[method-assign]
    try:
        cache = Cache(path)
        for _ in range(2):
            assert kind.ask(cache, lambda _: kind.library.Response(200, json={"a": 1}), json={}).json() == {"a": 1}
            cache["k"] = "v"
            assert cache["k"] == "v"
        assert closed == ["in tasks" if kind.of_tasks else "in threads"] * 2
    finally:
        del kind.mock
