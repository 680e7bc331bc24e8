"""PersistDict is a dict: every method sees the entries, in the order of insertion."""

from __future__ import annotations

import collections
import copy
import pickle
import string
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachemere import PersistDict
from cachemere.errors import CacheError, InvalidOptionError, MissingKeyError, ReadOnlyError

ENTRIES: dict[Any, Any] = {"b": 1, "a": [2, {"deep": (3,)}], ("t", 1): None, 4: "four"}


@pytest.fixture
def d(path: Path) -> Any:
    made: Any = PersistDict(path)
    made.update(ENTRIES)
    yield made
    made.close()


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    made: Any = PersistDict(tmp_path / "empty")
    yield made
    made.close()


READERS: list[Callable[[Any], Any]] = [
    list,
    dict,
    len,
    bool,
    repr,
    str,
    lambda d: {**d},
    lambda d: [*d],
    lambda d: list(reversed(d)),
    lambda d: d.get("a"),
    lambda d: d.get("absent"),
    lambda d: d.get("absent", 5),
    lambda d: list(d.keys()),
    lambda d: list(d.values()),
    lambda d: list(d.items()),
    lambda d: list(reversed(d.keys())),
    lambda d: list(reversed(d.values())),
    lambda d: list(reversed(d.items())),
    lambda d: d.copy(),
    lambda d: copy.copy(d),
    lambda d: copy.deepcopy(d),
    lambda d: d | {"b": 2, "z": 26},
    lambda d: {"b": 2, "z": 26} | d,
    lambda d: d == ENTRIES,
    lambda d: ENTRIES == d,
    lambda d: d != ENTRIES,
    lambda d: ENTRIES != d,
    lambda d: d == {},
    lambda d: d != {},
    lambda d: {} != d,
    lambda d: d == 5,
    lambda d: d != 5,
    lambda d: "a" in d,
    lambda d: "absent" in d,
    lambda d: d["a"],
    lambda d: d.setdefault("a", 5),
    lambda d: max(d.keys(), key=str),
    lambda d: {}.__class__(d, extra=1),
    lambda d: collections.OrderedDict(d),
    lambda d: collections.ChainMap({}, d)["b"],
    lambda d: dict(types.MappingProxyType(d)),
    lambda d: dict([("z", 0)]) | {**d, "y": 1},
    lambda d: string.Template("$a $b").substitute(d),
    lambda d: "%(a)s and %(b)s" % d,  # noqa: UP031
    lambda d: "{a} and {b}".format_map(d),
    lambda d: d.keys() & {"a", "z"},
    lambda d: d.keys() | {"z"},
    lambda d: d.keys() - {"a"},
    lambda d: d.keys() ^ {"a", "z"},
    lambda d: d.keys() == ENTRIES.keys(),
    lambda d: d.keys() <= {*ENTRIES, "z"},
    lambda d: d.keys().isdisjoint({"z"}),
    lambda d: ("b", 1) in d.items(),
    lambda d: ("b", 2) in d.items(),
    lambda d: 1 in d.values(),
    lambda d: 5 in d.values(),
    lambda d: len(d.items()),
    lambda d: repr(d.keys()),
    lambda d: repr(d.values()),
    lambda d: repr(d.items()),
    lambda d: {}.update(d),
]


@pytest.mark.parametrize("read", READERS)
def test_reading_gives_what_a_dict_gives(d: Any, read: Callable[[Any], Any]) -> None:
    expected = read(dict(ENTRIES))
    found = read(d)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found.items()) == list(expected.items())


def _updated(argument: Any) -> Callable[[Any], Any]:
    return lambda d: d.update(argument)


