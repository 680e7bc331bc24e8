"""The same operations on diskcache and on the facade give the same results.

What differs on purpose is kept out of what is generated, or undone, each in one place:

1. An expired entry is gone here; there it is counted and listed until it is removed. So it is removed there after each
   operation (`settle`).
2. `True` and `1` are one key here. No keys of type bool are generated.
3. There, entries under any numbers from 1 on are items of the queue without prefix. Own keys are not positive numbers.
4. Keys that are neither numbers, texts nor bytes are listed by `iterkeys` in another order. They are left out.
5. Errors of ours are those of diskcache, or subclasses of them; it is compared whether they are.
6. There, a value in a file of its own (32 KiB or more) that is overwritten or removed in a transaction is lost, also if
   the transaction is undone. `test_a_long_value_survives_what_was_undone` shows it.
7. There, an int of more than 64 bits is a pickle, to which nothing can be added. None are generated;
   `test_numbers_are_added_to_however_large` shows it.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import diskcache as theirs
import hypothesis
import pytest
from cachemere import diskcache as ours
from how_long import TORTURE
from hypothesis import given
from hypothesis import strategies as st

MANY = hypothesis.settings(max_examples=3000 if TORTURE else 150)

LONG = "long " * 9_000

KEYS: list[Any] = ["a", "b", "", b"a", b"", 0, -7, -1.5, -2.0, -2, ("a", 1), ("a", ("b", None)), None]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.just(LONG),
    st.just(LONG.encode()),
    st.lists(st.dictionaries(st.text(max_size=2), st.tuples(st.integers()), max_size=2), max_size=2),
)
NUMBERS = st.one_of(st.integers(-50, 50), st.floats(-50, 50))
EXPIRE = st.sampled_from([None, None, 1000, 500.5, 0, -1])
TAGS = st.sampled_from([None, "t", "u", "", b"t", 1, 1.0, 2.5, "\0i1"])
KEY = st.sampled_from(KEYS)
PREFIX = st.sampled_from([None, "q", "q-0", ""])
SIDE = st.sampled_from(["front", "back"])
DETAILS = st.fixed_dictionaries({"expire_time": st.booleans(), "tag": st.booleans()})


def call(name: str, *arguments: Any, **keywords: Any) -> Any:
    return st.tuples(st.just(name), st.tuples(*arguments), st.fixed_dictionaries(keywords))


SINGLE = st.one_of(
    call("set", KEY, VALUES, expire=EXPIRE, tag=TAGS),
    call("set", KEY, VALUES),
    call("set", KEY, NUMBERS, expire=EXPIRE, tag=TAGS),
    call("add", KEY, VALUES, expire=EXPIRE, tag=TAGS),
    call("touch", KEY, expire=EXPIRE),
    call("incr", KEY, NUMBERS, default=st.sampled_from([0, 3, None])),
    call("decr", KEY, NUMBERS, default=st.sampled_from([0, 3, None])),
    st.tuples(st.just("get"), st.tuples(KEY, VALUES), DETAILS),
    st.tuples(st.just("pop"), st.tuples(KEY, VALUES), DETAILS),
    call("delete", KEY),
    call("__getitem__", KEY),
    call("del", KEY),
    call("__contains__", KEY),
    call("__len__"),
    call("clear"),
    call("push", VALUES, prefix=PREFIX, side=SIDE, expire=EXPIRE, tag=TAGS),
    call("push", VALUES, prefix=PREFIX, side=SIDE),
    st.tuples(st.just("pull"), st.tuples(PREFIX, VALUES, SIDE), DETAILS),
    st.tuples(st.just("peek"), st.tuples(PREFIX, VALUES, SIDE), DETAILS),
    st.tuples(st.just("peekitem"), st.tuples(st.booleans()), DETAILS),
    call("delete the nth", st.integers(0, 5)),
    call("list"),
)
OUTSIDE = st.one_of(SINGLE, call("evict", TAGS), call("expire"))
#: What is within a transaction, and whether it fails at its end.
BLOCK = st.recursive(
    st.lists(SINGLE, max_size=6), lambda inner: st.lists(st.one_of(SINGLE, st.tuples(inner, st.booleans())), max_size=6)
)
PROGRAM = st.lists(st.one_of(OUTSIDE, OUTSIDE, st.tuples(BLOCK, st.booleans())), max_size=30)


class Undo(Exception):
    """Leaves a transaction."""


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[Any, Any]]:
    """Used for all programs of this module, emptied in between: making one of diskcache takes 50 ms."""
    directory = tempfile.mkdtemp()
    mine = ours.Cache(directory + "/ours")
    # Without files of values: see 6.
    settings = {"cull_limit": 0, "disk_min_file_size": 2**30, "sqlite_synchronous": 0}
    other = theirs.Cache(directory + "/theirs", eviction_policy="none", **settings)
    yield mine, other
    assert mine.check() == []
    mine.close()
    other.close()
    shutil.rmtree(directory)


def emptied(stores: tuple[Any, Any]) -> tuple[Any, Any]:
    for store in stores:
        store.clear()
    return stores


def outcome(cache: Any, name: str, arguments: Any, keywords: Any) -> Any:
    try:
        if name == "list":
            plain = [key for key in cache.iterkeys() if isinstance(key, (int, float, str, bytes))]
            return list(cache), list(reversed(cache)), plain
        if name == "del":
            del cache[arguments[0]]
            return None
        if name == "delete the nth":
            keys = list(cache)
            return cache.delete(keys[arguments[0]]) if arguments[0] < len(keys) else None
        return getattr(cache, name)(*arguments, **keywords)
    except (KeyError, TypeError) as error:
        return next(kind for kind in (KeyError, TypeError) if isinstance(error, kind))


def same(one: Any, two: Any) -> bool:
    """Whether results are equal, up to the time between the two calls, and of the same type."""
    if type(one) is not type(two):
        # Of two numbers that are equal as keys.
        return one == two and isinstance(one, (int, float)) and isinstance(two, (int, float))
    if isinstance(one, (tuple, list)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, float) and one > 1e9:
        return math.isclose(one, two, abs_tol=2)
    return bool(one == two)


def settle(other: Any) -> None:
    other.expire()


def run(mine: Any, other: Any, program: Any) -> None:
    for step in program:
        if isinstance(step[0], str):
            assert same(outcome(mine, *step), outcome(other, *step)), step
            settle(other)
            continue
        block, fails = step
        with contextlib.suppress(Undo), mine.transact(), other.transact():
            run(mine, other, block)
            if fails:
                raise Undo


@MANY
@given(PROGRAM)
def test_a_cache_does_what_diskcache_does(stores: tuple[Any, Any], program: Any) -> None:
    mine, other = emptied(stores)
    run(mine, other, program)
    listed: Any = ("list", (), {})
    assert same(outcome(mine, *listed), outcome(other, *listed))
    items = [(key, mine.get(key, expire_time=True, tag=True)) for key in mine]
    assert same(items, [(key, other.get(key, expire_time=True, tag=True)) for key in other])


def test_numbers_are_added_to_however_large(stores: tuple[Any, Any]) -> None:
    mine, other = stores
    for large in (2**63, -(2**63) - 1, 2**70):
        for cache in stores:
            cache.set("large", large)
            assert cache.get("large") == large
        with pytest.raises(TypeError):
            other.incr("large")
        assert mine.incr("large") == large + 1


def test_a_long_value_survives_what_was_undone() -> None:
    with ours.Cache() as mine, theirs.Cache() as other:
        for cache in (mine, other):
            cache["a"] = LONG
            with contextlib.suppress(Undo), cache.transact():
                cache["a"] = 1
                raise Undo
        assert mine.get("a") == LONG and other.get("a") is None


# --- deques -----------------------------------------------------------------------------------------------------------

SMALL = st.integers(0, 4)
ITEMS = st.lists(SMALL, max_size=6)
PLACE = st.integers(-4, 4)
OF_DEQUE = st.one_of(
    call("append", SMALL),
    call("appendleft", SMALL),
    call("extend", ITEMS),
    call("extendleft", ITEMS),
    call("pop"),
    call("popleft"),
    call("peek"),
    call("peekleft"),
    call("rotate", st.integers(-7, 7)),
    call("reverse"),
    call("remove", SMALL),
    call("count", SMALL),
    call("index", SMALL),
    call("__contains__", SMALL),
    call("__getitem__", PLACE),
    call("__setitem__", PLACE, SMALL),
    call("__delitem__", PLACE),
    call("__eq__", ITEMS),
    call("__lt__", ITEMS),
    call("__ge__", ITEMS),
    call("__ne__", ITEMS),
    call("clear"),
    call("maxlen", st.integers(0, 6)),
)


def of_deque(deque: Any, name: str, arguments: Any, _: Any) -> Any:
    try:
        if name == "maxlen":
            deque.maxlen = arguments[0]
            return deque.maxlen
        return getattr(deque, name)(*arguments)
    except (IndexError, ValueError) as error:
        return next(kind for kind in (IndexError, ValueError) if isinstance(error, kind)), str(error)


@MANY
@given(ITEMS, st.one_of(st.none(), st.integers(1, 5)), st.lists(OF_DEQUE, max_size=20))
def test_a_deque_does_what_that_of_diskcache_does(
    stores: tuple[Any, Any], items: Any, maxlen: int | None, program: Any
) -> None:
    mine, other = emptied(stores)
    one = ours.Deque.fromcache(mine, items, maxlen)
    two = theirs.Deque.fromcache(other, items, maxlen)
    for step in program:
        assert of_deque(one, *step) == of_deque(two, *step), step
        assert list(one) == list(two) and len(one) == len(two)
    assert list(reversed(one)) == list(reversed(two)) and one == list(two)


# --- indexes ----------------------------------------------------------------------------------------------------------

NAME = st.sampled_from(["a", "b", "c", -1, b"d"])
PAIRS = st.dictionaries(NAME, SMALL, max_size=4)
OF_INDEX = st.one_of(
    call("__setitem__", NAME, SMALL),
    call("__getitem__", NAME),
    call("del", NAME),
    call("get", NAME, SMALL),
    call("pop", NAME),
    call("pop", NAME, SMALL),
    call("popitem", st.booleans()),
    call("peekitem", st.booleans()),
    call("setdefault", NAME, SMALL),
    call("update", PAIRS),
    call("push", SMALL),
    call("pull"),
    call("__eq__", PAIRS),
    call("__ne__", PAIRS),
    call("clear"),
)


@MANY
@given(PAIRS, st.lists(OF_INDEX, max_size=20))
def test_an_index_does_what_that_of_diskcache_does(stores: tuple[Any, Any], pairs: Any, program: Any) -> None:
    mine, other = emptied(stores)
    one, two = ours.Index.fromcache(mine, pairs), theirs.Index.fromcache(other, pairs)
    for step in program:
        assert same(outcome(one, *step), outcome(two, *step)), step
        assert list(one.items()) == list(two.items()) and len(one) == len(two)
    assert list(reversed(one)) == list(reversed(two)) and one == dict(two)
    assert one == OrderedDict(two) and (len(one) < 2 or one != OrderedDict(reversed(list(two.items()))))
    assert list(one.keys()) == list(two.keys()) and list(one.values()) == list(two.values())
