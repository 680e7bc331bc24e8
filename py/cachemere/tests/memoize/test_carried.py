"""What a function carries with it tells it apart: variables of enclosing functions, objects of methods, partials."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import KeyFormError

Build = Callable[..., Any]


def calls_of(memo: Any) -> tuple[int, int]:
    found: tuple[int, int] = memo.cache_info()[:2]
    return found


def test_closures_are_told_apart_by_what_they_carry(cache: Cache) -> None:
    def build(model: Any) -> Any:
        @cache.memoize
        def ask(x: str) -> str:
            return f"{model}: {x}"

        return ask

    for model in ("gpt", "claude", 1, ("a", 2), ["x"], {"a": [1]}, None):
        assert [build(model)("x") for _ in range(3)] == [f"{model}: x"] * 3
        assert calls_of(build(model)) == (0, 0)
    assert build("gpt").cache_info().currsize == 1, "the entries of the others are theirs"
    build("gpt").cache_clear()
    assert build("claude").cached("x") is not None and build("gpt").cached("x") is None


def test_lambdas_of_one_file_are_told_apart(cache: Cache) -> None:
    one, other = cache.memoize(lambda x: x + 1), cache.memoize(lambda x: x * 10)
    assert [one(3), other(3), one(3), other(3)] == [4, 30, 4, 30]


def test_a_variable_that_is_bound_anew_is_seen(cache: Cache) -> None:
    memos = []
    for n in range(3):

        @cache.memoize
        def f(x: int) -> int:
            return x + n  # noqa: B023

        memos.append(f)
        assert [f(10), f(10)] == [10 + n] * 2
    assert [f(10) for f in memos * 2] == [12] * 6
    n = 5
    assert [f(10) for f in memos * 2] == [15] * 6
    assert calls_of(memos[0])[1] == 2, "once with 0, and once with 5; with 2 another had computed it"


def test_what_is_changed_is_seen(cache: Cache) -> None:
    config = {"model": "a"}

    @cache.memoize
    def f(x: int) -> str:
        return config["model"] + str(x)

    for model in "abab":
        config["model"] = model
        assert [f(1), f(1)] == [model + "1"] * 2
    assert calls_of(f) == (6, 2)


def test_what_a_function_only_tells_something_is_no_part_of_it(cache: Cache) -> None:
    calls: list[int] = []
    seen: dict[int, int] = {}
    count, lock, log, done = 0, threading.Lock(), logging.getLogger("x"), threading.Event()

    @cache.memoize
    def g(x: int) -> int:
        nonlocal count
        count += 1
        with lock:
            calls.append(x)
        seen[x] = x
        done.set()
        log.info("called %s", x)
        return x

    assert [g(1), g(2), g(1), g(2)] == [1, 2, 1, 2] and calls == [1, 2] and count == 2
    assert g.cache_key(1)[1].endswith("<locals>.g")


def test_what_a_function_takes_from_what_it_tells_is_part_of_it(cache: Cache) -> None:
    seen: list[int] = []

    @cache.memoize
    def f(x: int) -> int:
        seen.append(x)
        return len(seen)

    assert [f(1), f(1)] == [1, 2]

    class Normaliser:
        def __init__(self, by: int) -> None:
            self.by = by

        def change(self, items: list[int]) -> None:
            items[:] = [item * self.by for item in items]

    by = Normaliser(3)

    @cache.memoize
    def g(x: int) -> list[int]:
        items = [x]
        by.change(items)
        return items

    with pytest.raises(KeyFormError, match="'by'"):
        g(1)


def test_what_has_no_form_is_named_with_the_ways_out(cache: Cache) -> None:
    class Client:
        def __init__(self, url: str) -> None:
            self.url = url
            self.lock = threading.Lock()

        def ask(self, x: int) -> str:
            return self.url + str(x)

    client = Client("a")

    def f(x: int) -> str:
        return client.ask(x)

    with pytest.raises(
        KeyFormError, match=r"'client'.* holds a .*Client\. .*ignore=\('client',\).*key_types=.*__cachemere_key__"
    ):
        cache.memoize(f)(1)
    assert cache.memoize(ignore=("client",))(f)(1) == "a1"
    memo = cache.memoize(key_types={Client: lambda it: it.url})(f)
    assert memo(2) == "a2"
    client = Client("b")
    assert [memo(2), memo(2)] == ["b2", "b2"] and calls_of(memo) == (1, 2)
    with pytest.raises(KeyFormError, match=r"bound to an object .*Client"):
        cache.memoize(client.ask)(1)
    bound = cache.memoize(key_types={Client: lambda it: it.url})(client.ask)
    assert [bound(3), bound(3)] == ["b3", "b3"]
    client.url = "c"
    assert [bound(3), bound(3)] == ["c3", "c3"], "what the object is is asked in each call"


def test_methods_of_objects_are_told_apart(cache: Cache) -> None:
    for pattern in ("a+", "b+"):
        found = cache.memoize(re.compile(pattern).findall)
        assert [found("aabb"), found("aabb")] == [[pattern[0] * 2]] * 2 and calls_of(found) == (1, 1)
    given = {"x": 1}
    get = cache.memoize(given.get)
    assert [get("x"), get("x")] == [1, 1]
    given["x"] = 2
    assert [get("x"), cache.memoize({"x": 3}.get)("x"), get("x")] == [2, 3, 2]


def test_partials_are_told_apart(cache: Cache) -> None:
    def f(model: str, x: int) -> str:
        return model + str(x)

    one, other = (cache.memoize(functools.partial(f, model)) for model in "ab")
    assert [one(1), other(1), one(1), other(1)] == ["a1", "b1"] * 2


async def test_coroutines_are_told_apart(cache: Cache) -> None:
    def build(model: str) -> Any:
        @cache.memoize
        async def ask(x: str) -> str:
            await asyncio.sleep(0)
            return model + x

        return ask

    assert [await build(model)("x") for model in "abab"] == ["ax", "bx"] * 2


def test_what_a_decorator_wraps_is_part_of_it(cache: Cache) -> None:
    def shouting(f: Build) -> Build:
        @functools.wraps(f)
        def wrapped(*args: Any) -> Any:
            return f(*args).upper()

        return wrapped

    @cache.memoize
    @shouting
    def f(x: str) -> str:
        return x + "f"

    def other(x: str) -> str:
        return x + "g"

    other.__qualname__ = f.__qualname__
    assert [f("a"), cache.memoize(shouting(other))("a"), f("a")] == ["AF", "AG", "AF"]


def test_a_function_that_carries_itself_has_a_key(cache: Cache) -> None:
    @cache.memoize
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(30) == 832_040 and fibonacci.cache_info().currsize == 31


def test_of_equal_numbers_carried_the_same_is_said_as_of_arguments(cache: Cache) -> None:
    def build(n: Any) -> Any:
        return cache.memoize(typed=True)(lambda: repr(n))

    assert [build(1)(), build(1.0)(), build(True)()] == ["1", "1.0", "True"]