WRITERS: list[Callable[[Any], Any]] = [
    lambda d: d.__setitem__("new", 1),
    lambda d: d.__setitem__("b", 2),
    lambda d: d.__delitem__("a"),
    lambda d: d.update({"z": 1, "b": 3}),
    lambda d: d.update([("z", 1), ("b", 3)], y=2),
    lambda d: d.update(z=1),
    lambda d: d.update(),
    lambda d: d.update(iter([("z", 1)])),
    lambda d: d.setdefault("z", [1]),
    lambda d: d.setdefault("z"),
    lambda d: d.setdefault("b", [1]),
    lambda d: d.pop("a"),
    lambda d: d.pop("absent", None),
    lambda d: d.pop("absent", 7),
    lambda d: d.popitem(),
    lambda d: [d.popitem() for _ in range(4)],
    lambda d: d.clear(),
    lambda d: d.__ior__({"z": 1}) and None,
    lambda d: d.__ior__([("z", 1)]) and None,
    lambda d: (d.pop("b"), d.__setitem__("b", 9)),
]


@pytest.mark.parametrize("write", WRITERS)
def test_writing_does_what_a_dict_does(d: Any, write: Callable[[Any], Any]) -> None:
    model = dict(ENTRIES)
    assert write(d) == write(model)
    assert list(d.items()) == list(model.items())


FAILING: list[Callable[[Any], Any]] = [
    lambda d: d["absent"],
    lambda d: d.__delitem__("absent"),
    lambda d: d.pop("absent"),
    lambda d: [d.popitem() for _ in range(5)],
    lambda d: d[[]],
    lambda d: d.get([]),
    lambda d: [] in d,
    lambda d: d.__setitem__({}, 1),
    lambda d: d.__setitem__(([],), 1),
    lambda d: d.update(1),
    lambda d: d.update([1]),
    lambda d: d.update([(1, 2, 3)]),
    lambda d: d.update({}, {}),
    lambda d: d | 5,
    lambda d: 5 | d,
    lambda d: d | [("a", 1)],
    lambda d: hash(d),
]


@pytest.mark.parametrize("fail", FAILING)
def test_failing_raises_what_a_dict_raises(d: Any, fail: Callable[[Any], Any]) -> None:
    model = dict(ENTRIES)
    with pytest.raises(Exception) as expected:  # noqa: B017
        fail(model)
    with pytest.raises(expected.type):
        fail(d)
    assert list(d.items()) == list(model.items())


def test_a_missing_key_is_the_argument_of_the_error(d: Any) -> None:
    for fail in (lambda: d["absent"], lambda: d.pop("absent"), lambda: d.__delitem__("absent")):
        with pytest.raises(MissingKeyError) as caught:
            fail()
        assert caught.value.args == ("absent",)
        assert isinstance(caught.value, KeyError) and isinstance(caught.value, CacheError)


def test_it_can_be_given_as_keyword_arguments(empty: Any) -> None:
    def f(**options: Any) -> dict[str, Any]:
        return options

    empty.update(a=1, b=2)
    assert f(**empty) == {"a": 1, "b": 2}
    assert f(c=3, **empty) == {"a": 1, "b": 2, "c": 3}


def test_it_can_be_matched(d: Any) -> None:
    match d:
        case {"a": [first, *_], "b": 1, **rest}:
            assert first == 2
            assert rest == {("t", 1): None, 4: "four"}
        case _:
            raise AssertionError("no match")
    match d:
        case {"absent": _}:
            raise AssertionError("matched a key that is not there")


def test_views_are_live(empty: Any) -> None:
    keys, values, items = empty.keys(), empty.values(), empty.items()
    empty["a"] = 1
    assert (list(keys), list(values), list(items)) == (["a"], [1], [("a", 1)])
    assert keys.mapping == {"a": 1}


def test_an_update_that_fails_writes_nothing(d: Any) -> None:
    def pairs() -> Any:
        yield "x", 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        d.update(pairs())
    with pytest.raises(TypeError):
        d.update({"x": 1, "y": (item for item in ())})
    with pytest.raises(TypeError):
        d.update([("x", 1), ([], 2)])
    assert d == ENTRIES


def test_two_of_them_are_compared_and_merged(d: Any, empty: Any) -> None:
    assert d != empty
    assert not d == empty
    empty.update(d)
    assert d == empty
    empty["b"] = 2
    assert d != empty
    assert (d | empty) == {**ENTRIES, "b": 2}
    empty |= d
    assert isinstance(empty, PersistDict) and empty == ENTRIES


