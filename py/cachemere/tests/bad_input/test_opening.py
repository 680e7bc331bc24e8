"""Opening what cannot be opened: each is an error of its own kind that says what to do, and nothing is touched."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import lmdb
import pytest
from cachemere import Cache, CacheError, PersistDict, diskcache, memoize
from cachemere.cli import program
from cachemere.errors import (
    DamagedError,
    IncompatibleError,
    InvalidOptionError,
    ReadOnlyError,
    StoreIOError,
    WrongSecretError,
)
from untouched import contents, untouched

Open = Callable[..., Any]


def open_cache(path: Any, **options: Any) -> Any:
    """Opens at once, as a `PersistDict` does by itself."""
    cache = Cache(path, **options)
    len(cache)
    return cache


@pytest.fixture(params=[open_cache, PersistDict], ids=["Cache", "PersistDict"])
def open_it(request: pytest.FixtureRequest) -> Open:
    opened: Open = request.param
    return opened


def refused(open_it: Open, kind: type[CacheError], path: Path, **options: Any) -> str:
    """What it says when it refuses to open the store, in which it touches nothing."""
    with untouched(path.parent), pytest.raises(kind) as caught:
        open_it(path, **options)
    assert type(caught.value) is kind
    return str(caught.value)


# --- secrets ----------------------------------------------------------------------------------------------------------

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SECRETS = {
    "key": (KEY, {"none": None, "other key": OTHER_KEY, "phrase": "right"}),
    "phrase": ("right", {"none": None, "other phrase": "wrong", "longer": "right ", "key": KEY}),
    "plain": (None, {"key": KEY, "phrase": "right"}),
}


def key(secret: Any) -> dict[str, Any]:
    return {} if secret is None else {"encryption_key": secret}


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize(
    ("right", "wrong"),
    [(right, wrong) for right, others in SECRETS.values() for wrong in others.values()],
    ids=[f"{what} not {name}" for what, (_, others) in SECRETS.items() for name in others],
)
def test_a_wrong_secret_is_refused(path: Path, open_it: Open, right: Any, wrong: Any, is_open: bool) -> None:
    with open_it(path, **key(right)) as made:
        made["k"] = 1
        if is_open:
            said = refused(open_it, WrongSecretError, path, **key(wrong))
            assert made["k"] == 1
    if not is_open:
        said = refused(open_it, WrongSecretError, path, **key(wrong))
    if right is None:
        assert "not encrypted" in said
    else:
        assert ("is encrypted" if wrong is None else "wrong secret") in said
    assert str(path) in said
    with open_it(path, **key(right)) as again:
        assert again["k"] == 1


# --- pipelines --------------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    return repr(value).encode()


def loads(stored: bytes) -> Any:
    return eval(stored)


VALUES = {"value_serializer": dumps, "value_unserializer": loads}
KEYS = {"key_serializer": lambda key: f"k{key}", "key_unserializer": lambda stored: stored[1:]}

PIPELINES: list[tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = [
    ({}, VALUES, ("python", "python+own values")),
    (VALUES, {}, ("python+own values", "python")),
    ({}, KEYS, ("python", "python+own keys")),
    (KEYS, VALUES, ("python+own keys", "python+own values")),
    ({"compression": True}, {"compression": False}, ("zstd", "none")),
    ({"compression": False}, {"compression": True}, ("none", "zstd")),
    ({}, {"compression": True}, ("none", "zstd")),
]


@pytest.mark.parametrize(("made", "asked", "names"), PIPELINES)
def test_a_store_of_another_pipeline_is_refused_with_both_names(
    path: Path, made: dict[str, Any], asked: dict[str, Any], names: tuple[str, str]
) -> None:
    with PersistDict[str, int](path, **made) as d:
        d["k"] = 1
        d.flush()  # Or the store's own checkpoint would be a change.
        said = refused(PersistDict, IncompatibleError, path, **asked)
        assert re.search(f'has "?{re.escape(names[0])}"?, this open asked for "?{re.escape(names[1])}"?;', said), said
        assert str(path) in said
    assert refused(PersistDict, IncompatibleError, path, **asked) == said
    if not asked.keys() & (VALUES | KEYS).keys():
        assert refused(open_cache, IncompatibleError, path, **asked) == said
    with PersistDict[str, int](path, **made) as d:
        assert d == {"k": 1}


def test_options_that_all_handles_of_a_process_share_must_agree(path: Path, open_it: Open) -> None:
    with open_it(path) as first:
        first["k"] = 1
        for options in ({"durability": "sync"}, {"max_bytes": 8 << 20}):
            said = refused(open_it, IncompatibleError, path, **options)
            assert all(name in said for name in options), said
        assert first["k"] == 1


# --- paths ------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_a_file_or_below_one_is_refused(path: Path, open_it: Open) -> None:
    path.write_text("not a store")
    for place in (path, path / "store", path / "far" / "below"):
        with untouched(path.parent), pytest.raises(StoreIOError, match="is not a directory") as caught:
            open_it(place)
        assert isinstance(caught.value, OSError) and str(place) in str(caught.value)


def test_a_directory_is_made_with_its_parents(path: Path, open_it: Open) -> None:
    with open_it(path / "far" / "store") as made:
        made["k"] = 1
    assert contents(path).keys() >= {"far", "far/store", "far/store/data.mdb"}


def open_default(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", str(address))
    len(Cache())


def memoize_by_default(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", str(address))
    memoize(lambda: 1)()


def back_up(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with PersistDict[str, int]("store") as store:
        store.backup(address)


def command_line(*arguments: str) -> Callable[[Any, pytest.MonkeyPatch], None]:
    def run_it(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        err = io.StringIO()
        with contextlib.redirect_stderr(err), mock.patch("sys.stdin", io.StringIO()):
            status = program.main([argument.replace("ADDRESS", str(address)) for argument in arguments])
        assert status != 0
        raise InvalidOptionError(err.getvalue())

    return run_it


TAKERS: dict[str, Callable[[Any, pytest.MonkeyPatch], Any]] = {
    "Cache": lambda address, _: open_cache(address),
    "PersistDict": lambda address, _: PersistDict(address),
    "cachemere.diskcache": lambda address, _: diskcache.Cache(address),
    "CACHEMERE_DIR": open_default,
    "memoize": memoize_by_default,
    "backup": back_up,
    "the command line": command_line("stats", "ADDRESS"),
    "an import from it": command_line("import", "--from", "shelve", "ADDRESS", "target"),
    "an import to it": command_line("import", "--from", "shelve", "source", "ADDRESS"),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_an_address_is_no_path_and_is_not_told_with_its_password(
    take: Callable[[Any, pytest.MonkeyPatch], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("redis://user:hidden@host:6379/0", "s3://hidden", "file:///hidden", "VALKEY+X://hidden"):
        scheme = address.split("//")[0]
        with pytest.raises(InvalidOptionError) as caught:
            take(address, monkeypatch)
        assert f"begins with {scheme}//" in str(caught.value) and "hidden" not in str(caught.value)
        assert not Path(scheme).exists()


def test_an_address_that_became_a_path_object_is_refused(
    tmp_path: Path, open_it: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for opened in (open_it, diskcache.Cache):
        with untouched(tmp_path), pytest.raises(InvalidOptionError, match="begins with redis:/") as caught:
            opened(Path("redis://user:hidden@host"))
        assert "hidden" not in str(caught.value)
    # A directory of such a name can be had.
    for odd in ("./redis:/a", tmp_path / "redis:" / "b"):
        with open_it(odd) as store:
            store["k"] = 1


def test_a_link_to_nowhere_is_refused(path: Path, open_it: Open) -> None:
    path.symlink_to(path.parent / "nowhere" / "at all")
    with pytest.raises(StoreIOError) as caught:
        open_it(path)
    assert str(path) in str(caught.value)
    assert [place.name for place in path.parent.iterdir()] == [path.name]


def test_a_name_that_is_too_long_is_refused(path: Path, open_it: Open) -> None:
    said = refused(open_it, StoreIOError, path / ("x" * 300))
    assert "x" * 300 in said


def sqlite_file(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("create table t (a)")


def noise(file: Path) -> None:
    file.write_bytes(random.Random(7).randbytes(20_000))


def zeros(file: Path) -> None:
    file.write_bytes(bytes(8192))


@pytest.mark.parametrize("make", [sqlite_file, noise, zeros])
def test_a_data_file_that_is_no_store_is_left_alone(path: Path, open_it: Open, make: Callable[[Path], None]) -> None:
    path.mkdir()
    make(path / "data.mdb")
    with untouched(path), pytest.raises((IncompatibleError, DamagedError), match="choose another|restore"):
        open_it(path)


@pytest.mark.parametrize("name", [None, b"a database"])
def test_somebody_else_s_lmdb_file_is_left_alone(path: Path, open_it: Open, name: bytes | None) -> None:
    with lmdb.open(str(path), max_dbs=1) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"key", b"value", db=environment.open_db(name, txn=transaction))
    for options in ({}, {"encryption_key": KEY}):
        said = refused(open_it, IncompatibleError, path, **options)
        assert str(path) in said and "choose another directory" in said
    with lmdb.open(str(path), max_dbs=1) as environment, environment.begin() as transaction:
        assert transaction.get(b"key", db=environment.open_db(name, txn=transaction)) == b"value"


def test_a_data_file_that_was_cut_is_refused(path: Path, open_it: Open) -> None:
    with open_it(path) as made:
        for number in range(50):
            made[number] = "x" * 2000
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes()[:20_000])
    said = refused(open_it, DamagedError, path)
    assert "restore" in said


# --- one store by several names ---------------------------------------------------------------------------------------


@pytest.fixture
def names(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The names of one store, as seen from its parent directory."""
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    (path.parent / "link").symlink_to(path)
    yield [
        path,
        path.name,
        f"./{path.name}",
        f"{path.name}/",
        f"../{path.parent.name}/{path.name}",
        f"~/{path.name}",
        os.fsencode(path),
        "link",
    ]


