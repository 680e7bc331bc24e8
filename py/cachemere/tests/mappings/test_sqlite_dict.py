"""A mapping in SQLite: complete, for threads and processes, and with errors that say what to do."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import (
    BusyError,
    ClosedError,
    DamagedError,
    DiskFullError,
    InvalidOptionError,
    KeyFormError,
    MissingKeyError,
    ReadOnlyError,
    StoreIOError,
)
from cachemere.mappings import CacheDict, SqliteDict, SqliteDictArgs, SqliteDictFieldType
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def d(path: Path) -> SqliteDict[str, str]:
    return SqliteDict.str(path, str.encode, bytes.decode)


def test_it_is_a_mutable_mapping(d: SqliteDict[str, str]) -> None:
    assert isinstance(d, MutableMapping)
    d["b"] = "1"
    d.update({"a": "2"}, c="3")
    d.batch_insert([("b", "4"), ("d", "5")])
    assert dict(d) == {"b": "4", "a": "2", "c": "3", "d": "5"} == d and list(d) == ["b", "a", "c", "d"]
    assert list(reversed(d)) == ["d", "c", "a", "b"] and len(d) == 4 and "a" in d and "x" not in d and 5 not in d
    assert list(d.values()) == ["4", "2", "3", "5"] and list(d.items())[0] == ("b", "4") and ("a", "2") in d.items()
    assert list(reversed(d.values())) == ["5", "3", "2", "4"] and list(reversed(d.items()))[0] == ("d", "5")
    assert "3" in d.values() and d.keys() & {"a", "x"} == {"a"}
    assert d.get("x") is None and d.get("x", "y") == "y" and d.get("a") == "2"
    assert (
        d.pop("a") == "2"
        and d.pop("a", None) is None
        and d.setdefault("b", "9") == "4"
        and d.setdefault("n", "6") == "6"
    )
    assert d.popitem() == ("n", "6")
    del d["b"]
    assert list(d) == ["c", "d"]
    d.clear()
    assert len(d) == 0 and not d
    for work in (lambda: d["x"], lambda: d.__delitem__("x"), lambda: d.pop("x"), lambda: d.popitem()):
        with pytest.raises(MissingKeyError):
            work()


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=8))))
def test_int_keys_are_in_their_order(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, bytes]]) -> None:
    with SqliteDict[int, bytes](tmp_path_factory.mktemp("sqlite") / "file", SqliteDictFieldType.int, bytes, bytes) as d:
        d.update(pairs)
        assert list(d.items()) == sorted(dict(pairs).items())


def test_keys_are_of_their_type(d: SqliteDict[Any, str], tmp_path: Path) -> None:
    d["1"] = "one"
    assert 1 not in d and d.get(1) is None and b"1" not in d
    for wrong in (1, b"1", None, ["1"]):
        with pytest.raises(KeyFormError, match="the keys are str"):
            d[wrong] = "x"
        with pytest.raises(KeyError):
            d[wrong]
    ints: SqliteDict[Any, str] = SqliteDict.int(tmp_path / "ints", str.encode, bytes.decode)
    with pytest.raises(KeyFormError, match="64 bits"):
        ints[2**63] = "x"
    assert 2**63 not in ints


def test_long_walks_see_each_once_while_others_write(d: SqliteDict[str, str]) -> None:
    d.update((str(number), "") for number in range(3000))
    met = []
    for key in d:
        met.append(key)
        # Each write is synced, which takes milliseconds.
        if int(key) % 10 in (0, 9):
            d[key] = "seen"
            d.pop(str(int(key) - 1), None)
    assert met == [str(number) for number in range(3000)]


def test_what_cannot_be_decoded_is_not_removed(path: Path) -> None:
    d: SqliteDict[str, Any] = SqliteDict.str(path, lambda value: value, lambda stored: int(stored))
    d["a"] = b"no number"
    for work in (lambda: d.pop("a"), lambda: d.popitem()):
        with pytest.raises(ValueError, match="invalid literal"):
            work()
    assert "a" in d


def test_a_batch_that_fails_writes_nothing(d: SqliteDict[Any, Any]) -> None:
    with pytest.raises(TypeError):
        d.update([("a", "1"), ("b", 2)])
    with pytest.raises(KeyFormError):
        d.batch_insert([("a", "1"), (5, "2")])
    assert len(d) == 0


def test_several_in_one_file(path: Path) -> None:
    texts = SqliteDictArgs("texts", SqliteDictFieldType.str, str.encode, bytes.decode)
    numbers = SqliteDictArgs("numbers", SqliteDictFieldType.int, lambda it: it, lambda it: it, SqliteDictFieldType.int)
    a, b = SqliteDict.mul2(path, texts, numbers)
    a["x"], b[1] = "text", 5
    a2, b2, c = SqliteDict.mul3(path, texts, numbers, SqliteDictArgs("more", SqliteDictFieldType.bytes, bytes, bytes))
    c[b"k"] = b"v"
    assert dict(a2) == {"x": "text"} and dict(b2) == {1: 5} and dict(c) == {b"k": b"v"}


def test_a_connection_can_be_given(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "file")
    d: SqliteDict[str, str] = SqliteDict(connection, SqliteDictFieldType.str, str.encode, bytes.decode)
    d["a"] = "1"
    d.close()
    assert connection.execute("SELECT key FROM data").fetchall() == [("a",)]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(d)


def test_threads(d: SqliteDict[str, str]) -> None:
    def work(number: int) -> None:
        for place in range(20):
            d[f"{number}-{place}"] = "x"
            d.setdefault("shared", str(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(d) == 81


def _add(d: SqliteDict[str, str], name: str) -> None:
    for place in range(20):
        d[f"{name}-{place}"] = name


def test_processes(d: SqliteDict[str, str]) -> None:
    d["a"] = "1"
    for way in ("spawn", "fork"):
        others = [multiprocessing.get_context(way).Process(target=_add, args=(d, f"{way}{n}")) for n in range(2)]
        for other in others:
            other.start()
        for other in others:
            other.join()
            assert other.exitcode == 0
    assert len(d) == 81 and d["fork1-3"] == "fork1"


def test_a_kill_loses_nothing(path: Path) -> None:
    code = """
