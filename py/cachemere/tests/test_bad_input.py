"""What goes wrong has an exception of its own, and loses nothing: options, paths, secrets, other pipelines, damage."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache, CacheError, PersistDict
from cachemere.errors import (
    ClosedError,
    DamagedError,
    IncompatibleError,
    InvalidOptionError,
    StoreFullError,
    StoreIOError,
    TamperedError,
    WrongSecretError,
)

PAGE = 4096
KEY = b"k" * 32

Open = Callable[..., Any]


def open_cache(path: object, **options: Any) -> Cache:
    """Opened, so that whatever is wrong shows."""
    cache = Cache(path, **options)  # type: ignore[arg-type]
    len(cache)
    return cache


FACES = pytest.mark.parametrize("face", [open_cache, PersistDict], ids=["Cache", "PersistDict"])


def files(path: Path) -> dict[str, bytes]:
    """The files that hold something; those of locks change by being used."""
    return {each.name: each.read_bytes() for each in path.iterdir() if "lock" not in each.name}


# --- options ----------------------------------------------------------------------------------------------------------

BOTH = [
    {"ttl": 0},
    {"ttl": -1.0},
    {"ttl": float("nan")},
    {"ttl": float("inf")},
    {"ttl": "60"},
    {"ttl": True},
    {"max_bytes": 0},
    {"max_bytes": -5},
    {"max_bytes": 1e9},
    {"max_bytes": "1 GB"},
    {"max_bytes": 1 << 70},
    {"max_entries": 0},
    {"max_entries": 2.5},
    {"memory_bytes": -1},
    {"memory_bytes": "64"},
    {"compression": "zstd"},
    {"durability": "none"},
    {"durability": None},
    {"encryption_key": b"too short"},
    {"encryption_key": ""},
    {"encryption_key": 5},
    {"namespace": None},
    {"namespace": b"bytes"},
    {"types": [int]},
]
OF_CACHE = [{"idle": 0}, {"idle": "60"}, {"on_error": "ignore"}]
OF_DICT = [
    {"expiration_days": -1},
    {"expiration_days": float("nan")},
    {"expiration_days": "30"},
    {"background_thread": "sometimes"},
    {"background_timeout": 0},
    {"background_timeout": "30"},
    {"key_size_limit": -1},
    {"key_size_limit": None},
    {"value_serializer": str},
    {"key_unserializer": str},
    {"value_serializer": 1, "value_unserializer": 2},
]


@pytest.mark.parametrize(
    ("face", "options"),
    [(face, options) for face in (Cache, PersistDict) for options in BOTH]
    + [(Cache, options) for options in OF_CACHE]
    + [(PersistDict, options) for options in OF_DICT],
    ids=str,
)
def test_an_option_without_sense_is_named_at_once(path: Path, face: Open, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        face(path, **options)
    assert isinstance(caught.value, CacheError) and isinstance(caught.value, ValueError)
    if "types" not in options:
        name = next(iter(options))
        assert name.replace("_unserializer", "_serializer") in str(caught.value)
    assert not path.exists(), "nothing was made"


@FACES
def test_an_unknown_option_is_a_type_error(path: Path, face: Open) -> None:
    with pytest.raises(TypeError, match="time_to_live"):
        face(path, time_to_live=5)
    assert not path.exists()


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_lifetime_without_sense_writes_nothing(path: Path, ttl: float) -> None:
    with Cache(path) as cache, PersistDict(path, namespace="dict") as d:
        cache["k"] = 1
        for write in (
            lambda: cache.set("k", 2, ttl=ttl),
            lambda: cache.add("new", 2, ttl=ttl),
            lambda: cache.set_many({"new": 2}, ttl=ttl),
            lambda: cache.touch("k", ttl=ttl),
            lambda: d.set("k", 2, ttl=ttl),
        ):
            with pytest.raises(InvalidOptionError, match="ttl"):
                write()
        with pytest.raises(TypeError, match="ttl"):
            cache.set("k", 2, ttl="x")  # type: ignore[arg-type]
        assert dict(cache.items()) == {"k": 1} and len(d) == 0


# --- paths ------------------------------------------------------------------------------------------------------------


@FACES
@pytest.mark.parametrize("wrong", [5, 1.5, ["a"], object()])
def test_a_path_is_a_string_or_path(face: Open, wrong: object) -> None:
    with pytest.raises(InvalidOptionError, match="path"):
        face(wrong)


@FACES
def test_a_missing_parent_is_made_or_named(tmp_path: Path, face: Open) -> None:
    """One level is made; a path of which more is missing is more likely a mistake."""
    deep = tmp_path / "missing" / "parent" / "store"
    with contextlib.suppress(StoreIOError):
        face(deep).close()
        assert deep.is_dir()
        return
    with pytest.raises(StoreIOError, match="missing/parent") as caught:
        face(deep)
    assert isinstance(caught.value, OSError) and not (tmp_path / "missing").exists()


@FACES
def test_a_path_that_is_a_file_is_left_alone(path: Path, face: Open) -> None:
    path.write_text("precious")
    with pytest.raises(CacheError, match=str(path)):
        face(path)
    assert path.read_text() == "precious"


@FACES
def test_a_directory_of_another_program_is_left_alone(path: Path, face: Open) -> None:
    path.mkdir()
    with contextlib.closing(sqlite3.connect(path / "data.mdb")) as other:
        other.execute("create table t (x)")
        other.commit()
    before = files(path)
    with pytest.raises((IncompatibleError, DamagedError)):
        face(path)
    assert {name: data for name, data in files(path).items() if name in before} == before


@FACES
def test_a_path_has_one_store_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Open
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "store")
    handles = [face(written) for written in ("store", tmp_path / "store", "./x/../store", "~/store", b"store", "link")]
    for number, handle in enumerate(handles):
        handle[number] = number
    for handle in handles:
        assert list(handle) == list(range(len(handles)))
    monkeypatch.chdir("/")
    handles[0]["later"] = 1
    assert handles[-1]["later"] == 1
    for handle in handles:
        handle.close()


# --- secrets and pipelines --------------------------------------------------------------------------------------------


@FACES
@pytest.mark.parametrize(
    ("made_with", "opened_with"),
    [("right", "wrong"), ("right", None), ("right", KEY), (KEY, b"x" * 32), (KEY, "right"), (None, "right"), (None, KEY)],
)
def test_another_secret_is_an_error_and_changes_nothing(
    path: Path, face: Open, made_with: str | bytes | None, opened_with: str | bytes | None
) -> None:
    with face(path, encryption_key=made_with) as made:
        made["k"] = "value"
    before = files(path)
    with pytest.raises(WrongSecretError) as caught:
        face(path, encryption_key=opened_with)
    assert "right" not in str(caught.value) and "wrong'" not in str(caught.value), "no secret is in a message"
    assert files(path) == before
    with face(path, encryption_key=made_with) as again:
        assert again["k"] == "value"


OTHERS = [
    ({"compression": True}, {"compression": False}, ("zstd", "none")),
    ({"compression": False}, {"compression": True}, ("none", "zstd")),
    ({"value_serializer": str, "value_unserializer": int}, {}, ("python+own values", "python")),
    ({}, {"key_serializer": str, "key_unserializer": str}, ("python", "python+own keys")),
]


@pytest.mark.parametrize(("made_with", "opened_with", "named"), OTHERS)
def test_a_store_of_another_pipeline_is_named_and_left_alone(
    path: Path, made_with: dict[str, Any], opened_with: dict[str, Any], named: tuple[str, str]
) -> None:
    with PersistDict(path, **made_with) as made:
        made["1"] = 1
    before = files(path)
    with pytest.raises(IncompatibleError) as caught:
        PersistDict(path, **opened_with)
    for name in named:
        assert name in str(caught.value)
    assert files(path) == before
    with PersistDict(path, **made_with) as again:
        assert dict(again) == {"1": 1}


# --- closed handles ---------------------------------------------------------------------------------------------------


def test_every_method_of_a_closed_cache_says_so(path: Path) -> None:
    cache = Cache(path)
    cache["k"] = 1
    cache.close()
    uses: dict[str, Callable[[], object]] = {
        "get": lambda: cache.get("k"),
        "[]": lambda: cache["k"],
        "set": lambda: cache.set("k", 2),
        "add": lambda: cache.add("k", 2),
        "delete": lambda: cache.delete("k"),
        "pop": lambda: cache.pop("k"),
        "incr": lambda: cache.incr("n"),
        "touch": lambda: cache.touch("k"),
        "in": lambda: "k" in cache,
        "len": lambda: len(cache),
        "list": lambda: list(cache),
        "reversed": lambda: list(reversed(cache)),
        "get_many": lambda: cache.get_many(["k"]),
        "set_many": lambda: cache.set_many({"k": 2}),
        "delete_many": lambda: cache.delete_many(["k"]),
        "get_or_set": lambda: cache.get_or_set("k", lambda: 2),
        "info": lambda: cache.info("k"),
        "evict": lambda: cache.evict("tag"),
        "clear": lambda: cache.clear(),
        "stats": lambda: cache.stats(),
        "sweep": lambda: cache.sweep(),
        "sync": lambda: cache.sync(),
        "verify": lambda: cache.verify(),
        "backup": lambda: cache.backup(path.parent / "copy"),
    }
    for name, use in uses.items():
        with pytest.raises(ClosedError) as caught:
            use()
        assert isinstance(caught.value, ValueError), name
    cache.close()
    assert not (path.parent / "copy").exists()
    with Cache(path) as again:
        assert dict(again.items()) == {"k": 1}


def test_every_method_of_a_closed_dict_says_so(path: Path) -> None:
    d = PersistDict(path)
    d["k"] = 1
    d.close()
    uses: dict[str, Callable[[], object]] = {
        "[]": lambda: d["k"],
        "[]=": lambda: d.__setitem__("k", 2),
        "del": lambda: d.__delitem__("k"),
        "get": lambda: d.get("k"),
        "in": lambda: "k" in d,
        "len": lambda: len(d),
        "list": lambda: list(d),
        "reversed": lambda: list(reversed(d)),
        "items": lambda: list(d.items()),
        "pop": lambda: d.pop("k"),
        "popitem": lambda: d.popitem(),
        "setdefault": lambda: d.setdefault("k", 2),
        "update": lambda: d.update(k=2),
        "|=": lambda: d.__ior__({"k": 2}),
        "==": lambda: d == {"k": 1},
        "copy": lambda: d.copy(),
        "to_dict": lambda: d.to_dict(),
        "clear": lambda: d.clear(),
        "info": lambda: d.info("k"),
        "set": lambda: d.set("k", 2),
        "stats": lambda: d.stats(),
        "sweep": lambda: d.sweep(),
    }
    for name, use in uses.items():
        with pytest.raises(ClosedError):
            use()
            pytest.fail(name)
    with PersistDict(path) as again:
        assert dict(again) == {"k": 1}


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_value_that_the_limit_has_no_room_for_is_refused(path: Path) -> None:
    with Cache(path, max_bytes=4 << 20) as cache:
        cache["small"] = b"x" * 1000
        with pytest.raises(StoreFullError):
            cache["large"] = os.urandom(5 << 20)
        assert "large" not in cache
        cache["again"] = 1
        assert cache["again"] == 1


# --- damage -----------------------------------------------------------------------------------------------------------


def with_a_changed_value(path: Path, face: Open, **options: Any) -> None:
    """A store of 100 entries, of which the value of `victim` was changed in the file by one bit."""
    with face(path, **options) as d:
        for number in range(99):
            d[number] = number
    file = path / "data.mdb"
    before = file.read_bytes()
    with face(path, **options) as d:
        # It gets pages of its own.
        d["victim"] = os.urandom(100_000)
    after = bytearray(file.read_bytes())
    run = longest = end = 0
    for page in range(len(after) // PAGE):
        place = slice(page * PAGE, page * PAGE + PAGE)
        run = run + 1 if after[place] != before[place] else 0
        if run > longest:
            longest, end = run, page
    assert longest >= 24
    after[(end - longest // 2) * PAGE + 77] ^= 1
    file.write_bytes(after)


@pytest.mark.parametrize(
    ("options", "error"),
    [({}, DamagedError), ({"encryption_key": KEY}, TamperedError), ({"compression": True}, DamagedError)],
    ids=["plain", "encrypted", "compressed"],
)
@FACES
def test_a_value_changed_on_disk_is_an_error_and_the_others_stay_readable(
    path: Path, face: Open, options: dict[str, Any], error: type[CacheError]
) -> None:
    with_a_changed_value(path, face, **options)
    with face(path, **options) as d:
        for _ in range(2):
            with pytest.raises(error):
                d["victim"]
        with pytest.raises(error):
            d.get("victim")
        assert [d[number] for number in range(99)] == list(range(99))
        assert len(d) == 100
        # Its key is among what cannot be read, so it is not passed over in silence.
        assert list(itertools.islice(d, 99)) == list(range(99))
        for walk in (lambda: list(d), lambda: list(d.items()), lambda: list(d.values())):
            with pytest.raises(error):
                walk()
        assert d.verify().problems >= 1
        # What is damaged can be replaced, or removed.
        d["victim"] = "whole"
        assert d["victim"] == "whole" and d.verify().problems == 0
        assert len(dict(d.items())) == 100


def test_what_is_damaged_can_be_left_out(path: Path) -> None:
    with_a_changed_value(path, PersistDict)
    with PersistDict(path) as d:
        assert d.to_dict(skip_damaged=True) == {number: number for number in range(99)}
        del d["victim"]
        assert len(d) == 99 and dict(d) == {number: number for number in range(99)}


def test_a_memoized_call_whose_result_is_damaged_says_so_or_computes(path: Path) -> None:
    with_a_changed_value(path, Cache)
    with Cache(path) as cache, pytest.raises(DamagedError):
        cache.get_or_set("victim", lambda: 1)
    with Cache(path, on_error="bypass") as cache:
        assert cache.get_or_set("victim", lambda: 1) == 1


@FACES
def test_a_file_that_was_cut_off_is_refused(path: Path, face: Open) -> None:
    with face(path) as d:
        for number in range(200):
            d[number] = "x" * 1000
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[: PAGE * 3])
    with pytest.raises(DamagedError) as caught:
        face(path)
    assert str(path) in str(caught.value)
    assert (path / "data.mdb").read_bytes() == data[: PAGE * 3], "it was not touched"


def test_every_error_has_one_root() -> None:
    kinds = [getattr(cachemere.errors, name) for name in cachemere.errors.__all__]
    assert len(kinds) > 20 and all(issubclass(kind, CacheError) and kind.__doc__ for kind in kinds)
