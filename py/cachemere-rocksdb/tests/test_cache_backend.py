"""A cache whose backend is RocksDB: one process writes, others follow."""

from __future__ import annotations

import pickle
from pathlib import Path

import cachemere
import pytest
from cachemere import Cache
from cachemere.errors import BusyError, CacheError, IncompatibleError, InvalidOptionError, ReadOnlyError
from in_process import Running, run


def test_it_does_what_a_cache_does(path: Path) -> None:
    with Cache(path, backend="rocksdb", compression=True, encryption_key=b"k" * 32) as cache:
        cache["a"] = {"text": "42" * 1000, "tokens": (1, 2)}
        cache.set("b", None, tags=["t"])
        assert cache.incr("n") == 1 and cache.incr("n", 5) == 6
        cache.set_many({n: n * n for n in range(100)})
        assert cache.get_many([3, 4, "none"]) == {3: 9, 4: 16}
        assert len(cache) == 103 and list(cache)[:4] == ["a", "b", "n", 0]
        assert cache.evict("t") == 1 and "b" not in cache
        assert cache.pop("n") == 6
        assert cache.get_or_set("made", lambda: [1]) == [1]
        cache.namespace("other")["a"] = 1
        assert cache["a"]["tokens"] == (1, 2)
        assert cache.info("a").size > 100
        cache.set("soon", 1, ttl=0.05)
    with Cache(path, encryption_key=b"k" * 32) as again:
        assert again["a"]["text"] == "42" * 1000 and len(again.namespace("other")) == 1
        again.clear()
        assert not list(again)
    assert (path / "rocksdb" / "CURRENT").exists() and not (path / "data.mdb").exists()


def test_functions_are_memoized_in_it(path: Path) -> None:
    calls = []
    cache = Cache(path, backend="rocksdb")

    @cache.memoize(ttl=60)
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    assert [double(1), double(n=1), double(2), double(1)] == [2, 2, 4, 2] and calls == [1, 2]
    cache.close()


def test_another_process_follows(path: Path) -> None:
    with Cache(path, backend="rocksdb") as cache:
        cache["n"] = 0
        follower = Running(
            """
            from cachemere import Cache
            cache = Cache(path, read_only=True)
            print(cache["n"], flush=True)
            for line in sys.stdin:
                print(cache["n"], len(cache), flush=True)
            """,
            path,
        )
        assert follower.line() == "0"
        for n in range(1, 50):
            cache["n"] = n
            cache[f"more {n}"] = n
            follower.say("now")
            assert follower.line() == f"{n} {n + 1}"
        follower.end()


def test_a_second_writer_is_refused(path: Path) -> None:
    with Cache(path, backend="rocksdb") as cache:
        cache["a"] = 1
        told = run(
            """
            from cachemere import Cache
            try:
                Cache(path)["a"] = 2
            except Exception as error:
                print(type(error).__name__, error)
            with Cache(path, read_only=True) as reader:
                try:
                    reader["a"] = 2
                except Exception as error:
                    print(type(error).__name__)
                print(reader["a"])
            """,
            path,
        ).splitlines()
        assert told[0].startswith(BusyError.__name__) and "read-only" in told[0]
        assert told[1:] == [ReadOnlyError.__name__, "1"]
        assert pickle.loads(pickle.dumps(cache))["a"] == 1


def test_what_it_cannot_do_is_refused_by_name(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="backend"):
        Cache(path, backend="sqlite")
    with pytest.raises(InvalidOptionError, match="max_bytes"):
        Cache(path, backend="rocksdb", max_bytes=8 << 20)["a"] = 1
    with Cache(path, backend="rocksdb", max_entries=10) as cache:
        cache.set_many({n: n for n in range(30)})
        assert len(cache) <= 10
        file = tmp_path / "file"
        file.write_text("a\t1\n")
        with pytest.raises(CacheError, match="LMDB"):
            cache.load(file, "tabsep")
    with pytest.raises(IncompatibleError, match="RocksDB.*LMDB"):
        Cache(path, backend="lmdb")["a"] = 1
    with Cache(tmp_path / "lmdb") as lmdb:
        lmdb["a"] = 1
    with pytest.raises(IncompatibleError, match="LMDB.*RocksDB"):
        Cache(tmp_path / "lmdb", backend="rocksdb")["a"] = 1


def test_both_backends_in_one_process(tmp_path: Path) -> None:
    with Cache(tmp_path / "a") as lmdb, Cache(tmp_path / "b", backend="rocksdb") as rocks:
        for n in range(100):
            lmdb[n] = rocks[n] = {"n": n}
        assert dict(lmdb.items()) == dict(rocks.items())
    assert cachemere.__version__


def test_a_forked_child_ends_as_it_wants_to(tmp_path: Path) -> None:
    # RocksDB's own end of a process waits for threads that a forked child does not have.
    told = run(
        """
        from cachemere import Cache
        d, cache = RocksDBDict(f"{path}/d"), Cache(f"{path}/cache", backend="rocksdb")
        d["a"] = cache["a"] = 1
        d.compact()
        child = os.fork()
        if child == 0:
            print(cache["a"])
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        cache["a"] = d["a"] = 2
        """,
        tmp_path,
    )
    assert told.splitlines() == ["1", "5"]
