"""Subclasses of PersistDict, and copies of it: as those of a dict."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import PersistDict
from cachemere.errors import InvalidOptionError, MissingKeyError


class Counting(PersistDict[str, int]):
    def __missing__(self, key: str) -> int:
        return len(key)


class Filling(PersistDict[str, Any]):
    def __missing__(self, key: str) -> Any:
        self[key] = [key]
        return self[key]


class Named(PersistDict[str, Any]):
    __slots__ = ("place",)

    def __init__(self, path: Any, label: str) -> None:
        super().__init__(path)
        self.label = label
        self.__hidden = [label]

    def hidden(self) -> list[str]:
        return self.__hidden


class OwnState(PersistDict[str, Any]):
    kept: Any

    def __getstate__(self) -> Any:
        return {"kept": 1}

    def __setstate__(self, state: Any) -> None:
        self.kept = state["kept"] + 1


@pytest.fixture
def d(path: Path) -> Iterator[Any]:
    made: Any = PersistDict(path)
    made.update(a=[1], b=2)
    yield made
    made.close()


def test_missing_of_a_subclass_is_asked_by_the_brackets_only(path: Path) -> None:
    with Counting(path) as d:
        assert d["abc"] == 3
        assert "abc" not in d and d.get("abc") is None and d == {}
        with pytest.raises(MissingKeyError):
            d.pop("abc")
        assert "{abc}".format_map(d) == "3" and "%(ab)s" % d == "2"  # noqa: UP031
        d["abc"] = 7
        assert d["abc"] == 7


def test_missing_can_write(path: Path) -> None:
    with Filling(path) as d:
        assert d["x"] == ["x"]
        assert d == {"x": ["x"]}


def test_errors_of_missing_are_passed_on(path: Path) -> None:
    class Failing(PersistDict[str, int]):
        def __missing__(self, key: str) -> int:
            raise LookupError("mine")

    with Failing(path) as d, pytest.raises(LookupError, match="mine"):
        d["x"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_attributes_are_pickled(path: Path, protocol: int) -> None:
    with Named(path, "first") as d:
        d.place, d.other = "slot", {"x": 1}  # type: ignore[attr-defined]
        d["a"] = 1
        again: Any = pickle.loads(pickle.dumps(d, protocol))
        assert type(again) is Named and again == {"a": 1}
        assert (again.label, again.hidden(), again.place, again.other) == ("first", ["first"], "slot", {"x": 1})
        again.close()


def test_attributes_of_users_are_pickled_and_nothing_of_its_own(d: Any) -> None:
    assert vars(d) == {}
    d.note = "mine"
    again = pickle.loads(pickle.dumps(d))
    assert again.note == "mine" and vars(again) == {"note": "mine"}
    again.close()


def test_a_subclass_may_have_its_own_state(path: Path) -> None:
    with OwnState(path) as d:
        again = pickle.loads(pickle.dumps(d))
        assert again.kept == 2
        again.close()


def test_copies_are_plain_dicts(path: Path) -> None:
    with Named(path, "x") as d:
        d["a"] = [1]
        for copied in (copy.copy(d), copy.deepcopy(d), d.copy(), d | {}, {} | d, copy.deepcopy([d])[0]):
            assert type(copied) is dict and copied == {"a": [1]}


def test_asdict_and_astuple_of_a_field(d: Any) -> None:
    @dataclasses.dataclass
    class Holder:
        entries: Any
        name: str = "x"

    made = dataclasses.asdict(Holder(d))
    assert made == {"entries": {"a": [1], "b": 2}, "name": "x"} and type(made["entries"]) is dict
    assert dataclasses.astuple(Holder(d)) == ({"a": [1], "b": 2}, "x")
    assert dataclasses.asdict(Holder([d])) == {"entries": [{"a": [1], "b": 2}], "name": "x"}
    replaced: Any = dataclasses.replace(Holder(d), name="y").entries
    assert replaced is d
    attrs = pytest.importorskip("attrs")
    assert attrs.asdict(attrs.make_class("Held", ["entries"])(d)) == {"entries": {"a": [1], "b": 2}}


def test_only_a_generator_makes_a_plain_dict() -> None:
    made: Any
    for wrong in ({"a": 1}, [("a", 1)], 5, None):
        with pytest.raises(InvalidOptionError, match="path must be"):
            made = PersistDict(wrong)  # type: ignore[arg-type]
    made = PersistDict(pair for pair in [("a", 1)])  # type: ignore[arg-type]
    assert type(made) is dict and made == {"a": 1}