import sys
from cachemere.mappings import SqliteDict
d = SqliteDict.int(sys.argv[1], str.encode, bytes.decode)
for number in range(100_000):
    d[number] = "x"
    print(number, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    last = -1
    while last < 100:
        last = int(child.stdout.readline())
    child.kill()
    child.communicate()
    d: SqliteDict[int, str] = SqliteDict.int(path, str.encode, bytes.decode)
    assert list(d)[: last + 1] == list(range(last + 1))


def test_errors(path: Path, tmp_path: Path) -> None:
    d: SqliteDict[str, str] = SqliteDict(path, SqliteDictFieldType.str, str.encode, bytes.decode, timeout=0.05)
    d["a"] = "1"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="try again"):
        d["a"] = "2"
    other.execute("ROLLBACK")
    assert d["a"] == "1"
    other.close()
    pages = sqlite3.connect(path)
    pages.close()
    with d._reading() as connection:
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(DiskFullError, match="free some"):
        d["large"] = "x" * 100_000
    assert dict(d) == {"a": "1"}
    copy = pickle.loads(pickle.dumps(d))
    assert copy["a"] == "1"
    d.close()
    d.close()
    with pytest.raises(ClosedError):
        d["a"]
    (tmp_path / "text").write_text("not a database, but a text that is long enough to be one")
    with pytest.raises(DamagedError, match="no database of SQLite"):
        SqliteDict.str(tmp_path / "text", str.encode, bytes.decode)
    with pytest.raises(StoreIOError):
        SqliteDict.str(tmp_path, str.encode, bytes.decode)


