"""Options that make no sense are told at once, by name, before any file is made."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cachemere
import cachemere.diskcache
import cachemere.migration
import pytest
from cachemere import Cache, CacheError, PersistDict
from cachemere.errors import InvalidOptionError

SECONDS: list[Any] = ["x", 0, -1, 0.0, float("nan"), float("inf"), 1e300, 10**400, 10**5000, 1e-9, 1j, True, []]
SECONDS += [datetime.timedelta(0), datetime.timedelta(-1), "30", "1y", "-1d"]
COUNTS = ["1", 1.5, 0, -1, True, 2**64, 10**5000, [], b"1"]
FLAGS = ["no", "", 0, 1, [], b"x"]

COMMON: dict[str, list[Any]] = {
    "ttl": SECONDS,
    "max_bytes": [*COUNTS, (4 << 20) - 1],
    "max_entries": COUNTS,
    "compression": [*FLAGS, "zstd"],
    "encryption_key": [5, True, "", b"", b"x" * 31, b"x" * 33, ["a"], memoryview(bytes(32)), "\ud800"],
    "allow_pickle": [*FLAGS, None],
    "durability": ["x", "Sync", "", None, 5, [], True],
    "namespace": [5, None, b"name", "", "x" * 256, "é" * 128, "\ud800", ["a"]],
    "types": [5, None, "Pair", int, [5], [int]],
    "memory_bytes": ["x", -1, -1.5, "1G", float("nan"), 2**64, True, None],
}
OF_CACHE: dict[str, list[Any]] = {
    "path": [5, object(), ["a"], "", b"", "a\0b", "\ud800"],
    "idle": SECONDS,
    "read_only": [*FLAGS, None],
    "on_error": ["x", None, 5, []],
}
OF_DICT: dict[str, list[Any]] = {
    "database_path": [*OF_CACHE["path"], None],
    "expiration_days": [value for value in SECONDS if value not in (0, 1e-9)] + [1e-12, 1e15, None],
    "key_size_limit": [*COUNTS, None],
    "background_timeout": [*SECONDS, None],
    "background_thread": ["x", None, 0, 1, []],
    "name": [5, b"x"],
    "key_serializer": [5, str],
    "key_unserializer": [5, str],
    "value_serializer": [5, str],
    "value_unserializer": [5, str],
}

CASES = [
    (face, name, value)
    for face, options in ((Cache, COMMON | OF_CACHE), (PersistDict, COMMON | OF_DICT))
    for name, values in options.items()
    for value in values
]


def named(case: object) -> str:
    return f"{case.__name__}" if isinstance(case, type) else f"{str(type(case))[8:-2]}"


@pytest.mark.parametrize(("face", "name", "value"), CASES, ids=named)
def test_an_option_that_makes_no_sense_is_told_at_once_and_by_name(
    path: Path, face: Any, name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = "path" if face is Cache else "database_path"
    with pytest.raises(InvalidOptionError) as caught:
        face(**{place: path, name: value})
    assert isinstance(caught.value, CacheError) and isinstance(caught.value, ValueError)
    assert name.removeprefix("database_") in str(caught.value)
    assert len(str(caught.value)) < 300
    assert list(tmp_path.iterdir()) == [], "no file was made"


def test_what_is_just_right_is_taken(path: Path) -> None:
    with Cache(
        path,
        namespace="é" * 127,
        ttl=1e-6,
        idle=2**62,
        max_bytes=4 << 20,
        max_entries=1,
        memory_bytes=0,
        encryption_key=bytearray(32),
        types=iter(()),
    ) as cache:
        assert cache.add("k", 1, ttl=10) and cache["k"] == 1
    with PersistDict[str, int](path, encryption_key=bytes(32), expiration_days=0.5, max_bytes=4 << 20) as d:
        d["k"] = 1
        assert d["k"] == 1


@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_an_unknown_option_is_a_type_error_as_for_any_function(path: Path, face: Any) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        face(path, nonsense=1)
    with pytest.raises(TypeError, match="nonsense"):
        cachemere.open(path, nonsense=1)
    assert not path.exists()


class Unspeakable:
    def __repr__(self) -> str:
        raise LookupError("mine")


@pytest.mark.parametrize("name", ["ttl", "max_bytes", "compression", "namespace", "durability", "types"])
def test_a_value_that_cannot_be_shown_does_not_hide_the_error(path: Path, name: str) -> None:
    wrong: Any = {name: [Unspeakable()] if name == "types" else Unspeakable()}
    with pytest.raises(InvalidOptionError, match=name):
        Cache(path, **wrong)


def test_a_secret_is_never_shown(path: Path) -> None:
    for secret in (b"hunter2" * 3, bytearray(b"hunter2"), ["hunter2"], memoryview(b"hunter2")):
        wrong: Any = secret
        with pytest.raises(InvalidOptionError) as caught:
            Cache(path, encryption_key=wrong)
        assert "hunter" not in str(caught.value)


# --- arguments of methods ---------------------------------------------------------------------------------------------

#: An argument, and calls that take it and write if it is right.
TTL: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda cache, ttl: cache.set("k", 2, ttl),
    "add": lambda cache, ttl: cache.add("absent", 2, ttl),
    "incr": lambda cache, ttl: cache.incr("k", ttl=ttl),
    "decr": lambda cache, ttl: cache.decr("k", ttl=ttl),
    "touch": lambda cache, ttl: cache.touch("k", ttl),
    "set_many": lambda cache, ttl: cache.set_many({"k": 2}, ttl),
    "set_many nothing": lambda cache, ttl: cache.set_many({}, ttl),
    "get_or_set": lambda cache, ttl: cache.get_or_set("absent", never, ttl),
    "memoize": lambda cache, ttl: cache.memoize(ttl=ttl),
}
TAGS: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda cache, tags: cache.set("k", 2, tags=tags),
    "add": lambda cache, tags: cache.add("absent", 2, tags=tags),
    "set_many": lambda cache, tags: cache.set_many({"k": 2}, tags=tags),
    "set_many nothing": lambda cache, tags: cache.set_many({}, tags=tags),
    "get_or_set": lambda cache, tags: cache.get_or_set("absent", never, tags=tags),
    "memoize": lambda cache, tags: cache.memoize(tags=tags),
}


def never() -> Any:
    raise AssertionError("what is wrong is told before anything is computed")


@pytest.fixture
def unchanged(path: Path) -> Any:
    """A cache with one entry, which is all that is in it afterwards."""
    with Cache(path) as cache:
        cache["k"] = 1
        before = cache.info("k")
        yield cache
        after = cache.info("k")
        assert before is not None and after is not None
        assert list(cache.items()) == [("k", 1)]
        assert (after.mtime, after.expires_at) == (before.mtime, None)


@pytest.mark.parametrize("call", TTL.values(), ids=TTL)
def test_a_ttl_that_makes_no_sense_changes_nothing(unchanged: Cache, call: Callable[[Any, Any], Any]) -> None:
    for ttl in SECONDS:
        with pytest.raises(
            InvalidOptionError,
            match="ttl must be (a positive number of seconds|less than 1.84e|at least a microsecond)",
        ):
            call(unchanged, ttl)


def test_nor_does_it_in_a_dict(path: Path) -> None:
    with PersistDict[str, int](path) as d:
        d["k"] = 1
        for ttl in SECONDS:
            with pytest.raises(
                InvalidOptionError,
                match="ttl must be (a positive number of seconds|less than 1.84e|at least a microsecond)",
            ):
                d.set("k", 2, ttl)  # type: ignore[arg-type]
        assert dict(d.items()) == {"k": 1} and d.info("k").expires_at is None


@pytest.mark.parametrize("call", TAGS.values(), ids=TAGS)
def test_tags_that_make_no_sense_change_nothing(unchanged: Cache, call: Callable[[Any, Any], Any]) -> None:
    for tags in ("x", 5, None, [1], [None], [b"x"], object()):
        with pytest.raises(InvalidOptionError, match="tags must be a collection of str"):
            call(unchanged, tags)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("tag", lambda cache: cache.evict(5)),
        ("tag", lambda cache: cache.evict(["t"])),
        ("delta", lambda cache: cache.incr("k", "x")),
        ("delta", lambda cache: cache.incr("k", None)),
        ("delta", lambda cache: cache.incr("k", True)),
        ("delta", lambda cache: cache.decr("k", "x")),
        ("default", lambda cache: cache.incr("absent", 1, "x")),
        ("default", lambda cache: cache.incr("absent", 1, None)),
        ("namespace", lambda cache: cache.namespace(5)),
        ("namespace", lambda cache: cache.namespace("")),
        ("path", lambda cache: cache.backup(5)),
        ("path", lambda cache: cache.backup("")),
        ("path", lambda cache: cache.backup("a\0b")),
        ("encryption_key", lambda cache: cache.change_encryption_key(5, "new")),
        ("encryption_key", lambda cache: cache.change_encryption_key("old", None)),
        ("encryption_key", lambda cache: cache.change_encryption_key("old", b"short")),
        ("reencrypt", lambda cache: cache.change_encryption_key("old", "new", reencrypt="x")),
        ("encryption_key", lambda cache: cachemere.unlock(cache.path, None)),  # type: ignore[arg-type]
        ("path", lambda cache: cachemere.unlock(5, "secret")),  # type: ignore[arg-type]
        ("skip_damaged", lambda cache: PersistDict(cache.path).to_dict(skip_damaged="x")),
        ("background_thread", lambda cache: PersistDict(cache.path, background_thread="off")),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(unchanged: Cache, name: str, call: Callable[[Cache], Any]) -> None:
    with pytest.raises(InvalidOptionError, match=name):
        call(unchanged)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", object()),
        ("version", 1.5),
        ("ignore", 5),
        ("ignore", [5]),
        ("key", 5),
        ("cache_if", 5),
        ("typed", "x"),
        ("cache", 5),
        ("cache", {}),
    ],
)
def test_an_option_of_memoize_that_makes_no_sense_is_named(name: str, value: Any) -> None:
    wrong: Any = {name: value}
    with pytest.raises(InvalidOptionError, match=f"memoize: {name}"):
        cachemere.memoize(**wrong)


@pytest.mark.parametrize(
    "face",
    [
        lambda path, key: Cache(path, encryption_key=key),
        lambda path, key: PersistDict(path, encryption_key=key),
        lambda path, key: cachemere.open(path, encryption_key=key),
        lambda path, key: cachemere.diskcache.Cache(path, encryption_key=key),
        lambda path, key: cachemere.diskcache.FanoutCache(path, encryption_key=key),
        lambda path, key: cachemere.migration.import_store("shelve", path, path.with_name("new"), encryption_key=key),
    ],
    ids=["Cache", "PersistDict", "open", "diskcache.Cache", "diskcache.FanoutCache", "import_store"],
)
def test_a_key_that_came_to_be_none_makes_no_plain_store(path: Path, face: Any) -> None:
    with pytest.raises(InvalidOptionError, match="encryption_key is None.*leave encryption_key out"):
        face(path, os.environ.get("A_TYPO"))
    assert not list(path.parent.iterdir())
