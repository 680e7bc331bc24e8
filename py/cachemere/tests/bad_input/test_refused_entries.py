"""Keys and values that cannot be stored: refused by each way to write, and what was there before stays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, CacheError, PersistDict
from cachemere.errors import KeyFormError, StoreFullError, UnsafeValueError, ValueFormError

SOUND = {"before": [1], "k": {"a": 1}}


@pytest.fixture
def cache(path: Path) -> Iterator[Cache]:
    with Cache(path) as made:
        made.set_many(SOUND)
        yield made
        assert list(made.items()) == list(SOUND.items()) and made.verify().is_clean


@pytest.fixture
def d(path: Path) -> Iterator[PersistDict[Any, Any]]:
    with PersistDict[Any, Any](path) as made:
        made.update(SOUND)
        yield made
        assert list(made.items()) == list(SOUND.items()) and made.verify().is_clean


UNHASHABLE: list[Any] = [[], {}, set(), bytearray(b"k"), (1, [2]), {"k": 1}.items()]

KEYS_OF_CACHE: dict[str, Callable[[Any, Any], Any]] = {
    "item": lambda it, key: it[key],
    "get": lambda it, key: it.get(key),
    "set": lambda it, key: it.set(key, 1),
    "setitem": lambda it, key: it.__setitem__(key, 1),
    "add": lambda it, key: it.add(key, 1),
    "delete": lambda it, key: it.delete(key),
    "delitem": lambda it, key: it.__delitem__(key),
    "pop": lambda it, key: it.pop(key),
    "incr": lambda it, key: it.incr(key),
    "touch": lambda it, key: it.touch(key),
    "info": lambda it, key: it.info(key),
    "contains": lambda it, key: key in it,
    "get_or_set": lambda it, key: it.get_or_set(key, never),
    "get_many": lambda it, key: it.get_many(["k", key]),
    "set_many": lambda it, key: it.set_many([("k", 1), (key, 1)]),
    "delete_many": lambda it, key: it.delete_many(["k", key]),
}
KEYS_OF_DICT: dict[str, Callable[[Any, Any], Any]] = {
    "item": lambda it, key: it[key],
    "get": lambda it, key: it.get(key),
    "set": lambda it, key: it.set(key, 1),
    "setitem": lambda it, key: it.__setitem__(key, 1),
    "delitem": lambda it, key: it.__delitem__(key),
    "pop": lambda it, key: it.pop(key),
    "pop with default": lambda it, key: it.pop(key, None),
    "setdefault": lambda it, key: it.setdefault(key, 1),
    "info": lambda it, key: it.info(key),
    "contains": lambda it, key: key in it,
    "contains in keys": lambda it, key: key in it.keys(),
    "update": lambda it, key: it.update([("k", 1), (key, 1)]),
    "call": lambda it, key: it([("k", 1), (key, 1)]),
    "or": lambda it, key: it.__ior__([("k", 1), (key, 1)]),
}


def never() -> Any:
    raise AssertionError("what is wrong is told before anything is computed")


@pytest.mark.parametrize("use", KEYS_OF_CACHE.values(), ids=KEYS_OF_CACHE)
def test_a_key_that_cannot_be_one_is_refused(cache: Cache, use: Callable[[Any, Any], Any]) -> None:
    for key in (*UNHASHABLE, object(), lambda: None, (1, object())):
        with pytest.raises(KeyFormError) as caught:
            use(cache, key)
        assert isinstance(caught.value, CacheError) and isinstance(caught.value, TypeError)


@pytest.mark.parametrize("use", KEYS_OF_DICT.values(), ids=KEYS_OF_DICT)
def test_a_dict_refuses_it_too(d: PersistDict[Any, Any], use: Callable[[Any, Any], Any]) -> None:
    for key in (*UNHASHABLE, object(), (1, object())):
        with pytest.raises(KeyFormError) as caught:
            use(d, key)
        assert isinstance(caught.value, CacheError) and isinstance(caught.value, TypeError)


class Unfit:
    """Has no safe form, and cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("mine")


