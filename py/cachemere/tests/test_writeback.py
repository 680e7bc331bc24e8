"""`writeback=True`: values that were changed where they are get into the store. `writeback="warn"`: a warning tells."""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import PersistDict
from cachemere.errors import ChangedMeanwhileError, ClosedError, InvalidOptionError, UnwrittenChangeWarning


@pytest.fixture
def d(path: Path) -> Iterator[Any]:
    made: Any = PersistDict(path, writeback=True)
    yield made
    made.close()


@pytest.fixture
def other(path: Path) -> Iterator[Any]:
    """Another handle, which sees what is in the store."""
    made: Any = PersistDict(path)
    yield made
    made.close()


CHANGES: list[Callable[[Any], Any]] = [
    lambda d: d.setdefault("new", []).append(1),
    lambda d: d.setdefault("a", []).append(1),
    lambda d: d["a"].append(1),
    lambda d: d["b"]["c"].__setitem__("x", 1),
    lambda d: d.get("a").append(1),
    lambda d: [value.append(1) for value in d.values() if isinstance(value, list)],
    lambda d: [value.append(1) for _, value in d.items() if isinstance(value, list)],
    lambda d: [value.append(1) for value in reversed(d.values()) if isinstance(value, list)],
    lambda d: (d["a"].append(1), d["a"].append(2), d["a"].remove(1)),
    lambda d: (d["a"].append(1), d.update(z=1)),
    lambda d: (d["s"].add(3), d["ba"].extend(b"x")),
    lambda d: (d["a"].append(1), d.__setitem__("a", [7])),
    lambda d: (d["a"].append(1), d.pop("a")),
    lambda d: (d["a"].append(1), d.__delitem__("a")),
    lambda d: (d["a"].append(1), d.clear()),
    lambda d: (d["a"].append(1), d.popitem()),
    lambda d: (d["a"].append(1), d["a"] == d.get("a"), d.copy(), d == {}, len(d), repr(d), list(d.items())),
]


def entries() -> dict[str, Any]:
    return {"a": [0], "b": {"c": {}}, "s": {1, 2}, "ba": bytearray(b"-"), "k": "constant"}


@pytest.mark.parametrize("end", ["flush", "close", "len", "collected"])
@pytest.mark.parametrize("change", CHANGES)
def test_it_does_what_a_dict_does(path: Path, other: Any, change: Callable[[Any], Any], end: str) -> None:
    d: Any = PersistDict(path, writeback=True)
    d.update(entries())
    model = entries()
    assert change(d) == change(model)
    if end == "len":
        assert list(d.items()) == list(model.items())
    elif end == "collected":
        del d
        gc.collect()
    else:
        getattr(d, end)()
    assert other == model and list(other) == list(model)


def test_a_value_is_one_object_while_nobody_else_writes_it(d: Any, other: Any) -> None:
    d["a"] = [1]
    assert d["a"] is d["a"] is d.get("a") is d.setdefault("a") is next(iter(d.values()))
    kept = d["a"]
    other["a"] = [2]
    assert d["a"] == [2] and d["a"] is not kept


def test_what_was_assigned_is_a_copy_until_it_is_read(d: Any, other: Any) -> None:
    mine: list[int] = []
    d["a"] = mine
    mine.append(1)
    assert d["a"] == []
    read = d["a"]
    read.append(1)
    d["a"] = read
    read.append(2)
    d.flush()
    assert other["a"] == [1, 2]


def test_values_of_pickle_are_written_back(d: Any, other: Any) -> None:
    d["a"] = _Box()
    d["a"].inside.append(1)
    d.flush()
    assert other["a"].inside == [1]


class _Box:
    def __init__(self) -> None:
        self.inside: list[int] = []


def test_what_is_not_changed_is_not_written(d: Any, other: Any) -> None:
    d.update(entries())
    before = {key: other.info(key).mtime for key in other}
    for _ in range(2):
        for key in list(d):
            assert d[key] == entries()[key]
        d.flush()
    assert {key: other.info(key).mtime for key in other} == before


def test_two_who_change_one_value_are_told(d: Any, other: Any) -> None:
    d.update(a=[1], b=[2])
    d["a"].append("mine")
    d["b"].append("mine")
    other["a"] = ["theirs"]
    with pytest.raises(ChangedMeanwhileError, match="'a'") as caught:
        d.flush()
    assert caught.value.keys == ["a"]
    assert pickle.loads(pickle.dumps(caught.value)).keys == ["a"]
    assert other == {"a": ["theirs"], "b": [2, "mine"]}
    d.flush()
    assert d["a"] == ["theirs"]
    d["a"].append("mine")
    d.flush()
    assert other["a"] == ["theirs", "mine"]


