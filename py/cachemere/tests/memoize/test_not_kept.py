"""A result that was paid for and cannot be kept is returned, and one line for each function says why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, diskcache
from cachemere.errors import InvalidOptionError, ReadOnlyError, StoreFullError, UnsafeValueError

LARGE = bytes(8 << 20)


class Answer:
    """Has no safe form."""


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_an_object_without_a_safe_form_is_returned(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    @cache.memoize
    def f(x: int) -> Answer:
        return Answer()

    @cache.memoize
    def g(x: int) -> list[Answer]:
        return [Answer()]

    for _ in range(3):
        assert type(f(1)) is Answer and type(f(2)) is Answer
    assert f.cache_info()[:2] == (0, 6) and f.cached(1) is None and len(cache) == 0
    (line,) = told(caplog)
    assert "a result of " in line and "<locals>.f is returned but not kept" in line and "Answer" in line
    assert type(g(1)[0]) is Answer and len(told(caplog)) == 2, "each function has its own"


async def test_so_it_is_of_coroutines_and_streams(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    @cache.memoize
    async def coroutine() -> Answer:
        return Answer()

    @cache.memoize
    def stream() -> Iterator[Answer]:
        yield Answer()

    @cache.memoize
    async def astream() -> AsyncIterator[Answer]:
        yield Answer()

    for _ in range(2):
        assert type(await coroutine()) is Answer
        assert [type(it) for it in stream()] == [Answer]
        assert [type(it) async for it in astream()] == [Answer]
    assert len(told(caplog)) == 3


def test_more_than_the_store_may_hold_is_returned(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Cache(path, max_bytes=4 << 20) as cache:

        @cache.memoize
        def f(size: int) -> bytes:
            return LARGE[:size]

        assert f(len(LARGE)) == LARGE and f(10) == LARGE[:10]
        assert "4194304 bytes" in told(caplog)[0] and f.cache_info().currsize == 1


def test_strict_makes_it_an_error_that_has_the_result(path: Path) -> None:
    with Cache(path, max_bytes=4 << 20) as cache:
        with pytest.raises(UnsafeValueError) as unsafe:
            cache.memoize(strict=True)(_answer)()
        assert type(unsafe.value.result) is Answer
        with pytest.raises(StoreFullError) as full:
            cache.memoize(strict=True)(_large)()
        assert full.value.result is LARGE
        wrong: Any = "yes"
        with pytest.raises(InvalidOptionError):
            cache.memoize(strict=wrong)


async def test_so_is_the_error_s_result_of_what_a_stream_would_have_kept(cache: Cache) -> None:
    @cache.memoize(strict=True)
    def stream() -> Iterator[Any]:
        yield 1
        yield Answer()
        return "end"  # noqa: B901

    @cache.memoize(strict=True)
    async def astream() -> AsyncIterator[Any]:
        yield 1
        yield Answer()

    came: list[Any] = []
    with pytest.raises(UnsafeValueError) as caught:
        for it in stream():
            came.append(it)
    (first, second), returned = caught.value.result
    assert first == 1 and type(second) is Answer and returned == "end"
    with pytest.raises(UnsafeValueError) as caught:
        async for it in astream():
            came.append(it)
    (first, second), returned = caught.value.result
    assert first == 1 and type(second) is Answer and returned is None
    assert [type(it) for it in came] == [int, Answer] * 2, "all items came before"


async def test_what_get_or_set_makes_is_returned_and_told_of_once_for_each_reason(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Cache(path, max_bytes=4 << 20) as cache:
        for _ in range(2):
            assert type(cache.get_or_set("k", Answer)) is Answer
            assert type(await cache.aget_or_set("k", Answer)) is Answer
            assert cache.get_or_set("l", _large) is LARGE
            assert await cache.aget_or_set("l", _large) is LARGE
        unsafe, full = told(caplog)
        assert "a value made for get_or_set is returned but not kept" in unsafe and "Answer" in unsafe
        assert "4194304 bytes" in full and len(cache) == 0
        with pytest.raises(UnsafeValueError) as caught:
            cache.get_or_set("k", Answer, strict=True)
        assert type(caught.value.result) is Answer
        wrong: Any = "yes"
        with pytest.raises(InvalidOptionError, match="strict"):
            cache.get_or_set("k", Answer, strict=wrong)
        with pytest.raises(InvalidOptionError, match="strict"):
            await cache.aget_or_set("k", Answer, strict=wrong)
        assert cache.get_or_set("k", lambda: 1) == 1, "nobody has the turn any more"


def test_who_may_only_read_gets_what_was_computed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    with Cache(path, read_only=True) as cache:
        function = cache.memoize(_large)
        assert function() is LARGE and function() is LARGE
        assert cache.get_or_set("k", lambda: 2) == 1 and cache.get_or_set("l", lambda: 2) == 2
        with pytest.raises(ReadOnlyError):
            cache.memoize(strict=True)(_large)()
    assert len(told(caplog)) == 2 and all("opened read-only" in line for line in told(caplog))


async def test_the_facade_of_diskcache_gives_it_out_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with diskcache.Cache(str(tmp_path / "disk")) as cache:
        plain = cache.memoize(name="plain")(lambda: Answer())

        @cache.memoize(name="awaited")
        async def awaited() -> Answer:
            return Answer()

        early = diskcache.memoize_stampede(cache, 60, name="early")(lambda: Answer())
        for _ in range(2):
            assert [type(it) for it in (plain(), await awaited(), early())] == [Answer] * 3
    assert [line.partition(" is returned")[0] for line in told(caplog)] == [
        "a result of plain",
        "a result of awaited",
        "a result of early",
    ]


def _answer() -> Answer:
    return Answer()


def _large() -> bytes:
    return LARGE
