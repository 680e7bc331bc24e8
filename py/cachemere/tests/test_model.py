"""PersistDict against a plain dict: any sequence of operations, by two handles and a second process, with reopens."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
from cachemere import PersistDict
from how_long import TORTURE
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from other_process import OtherProcess

KEYS: list[Any] = ["a", "b", b"a", 1, 1.0, True, 0, ("a", 1), ("a", 1.0), None, "k" * 600]
keys = st.sampled_from(KEYS)
values: Any = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just("v" * 3000)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=5,
)
pairs = st.lists(st.tuples(keys, values), max_size=4)
actors = st.sampled_from(["first", "second", "other process"])


class AgainstADict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "store"
        self.model: dict[Any, Any] = {}
        self.handles: dict[str, Any] = {
            "first": PersistDict(self.path),
            "second": PersistDict(self.path, caching=False),
        }
        self.other = OtherProcess(self.path)

    def does_as_a_dict(self, actor: str, name: str, *arguments: Any) -> None:
        expected = self.outcome(lambda: getattr(self.model, name)(*arguments))
        if actor == "other process":
            found = self.outcome(lambda: self.other.call(name, *arguments))
        else:
            found = self.outcome(lambda: getattr(self.handles[actor], name)(*arguments))
        if name in ("update", "clear", "__ior__"):
            expected, found = expected[0], found[0]
        assert found == expected, (actor, name, arguments)

    @staticmethod
    def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
        try:
            return "returned", call()
        except KeyError:
            return "raised", KeyError

    @rule(actor=actors, key=keys, value=values)
    def set(self, actor: str, key: Any, value: Any) -> None:
        self.does_as_a_dict(actor, "__setitem__", key, value)

    @rule(actor=actors, key=keys)
    def delete(self, actor: str, key: Any) -> None:
        self.does_as_a_dict(actor, "__delitem__", key)

    @rule(actor=actors, key=keys)
    def get(self, actor: str, key: Any) -> None:
        self.does_as_a_dict(actor, "__getitem__", key)
        self.does_as_a_dict(actor, "get", key, "default")
        self.does_as_a_dict(actor, "__contains__", key)

    @rule(actor=actors, key=keys, value=values)
    def setdefault(self, actor: str, key: Any, value: Any) -> None:
        self.does_as_a_dict(actor, "setdefault", key, value)

    @rule(actor=actors, key=keys, default=st.lists(values, max_size=1))
    def pop(self, actor: str, key: Any, default: Any) -> None:
        self.does_as_a_dict(actor, "pop", key, *default)

    @rule(actor=actors)
    def popitem(self, actor: str) -> None:
        self.does_as_a_dict(actor, "popitem")

    @rule(actor=actors, given=pairs)
    def update(self, actor: str, given: Any) -> None:
        self.does_as_a_dict(actor, "update", given)

    @rule(actor=actors, given=pairs)
    def merge(self, actor: str, given: Any) -> None:
        self.does_as_a_dict(actor, "__ior__", dict(given))

    @rule(actor=actors)
    def clear(self, actor: str) -> None:
        self.does_as_a_dict(actor, "clear")

    @rule(given=pairs)
    def compare(self, given: Any) -> None:
        for d in self.handles.values():
            assert (d == dict(given)) == (self.model == dict(given))
            assert d | dict(given) == self.model | dict(given)
            assert dict(given) | d == dict(given) | self.model
            assert d.keys() & dict(given) == self.model.keys() & dict(given)

    @rule(actor=actors)
    def reopen(self, actor: str) -> None:
        if actor == "other process":
            self.other.call("reopen")
        else:
            self.handles[actor].close()
            self.handles[actor] = PersistDict(self.path, caching=actor == "first")

    @rule()
    def sweep(self) -> None:
        self.handles["first"].flush()
        assert self.handles["first"].sweep() == 0

    @invariant()
    def all_see_the_same_in_the_same_order(self) -> None:
        expected = list(self.model.items())
        for d in self.handles.values():
            assert list(d.items()) == expected
            assert len(d) == len(expected) and bool(d) == bool(expected)
            assert list(reversed(d)) == list(reversed(self.model))
            assert d == self.model
            assert {key: d[key] for key in KEYS if key in d} == {key: self.model[key] for key in self.model}
        assert self.other.call("items") == expected

    def teardown(self) -> None:
        self.other.stop()
        for d in self.handles.values():
            assert d.stats().evictions == 0
            d.close()
        with PersistDict[Any, Any](self.path) as d:
            assert list(d.items()) == list(self.model.items())
            assert d.verify().is_clean
        shutil.rmtree(self.directory)


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = hypothesis.settings(
    hypothesis.settings.get_profile("short"),
    max_examples=200 if TORTURE else 12,
    stateful_step_count=60 if TORTURE else 25,
)
