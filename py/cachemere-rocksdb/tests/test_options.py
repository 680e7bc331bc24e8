"""The options: all of hugedict's fields, checked by name, pickled whole, and given to RocksDB."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import IncompatibleError, InvalidOptionError
from cachemere.rocksdb import (
    RocksDBCompressionOptions,
    RocksDBDict,
    RocksDBOptions,
    fixed_prefix,
    fixed_prefix_alike,
)

KNOBS = RocksDBCompressionOptions(window_bits=-14, level=6, strategy=0, max_dict_bytes=16 * 1024)
LAST_KNOBS = RocksDBCompressionOptions(window_bits=-14, level=3, strategy=0, max_dict_bytes=4096)

#: Each field with a value, and what RocksDB then writes into its own file of options.
ALL: dict[str, tuple[Any, str | None]] = {
    "create_if_missing": (True, "create_if_missing=true"),
    "max_open_files": (77, "max_open_files=77"),
    "use_fsync": (True, "use_fsync=true"),
    "bytes_per_sync": (1048576, "bytes_per_sync=1048576"),
    # Widens the memtable's bloom filter, among others.
    "optimize_for_point_lookup": (16, "memtable_prefix_bloom_size_ratio=0.02"),
    "table_cache_numshardbits": (5, "table_cache_numshardbits=5"),
    "max_write_buffer_number": (5, "max_write_buffer_number=5"),
    "write_buffer_size": (3 << 20, f"write_buffer_size={3 << 20}"),
    "target_file_size_base": (5 << 20, f"target_file_size_base={5 << 20}"),
    "min_write_buffer_number_to_merge": (2, "min_write_buffer_number_to_merge=2"),
    "level_zero_stop_writes_trigger": (40, "level0_stop_writes_trigger=40"),
    "level_zero_slowdown_writes_trigger": (25, "level0_slowdown_writes_trigger=25"),
    "compaction_style": ("universal", "compaction_style=kCompactionStyleUniversal"),
    "disable_auto_compactions": (True, "disable_auto_compactions=true"),
    "max_background_jobs": (3, "max_background_jobs=3"),
    "max_subcompactions": (2, "max_subcompactions=2"),
    "compression_type": ("zlib", "compression=kZlibCompression"),
    "bottommost_compression_type": ("zstd", "bottommost_compression=kZSTD"),
    "prefix_extractor": (fixed_prefix(size=3), "prefix_extractor=rocksdb.FixedPrefix.3"),
    "compression_opts": (KNOBS, "level=6"),
    "bottommost_compression_opts": (LAST_KNOBS, "max_dict_bytes=4096"),
    "zstd_max_train_bytes": (160000, "zstd_max_train_bytes=160000"),
    "bottommost_zstd_max_train_bytes": (170000, "zstd_max_train_bytes=170000"),
}


def every() -> RocksDBOptions:
    return RocksDBOptions(**{name: value for name, (value, _) in ALL.items()})


def test_there_are_the_23_fields_of_hugedict() -> None:
    assert [field.name for field in fields(RocksDBOptions)] == list(ALL) and len(ALL) == 23
    assert RocksDBOptions().compression_type == "lz4"
    assert all(getattr(RocksDBOptions(), name) is None for name in ALL if name != "compression_type")


def test_every_field_reaches_rocksdb(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, every())
    d["a" * 20] = 1
    d.flush()
    assert d["a" * 20] == 1
    d.close()
    written = max(path.glob("OPTIONS-*")).read_text()
    missing = [shown for _, shown in ALL.values() if shown is not None and shown not in written]
    assert missing == []


@pytest.mark.parametrize("name", ["none", "snappy", "zlib", "bz2", "lz4", "lz4hc", "zstd"])
def test_every_compression_works(path: Path, name: Any) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, RocksDBOptions(create_if_missing=True, compression_type=name))
    d.update((number, "text " * 50) for number in range(500))
    d.compact()
    assert len(d) == 500 and set(d.values()) == {"text " * 50}


@pytest.mark.parametrize("style", ["level", "universal", "fifo"])
def test_every_compaction_style_works(path: Path, style: Any) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, RocksDBOptions(create_if_missing=True, compaction_style=style))
    d["a"] = 1
    d.flush()
    assert d["a"] == 1


def test_options_are_pickled_whole() -> None:
    assert pickle.loads(pickle.dumps(every())) == every()
    alike = RocksDBOptions(prefix_extractor=fixed_prefix_alike(type="fixed_prefix_alike", prefix=("a", 1)))
    assert pickle.loads(pickle.dumps(alike)) == alike != RocksDBOptions()


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("create_if_missing", 1),
        ("use_fsync", "no"),
        ("max_open_files", -2),
        ("max_open_files", 1.5),
        ("max_open_files", True),
        ("bytes_per_sync", -1),
        ("write_buffer_size", 0),
        ("max_background_jobs", 2**31),
        ("table_cache_numshardbits", 20),
        ("compaction_style", "sideways"),
        ("compression_type", "gzip"),
        ("compression_type", 3),
        ("bottommost_compression_type", ""),
        ("prefix_extractor", 3),
        ("compression_opts", {"level": 3}),
        ("zstd_max_train_bytes", -1),
    ],
)
def test_values_that_make_no_sense_are_named(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidOptionError, match=name):
        RocksDBOptions(**{name: wrong})
    options = RocksDBOptions()
    with pytest.raises(InvalidOptionError, match=name):
        setattr(options, name, wrong)
    assert options == RocksDBOptions()


def test_unknown_names_are_named() -> None:
    with pytest.raises(TypeError, match="max_open_file"):
        RocksDBOptions(max_open_file=3)  # type: ignore[call-arg]
    options: Any = RocksDBOptions()
    with pytest.raises(InvalidOptionError, match="no field 'max_open_file'"):
        options.max_open_file = 3
    with pytest.raises(InvalidOptionError, match="size"):
        fixed_prefix(size=0)
    with pytest.raises(InvalidOptionError, match="type"):
        fixed_prefix(type="capped", size=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="level"):
        RocksDBCompressionOptions(window_bits=1, level="high", strategy=0, max_dict_bytes=0)  # type: ignore[arg-type]


def test_options_that_rocksdb_refuses_leave_nothing_behind(path: Path) -> None:
    options = RocksDBOptions(create_if_missing=True, zstd_max_train_bytes=100)
    with pytest.raises(InvalidOptionError, match="max_dict_bytes"):
        RocksDBDict(path, options)
    assert not path.exists()


def test_compression_options_to_dict() -> None:
    assert KNOBS.to_dict() == {"window_bits": -14, "level": 6, "strategy": 0, "max_dict_bytes": 16 * 1024}


def test_options_given_are_not_changed_by_later_changes(path: Path) -> None:
    options = RocksDBOptions(create_if_missing=True)
    d: RocksDBDict[Any, Any] = RocksDBDict(path, options)
    options.max_open_files = 5
    assert d.options == RocksDBOptions(create_if_missing=True)
    d.options.max_open_files = 6
    assert d.options.max_open_files is None


def test_a_database_is_not_opened_with_another_prefix_extractor(path: Path, tmp_path: Path) -> None:
    options = RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix(size=3))
    RocksDBDict[Any, Any](path, options).close()
    before = sorted(file.name for file in path.iterdir())
    for readonly in (False, True):
        with pytest.raises(IncompatibleError, match="fixed prefix of 3 bytes.*fixed prefix of 4 bytes"):
            RocksDBDict(path, replace(options, prefix_extractor=fixed_prefix(size=4)), readonly=readonly)
    assert sorted(file.name for file in path.iterdir()) == before
    # The same one by another name, and none, which takes that of the database.
    RocksDBDict[Any, Any](path, RocksDBOptions(prefix_extractor=fixed_prefix_alike(prefix="ab"))).close()
    RocksDBDict[Any, Any](path).close()
    assert "prefix_extractor=rocksdb.FixedPrefix.3" in max(path.glob("OPTIONS-*")).read_text()
    RocksDBDict[Any, Any](tmp_path / "without").close()
    with pytest.raises(IncompatibleError, match="has none"):
        RocksDBDict(tmp_path / "without", options)


def test_a_database_is_not_opened_with_another_comparator(path: Path) -> None:
    RocksDBDict[Any, Any](path).close()
    newest = max(path.glob("OPTIONS-*"))
    newest.write_text(newest.read_text().replace("leveldb.BytewiseComparator", "rocksdb.ReverseBytewiseComparator"))
    with pytest.raises(IncompatibleError, match="comparator.*ReverseBytewise.*leveldb.Bytewise"):
        RocksDBDict(path)


def test_a_prefix_extractor_by_example_is_as_long_as_the_encoded_key(path: Path, tmp_path: Path) -> None:
    alike = RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix_alike(prefix="P7"))
    RocksDBDict[Any, Any](path, alike).close()
    RocksDBDict[Any, Any](tmp_path / "raw", alike, deser_key=bytes).close()
    assert "FixedPrefix.3" in max(path.glob("OPTIONS-*")).read_text()
    assert "FixedPrefix.2" in max((tmp_path / "raw").glob("OPTIONS-*")).read_text()
