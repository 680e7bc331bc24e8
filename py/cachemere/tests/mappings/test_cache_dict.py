"""A cache in memory before a mapping, and two mappings behind each other."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest
from cachemere.mappings import CacheDict, ChainedMapping, HugeMutableMapping


class Counting(dict[str, Any]):
    """A dict that counts how often it is read."""

    reads = 0

    def __getitem__(self, key: str) -> Any:
        self.reads += 1
        return super().__getitem__(key)


def test_what_was_read_is_not_read_again() -> None:
    source = Counting(a=1, b=2)
    d: CacheDict[str, int] = CacheDict(source)
    assert isinstance(d, MutableMapping) and isinstance(d, HugeMutableMapping)
    assert d["a"] == d["a"] == d.get("a") == 1 and source.reads == 1
    assert d.get("x") is None and d.get("x", 5) == 5 and "x" not in d
    with pytest.raises(KeyError):
        d["x"]
    assert dict(d) == {"a": 1, "b": 2} and len(d) == 2 and list(d.items()) == [("a", 1), ("b", 2)]
    assert list(d.keys()) == ["a", "b"] and list(d.values()) == [1, 2]


def test_what_is_written_is_read() -> None:
    source = {"a": 1}
    d = CacheDict(source)
    assert d["a"] == 1
    d["a"] = 2
    assert d["a"] == 2 == source["a"]
    d.update({"a": 3}, b=4)
    assert d["a"] == 3 and source == {"a": 3, "b": 4}
    assert d.pop("a") == 3 and "a" not in d and "a" not in source and d.setdefault("a", 5) == 5
    assert d.popitem() and len(d) == 1
    d.clear()
    assert source == {} and "b" not in d
    with pytest.raises(KeyError):
        del d["a"]


def test_what_is_put_into_memory_is_not_written() -> None:
    source = {"a": 1}
    d = CacheDict(source)
    assert d.update_cache({"b": 2}) is d and d.update_cache([("c", 3)])["c"] == 3
    assert d["b"] == 2 and "b" in d and source == {"a": 1} and len(d) == 1
    copy = d.cache()
    copy.update_cache({"e": 5})
    assert copy["b"] == 2 and "e" in copy and "e" not in d
    del d["b"]
    assert "b" not in d


def test_a_failed_write_is_not_remembered() -> None:
    class Refusing(dict[str, int]):
        def __setitem__(self, key: str, value: int) -> None:
            raise OSError("full")

        def __delitem__(self, key: str) -> None:
            raise OSError("full")

    d = CacheDict(Refusing(a=1))
    for work in (lambda: d.__setitem__("a", 2), lambda: d.__delitem__("a")):
        with pytest.raises(OSError, match="full"):
            work()
        assert d["a"] == 1


def test_chained_mappings() -> None:
    first, second = {"a": 1, "b": 2}, {"b": 20, "c": 30}
    both = ChainedMapping(first, second)
    assert isinstance(both, Mapping)
    assert dict(both) == {"a": 1, "b": 2, "c": 30} and len(both) == 3 == len(list(both))
    assert list(both.values()) == [1, 2, 30] and list(both.items()) == [("a", 1), ("b", 2), ("c", 30)]
    assert both.get("b") == 2 and both.get("x", 0) == 0 and "c" in both and "x" not in both and both == dict(both)
    with pytest.raises(KeyError):
        both["x"]
    first["c"] = 3
    assert both["c"] == 3 and len(both) == 3