def test_changing_what_was_stored_or_fetched_does_not_change_the_store(empty: Any) -> None:
    for store in (lambda value: empty.__setitem__("k", value), lambda value: empty.update(k=value)):
        value: Any = {"list": [1], "nested": ({"set": {1}}, bytearray(b"x"))}
        store(value)
        before = copy.deepcopy(value)
        value["list"].append(2)
        for fetch in (
            lambda: empty["k"],
            lambda: empty["k"],
            lambda: empty.get("k"),
            lambda: empty.setdefault("k"),
            lambda: next(iter(empty.values())),
            lambda: empty.to_dict()["k"],
            lambda: empty.copy()["k"],
        ):
            fetched = fetch()
            assert fetched == before
            fetched["list"].append(3)
            fetched["nested"][0]["set"].add(2)
            fetched["nested"][1].extend(b"y")
            fetched["new"] = 1
        assert empty["k"] == before


def test_a_default_that_was_set_is_not_shared(empty: Any) -> None:
    default: list[int] = []
    returned = empty.setdefault("k", default)
    returned.append(1)
    assert empty["k"] == []


def test_copying_gives_a_plain_dict_that_is_not_the_store(d: Any) -> None:
    for copied in (d.copy(), copy.copy(d), copy.deepcopy(d), d.to_dict(), d | {}, {} | d):
        assert type(copied) is dict
        copied["new"] = 1
    assert "new" not in d


def test_pickling_gives_the_store_and_not_a_copy(d: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(d, protocol))
        assert type(again) is PersistDict
        again["new"] = protocol
        assert d["new"] == protocol
        again.close()


def test_a_closed_one_prints(path: Path) -> None:
    closed: Any = PersistDict(path)
    keys = closed.keys()
    closed.close()
    assert repr(closed) == f"<closed PersistDict {str(path)!r}>" == str(closed) == f"{closed}"
    assert repr(keys) == f"dict_keys({closed!r})"


def test_repr_of_a_large_store_is_cut(empty: Any) -> None:
    empty.update((number, number) for number in range(5000))
    shown = repr(empty)
    assert shown.startswith("{0: 0, 1: 1, ")
    assert shown.endswith("... 5000 in all}")
    assert len(shown) < 20_000
    assert len(repr(empty.keys())) < 20_000


def test_a_store_that_contains_itself_prints(empty: Any) -> None:
    empty["self"] = empty
    assert repr(empty) == "{'self': {...}}"
    assert type(empty["self"]) is PersistDict


def test_nothing_is_evicted_unless_a_limit_is_given(empty: Any) -> None:
    value = "x" * 10_000
    empty.update((number, value) for number in range(5_000))
    for number in range(5_000, 5_100):
        empty[number] = value
    assert len(empty) == 5_100
    assert empty.stats().evictions == 0
    assert all(empty[number] == value for number in range(0, 5_100, 7))


def test_a_read_only_one_is_a_dict_that_refuses_writes(path: Path) -> None:
    with PersistDict(path) as writer:
        writer.update(ENTRIES)
    with PersistDict(path, read_only=True) as reader:
        assert reader == ENTRIES and {**reader} == ENTRIES and reader.get("absent") is None
        for write in (
            lambda d: d.__setitem__("a", 1),
            lambda d: d.__delitem__("a"),
            lambda d: d.update(z=1),
            lambda d: d.setdefault("z", 1),
            lambda d: d.pop("a"),
            lambda d: d.clear(),
            lambda d: d(z=1),
        ):
            with pytest.raises(CacheError):
                write(reader)
        assert reader.setdefault("b", 5) == 1 and reader == ENTRIES
        again = pickle.loads(pickle.dumps(reader))
        with pytest.raises(ReadOnlyError):
            again["a"] = 1
        again.close()
    with pytest.raises(InvalidOptionError, match="read_only"):
        PersistDict(path, read_only=True, writeback=True)
