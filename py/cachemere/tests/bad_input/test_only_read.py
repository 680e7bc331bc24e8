"""A store that can be read but not written is read by who bypasses, or by an adapter; one warning says why."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.integrations.langchain import CachemereCache
from langchain_core.outputs import Generation
from other_user import NOBODY, as_user, only_readable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become another user")

PERMISSIONS = "this process may not write to its directory or to a file in it; change their permissions"


def double(x: int) -> int:
    return x * 2


async def adouble(x: int) -> int:
    return x * 3


@pytest.fixture(params=[0, NOBODY], ids=["of root", "of the user"])
def store(path: Path, request: pytest.FixtureRequest) -> Path:
    """A store with one entry, and a result of each function, that nobody else may write."""
    with Cache(path) as cache:
        cache["k"] = "kept"
        cache.memoize(double)(1)
        asyncio.run(cache.memoize(adouble)(1))
        CachemereCache(cache).update("p", "m", [Generation(text="answer")])
    only_readable(path)
    for it in [*path.iterdir(), path]:
        os.chown(it, request.param, request.param)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {it.name: it.read_bytes() for it in path.iterdir()}


def test_what_is_there_is_found_and_what_is_missing_is_computed(store: Path) -> None:
    before = contents(store)

    def work() -> Any:
        cache = Cache(store, on_error="bypass")
        function = cache.memoize(double)
        seen: list[Any] = [cache.get("k"), cache["k"], "k" in cache, len(cache)]
        seen += [[function(1), function(2), function(1)], list(function.cache_info()[:2])]
        cache["other"] = 1
        seen += [cache.get("other"), cache.get_or_set("k", lambda: "made"), cache.get_or_set("l", lambda: "made")]
        assert asyncio.run(cache.aget_or_set("l", lambda: "made")) == "made"
        return seen

    seen, warnings = as_user(NOBODY, work)
    assert seen == ["kept", "kept", True, 3, [2, 4, 2], [2, 1], None, "kept", "made"]
    (warning,) = warnings
    assert "is read, and nothing is kept in it" in warning and PERMISSIONS in warning and str(store) in warning
    assert contents(store) == before


def test_tasks_streams_and_other_namespaces_too(store: Path) -> None:
    def work() -> Any:
        cache = Cache(store, on_error="bypass")
        function = cache.memoize(adouble)

        @cache.memoize
        def stream() -> Any:
            yield from (1, 2)

        async def both() -> list[int]:
            return [await function(1), await function(2)]

        other = cache.namespace("other")
        other["k"] = 1
        return [asyncio.run(both()), list(function.cache_info()[:2]), list(stream()), other.get("k")]

    seen, warnings = as_user(NOBODY, work)
    assert seen == [[3, 6], [1, 1], [1, 2], None]
    assert len(warnings) == 2, "one for each handle"


def test_replay_finds_what_is_there(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_MODE", "replay")

    def work() -> Any:
        function = Cache(store, on_error="bypass").memoize(double)
        first = function(1)
        try:
            return [first, function(2)]
        except LookupError as error:
            return [first, type(error).__name__]

    assert as_user(NOBODY, work) == ([2, "ReplayMissError"], [])


def test_adapters_read_it(store: Path) -> None:
    def work() -> Any:
        adapter = CachemereCache(Cache(store))
        adapter.update("q", "m", [Generation(text="new")])
        found: Any = adapter.lookup("p", "m")
        return [found[0].text, adapter.lookup("q", "m")]

    seen, warnings = as_user(NOBODY, work)
    assert seen == ["answer", None]
    assert len(warnings) == 1 and PERMISSIONS in warnings[0]


def test_who_does_not_bypass_is_told_at_once(store: Path) -> None:
    seen, _ = as_user(NOBODY, lambda: Cache(store).get("k"))
    assert seen[0] == "ReadOnlyError" and PERMISSIONS in seen[1]


def test_where_there_is_nothing_to_read_it_is_told_what_was_wrong(path: Path) -> None:
    path.mkdir(mode=0o755)
    only_readable(path)

    def work() -> Any:
        function = Cache(path, on_error="bypass").memoize(double)
        return [function(1), function(1)]

    seen, warnings = as_user(NOBODY, work)
    assert seen == [2, 2]
    assert len(warnings) == 1 and "is bypassed" in warnings[0] and PERMISSIONS in warnings[0]
