"""How a database says how it is encoded, and what is done where it does not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import DamagedError, IncompatibleError, StoreIOError
from cachemere.rocksdb import RocksDBDict, RocksDBOptions, fixed_prefix
from fixture_contents import ENTRIES, FIXTURE

MARK = "CACHEMERE"


def test_a_new_database_is_marked(path: Path, tmp_path: Path) -> None:
    RocksDBDict[Any, Any](path).close()
    assert (path / MARK).read_text() == "cachemere-rocksdb 1\nkeys ordered\nvalues safe\n"
    RocksDBDict[Any, Any](tmp_path / "raw", deser_key=bytes, deser_value=bytes).close()
    assert (tmp_path / "raw" / MARK).read_text() == "cachemere-rocksdb 1\nkeys raw\nvalues own\n"
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("made, opened", [({}, {"deser_key": bytes}), ({"deser_value": bytes}, {})])
def test_another_encoding_is_refused_by_every_way_of_opening(path: Path, made: Any, opened: Any) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, **made)
    d["a"] = b"1"
    for way in ({}, {"readonly": True}, {"secondary_mode": True}):
        with pytest.raises(IncompatibleError, match="encoding"):
            RocksDBDict(path, **opened, **way)
    d.close()
    with pytest.raises(IncompatibleError, match="encoding"):
        RocksDBDict(path, **opened)
    again: RocksDBDict[Any, Any] = RocksDBDict(path, **made)
    assert again["a"] == b"1"


@pytest.mark.parametrize("text", ["", "nonsense", "cachemere-rocksdb 1\nkeys ordered\n", "cachemere-rocksdb x\n"])
def test_a_broken_mark_is_damage(path: Path, text: str) -> None:
    RocksDBDict[Any, Any](path).close()
    (path / MARK).write_text(text)
    with pytest.raises(DamagedError, match=MARK):
        RocksDBDict(path)
    (path / MARK).write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedError, match=MARK):
        RocksDBDict(path)


def test_the_mark_of_a_newer_version_is_refused(path: Path) -> None:
    RocksDBDict[Any, Any](path).close()
    (path / MARK).write_text("cachemere-rocksdb 2\nkeys better\nvalues better\n")
    with pytest.raises(IncompatibleError, match="upgrade"):
        RocksDBDict(path)


def test_an_empty_database_without_a_mark_gets_one(path: Path) -> None:
    RocksDBDict[Any, Any](path).close()
    # As if its maker had been killed before.
    (path / MARK).unlink()
    RocksDBDict[Any, Any](path, deser_key=bytes, deser_value=bytes).close()
    assert "keys raw" in (path / MARK).read_text()


def test_a_mark_without_a_database_is_replaced(path: Path) -> None:
    path.mkdir()
    (path / MARK).write_text("cachemere-rocksdb 1\nkeys raw\nvalues own\n")
    (path / f"{MARK}.new").write_text("half")
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d["a"] = 1
    assert "keys ordered" in (path / MARK).read_text()


def test_a_copy_without_its_mark_is_opened_by_saying_what_it_is(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d[("a", 1)] = [1]
    d.close()
    (path / MARK).unlink()
    with pytest.raises(IncompatibleError, match="key_encoding"):
        RocksDBDict(path)
    again: RocksDBDict[Any, Any] = RocksDBDict(path, key_encoding="ordered")
    assert dict(again) == {("a", 1): [1]}


def test_there_must_be_a_database_unless_it_is_to_be_made(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreIOError, match="create_if_missing"):
        RocksDBDict(path, RocksDBOptions())
    for way in ({"readonly": True}, {"secondary_mode": True}):
        with pytest.raises(StoreIOError, match="there is no database"):
            RocksDBDict(path, **way)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_something_else_is_left_alone(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").write_bytes(b"1")
    with pytest.raises(IncompatibleError, match="data.mdb"):
        RocksDBDict(path)
    assert [file.name for file in path.iterdir()] == ["data.mdb"]
    (tmp_path / "file").write_text("text")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreIOError, match="is not a directory"):
            RocksDBDict(wrong)


def test_the_bytes_are_those_of_the_format(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update(
        {
            1: None,
            -1: True,
            1.5: 2,
            1000: "a",
            None: b"b",
            "k\0": [1],
            b"k": 0,
            ("k\0", 0, ()): 0.5,
            2**200: (),
            0.25: 0,
        }
    )
    d.close()
    (path / MARK).unlink()
    raw: RocksDBDict[bytes, bytes] = RocksDBDict(path, key_encoding="raw", deser_value=bytes)
    stored = {key.hex(" "): value.hex(" ") for key, value in raw.items()}
    assert stored == {
        "08": "00 62 01 62",
        "11 df ff": "00 31",
        "13 10 7f fe 00": "00 69 00 00 00 00 00 00 00 00",
        "13 20 00": "00 4e",
        "13 20 80": "00 69 02 00 00 00 00 00 00 00",
        "13 29 f4": "00 73 01 61",
        "13 f0 00 00 00 00 00 00 00 c8 00": "00 74 00",
        "20 6b": "00 69 00 00 00 00 00 00 00 00",
        "28 6b 00": "00 6c 01 69 01 00 00 00 00 00 00 00",
        "30 28 6b 00 ff 00 12 30 00 00": "00 66 00 00 00 00 00 00 e0 3f",
    }


def test_what_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    home = shutil.copytree(FIXTURE, tmp_path / "fixture")
    for way in ({"readonly": True}, {}):
        with RocksDBDict[Any, Any](home, **way) as d:
            assert list(d.items()) == list(ENTRIES.items()) and all(d[key] == ENTRIES[key] for key in ENTRIES)
    with pytest.raises(IncompatibleError, match="2 bytes.*3 bytes"):
        RocksDBDict(home, RocksDBOptions(prefix_extractor=fixed_prefix(size=3)))
