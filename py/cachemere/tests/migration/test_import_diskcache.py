"""What diskcache stored is in the store afterwards, with its ages, however it was stored."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from pathlib import Path
from typing import Any

import diskcache
import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import DamagedError, IncompatibleError, InvalidOptionError
from cachemere.migration import Skipped, import_store
from sources import run_import, snapshot

#: In a file of its own, each of them.
LONG_TEXT, LONG_BYTES = "é\r\n" * 40_000, bytes(range(256)) * 400

PLAIN = {
    "text": "x",
    "number": 7,
    "float": 1.5,
    b"bytes": b"\0\xff",
    3: "an int",
    2.5: "a float",
    "long text": LONG_TEXT,
    "long bytes": LONG_BYTES,
    "empty": "",
}
PICKLED: dict[Any, Any] = {
    ("a", 1): "a key that is a tuple",
    "dict": {"x": [1, (2, None)], 3: {4}},
    "none": None,
    "long list": list(range(20_000)),
    2**70: 2**80,
}


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return tmp_path / "theirs"


def test_all_modes_are_imported(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        for key, value in (PLAIN | PICKLED).items():
            cache[key] = value
        assert {row[0] for row in cache._sql("SELECT DISTINCT mode FROM Cache")} == {1, 2, 3, 4}
    before = snapshot(theirs)
    summary = import_store("diskcache", theirs, path, allow_pickle=True)
    assert snapshot(theirs) == before
    assert summary.imported == summary.entries == len(PLAIN | PICKLED) and summary.is_complete
    with Cache(path) as ours:
        assert dict(ours.items()) == PLAIN | PICKLED and list(ours) == list(PLAIN | PICKLED)
        assert [type(key) for key in ours] == [type(key) for key in PLAIN | PICKLED]


def test_without_pickles_the_rest_is_imported(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        for key, value in (PLAIN | PICKLED).items():
            cache[key] = value
    summary = import_store("diskcache", theirs, path)
    assert (summary.imported, summary.pickles, summary.count_skipped) == (len(PLAIN), len(PICKLED), len(PICKLED))
    assert not summary.is_complete and all("allow_pickle" in skipped.why for skipped in summary.skipped)
    assert {"key 'dict'", "key 'none'"} <= {skipped.name for skipped in summary.skipped}
    with Cache(path) as ours:
        assert dict(ours.items()) == PLAIN


def test_ages_and_tags_are_kept(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs, eviction_policy="least-recently-used") as cache:
        cache.set("a", "1", tag="red")
        cache.set("b", "2", expire=3600)
        cache.set("c", "3", tag=7)
        cache._sql("UPDATE Cache SET store_time = store_time - 1000, access_time = access_time - 500")
        cache._sql("UPDATE Cache SET access_time = access_time + 100 WHERE key = 'b'")
        rows = cache._sql("SELECT key, store_time, access_time, expire_time FROM Cache").fetchall()
    import_store("diskcache", theirs, path)
    with Cache(path) as ours:
        assert len(rows) == 3
        for key, stored, accessed, expires in rows:
            info = ours.info(key)
            assert info is not None
            assert info.created == pytest.approx(stored, abs=1e-3)
            assert info.atime == pytest.approx(accessed, abs=1e-3)
            assert info.expires_at == (None if expires is None else pytest.approx(expires, abs=1e-3))
        assert ours.evict("red") == 1 and ours.evict("\0i7") == 1 and list(ours) == ["b"]


def test_expired_ones_are_left_out_and_counted(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        cache["stays"] = 1
        cache.set("goes", 2, expire=0.001)
        time.sleep(0.01)
    summary = import_store("diskcache", theirs, path)
    assert (summary.entries, summary.imported, summary.expired) == (2, 1, 1) and summary.is_complete
    with Cache(path) as ours:
        assert list(ours) == ["stays"]


def test_a_life_that_depends_on_the_last_access_begins_with_its_age(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        cache["old"], cache["young"] = 1, 2
        cache._sql("UPDATE Cache SET store_time = 86400.0, access_time = 86400.0 WHERE key = 'old'")
        cache._sql("UPDATE Cache SET store_time = 86400.0, access_time = access_time - 86400.0 WHERE key = 'young'")
    summary = import_store("diskcache", theirs, path, expiration_days=30)
    assert (summary.imported, summary.expired) == (1, 1)
    with PersistDict(path) as ours:
        info = ours.info("young")
        assert info is not None and info.expires_at is not None
        assert info.expires_at == pytest.approx(time.time() + 29 * 86400, abs=60)


def test_a_fanout_cache_is_all_of_its_shards(theirs: Path, path: Path) -> None:
    with diskcache.FanoutCache(theirs, shards=4) as cache:
        for number in range(100):
            cache[number] = str(number)
        inner = cache.cache("inner")
        inner["not"] = "of the outer one"
        inner.close()
    before = snapshot(theirs)
    assert import_store("diskcache", theirs, path).imported == 100
    assert snapshot(theirs) == before
    with Cache(path) as ours:
        assert dict(ours.items()) == {number: str(number) for number in range(100)}
    assert import_store("diskcache", theirs / "cache" / "inner", path, namespace="inner").imported == 1


def test_a_deque_and_an_index_are_in_their_order(theirs: Path, path: Path) -> None:
    deque = diskcache.Deque(["a", "b", "c"], directory=str(theirs / "deque"))
    deque.appendleft("first")
    index = diskcache.Index(str(theirs / "index"))
    index.update([("z", 1), ("y", 2)])
    deque.cache.close()
    index.cache.close()
    assert import_store("diskcache", theirs / "deque", path, namespace="deque").is_complete
    assert import_store("diskcache", theirs / "index", path, namespace="index").is_complete
    with Cache(path, namespace="deque") as ours:
        assert [value for _, value in sorted(ours.items())] == ["first", "a", "b", "c"]
    with Cache(path, namespace="index") as ours:
        assert list(ours.items()) == [("z", 1), ("y", 2)]


@pytest.mark.parametrize("said", [None, "json"])
def test_a_json_disk_is_read_without_pickles(theirs: Path, path: Path, said: Any) -> None:
    with diskcache.Cache(theirs, disk=diskcache.JSONDisk, disk_compress_level=6) as cache:
        cache["a"] = {"x": [1, None]}
        cache[("f", 1)] = "y" * 100_000
        cache[3] = 4
    assert import_store("diskcache", theirs, path, values=said).imported == 3
    with Cache(path) as ours:
        assert dict(ours.items()) == {"a": {"x": [1, None]}, ("f", 1): "y" * 100_000, 3: 4}


def test_bytes_that_are_no_json_are_not_taken_for_it(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        cache[b"x\x9c\x03\x00\x00\x00\x00\x01"] = "an empty text, compressed"
    assert import_store("diskcache", theirs, path).imported == 1
    with pytest.raises(InvalidOptionError, match="values for diskcache is 'json'"):
        import_store("diskcache", theirs, path, values="text")
    with pytest.raises(InvalidOptionError, match="table is not for diskcache"):
        import_store("diskcache", theirs, path, table="Cache")


# --- bad input ------------------------------------------------------------------------------------------------------


def rewritten(theirs: Path, statement: str, *values: Any) -> None:
    database = sqlite3.connect(theirs / "cache.db")
    with database:
        assert database.execute(statement, values).rowcount == 1
    database.close()


def test_what_is_wrong_with_one_entry_is_told_and_the_others_are_imported(theirs: Path, path: Path) -> None:
    outside = theirs.parent / "secret.txt"
    outside.write_text("not of the cache")
    names = ["missing", "outside", "absolute", "link", "pipe", "directory", "mode", "utf-8", "pickle", "name", "good"]
    with diskcache.Cache(theirs) as cache:
        for name in names:
            cache[name] = LONG_TEXT
    by_name = "UPDATE Cache SET filename = ? WHERE key = ?"
    rewritten(theirs, by_name, "no/such.val", "missing")
    rewritten(theirs, by_name, "../secret.txt", "outside")
    rewritten(theirs, by_name, str(outside), "absolute")
    (theirs / "link.val").symlink_to(outside)
    rewritten(theirs, by_name, "link.val", "link")
    os.mkfifo(theirs / "pipe.val")
    rewritten(theirs, by_name, "pipe.val", "pipe")
    (theirs / "sub").mkdir()
    rewritten(theirs, by_name, "sub", "directory")
    rewritten(theirs, "UPDATE Cache SET mode = 9 WHERE key = 'mode'")
    (theirs / "bad.val").write_bytes(b"\xff\xfe")
    rewritten(theirs, by_name, "bad.val", "utf-8")
    rewritten(theirs, "UPDATE Cache SET mode = 4, filename = 'bad.val' WHERE key = 'pickle'")
    rewritten(theirs, "UPDATE Cache SET filename = NULL WHERE key = 'name'")
    before = snapshot(theirs)
    left_out: list[str] = []
    summary = import_store(
        "diskcache", theirs, path, allow_pickle=True, on_skip=lambda skipped: left_out.append(skipped.name)
    )
    assert snapshot(theirs) == before
    assert summary.imported == 1 and summary.unreadable == 10 and left_out == [f"key {name!r}" for name in names[:-1]]
    with Cache(path) as ours:
        assert dict(ours.items()) == {"good": LONG_TEXT}


def test_a_shard_that_is_damaged_does_not_keep_the_others(theirs: Path, path: Path) -> None:
    with diskcache.FanoutCache(theirs, shards=4) as cache:
        for number in range(100):
            cache[number] = str(number)
        in_shard = len(cache._shards[1])
    (theirs / "001" / "cache.db").write_bytes(b"nothing of SQLite" * 100)
    summary = import_store("diskcache", theirs, path)
    assert 0 < in_shard and summary.imported == 100 - in_shard and summary.unreadable == 1
    assert "001" in summary.skipped[0].name and "damaged" in summary.skipped[0].why


def test_what_is_before_the_damage_is_imported(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache, cache.transact():
        for number in range(3000):
            cache[number] = "x" * 500
    file = theirs / "cache.db"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = b"\x55" * (len(data) - len(data) // 2)
    file.write_bytes(data)
    before = snapshot(theirs)
    try:
        summary = import_store("diskcache", theirs, path)
    except DamagedError:
        assert snapshot(theirs) == before
        return
    assert snapshot(theirs) == before
    assert summary.imported < 3000 and summary.unreadable >= 1 and "damaged" in summary.skipped[-1].why
    with Cache(path) as ours:
        assert all(value == "x" * 500 for value in ours.values())


@pytest.mark.parametrize("content", [b"", b"nothing of SQLite" * 1000, b"SQLite format 3\0" + bytes(84)])
def test_a_file_that_is_damaged_as_a_whole_is_an_error(theirs: Path, path: Path, content: bytes) -> None:
    theirs.mkdir()
    (theirs / "cache.db").write_bytes(content)
    with pytest.raises((DamagedError, IncompatibleError), match="damaged|not of diskcache"):
        import_store("diskcache", theirs, path)
    assert not path.exists() and [file.name for file in theirs.iterdir()] == ["cache.db"]


def test_what_is_inside_a_fanout_cache_is_named_with_the_command_that_imports_it(theirs: Path, path: Path) -> None:
    with diskcache.FanoutCache(str(theirs), shards=2) as cache:
        cache["x"] = "1"
        cache.cache("sub")["a"] = "2"
        cache.cache("sub/below")["a"] = b"3" * 100_000
        cache.deque("the queue").append("4")
        cache.index("ix")["a"] = "5"
        names = ["cache/sub", "cache/sub/below", "deque/the queue", "index/ix"]
    before = snapshot(theirs)
    told: list[Skipped] = []
    summary = import_store("diskcache", theirs, path, on_skip=told.append)
    assert (summary.entries, summary.imported, summary.parts, summary.is_complete) == (1, 1, 4, False)
    assert [it.name for it in summary.skipped] == [str(theirs / name) for name in names] and told == [*summary.skipped]
    assert {it.reason for it in told} == {"part"}
    for name, it in zip(names, told, strict=True):
        # The command, as it is typed.
        command = it.why[it.why.index("--from") :]
        assert shlex.split(command) == ["--from", "diskcache", str(theirs / name), str(path / name)]
        run_import(*shlex.split(command))
    assert snapshot(theirs) == before
    with Cache(path / "cache/sub/below") as ours:
        assert ours["a"] == b"3" * 100_000
    done = run_import("--from", "diskcache", theirs, path, check=1)
    assert all(f"--from diskcache {shlex.quote(str(theirs / name))}" in done.stdout for name in names)


def test_a_cache_that_has_nothing_inside_is_complete(theirs: Path, path: Path) -> None:
    with diskcache.FanoutCache(str(theirs), shards=2) as cache:
        cache["x"] = b"1" * 100_000
    (theirs / "cache" / "empty").mkdir(parents=True)
    assert import_store("diskcache", theirs, path).is_complete