def test_a_read_is_never_stale_and_a_conflict_never_forgotten(d: Any, other: Any) -> None:
    d["a"] = [1]
    d["a"].append("mine")
    other["a"] = ["theirs"]
    assert d["a"] == ["theirs"]
    with pytest.raises(ChangedMeanwhileError, match="'a'"):
        d.flush()
    d["a"].append("mine")
    del other["a"]
    assert "a" not in d and d.get("a") is None
    with pytest.raises(ChangedMeanwhileError, match="'a'"):
        d.close()
    with pytest.raises(ClosedError):
        d["a"]


def test_a_change_that_cannot_be_stored_is_an_error_and_the_others_are_written(d: Any, other: Any) -> None:
    d.update(a=[1], b=[2])
    d["a"].append(item for item in ())
    d["b"].append(3)
    with pytest.raises(TypeError):
        d.flush()
    assert other == {"a": [1], "b": [2, 3]}
    d["a"].pop()
    d.flush()


def test_the_end_of_a_program_writes_and_a_kill_does_not(path: Path) -> None:
    program = (
        "import os, sys, cachemere\n"
        "d = cachemere.PersistDict(sys.argv[1], writeback=True)\n"
        "d.setdefault(sys.argv[2], []).append(1)\n"
        "if sys.argv[2] == 'killed': os._exit(0)\n"
    )
    for how in ("ended", "killed"):
        subprocess.run([sys.executable, "-c", program, str(path), how], check=True, timeout=60)
    with PersistDict(path) as d:
        assert d == {"ended": [1], "killed": []}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_was_handed_out_before_a_fork_is_written_by_the_parent(d: Any, other: Any) -> None:
    d["a"] = [1]
    d["a"].append("parent")
    child = os.fork()
    if child == 0:
        try:
            d["a"].append("child")
            d.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(ChangedMeanwhileError):
        d.flush()
    assert other["a"] == [1, "child"]


def test_a_pickled_handle_has_what_was_changed_and_the_option(d: Any) -> None:
    d["a"] = [1]
    d["a"].append(2)
    again = pickle.loads(pickle.dumps(d))
    assert again["a"] == [1, 2]
    again["a"].append(3)
    again.close()
    assert d["a"] == [1, 2, 3]


def test_json_has_what_was_changed(d: Any, tmp_path: Path) -> None:
    d["a"] = [1]
    d["a"].append(2)
    assert json.dumps(d) == '{"a": [1, 2]}' and dict(d) == {"a": [1, 2]} and {**d} == {"a": [1, 2]}
    d["a"].append(3)
    d.backup(tmp_path / "copy")
    with PersistDict(tmp_path / "copy") as copied:
        assert copied["a"] == [1, 2, 3]


def test_threads_share_the_values(d: Any, other: Any) -> None:
    d["a"] = []

    def work() -> None:
        for _ in range(50):
            d["a"].append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    d.flush()
    assert other["a"] == [1] * 200


def test_the_option_is_checked(path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="writeback must be True, False or 'warn'"):
        PersistDict(path, writeback="yes")  # type: ignore[arg-type]


# --- warnings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [lambda d: d["a"], lambda d: d.flush(), lambda d: d.close()])
@pytest.mark.parametrize("change", CHANGES[:8])
def test_a_change_that_is_not_written_back_is_warned_of(
    path: Path, change: Callable[[Any], Any], when: Callable[[Any], Any]
) -> None:
    d: Any = PersistDict(path, writeback="warn")
    d.update(entries())
    with pytest.warns(UnwrittenChangeWarning, match=r"d\[key\] = value"):
        change(d)
        when(d)
        d.close()
    with PersistDict(path) as again:
        again.pop("new", None)
        assert again == entries()


def test_a_warning_names_the_key_and_the_line(path: Path) -> None:
    d: Any = PersistDict(path, writeback="warn")
    d["a"] = [1]
    d["a"].append(2)
    with pytest.warns(UnwrittenChangeWarning, match="key 'a' was changed") as caught:
        d.flush()
    assert [each.filename for each in caught] == [__file__]
    d["a"].append(2)
    with pytest.warns(UnwrittenChangeWarning) as caught:
        d["a"]
    assert [each.filename for each in caught] == [__file__]
    d.close()


def test_what_is_written_back_is_not_warned_of(path: Path) -> None:
    with warnings.catch_warnings(), PersistDict[str, Any](path, writeback="warn") as d:
        warnings.simplefilter("error")
        d.update(entries())
        value = d["a"]
        value.append(1)
        d["a"] = value
        value = d["b"]
        value["y"] = 1
        d.update(b=value)
        value = d["s"]
        value.add(9)
        d["s"] = set(value)
        assert list(d.values())[4] == "constant"
        value = d["ba"]
        value.extend(b"x")
        del d["ba"]
        d.flush()
        assert d["a"] == [0, 1] and d["s"] == {1, 2, 9}
