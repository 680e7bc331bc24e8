"""A result that was paid for and cannot be kept is returned, and one line for each function says why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError, StoreFullError, UnsafeValueError

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


def _answer() -> Answer:
    return Answer()


def _large() -> bytes:
    return LARGE
