"""RocksDBDict is a mutable mapping in all its ways, in the order of its keys."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import MissingKeyError
from cachemere.rocksdb import HugeMutableMapping, RocksDBDict


@pytest.fixture
def d(path: Path) -> RocksDBDict[Any, Any]:
    return RocksDBDict(path)


def test_it_is_a_mutable_mapping(d: RocksDBDict[Any, Any]) -> None:
    assert isinstance(d, MutableMapping) and isinstance(d, HugeMutableMapping)
    assert not hasattr(d, "__hash__") or d.__hash__ is None
    with pytest.raises(TypeError):
        hash(d)


def test_single_entries(d: RocksDBDict[Any, Any]) -> None:
    d["a"] = 1
    assert d["a"] == 1 and "a" in d and "b" not in d and d.get("a") == 1
    assert d.get("b") is None and d.get("b", 7) == 7
    d["a"] = [2, {"x": None}]
    assert d["a"] == [2, {"x": None}] and len(d) == 1
    del d["a"]
    assert "a" not in d and len(d) == 0


def test_missing_keys_are_key_errors_that_name_them(d: RocksDBDict[Any, Any]) -> None:
    for work in (lambda: d["x"], lambda: d.__delitem__("x"), lambda: d.pop("x")):
        with pytest.raises(KeyError) as caught:
            work()
        assert caught.value.args == ("x",) and isinstance(caught.value, MissingKeyError)
    with pytest.raises(KeyError):
        d.popitem()


def test_a_value_is_a_copy(d: RocksDBDict[Any, Any]) -> None:
    given = [1]
    d["a"] = given
    given.append(2)
    d["a"].append(3)
    assert d["a"] == [1]


def test_update_takes_what_dict_takes(d: RocksDBDict[Any, Any]) -> None:
    class Keyed:
        def keys(self) -> list[str]:
            return ["k"]

        def __getitem__(self, key: str) -> str:
            return key * 2

    d.update({"a": 1}, b=2)
    d.update([("c", 3), ["d", 4], "ef"])  # type: ignore[list-item]
    d.update(Keyed())
    d.update((key, key) for key in "xy")
    d.update()
    assert dict(d) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": "f", "k": "kk", "x": "x", "y": "y"}
    with pytest.raises(ValueError, match="element #1 has 3 items"):
        d.update([("z", 1), (1, 2, 3)])
    assert "z" not in d


def test_an_update_that_fails_writes_nothing(d: RocksDBDict[Any, Any]) -> None:
    def pairs() -> Any:
        yield "a", 1
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        d.update(pairs())
    with pytest.raises(TypeError):
        d.update([("a", 1), ("b", object())])
    with pytest.raises(TypeError):
        d.update([("a", 1), ([], 2)])
    assert len(d) == 0


def test_the_last_of_a_batch_counts(d: RocksDBDict[Any, Any]) -> None:
    d.update([("a", 1), ("a", 2)])
    assert d["a"] == 2 and len(d) == 1


def test_pop_popitem_and_setdefault(d: RocksDBDict[Any, Any]) -> None:
    d.update(a=1, b=2, c=None)
    assert d.pop("a") == 1 and d.pop("a", "gone") == "gone" and d.pop("c", 1) is None
    assert d.setdefault("b", 9) == 2 and d.setdefault("n") is None and d.setdefault("m", [1]) == [1]
    assert d["m"] == [1] and d["n"] is None
    assert d.popitem() == ("n", None) and list(d) == ["b", "m"]


def test_clear_removes_all(d: RocksDBDict[Any, Any]) -> None:
    d.clear()
    d.update((number, number) for number in range(1000))
    d["a"] = 1
    d.clear()
    assert len(d) == 0 and list(d) == [] and d.estimated_len() <= 1001
    d["b"] = 2
    assert dict(d) == {"b": 2}


def test_views_are_live_and_complete(d: RocksDBDict[Any, Any]) -> None:
    keys, values, items = d.keys(), d.values(), d.items()
    assert isinstance(keys, KeysView) and isinstance(values, ValuesView) and isinstance(items, ItemsView)
    d.update(a=1, b=2, c=2)
    assert list(keys) == ["a", "b", "c"] and list(values) == [1, 2, 2] and list(items) == [("a", 1), ("b", 2), ("c", 2)]
    assert len(keys) == len(values) == len(items) == 3
    assert "a" in keys and "x" not in keys and 2 in values and 3 not in values
    assert ("a", 1) in items and ("a", 2) not in items and ("x", 1) not in items and "a" not in items
    assert list(reversed(keys)) == ["c", "b", "a"] and list(reversed(items))[0] == ("c", 2)
    assert list(reversed(values)) == [2, 2, 1]
    assert keys & {"a", "x"} == {"a"} and keys | {"x"} == {"a", "b", "c", "x"} and keys == {"a", "b", "c"}
    assert keys.mapping is d


def test_equality(d: RocksDBDict[Any, Any], tmp_path: Path) -> None:
    d.update(a=1, b=[2])
    assert d == {"a": 1, "b": [2]} and {"a": 1, "b": [2]} == d
    assert d != {"a": 1} and d != {"a": 1, "b": 2} and d != {"a": 1, "b": [2], "c": 3} and d != 5 and d != [("a", 1)]
    other: RocksDBDict[Any, Any] = RocksDBDict(tmp_path / "other")
    other.update(d)
    assert d == other
    del other["a"]
    assert d != other


def test_what_other_code_does_with_mappings(d: RocksDBDict[Any, Any]) -> None:
    d.update(a=1, b=2)
    assert dict(d) == {**d} == {"a": 1, "b": 2} and sorted(d) == ["a", "b"] and [*reversed(d)] == ["b", "a"]
    assert (lambda **given: given)(**d) == {"a": 1, "b": 2}
    match d:
        case {"a": 1, **rest}:
            assert rest == {"b": 2}
        case _:
            pytest.fail("it did not match")
    assert bool(d)
    d.clear()
    assert not d


def test_get_many(d: RocksDBDict[Any, Any]) -> None:
    d.update((number, str(number)) for number in range(100))
    assert d.get_many([5, 200, 7, 5]) == {5: "5", 7: "7"} and d.get_many([]) == {}
    d.flush()
    assert d.get_many(range(100)) == {number: str(number) for number in range(100)}


def test_lengths(d: RocksDBDict[Any, Any]) -> None:
    d.update((number, None) for number in range(5000))
    assert len(d) == 5000 == d.estimated_len()
    for number in range(0, 5000, 2):
        del d[number]
    assert len(d) == 2500
    d.compact()
    assert len(d) == 2500 == d.estimated_len()


def test_properties(d: RocksDBDict[Any, Any]) -> None:
    d["a"] = 1
    assert d.get_int_property("rocksdb.estimate-num-keys") == 1
    assert d.get_int_property("rocksdb.no-such-thing") is None and d.get_property("no-such-thing") is None
    assert "Level" in (d.get_property("rocksdb.stats") or "")
    d.flush()
    assert d.get_property("rocksdb.num-files-at-level0") == "1"
    d.sync()


def test_it_is_shown_without_its_entries(d: RocksDBDict[Any, Any]) -> None:
    d["secret"] = 1
    assert d.path in repr(d) and "secret" not in repr(d) and "1 entries" in repr(d)
    d.close()
    assert repr(d) == f"<closed RocksDBDict {d.path!r}>"