VALUES_OF_CACHE: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda it, value: it.set("k", value),
    "set with all": lambda it, value: it.set("k", value, ttl=5, tags=["t"]),
    "setitem": lambda it, value: it.__setitem__("k", value),
    "add": lambda it, value: it.add("absent", value),
    "get_or_set": lambda it, value: it.get_or_set("absent", lambda: value, strict=True),
    "set_many": lambda it, value: it.set_many({"before": 2, "k": value, "absent": 3}),
    "memoize": lambda it, value: it.memoize(strict=True)(computed)(value),
}
VALUES_OF_DICT: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda it, value: it.set("k", value, 5),
    "setitem": lambda it, value: it.__setitem__("k", value),
    "setdefault": lambda it, value: it.setdefault("absent", value),
    "update": lambda it, value: it.update({"before": 2, "k": value, "absent": 3}),
    "update by name": lambda it, value: it.update(before=2, k=value),
    "or": lambda it, value: it.__ior__({"before": 2, "k": value}),
    "call": lambda it, value: it(before=2, k=value),
}


def computed(value: Any) -> Any:
    return value


@pytest.mark.parametrize("write", [pytest.param(use, id=name) for name, use in VALUES_OF_CACHE.items()])
def test_a_value_without_a_safe_form_is_refused(cache: Cache, write: Callable[[Any, Any], Any]) -> None:
    for value in (object(), Unfit(), [Unfit()], {"a": (Unfit(),)}, lambda: None, sys.stdout, (n for n in ())):
        with pytest.raises((UnsafeValueError, KeyFormError)) as caught:
            write(cache, value)
        assert isinstance(caught.value, CacheError) and isinstance(caught.value, TypeError)


@pytest.mark.parametrize("write", VALUES_OF_DICT.values(), ids=VALUES_OF_DICT)
def test_a_value_that_cannot_even_be_pickled_is_refused(
    d: PersistDict[Any, Any], write: Callable[[Any, Any], Any]
) -> None:
    for value in (Unfit(), [Unfit()], {"a": (Unfit(),)}, lambda: None, sys.stdout, (n for n in ())):
        with pytest.raises(ValueFormError) as caught:
            write(d, value)
        assert isinstance(caught.value, CacheError) and isinstance(caught.value, TypeError)


def test_without_pickle_a_dict_takes_what_has_a_safe_form(path: Path) -> None:
    with PersistDict[Any, Any](path, allow_pickle=False) as d:
        d["k"] = 1
        for write in VALUES_OF_DICT.values():
            with pytest.raises(UnsafeValueError, match="allow_pickle"):
                write(d, object())
        assert d == {"k": 1}


# --- no room ----------------------------------------------------------------------------------------------------------

#: More than a quarter of a store of 4 MiB.
LARGE = b"x" * 1_100_000


@pytest.mark.parametrize(
    ("face", "write"),
    [
        pytest.param(face, write, id=f"{face.__name__} {name}")
        for face, writes in ((Cache, VALUES_OF_CACHE), (PersistDict, VALUES_OF_DICT))
        for name, write in writes.items()
    ],
)
def test_an_entry_that_the_limit_leaves_no_room_for_is_refused(
    path: Path, face: Any, write: Callable[[Any, Any], Any]
) -> None:
    with face(path, max_bytes=4 << 20) as it:
        for key, value in SOUND.items():
            it[key] = value
        for _ in range(2):
            with pytest.raises(StoreFullError, match="4194304 bytes") as caught:
                write(it, LARGE)
            assert isinstance(caught.value, CacheError)
        assert list(it.items()) == list(SOUND.items()), "nothing was evicted for it"
        it["more"] = 1
        assert it["more"] == 1 and it.verify().is_clean


def test_what_fits_is_made_room_for(path: Path) -> None:
    with Cache(path, max_bytes=4 << 20) as cache:
        for number in range(200):
            cache[number] = LARGE[:100_000]
        assert cache[199] == LARGE[:100_000] and 5 < len(cache) < 200
        assert cache.stats().evictions == 200 - len(cache) and cache.stats().file_bytes <= 1.1 * (4 << 20)


def test_what_was_computed_and_cannot_be_stored_is_in_the_error(path: Path) -> None:
    with Cache(path, max_bytes=4 << 20) as cache:
        with pytest.raises(StoreFullError) as caught:
            cache.memoize(strict=True)(computed)(LARGE)
        assert caught.value.result is LARGE
        with pytest.raises(StoreFullError) as caught:
            cache.get_or_set("k", lambda: LARGE, strict=True)
        assert caught.value.result is LARGE
    with Cache(path) as cache, pytest.raises(UnsafeValueError) as unsafe:
        cache.get_or_set("k", Unfit, strict=True)
    assert isinstance(unsafe.value.result, Unfit)
