"""A memoized function that calls itself for ever ends in a RecursionError, as deep as with `functools.lru_cache`."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache


@pytest.fixture
def cache(path: Path) -> Iterator[Cache]:
    with Cache(path) as made:
        yield made


def depth_of(decorate: Callable[[Any], Any]) -> int:
    """How deep a function gets that never stops calling itself."""
    deepest = 0

    def deeper(number: int) -> int:
        nonlocal deepest
        deepest = number
        return 1 + int(made(number + 1))

    made = decorate(deeper)
    with pytest.raises(RecursionError):
        made(1)
    return deepest


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="what is counted has changed: see the next one")
def test_it_gets_as_deep_as_with_lru_cache(cache: Cache) -> None:
    assert depth_of(cache.memoize(ignore=["made", "deepest"])) > 0.9 * depth_of(functools.lru_cache)


def test_it_gets_a_good_part_as_deep_as_the_plain_function(cache: Cache) -> None:
    assert depth_of(cache.memoize(ignore=["made", "deepest"])) > 0.3 * depth_of(lambda function: function)


def test_what_ends_in_time_is_computed_and_kept(cache: Cache) -> None:
    calls = []

    @cache.memoize()
    def total(number: int) -> int:
        calls.append(number)
        return 0 if number == 0 else number + total(number - 1)

    assert total(300) == 45150 and len(calls) == 301
    assert total(300) == 45150 and total(299) == 44850 and len(calls) == 301


def test_after_a_recursion_that_never_ended_all_goes_on(cache: Cache) -> None:
    stop = False

    @cache.memoize(ignore=["stop"])
    def deeper(number: int) -> int:
        return 0 if stop and number > 3 else 1 + deeper(number + 1)

    with pytest.raises(RecursionError):
        deeper(1)
    stop = True
    # No lead was left behind.
    assert deeper(1) == 3


@pytest.mark.parametrize("stack", [None, 512 << 10])
def test_with_a_raised_limit_it_is_an_error_and_no_crash(cache: Cache, stack: int | None) -> None:
    deepest: list[int] = []
    limit, size = sys.getrecursionlimit(), threading.stack_size()

    def run() -> None:
        deepest.append(depth_of(cache.memoize(ignore=["made", "deepest"])))

    sys.setrecursionlimit(1_000_000)
    if stack is not None:
        threading.stack_size(stack)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(120)
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)
    assert deepest and deepest[0] > 100
