"""Asking anew, asking nothing, and no cache at all: by the transport, by a request, and by the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError, ReplayMissError
from libraries import Kind, every_kind


class Counting:
    """A server that answers with the number of the request, and a client of it."""

    def __init__(self, kind: Kind, path: Path) -> None:
        self._kind = kind
        self._cache = Cache(path)
        self.asked = 0

    def _answer(self, request: Any) -> Any:
        self.asked += 1
        return self._kind.library.Response(200, json=self.asked)

    def __call__(self, text: str = "a", **options: Any) -> int:
        return int(self._kind.ask(self._cache, self._answer, json={"input": text}, **options).json())


@pytest.fixture
def ask(kind: Kind, path: Path) -> Counting:
    return Counting(kind, path)


@every_kind
def test_refresh_asks_anew_and_overwrites(ask: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [ask(), ask(), ask(mode="refresh"), ask()] == [1, 1, 2, 2]
    assert [ask(extensions={"cachemere": "refresh"}), ask()] == [3, 3]
    monkeypatch.setenv("CACHEMERE_MODE", "refresh")
    assert [ask(), ask()] == [4, 5]
    monkeypatch.delenv("CACHEMERE_MODE")
    assert ask() == 5


@every_kind
def test_replay_asks_nothing(ask: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask() == 1
    monkeypatch.setenv("CACHEMERE_MODE", "replay")
    # Whoever says it wants nothing to be asked.
    assert [ask(), ask(mode="refresh"), ask(extensions={"cachemere": "refresh"})] == [1, 1, 1]
    with pytest.raises(ReplayMissError, match=r"https://models\.example/v1/chat/completions"):
        ask("b")
    monkeypatch.delenv("CACHEMERE_MODE")
    for options in ({"mode": "replay"}, {"extensions": {"cachemere": "replay"}}):
        assert ask(**options) == 1
        with pytest.raises(ReplayMissError):
            ask("b", **options)
    # What is not chosen is none of its concern.
    assert ask("b", mode="replay", match=lambda request: False) == 2


@every_kind
def test_bypass_leaves_the_cache_alone(ask: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [ask(extensions={"cachemere": "bypass"}), ask(), ask(extensions={"cachemere": "bypass"})] == [1, 2, 3]
    monkeypatch.setenv("CACHEMERE_DISABLE", "1")
    assert [ask(), ask(mode="refresh"), ask(mode="replay")] == [4, 5, 6]
    monkeypatch.setenv("CACHEMERE_DISABLE", "0")
    assert ask() == 2


@every_kind
def test_what_a_request_asks_for_is_for_that_request_alone(ask: Counting) -> None:
    extensions = {"cachemere": "refresh"}
    assert [ask(), ask(extensions=extensions), ask(), ask(extensions={})] == [1, 2, 2, 2]
    assert extensions == {"cachemere": "refresh"}


@every_kind
def test_a_mode_that_does_not_exist_is_told_whatever_is_bypassed(
    ask: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHEMERE_MODE", "replya")
    with pytest.raises(InvalidOptionError, match="CACHEMERE_MODE"):
        ask(on_error="bypass")
    assert ask.asked == 0
