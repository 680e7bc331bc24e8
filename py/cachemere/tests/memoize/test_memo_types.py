"""Results that are objects of the program's classes: registering them, and what the error says to write."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError, UnsafeValueError


@dataclasses.dataclass
class Word:
    text: str


@dataclasses.dataclass
class Answer:
    words: list[Word]


class Mood(enum.Enum):
    GOOD = 1


@pytest.fixture(autouse=True)
def default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", str(tmp_path / "default"))


def test_types_are_registered_with_the_default_store() -> None:
    calls = []

    def answer(x: str) -> Any:
        calls.append(x)
        return Answer([Word(x)]), Mood.GOOD

    f = cachemere.memoize(types=[Answer])(answer)
    assert f("a") == f("a") == (Answer([Word("a")]), Mood.GOOD) and calls == ["a"]
    # Another function, and so another handle's memory.
    assert cachemere.memoize(types=[Answer])(answer)("a") == f("a") and calls == ["a"]


def test_the_error_says_what_to_write_and_that_works(path: Path) -> None:
    def answer(x: str) -> Answer:
        return Answer([Word(x)])

    for decorate, way in (
        (cachemere.memoize(strict=True, register_return=False), "memoize(types=[Answer])"),
        (Cache(path).memoize(strict=True, register_return=False), "Cache(path, types=[Answer])"),
        (cachemere.memoize(cache=Cache(path), strict=True, register_return=False), "Cache(path, types=[Answer])"),
    ):
        with pytest.raises(UnsafeValueError) as caught:
            decorate(answer)("a")
        text = str(caught.value)
        assert (
            f"register it: {way}; else convert it to plain data" in text
            and "<locals>.answer cannot be stored: an object" in text
        )
        assert "#" not in text and "allow_pickle" not in text
        assert caught.value.result == Answer([Word("a")])
    cache = Cache(path, types=[Answer])
    assert cachemere.memoize(cache=cache)(answer)("a") == cache.memoize(answer)("a") == Answer([Word("a")])


async def test_the_error_of_a_coroutine_and_of_a_stream_says_it_too() -> None:
    @cachemere.memoize(strict=True)
    async def coroutine() -> Any:
        return Answer([])

    @cachemere.memoize(strict=True)
    def stream() -> Iterator[Any]:
        yield Answer([])

    with pytest.raises(UnsafeValueError, match=r"memoize\(types=\[Answer\]\)"):
        await coroutine()
    with pytest.raises(UnsafeValueError, match=r"memoize\(types=\[Answer\]\)"):
        list(stream())


def test_wrong_types_are_told_at_once(path: Path) -> None:
    for arguments, said in (
        ({"types": Answer}, "collection"),
        ({"types": [Answer([])]}, "not a class"),
        ({"types": [Path]}, "not a dataclass"),
        ({"types": [Answer], "cache": Cache(path)}, r"Cache\(path, types="),
    ):
        with pytest.raises(InvalidOptionError, match=said):
            cachemere.memoize(**arguments)  # type: ignore[call-overload]
