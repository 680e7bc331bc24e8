"""What is not carried over is refused by name, before anything is done; and arguments that make no sense."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache as theirs
import pytest
from cachemere import Cache, CacheError, diskcache
from cachemere.errors import InvalidOptionError, KeyFormError, NotCarriedOverError, UnsafeValueError, ValueFormError

KINDS = [diskcache.Cache, diskcache.FanoutCache]


class Filenames(diskcache.Disk):
    """A disk with code of its own."""

    def filename(self, key: Any = None, value: Any = None) -> Any:
        raise AssertionError("is never called")


class TheirFilenames(theirs.Disk):
    """The same of diskcache's."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"sqlite_mmap_size": 2**28},
        {"sqlite_journal_mode": "delete"},
        {"sqlite_synchronous": 0},
        {"sqlite_unheard_of": 1},
        {"disk_min_file_size": 0},
        {"disk_pickle_protocol": 2},
        {"disk_compress_level": 6},
        {"disk_unheard_of": 6},
        {"eviction_policy": "least-frequently-used"},
        {"disk": Filenames},
        {"disk": TheirFilenames},
    ],
    ids=str,
)
def test_it_is_named_and_nothing_is_made(path: Path, kind: Any, settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(NotCarriedOverError, match=name) as caught:
        kind(path, **settings)
    assert isinstance(caught.value, (InvalidOptionError, NotImplementedError)) and not path.exists()
    if name != "disk":
        with kind(path) as cache, pytest.raises(NotCarriedOverError, match=name):
            cache.reset(name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_diskcache_has_by_default_is_not_refused(path: Path, kind: Any) -> None:
    unless_given = {name: value for name, value in theirs.DEFAULT_SETTINGS.items() if name != "size_limit"}
    for disk in (diskcache.Disk, diskcache.JSONDisk, theirs.Disk, theirs.JSONDisk):
        with kind(path, disk=disk, **unless_given) as cache:
            cache["a"] = (1, {"b": b"c"})
            assert cache["a"] == (1, {"b": b"c"})
            assert isinstance(cache.disk, diskcache.JSONDisk) is (disk in (diskcache.JSONDisk, theirs.JSONDisk))
    with kind(path, size_limit=theirs.DEFAULT_SETTINGS["size_limit"]) as cache:
        assert cache.size_limit == 2**30, "who asks for it, gets it"


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_mean_nothing_are_kept_as_diskcache_keeps_them(path: Path, kind: Any) -> None:
    with kind(path, colour="red") as cache:
        assert cache.colour == "red" == cache.reset("colour")
        assert cache.reset("colour", "blue") == "blue" == cache.colour
        assert cache.reset("shape", 3) == 3 == cache.shape
        with pytest.raises(InvalidOptionError, match="sound was not set"):
            cache.reset("sound")
        with pytest.raises(AttributeError):
            _ = cache.sound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("disk", [diskcache.JSONDisk, theirs.JSONDisk])
def test_a_json_disk_says_whether_to_compress(tmp_path: Path, kind: Any, disk: Any) -> None:
    for level, compressor in ((6, "zstd"), (1, "zstd"), (0, None)):
        with kind(tmp_path / str(level), disk=disk, disk_compress_level=level) as cache:
            cache["a"] = ["x"] * 1000
            assert cache["a"] == ["x"] * 1000 and cache.disk_compress_level == level
            with Cache(cache.directory) as store:
                assert {it.name: it.compressor for it in store.describe().namespaces}["default"] == compressor
    for wrong in (10, -1, "6"):
        with pytest.raises(InvalidOptionError, match="disk_compress_level"):
            kind(tmp_path / "wrong", disk=disk, disk_compress_level=wrong)


def test_modules_of_diskcache_are_there_without_being_asked_for() -> None:
    for name in ("core", "fanout", "persistent", "recipes"):
        assert getattr(diskcache, name).__name__ == f"cachemere.diskcache.{name}"
    assert diskcache.core.ENOVAL is diskcache.ENOVAL and diskcache.core.Cache is diskcache.Cache


@pytest.mark.parametrize("kind", KINDS)
def test_a_true_for_the_time_of_expiry_is_a_time_of_long_ago(path: Path, kind: Any) -> None:
    with kind(path) as cache:
        cache.set("a", 1, expire=100)
        assert cache.expire(True) == 0 == cache.expire(False) and cache["a"] == 1


def test_djangos_cache_is_named() -> None:
    with pytest.raises(NotCarriedOverError, match="Django"):
        from cachemere.diskcache import DjangoCache  # noqa: F401
    with pytest.raises(AttributeError):
        _ = diskcache.nonsense


def test_a_damaged_store_is_not_mended_by_check(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache["a"] = b"soundness" * 50
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"soundnesssoundness", b"soundnessSoundness"))
    with diskcache.Cache(path) as cache:
        assert "checksum" in str(cache.check()[0].message)
        with pytest.raises(NotCarriedOverError, match="backup"):
            cache.check(fix=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"directory": 5},
        {"directory": ""},
        {"timeout": -1},
        {"timeout": "1"},
        {"timeout": math.nan},
        {"disk": None},
        {"disk": "Disk"},
        {"disk": dict},
        {"size_limit": -1},
        {"size_limit": "1 GB"},
        {"size_limit": 1000},
        {"size_limit": math.nan},
        {"cull_limit": -1},
        {"cull_limit": 1.5},
        {"eviction_policy": "random"},
        {"statistics": "yes"},
        {"tag_index": 2},
        {"max_bytes": 10**9},
        {"max_entries": 10},
        {"size_limt": 10**9},
        {"evictionpolicy": "none"},
        {"encryption_key": b"short"},
        {"allow_pickle": "no"},
        {"types": int},
        {"durability": "none"},
    ],
    ids=str,
)
def test_wrong_options_are_named(path: Path, kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="path" if "directory" in wrong else next(iter(wrong))) as caught:
        kind(**{"directory": path, **wrong})
    assert isinstance(caught.value, ValueError) and not path.exists()


