"""Whatever a source has, nothing of it is run without leave."""

from __future__ import annotations

import importlib
import shelve
import sqlite3
from collections.abc import Callable
from pathlib import Path

import diskcache
import pytest
import sqlitedict
from cachemere import Cache, PersistDict
from cachemere.errors import UnsafeValueError
from cachemere.migration import import_store
from sources import Trap, run_import, snapshot, summary_of


def as_diskcache(home: Path, trap: Trap) -> Path:
    directory = home / "theirs"
    with diskcache.Cache(directory) as cache:
        cache["in the table"] = cache["in a file"] = cache["as key"] = 1
        statement = "UPDATE Cache SET mode = 4, value = ?, filename = ? WHERE key = ?"
        cache._sql(statement, (trap.pickle, None, "in the table"))
        (directory / "file.val").write_bytes(trap.pickle)
        cache._sql(statement, (None, "file.val", "in a file"))
        cache._sql("UPDATE Cache SET key = ?, raw = 0 WHERE key = 'as key'", (trap.pickle,))
        # Settings are pickled by no version, and not read here.
        cache._sql("INSERT INTO Settings VALUES ('disk_other', ?)", (trap.pickle,))
    return directory


def as_json_disk(home: Path, trap: Trap) -> Path:
    directory = home / "theirs"
    with diskcache.Cache(directory, disk=diskcache.JSONDisk, disk_compress_level=1) as cache:
        for number in range(3):
            cache[number] = number
        cache._sql("UPDATE Cache SET mode = 4, value = ?", (trap.pickle,))
    return directory


def as_sqlitedict(home: Path, trap: Trap) -> Path:
    file = home / "theirs.db"
    with sqlitedict.SqliteDict(str(file), encode=lambda value: value, decode=lambda value: value) as d:
        for key in "abc":
            d[key] = trap.pickle
        d.commit()
    return file


def as_shelve(home: Path, trap: Trap) -> Path:
    with importlib.import_module("dbm.dumb").open(str(home / "theirs"), "c") as opened:
        for key in "abc":
            opened[key] = trap.pickle
    return home / "theirs"


KINDS: dict[str, tuple[str, Callable[[Path, Trap], Path]]] = {
    "diskcache": ("diskcache", as_diskcache),
    "json disk": ("diskcache", as_json_disk),
    "sqlitedict": ("sqlitedict", as_sqlitedict),
    "shelve": ("shelve", as_shelve),
}


@pytest.mark.parametrize("name", KINDS)
def test_pickles_are_refused_counted_and_not_run(name: str, tmp_path: Path, path: Path) -> None:
    kind, make = KINDS[name]
    home = tmp_path / "home"
    home.mkdir()
    trap = Trap(tmp_path)
    source = make(home, trap)
    before = snapshot(home)
    done = summary_of(run_import("--from", kind, "--json", source, path, check=1))
    assert (done["entries"], done["imported"], done["pickles"]) == (3, 0, 3)
    assert not trap.was_sprung and not path.exists() and snapshot(home) == before
    with pytest.raises(UnsafeValueError, match="loading one can run any code"):
        import_store(kind, source, path, on_error="raise")  # type: ignore[arg-type]
    assert not trap.was_sprung
    # It is a trap.
    run_import("--from", kind, "--allow-pickle", source, path, check=None)
    assert trap.was_sprung


def test_pickles_that_fail_are_told_one_by_one(tmp_path: Path, path: Path) -> None:
    file = tmp_path / "theirs.db"
    bad = {
        "no such module": b"cno_such_module\nf\n.",
        "no such name": b"cos\nno_such_name\n.",
        "raises": b"cos\nlistdir\n(S'/no/such'\ntR.",
        "cut": b"\x80\x04\x95\x10",
        "nothing": b"",
        "text": b"what is this",
        "deep": b"(" * 5 + b"l" * 5 + b".",
    }
    with sqlitedict.SqliteDict(str(file), encode=lambda value: value, decode=lambda value: value) as d:
        for key, value in bad.items():
            d[key] = value
        d["good"] = b"\x80\x04K\x07."
        d.commit()
    database = sqlite3.connect(file)
    with database:
        database.execute("INSERT INTO unnamed VALUES ('a number', 5), ('nothing at all', NULL)")
    database.close()
    summary = import_store("sqlitedict", file, path, allow_pickle=True)
    # The deep one is a list.
    assert summary.imported + summary.unreadable == len(bad) + 3 and summary.unreadable >= len(bad) + 1
    assert all("cannot be read from its pickle" in skipped.why for skipped in summary.skipped)
    with Cache(path) as ours:
        assert ours["good"] == 7


class Own:
    """A class of the program's own."""


def test_what_has_no_safe_form_is_left_out_or_pickled(tmp_path: Path, path: Path) -> None:
    with shelve.Shelf(importlib.import_module("dbm.dumb").open(str(tmp_path / "theirs"), "c")) as shelf:
        for number in range(30):
            shelf[str(number)] = {"x": Own()} if number % 3 == 0 else number
    summary = import_store("shelve", tmp_path / "theirs", path, allow_pickle=True)
    assert (summary.imported, summary.without_safe_form) == (20, 10)
    with Cache(path) as ours:
        assert set(ours.values()) == {number for number in range(30) if number % 3}
    summary = import_store("shelve", tmp_path / "theirs", path, allow_pickle=True, pickle_values=True)
    assert (summary.imported, summary.kept) == (10, 20) and summary.is_complete
    with Cache(path) as ours, pytest.raises(UnsafeValueError):
        ours["0"]
    with PersistDict(path) as d:
        assert isinstance(d["0"]["x"], Own) and d["1"] == 1


def test_keys_without_a_canonical_form_are_told(tmp_path: Path, path: Path) -> None:
    with diskcache.Cache(tmp_path / "theirs") as cache:
        cache[("a", Own)] = 1
        cache[frozenset({1})] = 2
        cache[(1, [2])] = 3
    summary = import_store("diskcache", tmp_path / "theirs", path, allow_pickle=True)
    assert (summary.imported, summary.without_safe_form) == (1, 2)
    with Cache(path) as ours:
        assert list(ours.items()) == [(frozenset({1}), 2)]
