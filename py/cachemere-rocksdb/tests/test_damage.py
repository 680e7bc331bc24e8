"""Damaged files are errors, at opening or at reading: never a crash, never silence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import CacheError, DamagedError
from cachemere.rocksdb import RocksDBDict, RocksDBOptions


@pytest.fixture
def made(path: Path) -> Path:
    """A database with a file of entries, and some in the log."""
    d: RocksDBDict[Any, Any] = RocksDBDict(path, RocksDBOptions(create_if_missing=True, compression_type="none"))
    d.update((number, f"value {number}" * 5) for number in range(2000))
    d.flush()
    d.update((("log", number), number) for number in range(100))
    d.close()
    return path


def flip(file: Path, place: int, count: int = 8) -> None:
    data = bytearray(file.read_bytes())
    for offset in range(place, min(place + count, len(data))):
        data[offset] ^= 0xFF
    file.write_bytes(data)


def only(path: Path, pattern: str) -> Path:
    [found] = path.glob(pattern)
    return found


def test_a_damaged_file_of_entries_is_an_error_where_it_is_read(made: Path) -> None:
    file = only(made, "*.sst")
    flip(file, file.stat().st_size // 3)
    d: RocksDBDict[Any, Any] = RocksDBDict(made)
    with pytest.raises(DamagedError, match="checksum"):
        list(d.items())
    with pytest.raises(DamagedError):
        len(d)
    failed = 0
    for number in range(2000):
        try:
            assert d[number] == f"value {number}" * 5
        except DamagedError:
            failed += 1
    assert 0 < failed < 2000
    assert d[("log", 5)] == 5


def test_a_damaged_end_of_a_file_is_an_error(made: Path) -> None:
    file = only(made, "*.sst")
    flip(file, file.stat().st_size - 40, 40)
    with pytest.raises(CacheError):
        d: RocksDBDict[Any, Any] = RocksDBDict(made)
        d[5]


def test_a_missing_file_is_damage(made: Path) -> None:
    only(made, "*.sst").unlink()
    for way in ({}, {"readonly": True}, {"secondary_mode": True}):
        with pytest.raises(DamagedError, match="sst"):
            RocksDBDict(made, **way)  # type: ignore[arg-type]


def test_a_truncated_file_is_damage(made: Path) -> None:
    file = only(made, "*.sst")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DamagedError):
        RocksDBDict(made)


@pytest.mark.parametrize("way", [{}, {"readonly": True}, {"secondary_mode": True}])
def test_a_damaged_manifest_is_an_error(made: Path, way: Any) -> None:
    file = only(made, "MANIFEST-*")
    flip(file, 20, file.stat().st_size)
    with pytest.raises(DamagedError):
        RocksDBDict(made, **way)


@pytest.mark.parametrize("text", ["", "nonsense\n", "MANIFEST-999999\n"])
def test_a_broken_first_file_is_an_error(made: Path, text: str) -> None:
    (made / "CURRENT").write_text(text)
    with pytest.raises(CacheError):
        RocksDBDict(made)
    assert len(list(made.glob("*.sst"))) == 1


def test_a_lost_first_file_does_not_delete_the_others(made: Path) -> None:
    (made / "CURRENT").unlink()
    with pytest.raises(DamagedError, match="not CURRENT"):
        RocksDBDict(made)
    assert len(list(made.glob("*.sst"))) == 1


@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "*.log", "CURRENT", "OPTIONS-*", "CACHEMERE", "IDENTITY"])
def test_whatever_is_damaged_nothing_crashes_and_nothing_is_made_up(made: Path, tmp_path: Path, pattern: str) -> None:
    size = max(made.glob(pattern)).stat().st_size
    for number, place in enumerate(range(0, size, max(size // 12, 1))):
        copy = Path(shutil.copytree(made, tmp_path / f"copy{number}"))
        flip(max(copy.glob(pattern)), place)
        try:
            with RocksDBDict[Any, Any](copy) as d:
                for key, value in d.items():
                    assert value == (key[1] if isinstance(key, tuple) else f"value {key}" * 5)
        except CacheError:
            pass
