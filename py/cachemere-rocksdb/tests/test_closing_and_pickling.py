"""The end of a handle, and copies of it elsewhere."""

from __future__ import annotations

import gc
import pickle
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import BusyError, ClosedError
from cachemere.rocksdb import RocksDBDict, RocksDBOptions


def test_a_closed_one_refuses_everything(path: Path) -> None:
    with RocksDBDict[Any, Any](path) as d:
        d["a"] = 1
        walk, view = iter(d), d.items()
        assert not d.closed
    assert d.closed
    d.close()
    for work in (
        lambda: d["a"],
        lambda: d.get("a"),
        lambda: "a" in d,
        lambda: d.__setitem__("a", 1),
        lambda: d.__delitem__("a"),
        lambda: d.update(a=1),
        lambda: d.pop("a", None),
        lambda: d.popitem(),
        lambda: d.setdefault("a", 1),
        lambda: d.clear(),
        lambda: len(d),
        lambda: list(d),
        lambda: list(reversed(d)),
        lambda: next(walk),
        lambda: list(view),
        lambda: len(view),
        lambda: d.get_many(["a"]),
        lambda: list(d.seek_keys("a")),
        lambda: d.compact(),
        lambda: d.flush(),
        lambda: d.sync(),
        lambda: d.get_int_property("rocksdb.estimate-num-keys"),
        lambda: d.get_property("rocksdb.stats"),
        lambda: d.estimated_len(),
        lambda: d == {"a": 1},
    ):
        with pytest.raises(ClosedError):
            work()


def test_what_is_forgotten_is_closed(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d["a"] = 1
    del d
    gc.collect()
    assert RocksDBDict[Any, Any](path)["a"] == 1


def test_a_function_that_refers_to_its_mapping_does_not_keep_it(path: Path) -> None:
    def make() -> weakref.ref[Any]:
        def decode(view: memoryview) -> Any:
            return d, bytes(view)

        d: Any = RocksDBDict(path, deser_key=bytes, deser_value=decode, ser_value=bytes)
        return weakref.ref(d)

    found = make()
    gc.collect()
    assert found() is None
    RocksDBDict[Any, Any](path, deser_key=bytes, deser_value=bytes).close()


def test_copies_by_pickle(path: Path) -> None:
    text = partial(str, encoding="utf-8")
    options = RocksDBOptions(create_if_missing=True, max_open_files=30)
    d: RocksDBDict[str, str] = RocksDBDict(path, options, text, text, str.encode)
    d["a"] = "ä"
    state = pickle.dumps(d)
    with pytest.raises(BusyError):
        pickle.loads(state)
    reader: RocksDBDict[str, str] = RocksDBDict(path, options, text, text, str.encode, readonly=True)
    copy = pickle.loads(pickle.dumps(reader))
    assert type(copy) is RocksDBDict and dict(copy) == {"a": "ä"} and copy.options == options
    d.close()
    copy.close()
    with pickle.loads(state) as again:
        again["b"] = "b"
        assert dict(again) == {"a": "ä", "b": "b"}


def test_a_secondary_without_a_path_is_copied_with_another(path: Path) -> None:
    d: RocksDBDict[str, int] = RocksDBDict(path)
    d["a"] = 1
    one: RocksDBDict[str, int] = RocksDBDict(path, secondary_mode=True)
    other = pickle.loads(pickle.dumps(one))
    d["b"] = 2
    other.try_catch_up_with_primary()
    assert dict(one) == {"a": 1} and dict(other) == {"a": 1, "b": 2}


def test_a_subclass_can_be_made_and_pickled(path: Path) -> None:
    d = Own(path, readonly=False)
    d["a"] = 1
    state = pickle.dumps(d)
    d.close()
    copy = pickle.loads(state)
    assert type(copy) is Own and copy["a"] == 1


class Own(RocksDBDict[str, int]):
    pass


def test_a_path_means_the_same_after_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    d: RocksDBDict[str, int] = RocksDBDict("relative")
    assert d.path == str(tmp_path / "relative")
    d["a"] = 1
    state = pickle.dumps(d)
    d.close()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(state)["a"] == 1