def test_a_store_is_one_whatever_it_is_called(path: Path, open_it: Open, names: list[Any]) -> None:
    handles = [open_it(path), *(open_it(name) for name in names)]
    for number, handle in enumerate(handles):
        handle["k"] = number
        assert [other["k"] for other in handles] == [number] * len(handles)
    for handle in handles:
        assert Path(handle.path).resolve() == path.resolve()
        handle.close()
    assert [place.name for place in path.parent.iterdir() if place.is_dir() and not place.is_symlink()] == [path.name]


def test_a_relative_path_is_meant_as_it_was_when_it_was_given(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent)
    cache = Cache(path.name)
    monkeypatch.chdir(path.parent / "elsewhere")
    cache["k"] = 1
    cache.close()
    assert contents(path.parent / "elsewhere") == {}
    with PersistDict[str, int](path) as d:
        assert d["k"] == 1


# --- reading only -----------------------------------------------------------------------------------------------------


def test_there_must_be_a_store_to_be_read_only(path: Path) -> None:
    said = refused(open_cache, StoreIOError, path, read_only=True)
    assert "no store at" in said and str(path) in said
    path.mkdir()
    refused(open_cache, StoreIOError, path, read_only=True)


WRITES: dict[str, Callable[[Cache], Any]] = {
    "set": lambda cache: cache.set("k", 2),
    "set with ttl": lambda cache: cache.set("k", 2, ttl=5),
    "setitem": lambda cache: cache.__setitem__("k", 2),
    "add": lambda cache: cache.add("absent", 2),
    "delete": lambda cache: cache.delete("k"),
    "delitem": lambda cache: cache.__delitem__("k"),
    "pop": lambda cache: cache.pop("k"),
    "incr": lambda cache: cache.incr("k"),
    "touch": lambda cache: cache.touch("k", 5),
    "set_many": lambda cache: cache.set_many({"k": 2, "absent": 2}),
    "delete_many": lambda cache: cache.delete_many(["k"]),
    "evict": lambda cache: cache.evict("t"),
    "clear": lambda cache: cache.clear(),
    "sweep": lambda cache: cache.sweep(),
    "compact": lambda cache: cache.compact(),
    "change_encryption_key": lambda cache: cache.change_encryption_key(KEY, OTHER_KEY),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_read_only_handle_writes_nothing(path: Path, write: Callable[[Cache], Any]) -> None:
    with Cache(path, encryption_key=KEY) as cache:
        cache.set("k", 1, tags=["t"])
    with Cache(path, encryption_key=KEY, read_only=True) as cache, untouched(path):
        assert cache["k"] == 1
        with pytest.raises(ReadOnlyError, match="read-only") as caught:
            write(cache)
        assert isinstance(caught.value, PermissionError)
        assert list(cache.items()) == [("k", 1)] and cache.verify().is_clean


def test_a_read_only_handle_makes_what_is_absent_and_says_that_it_cannot_keep_it(path: Path) -> None:
    Cache(path)["k"] = 1
    with Cache(path, read_only=True) as cache:
        assert cache.get_or_set("k", lambda: 2) == 1
        assert cache.get_or_set("absent", lambda: 2) == 2
        with pytest.raises(ReadOnlyError):
            cache.get_or_set("absent", lambda: 2, strict=True)
        assert cache.get("absent") is None
