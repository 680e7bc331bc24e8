"""What sqlitedict, and the `SqliteDict` of hugedict, stored is in the store afterwards."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlitedict
from cachemere import Cache
from cachemere.errors import DamagedError, IncompatibleError, InvalidOptionError
from cachemere.migration import import_store
from sources import FIXTURES, snapshot


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return tmp_path / "theirs.db"


def make(file: Path, contents: dict[Any, Any], **options: Any) -> None:
    with sqlitedict.SqliteDict(str(file), **options) as d:
        for key, value in contents.items():
            d[key] = value
        d.commit()


def test_it_is_imported_in_its_order(theirs: Path, path: Path) -> None:
    contents = {"b": {"x": (1, None)}, "a": [1], "é": "text", "": b"\0", "long": "x" * 100_000}
    make(theirs, contents)
    before = snapshot(theirs.parent)
    summary = import_store("sqlitedict", theirs, path, allow_pickle=True)
    assert snapshot(theirs) == {name: before[name] for name in snapshot(theirs)} and summary.imported == 5
    assert sorted(file.name for file in theirs.parent.iterdir()) == ["store", "theirs.db"]
    with Cache(path) as ours:
        assert dict(ours.items()) == contents and list(ours) == list(contents)
        info = ours.info("a")
        # It has no ages.
        assert info is not None and info.expires_at is None


def test_pickles_are_refused_without_leave(theirs: Path, path: Path) -> None:
    make(theirs, {"a": 1, "b": 2})
    summary = import_store("sqlitedict", theirs, path)
    assert (summary.entries, summary.imported, summary.pickles) == (2, 0, 2)
    # Nothing was to be written.
    assert not path.exists()


def test_functions_of_the_programs_own(theirs: Path, path: Path) -> None:
    make(theirs, {"a": {"x": [1]}, "b": None}, encode=json.dumps, decode=json.loads, tablename="json")
    make(
        theirs,
        {("t", 1): 1, 5: 2},
        encode_key=sqlitedict.encode_key,
        decode_key=sqlitedict.decode_key,
        tablename="keys",
    )
    make(theirs, {"a": "text"}, encode=str.encode, decode=bytes.decode, tablename='te"xt')
    assert import_store("sqlitedict", theirs, path, table="json", values="json").imported == 2
    assert import_store("sqlitedict", theirs, path, table='te"xt', values="text", namespace="text").imported == 1
    assert import_store("sqlitedict", theirs, path, table='te"xt', values="bytes", namespace="bytes").imported == 1
    keys = {"table": "keys", "keys": "pickle", "namespace": "keys"}
    assert import_store("sqlitedict", theirs, path, **keys).pickles == 2  # type: ignore[arg-type]
    assert import_store("sqlitedict", theirs, path, allow_pickle=True, **keys).imported == 2  # type: ignore[arg-type]
    for namespace, expected in (
        ("default", {"a": {"x": [1]}, "b": None}),
        ("text", {"a": "text"}),
        ("bytes", {"a": b"text"}),
        ("keys", {("t", 1): 1, 5: 2}),
    ):
        with Cache(path, namespace=namespace) as ours:
            assert dict(ours.items()) == expected


def test_which_table_has_to_be_said_if_there_are_several(theirs: Path, path: Path) -> None:
    make(theirs, {"a": 1}, tablename="one")
    assert import_store("sqlitedict", theirs, path, allow_pickle=True).imported == 1
    make(theirs, {"a": 1}, tablename="two")
    with pytest.raises(InvalidOptionError, match="say which table.*'one', 'two'"):
        import_store("sqlitedict", theirs, path)
    with pytest.raises(InvalidOptionError, match="no table 'three'.*'one', 'two'"):
        import_store("sqlitedict", theirs, path, table="three")
    make(theirs, {"b": 2})
    # That is the one it takes itself if none is named.
    assert import_store("sqlitedict", theirs, path, allow_pickle=True).imported == 1


def test_an_entry_that_is_damaged_is_told(theirs: Path, path: Path) -> None:
    make(theirs, {"cut": [1, 2], "no text": 2, "good": 3})
    database = sqlite3.connect(theirs)
    with database:
        database.execute("UPDATE unnamed SET value = substr(value, 1, 5) WHERE key = 'cut'")
        database.execute("UPDATE unnamed SET key = CAST(x'ff41' AS TEXT) WHERE key = 'no text'")
    database.close()
    summary = import_store("sqlitedict", theirs, path, allow_pickle=True)
    assert (summary.imported, summary.unreadable) == (1, 2)
    assert [skipped.name for skipped in summary.skipped] == ["key 'cut'", f"row 2 of {theirs}"]


def test_other_files_are_told_apart(theirs: Path, path: Path) -> None:
    theirs.write_bytes(b"x" * 100)
    with pytest.raises(IncompatibleError, match="not of sqlitedict"):
        import_store("sqlitedict", theirs, path)
    theirs.write_bytes(b"SQLite format 3\0" + b"x" * 1000)
    with pytest.raises(DamagedError, match="damaged"):
        import_store("sqlitedict", theirs, path)
    theirs.unlink()
    database = sqlite3.connect(theirs)
    with database:
        database.execute("CREATE TABLE other (a, b, c)")
        database.execute("CREATE VIEW unnamed AS SELECT a AS key, b AS value FROM other")
    database.close()
    with pytest.raises(IncompatibleError, match="no table of keys and values"):
        import_store("sqlitedict", theirs, path)
    assert not path.exists()


def test_the_mapping_in_sqlite_of_hugedict(theirs: Path, path: Path) -> None:
    shutil.copy(FIXTURES / "hugedict-2.14.6.db", theirs)
    before = snapshot(theirs)
    assert import_store("hugedict", theirs, path, values="json").imported == 2
    assert import_store("hugedict", theirs, path, namespace="text").imported == 2
    assert snapshot(theirs) == before
    with Cache(path) as ours:
        assert list(ours.items()) == [("b", {"x": [1, None]}), ("a", "text")]
    with Cache(path, namespace="text") as ours:
        assert list(ours.items()) == [("b", '{"x":[1,null]}'), ("a", '"text"')]