@pytest.mark.parametrize(
    "given, named",
    [
        ({"keytype": "TEXT"}, "keytype"),
        ({"ser_value": None}, "ser_value"),
        ({"deser_value": 5}, "deser_value"),
        ({"valuetype": bytes}, "valuetype"),
        ({"timeout": -1}, "timeout"),
        ({"table_name": 'data"; DROP TABLE data; --'}, "table_name"),
    ],
)
def test_arguments_that_make_no_sense_are_named(path: Path, given: dict[str, Any], named: str) -> None:
    good: dict[str, Any] = {"keytype": SqliteDictFieldType.str, "ser_value": str.encode, "deser_value": bytes.decode}
    with pytest.raises(InvalidOptionError, match=named):
        SqliteDict(path, **(good | given))
    assert not path.exists() and not os.path.exists(f"{path}.inited")


def test_a_cache_in_memory(d: SqliteDict[str, str]) -> None:
    d["a"] = "1"
    assert isinstance(d.cache(), CacheDict) and d.cache()["a"] == "1" and str(d).startswith("SqliteDict('/")


def test_results_of_functions_are_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[tuple[int, str]] = []

    @SqliteDict.cache_fn(pickle.dumps, pickle.loads, outfile=path, log_serde_time=True)
    def work(number: int, name: str = "x") -> tuple[int, str] | None:
        calls.append((number, name))
        return (number, name) if number else None

    with caplog.at_level("INFO"):
        assert work(1) == work(1, "x") == work(name="x", number=1) == (1, "x")
    assert work(0) is work(0) is None and work(True) == (True, "x") and calls == [(1, "x"), (0, "x"), (True, "x")]
    assert work.__name__ == "work" and "deserializing a value took" in caplog.text
    with pytest.raises(KeyFormError, match="'number' is a 'float'"):
        work(1.5)  # type: ignore[arg-type]

    @SqliteDict.cache_fn(str.encode, bytes.decode, cache_args=["a"], outfile=path.with_name("other"))
    def other(a: str, b: str) -> str:
        return a + b

    assert other("1", "2") == "12" == other("1", "3")


def test_functions_that_cannot_be_kept_are_told(path: Path) -> None:
    def anything(*numbers: int) -> int:
        return len(numbers)

    assert SqliteDict.cache_fn(disable=True)(anything) is anything
    for few in ({}, {"ser": pickle.dumps, "deser": pickle.loads}, {"outfile": path}):
        with pytest.raises(InvalidOptionError, match="must be given"):
            SqliteDict.cache_fn(**few)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="any number of arguments"):
        SqliteDict.cache_fn(pickle.dumps, pickle.loads, outfile=path)(anything)
    with pytest.raises(InvalidOptionError, match="no argument 'b'"):
        SqliteDict.cache_fn(pickle.dumps, pickle.loads, ["b"], outfile=path)(lambda a: a)
    own = SqliteDict.cache_fn(pickle.dumps, pickle.loads, cache_key=lambda *it: repr(it).encode(), outfile=path)(
        anything
    )
    assert own(1, 2) == own(1, 2) == 2


def test_a_file_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "d.db"
    with SqliteDict.str(file, str.encode, bytes.decode) as written:
        written["a"] = "x"
        assert written.dbfile == file
    writable, mode = sqlite3.connect(file), "file:" + str(file) + "?mode=ro"
    writable.close()
    read = sqlite3.connect(mode, uri=True)
    mapping: SqliteDict[str, str] = SqliteDict(read, SqliteDictFieldType.str, str.encode, bytes.decode)
    assert dict(mapping) == {"a": "x"} and mapping.dbfile is None
    with pytest.raises(ReadOnlyError):
        mapping["b"] = "y"
    with pytest.raises(ReadOnlyError):
        SqliteDict(read, SqliteDictFieldType.str, str.encode, bytes.decode, table_name="other")
    read.close()


def test_a_closed_one_is_not_entered(path: Path) -> None:
    mapping: SqliteDict[str, str] = SqliteDict.str(path, str.encode, bytes.decode)
    mapping.close()
    with pytest.raises(ClosedError), mapping:
        raise AssertionError("was entered")