def test_wrong_numbers_of_shards(path: Path) -> None:
    for shards in (0, -1, 1.5, "8"):
        with pytest.raises(InvalidOptionError, match="shards"):
            diskcache.FanoutCache(path, shards=shards)  # type: ignore[arg-type]


USES: dict[str, Callable[[Any], Any]] = {
    "expire": lambda cache: cache.set("a", 1, expire="soon"),
    "expire of add": lambda cache: cache.add("b", 1, expire=math.nan),
    "expire of touch": lambda cache: cache.touch("a", expire=object()),
    "expire of push": lambda cache: cache.push(1, expire="soon"),
    "tag": lambda cache: cache.set("a", 1, tag=("a",)),
    "tag of evict": lambda cache: cache.evict(["a"]),
    "tag of text that is none": lambda cache: cache.set("a", 1, tag="\ud800"),
    "delta": lambda cache: cache.incr("a", "1"),
    "default": lambda cache: cache.incr("b", default="0"),
    "prefix": lambda cache: cache.push(1, prefix=5),
    "side": lambda cache: cache.push(1, side="left"),
    "side of pull": lambda cache: cache.pull(side=None),
    "now": lambda cache: cache.expire(now="now"),
    "setting": lambda cache: cache.reset("unheard_of"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_arguments_are_named_and_change_nothing(path: Path, kind: Any, use: Callable[[Any], Any]) -> None:
    with kind(path) as cache:
        cache["a"] = 1
        with pytest.raises(InvalidOptionError):
            use(cache)
        assert [(key, cache.get(key, expire_time=True, tag=True)) for key in cache] == [("a", (1, None, None))]


@pytest.mark.parametrize("key", [["a"], {"a": 1}, {1}, object(), (1, [2])], ids=str)
def test_keys_that_cannot_be_keys_are_refused(path: Path, key: Any) -> None:
    with diskcache.Cache(path) as cache:
        uses: list[Callable[[], Any]] = [
            lambda: cache.get(key),
            lambda: cache.set(key, 1),
            lambda: cache.add(key, 1),
            lambda: cache.incr(key),
            lambda: cache.pop(key),
            lambda: cache.touch(key),
            lambda: cache.delete(key),
            lambda: key in cache,
            lambda: cache[key],
        ]
        for use in uses:
            with pytest.raises(KeyFormError):
                use()
        assert len(cache) == 0


def test_values_that_would_be_pickled_are_refused(path: Path) -> None:
    with diskcache.Cache(path) as cache:
        cache["a"] = 1
        writes: list[Callable[[Any], Any]] = [
            lambda value: cache.set("a", value),
            lambda value: cache.set("a", value, expire=-1),
            lambda value: cache.__setitem__("a", value),
            lambda value: cache.add("b", value),
            lambda value: cache.push(value),
            lambda value: diskcache.Deque.fromcache(cache, [value]),
            lambda value: diskcache.Index.fromcache(cache, b=value),
        ]
        for write in writes:
            for value in (object(), [lambda: 1], Filenames):
                with pytest.raises(UnsafeValueError, match="allow_pickle"):
                    write(value)
                assert cache.memoize()(lambda value=value: value)() is value, "it was paid for"
        for text in ("a", [1], None, True, b"1"):
            cache["a"] = text
            with pytest.raises(ValueFormError, match="not a number"):
                cache.incr("a")
        del cache["a"]
        assert len(cache) == 0 and cache.pull() == (None, None)


# --- a hostile store --------------------------------------------------------------------------------------------------


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __reduce__(self) -> Any:
        return os.mkdir, (self.where,)


READS: dict[str, Callable[[diskcache.Cache], Any]] = {
    "get": lambda cache: cache.get("key"),
    "get with details": lambda cache: cache.get("key", expire_time=True, tag=True),
    "get as a file": lambda cache: cache.get("key", read=True),
    "item": lambda cache: cache["key"],
    "read": lambda cache: cache.read("key"),
    "pop": lambda cache: cache.pop("key"),
    "incr": lambda cache: cache.incr("key"),
    "peekitem": lambda cache: cache.peekitem(),
    "pull": lambda cache: cache.pull(),
    "peek": lambda cache: cache.peek(side="back"),
    "pull of a prefix": lambda cache: cache.pull("queue"),
    "deque": lambda cache: list(diskcache.Deque.fromcache(cache)),
    "deque's pop": lambda cache: diskcache.Deque.fromcache(cache).pop(),
    "index": lambda cache: dict(diskcache.Index.fromcache(cache)),
    "popitem": lambda cache: diskcache.Index.fromcache(cache).popitem(),
    "lock": lambda cache: diskcache.RLock(cache, "key").acquire(),
    "averager": lambda cache: diskcache.Averager(cache, "key").add(1),
    "semaphore": lambda cache: diskcache.BoundedSemaphore(cache, "key").acquire(),
    "memoize": lambda cache: cache.memoize("name")(lambda: 1)(),
    "stampede": lambda cache: diskcache.memoize_stampede(cache, 5, "name")(lambda: 1)(),
}


@pytest.fixture
def hostile(path: Path, tmp_path: Path) -> Path:
    """A store whose entries would run code, and whose places of queues are not what they should be."""
    trap = Trap(str(tmp_path / "sprung"))
    with diskcache.Cache(path, allow_pickle=True) as cache:
        for key in ("name", 500_000_000_000_000, "queue-500000000000000", "key"):
            cache[key] = trap
        cache.set(("name", None), trap, expire=100)
    return path


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_would_run_code_is_refused_and_not_run(hostile: Path, tmp_path: Path, read: Callable[[Any], Any]) -> None:
    with diskcache.Cache(hostile) as cache:
        keys = list(cache)
        with pytest.raises(UnsafeValueError, match="allow_pickle"):
            read(cache)
        with cache.transact(), pytest.raises(UnsafeValueError):
            read(cache)
        assert list(cache) == keys and not (tmp_path / "sprung").exists()


def test_json_that_names_classes_is_text(path: Path) -> None:
    crafted = json.dumps({"py/object": "os.system", "lc": 1, "type": "constructor", "id": ["os", "system"]})
    with diskcache.Cache(path) as cache:
        cache["key"] = crafted
        assert cache["key"] == crafted


@pytest.mark.parametrize("ends", ["text", None, 5, (1,), (1, 2, 3), ("a", "b"), (1.5, 2), (10**14, 10**30), (-5, 5)])
def test_crafted_ends_of_a_queue_are_an_error_or_nothing(path: Path, ends: Any) -> None:
    import cachemere

    with diskcache.Cache(path) as cache:
        cache.push("a")
        with cachemere.Cache(path, namespace="diskcache.queues") as queues:
            queues[None] = ends
        for use in (cache.pull, cache.peek, lambda: cache.push("b"), lambda: diskcache.Deque.fromcache(cache)[0]):
            with pytest.raises(CacheError, match="queue"):
                use()
        cache.clear()
        cache.push("c")
        assert cache.pull() == (500_000_000_000_000, "c")
