"""Whatever is done, it is what a sorted dict would be."""

from __future__ import annotations

import tempfile
from typing import Any

from cachemere.rocksdb import RocksDBDict, RocksDBOptions
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from test_ordered_keys import rank

KEYS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(["", "a", "ab", "b", b"a", b"", 0.5, -1.5, None]),
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2)),
)
VALUES = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2), st.none())


class LikeASortedDict(RuleBasedStateMachine):
    @initialize(level=st.booleans())
    def begin(self, level: bool) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.options = RocksDBOptions(create_if_missing=True, write_buffer_size=65536 if level else None)
        self.model: dict[Any, Any] = {}
        self.open()

    def open(self) -> None:
        self.d: RocksDBDict[Any, Any] = RocksDBDict(self.home.name + "/db", self.options)

    def teardown(self) -> None:
        self.d.close()
        self.home.cleanup()

    @property
    def sorted(self) -> list[tuple[Any, Any]]:
        return sorted(self.model.items(), key=lambda item: rank(item[0]))

    @rule(key=KEYS, value=VALUES)
    def set(self, key: Any, value: Any) -> None:
        self.d[key] = self.model[key] = value

    @rule(pairs=st.lists(st.tuples(KEYS, VALUES), max_size=5))
    def update(self, pairs: list[tuple[Any, Any]]) -> None:
        self.d.update(pairs)
        self.model.update(pairs)

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        try:
            del self.d[key]
        except KeyError:
            assert key not in self.model
        else:
            del self.model[key]

    @rule(key=KEYS, default=VALUES)
    def pop(self, key: Any, default: Any) -> None:
        assert self.d.pop(key, default) == self.model.pop(key, default)

    @rule(key=KEYS, default=VALUES)
    def setdefault(self, key: Any, default: Any) -> None:
        assert self.d.setdefault(key, default) == self.model.setdefault(key, default)

    @rule()
    def popitem(self) -> None:
        try:
            taken = self.d.popitem()
        except KeyError:
            assert not self.model
        else:
            assert taken == self.sorted[-1]
            del self.model[taken[0]]

    @rule(key=KEYS)
    def get(self, key: Any) -> None:
        assert self.d.get(key, "none") == self.model.get(key, "none") and (key in self.d) == (key in self.model)

    @rule(keys=st.lists(KEYS, max_size=4))
    def get_many(self, keys: list[Any]) -> None:
        assert self.d.get_many(keys) == {key: self.model[key] for key in keys if key in self.model}

    @rule(start=KEYS, stop=KEYS, reverse=st.booleans())
    def between(self, start: Any, stop: Any, reverse: bool) -> None:
        expected = [pair for pair in self.sorted if rank(start) <= rank(pair[0]) < rank(stop)]
        found = self.d.items(start=start, stop=stop, reverse=reverse)
        assert list(found) == (expected[::-1] if reverse else expected) and len(found) == len(expected)

    @rule(prefix=st.sampled_from(["", "a", b"", b"a", (), ("a",), ("b", 1)]))
    def prefix(self, prefix: Any) -> None:
        kind = type(prefix)
        expected = [key for key, _ in self.sorted if type(key) is kind and key[: len(prefix)] == prefix]
        assert list(self.d.seek_keys(prefix)) == expected

    @rule()
    def clear(self) -> None:
        self.d.clear()
        self.model.clear()

    @rule(how=st.sampled_from(["flush", "compact", "sync"]))
    def settle(self, how: str) -> None:
        getattr(self.d, how)()

    @rule()
    def reopen(self) -> None:
        self.d.close()
        self.open()

    @invariant()
    def same(self) -> None:
        if hasattr(self, "d"):
            assert list(self.d.items()) == self.sorted and len(self.d) == len(self.model)
            assert list(reversed(self.d)) == [key for key, _ in reversed(self.sorted)]


TestLikeASortedDict = LikeASortedDict.TestCase
TestLikeASortedDict.settings = settings(settings.default, max_examples=15, stateful_step_count=30)
