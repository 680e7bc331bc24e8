"""Opening, closing, settings, pickling, and what a handle says of its store."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import diskcache
from cachemere.errors import ClosedError, IncompatibleError, InvalidOptionError, WrongSecretError


def test_without_a_directory_it_is_a_temporary_one() -> None:
    with diskcache.Cache() as cache, diskcache.Cache() as other:
        assert cache.directory != other.directory and os.path.isdir(cache.directory)
        assert Path(cache.directory).stat().st_mode & 0o777 == 0o700


def test_the_directory_can_be_a_path_with_variables(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", str(path))
    monkeypatch.chdir(tmp_path)
    with diskcache.Cache("$WHERE") as cache, diskcache.Cache(path) as other, diskcache.Cache("store") as third:
        cache["a"] = 1
        assert other["a"] == third["a"] == 1
        assert cache.directory == other.directory == third.directory == str(path)


def test_the_entries_are_those_of_a_cache_of_ours(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache.set("a", [1], expire=100, tag="t")
        cache.push("x", prefix="q")
        with cachemere.Cache(path) as ours:
            assert dict(ours.items()) == {"a": [1], "q-500000000000000": "x"} and ours.evict("t") == 1
            ours.set("b", 2, ttl=50, tags=["u", "v"])
        value, expires, tag = cache.get("b", expire_time=True, tag=True)
        assert value == 2 and abs(expires - time.time() - 50) < 2 and tag == "u"


def test_a_closed_cache_opens_again_when_it_is_used(path: Path) -> None:
    cache = diskcache.Cache(path)
    cache["a"] = 1
    for _ in range(2):
        cache.close()
        cache.close()
        assert cache["a"] == 1
    with cache as same:
        assert same is cache
    cache.set("b", 2)
    assert len(cache) == 2
    cache.close()


def test_closing_does_not_disturb_other_threads(path: Path) -> None:
    cache = diskcache.Cache(path)
    cache["a"] = 1
    stop, errors = threading.Event(), []

    def use() -> None:
        try:
            while not stop.is_set():
                assert cache.get("a") == 1 and cache.set("b", 2) and "a" in cache and cache.incr("n")
                cache.push(1, prefix="q")
                assert cache.delete("none") is False
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        cache.close()
        time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join()
    cache.close()
    assert errors == []


class ClosedMeanwhile:
    """A store that another thread closes just before it is used, putting another one in its place."""

    def __init__(self, cache: Any) -> None:
        self.cache, self.store = cache, cache._store
        cache._store = self

    def _use(self, *_: Any, **__: Any) -> Any:
        self.cache._store = self.store
        raise ClosedError

    def __getattr__(self, name: str) -> Any:
        return self._use

    __len__ = __contains__ = _use


def test_whatever_is_done_is_done_with_the_store_that_was_opened_again(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache["a"] = 1
        uses: list[tuple[Any, Any]] = [
            (lambda: cache.get("a"), 1),
            (lambda: cache.get("a", tag=True), (1, None)),
            (lambda: "a" in cache, True),
            (lambda: len(cache), 1),
            (lambda: cache.set("a", 2), True),
            (lambda: cache.add("a", 3), False),
            (lambda: cache.incr("a"), 3),
            (lambda: cache.touch("a", 100), True),
            (lambda: cache.pop("a"), 3),
            (lambda: cache.delete("a"), False),
            (lambda: cache.evict("t"), 0),
            (lambda: cache.volume(), 0),
            (lambda: cache.clear(), 0),
        ]
        for use, expected in uses:
            ClosedMeanwhile(cache)
            assert use() == expected
            assert not isinstance(cache._store, ClosedMeanwhile)


def test_an_error_of_the_files_is_told_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        diskcache.Cache(tmp_path / "file" / "store")


def test_a_directory_with_a_database_of_diskcache_is_refused(tmp_path: Path) -> None:
    import diskcache as theirs

    theirs.Cache(str(tmp_path / "cache")).close()
    theirs.FanoutCache(str(tmp_path / "fanout"), shards=2).close()
    for kind in (diskcache.Cache, diskcache.FanoutCache):
        for name in ("cache", "fanout"):
            before = sorted(os.listdir(tmp_path / name))
            with pytest.raises(IncompatibleError, match=f"import --from diskcache {tmp_path / name} "):
                kind(tmp_path / name)
            assert sorted(os.listdir(tmp_path / name)) == before


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_attributes_and_are_reset(path: Path) -> None:
    with diskcache.Cache(path, cull_limit=5, eviction_policy="least-recently-used") as cache:
        for name, value in {**diskcache.DEFAULT_SETTINGS, "cull_limit": 5}.items():
            if name != "eviction_policy":
                assert getattr(cache, name) == cache.reset(name) == value
        assert cache.reset("eviction_policy", "none") == cache.eviction_policy == "none"
        assert cache.reset("tag_index", True) == 1
        cache.drop_tag_index()
        assert cache.tag_index == 0
        cache["a"] = 1
        assert cache.reset("count") == 1 and cache.reset("size") == cache.volume() > 0
        with pytest.raises(InvalidOptionError):
            cache.reset("count", 5)
        with pytest.raises(AttributeError):
            _ = cache.nonsense


def test_nothing_is_removed_without_a_size_limit(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        assert cache.size_limit is None
        for number in range(60):
            cache[number] = os.urandom(100_000)
        assert len(cache) == 60 and cache.cull() == 0


def test_a_size_limit_is_kept_by_evicting(path: Path) -> None:
    with diskcache.Cache(path, size_limit=4e6 + 2e5) as cache:
        for number in range(60):
            cache[number] = os.urandom(100_000)
            assert cache.get(0) is not None, "what is read stays"
        assert 5 < len(cache) < 42 and 59 in cache
        assert sum(file.stat().st_size for file in path.iterdir()) < 4.5e6


@pytest.mark.parametrize("settings", [{"cull_limit": 0}, {"eviction_policy": "none"}])
def test_a_size_limit_can_be_left_to_cull(path: Path, settings: dict[str, Any]) -> None:
    with diskcache.Cache(path, size_limit=100_000, **settings) as cache:
        for number in range(30):
            cache.set(number, os.urandom(10_000))
        assert len(cache) == 30 and cache.volume() > 300_000
        culled = cache.cull()
        if settings == {"cull_limit": 0}:
            assert list(cache) == list(range(culled, 30)) and cache.volume() <= 100_000 < 110_000
        else:
            assert culled == 0 and len(cache) == 30


def test_a_size_limit_can_be_changed(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache.push("x")
        assert cache.reset("size_limit", 5_000_000) == 5_000_000 == cache.size_limit
        for number in range(100):
            cache[number] = os.urandom(100_000)
        assert len(cache) < 50
        with pytest.raises(InvalidOptionError, match="4194304"):
            cache.reset("size_limit", 1000)
        assert cache.size_limit == 5_000_000 and cache.set("a", 1)
        with diskcache.Cache(path), pytest.raises(IncompatibleError):
            cache.reset("size_limit", 6_000_000)
        assert cache.size_limit == 5_000_000 and cache["a"] == 1


def test_hits_and_misses_are_counted_when_asked_for(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache[0] = 0
        assert cache.get(0) == 0 and cache.stats(enable=True) == (0, 0)
        for _ in range(10):
            assert cache[0] == 0
        assert cache.get(1) is None and cache.get(0, read=True, tag=True) == (0, None)
        cache.incr(0)
        assert 0 in cache and cache.stats(reset=True) == (11, 1)
        assert cache.get(0) == 1 and cache.stats(enable=False) == (1, 0)
        assert cache.get(0) == 1 and cache.stats() == (1, 0)


# --- values in files --------------------------------------------------------------------------------------------------


def test_files_are_read_and_given(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        for size in (0, 3, 3_000_000):
            content = os.urandom(size)
            assert cache.set("a", io.BytesIO(content), read=True, tag="t")
            assert cache["a"] == content
            reader, expires, tag = cache.get("a", read=True, expire_time=True, tag=True)
            with reader, cache.read("a") as other:
                assert reader.read() == other.read() == content and (expires, tag) == (None, "t")
        assert cache.add("b", io.BytesIO(b"b"), read=True) and not cache.add("b", io.BytesIO(b"c"), read=True)
        key = cache.push(io.BytesIO(b"pushed"), read=True)
        assert cache.pull() == (key, b"pushed")
        cache["text"] = "text"
        assert cache.get("text", read=True) == "text"
        with pytest.raises(KeyError):
            cache.read("none")
        for wrong in (io.StringIO("a"), object()):
            with pytest.raises(TypeError, match="binary"):
                cache.set("b", wrong, read=True)
        assert cache["b"] == b"b"


# --- secrets, pickling ------------------------------------------------------------------------------------------------


def test_a_store_can_be_encrypted_and_compressed(path: Path) -> None:
    key = os.urandom(32)
    with diskcache.FanoutCache(path, encryption_key=key, compression=True) as cache:
        cache["a"] = "secret " * 100
        cache.cache("b")["a"] = "secret " * 100
        cache.deque("c").append("secret " * 100)
        cache.push("secret " * 100)
        cache.close()
        assert cache["a"] == cache.cache("b")["a"] == cache.deque("c")[0] == "secret " * 100
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) > 10 and not any(b"secret" in file.read_bytes() for file in files)
    with pytest.raises(WrongSecretError):
        diskcache.Cache(path)
    with pytest.raises(WrongSecretError):
        diskcache.Cache(path, encryption_key=os.urandom(32))


def test_handles_can_be_pickled(path: Path) -> None:
    with diskcache.Cache(path, timeout=5, cull_limit=3, allow_pickle=True) as cache:
        cache["a"] = 1
        with pickle.loads(pickle.dumps(cache)) as other:
            assert other["a"] == 1 and (other.timeout, other.cull_limit) == (5, 3)
            assert other.set("b", {1j}) and cache["b"] == {1j}
    with diskcache.FanoutCache(path / "fanout", shards=3) as fanout, pickle.loads(pickle.dumps(fanout)) as other:
        fanout["a"] = 1
        assert other["a"] == 1 and other.index("i").setdefault("b", 2) == 2 and other.timeout == 0.010
    deque = diskcache.Deque([1, 2], path / "deque", maxlen=2)
    index = diskcache.Index(str(path / "index"), a=1)
    assert list(pickle.loads(pickle.dumps(deque))) == [1, 2] and pickle.loads(pickle.dumps(deque)).maxlen == 2
    assert dict(pickle.loads(pickle.dumps(index))) == {"a": 1}


def test_the_secret_is_not_pickled(path: Path) -> None:
    key = os.urandom(32)
    with diskcache.FanoutCache(path, encryption_key=key) as cache:
        cache["a"] = 1
        pickled = pickle.dumps(cache)
    assert key not in pickled
    with pickle.loads(pickled) as other:
        assert other["a"] == 1, "this process knows it"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_handle_goes_to_other_processes(path: Path, method: str) -> None:
    with diskcache.Cache(path) as cache:
        cache["a"] = 1
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert sorted(pool.map(_incremented, [cache] * 6)) == [2, 3, 4, 5, 6, 7]
        assert cache["a"] == 7


def _incremented(cache: diskcache.Cache) -> Any:
    return cache.incr("a")


# --- parts, and the name of diskcache ---------------------------------------------------------------------------------


def test_parts_of_a_fanout_cache_are_apart(path: Path) -> None:
    with diskcache.FanoutCache(path) as cache:
        part, deque, index = cache.cache("a/b"), cache.deque("a"), cache.index("a")
        assert cache.cache("a/b") is part and cache.deque("a") is deque and cache.index("a") is index
        part["k"], index["k"] = 1, 2
        deque.append(3)
        assert "k" not in cache and part.directory == str(path / "cache" / "a" / "b")
        cache["k"] = 0
        assert [part["k"], index["k"], deque[0], cache["k"]] == [1, 2, 3, 0]
        assert list(diskcache.Deque(directory=path / "deque" / "a")) == [3] and cache.check() == []


def test_it_can_be_found_under_the_name_of_diskcache(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "diskcache"]:
        monkeypatch.delitem(sys.modules, name)
    diskcache.install(allow_pickle=True)
    try:
        import diskcache as found
        from diskcache.core import MODE_PICKLE, Cache, args_to_key
        from diskcache.fanout import FanoutCache
        from diskcache.persistent import Deque
        from diskcache.recipes import Lock

        assert found is diskcache and (Cache, FanoutCache, Deque, Lock) == (
            diskcache.Cache,
            diskcache.FanoutCache,
            diskcache.Deque,
            diskcache.Lock,
        )
        assert MODE_PICKLE == 4 and args_to_key((), (1,), {"a": 2}, False, ()) == (1, None, "a", 2)
        with found.Cache(path) as cache:
            cache["a"] = Exception("a")
            assert isinstance(cache["a"], Exception)
    finally:
        diskcache.uninstall()
    assert "diskcache" not in sys.modules
    with diskcache.Cache(path) as cache, pytest.raises(TypeError):
        cache["b"] = Exception("a")
    import diskcache as theirs

    assert theirs is not diskcache
    with pytest.raises(InvalidOptionError, match="imported already"):
        diskcache.install()
