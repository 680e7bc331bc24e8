"""The classes that the return annotation of a memoized function names are registered with what keeps its results."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

import attrs
import cachemere
import pydantic
import pytest
from cachemere import Cache
from cachemere.errors import InvalidOptionError, UnsafeValueError

if TYPE_CHECKING:
    from nowhere import Unknown


@dataclasses.dataclass
class Word:
    text: str


@dataclasses.dataclass
class Answer:
    words: list[Word]


class Reply(pydantic.BaseModel):
    words: list[Word] = []


class Pair(NamedTuple):
    a: Word
    b: int


@attrs.define
class Point:
    word: Word


WORD = Word("a")


def plain() -> Answer:
    return Answer([WORD])


def many() -> list[Answer]:
    return [Answer([WORD])]


def mapped() -> dict[str, tuple[Pair, ...]]:
    return {"k": (Pair(WORD, 1),)}


def maybe() -> Answer | None:
    return Answer([])


def optional() -> Optional[Reply]:  # noqa: UP045
    return Reply(words=[WORD])


def union() -> Union[Pair, list[Point]]:  # noqa: UP007
    return [Point(WORD)]


def real(n: int = 0) -> Any:
    return Later(WORD)


real.__annotations__["return"] = "Later | None"


def stream() -> Iterator[Answer]:
    yield Answer([WORD])


def ending() -> Generator[Word, None, Answer]:
    yield WORD
    return Answer([])


async def coroutine() -> list[Answer]:
    return [Answer([WORD])]


async def astream() -> AsyncIterator[Point]:
    yield Point(WORD)


@dataclasses.dataclass
class Later:
    word: Word


PLAIN = [plain, many, mapped, maybe, optional, union, real]


@pytest.mark.parametrize("function", PLAIN, ids=lambda function: function.__name__)
def test_plain_functions(path: Path, function: Callable[[], Any]) -> None:
    expected = function()
    with Cache(path) as cache:
        assert cache.memoize(strict=True)(function)() == expected
    # Another process reads before it writes.
    with Cache(path) as cache:
        memoized = cache.memoize(function)
        assert memoized() == expected and memoized.cache_info().hits == 1
        assert type(memoized()) is type(expected)


async def test_coroutines_and_streams(path: Path) -> None:
    for round in range(2):
        with Cache(path) as cache:
            functions = [cache.memoize(strict=True)(it) for it in (coroutine, astream, stream, ending)]
            one, two, three, four = functions
            assert await one() == [Answer([WORD])]
            assert [it async for it in two()] == [Point(WORD)]
            assert list(three()) == [Answer([WORD])] and list(four()) == [WORD]
            assert [it.cache_info().hits for it in functions] == [round] * 4


def test_the_default_store_and_classes_of_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", str(tmp_path / "default"))

    @dataclasses.dataclass
    class Local:
        n: int

    @cachemere.memoize(strict=True, ignore=("Local",))
    def f(n: int) -> Local:
        return Local(n)

    assert f(1) == f(1) == Local(1) and f.cache_info()[:2] == (1, 1)


def test_methods_and_partials(path: Path) -> None:
    with Cache(path) as cache:

        class Service:
            @cache.memoize(strict=True, ignore=("self",))
            def ask(self, n: int) -> Answer:
                return Answer([Word(str(n))])

            @staticmethod
            @cache.memoize(strict=True)
            def static(n: int) -> Point:
                return Point(Word(str(n)))

        for _ in range(2):
            assert Service().ask(1) == Answer([Word("1")]) and Service.static(2) == Point(Word("2"))


def test_one_that_is_told_not_to_does_not(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Cache(path) as cache:
        assert cache.memoize(register_return=False)(plain)() == Answer([WORD]) and len(cache) == 0
        with pytest.raises(UnsafeValueError, match=r"register it: Cache\(path, types=\[Answer\]\)"):
            cache.memoize(register_return=False, strict=True)(plain)()
        wrong: Any = "no"
        with pytest.raises(InvalidOptionError, match="register_return must be True or False"):
            cache.memoize(register_return=wrong)
        with pytest.raises(UnsafeValueError):
            cache["k"] = Answer([])
        cache.memoize(plain)()
        # The handle knows it from now on.
        cache["k"] = Answer([])
        assert cache["k"] == Answer([])


def test_what_is_annotated_with_something_unknown_is_as_without(path: Path) -> None:
    def unknown() -> Unknown:  # type: ignore[no-any-unimported,unused-ignore]
        return 1

    def partly() -> Answer | Unknown:  # type: ignore[no-any-unimported,unused-ignore]
        return Answer([])

    def wrong() -> "1 +":  # type: ignore # noqa: F722, UP037
        return 2

    def other() -> int:
        return Answer([])  # type: ignore[return-value]

    with Cache(path) as cache:
        assert [cache.memoize(it)() for it in (unknown, wrong)] == [1, 2]
        assert cache.memoize(partly)() == Answer([]) and cache.memoize(other)() == Answer([])


def test_one_that_is_defined_after_the_first_call(path: Path) -> None:
    module = types.ModuleType("written_later")
    sys.modules[module.__name__] = module
    try:
        exec("def f(n) -> 'list[Late]': return [] if n == 0 else [Late(n)]\n", vars(module))
        with Cache(path) as cache:
            f: Any = cache.memoize(strict=True)(vars(module)["f"])
            assert f(0) == []
            exec("import dataclasses\n@dataclasses.dataclass\nclass Late:\n    n: int\n", vars(module))
            assert f(1)[0].n == 1 and type(f(1)[0]) is vars(module)["Late"]
            # Defined anew, as in a notebook's cell that runs again.
            exec("@dataclasses.dataclass\nclass Late:\n    n: int\ndef f(n) -> Late: return Late(n)\n", vars(module))
            again: Any = cache.memoize(strict=True)(vars(module)["f"])
            assert again(2) == again(2) and type(again(2)) is vars(module)["Late"]
    finally:
        del sys.modules[module.__name__]
