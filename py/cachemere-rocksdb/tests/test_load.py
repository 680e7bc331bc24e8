"""rocksdb_load, and files of entries: what is in the database afterwards."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import BadRecordError, CacheError, DuplicateKeyError, InvalidOptionError
from cachemere.rocksdb import (
    RocksDBDict,
    RocksDBOptions,
    fixed_prefix_alike,
    rocksdb_build_sst_file,
    rocksdb_ingest_sst_files,
    rocksdb_load,
)

NEW = RocksDBOptions(create_if_missing=True)
PAIRS = {f"key {n * 7919 % 5003}": f"value {n}" for n in range(5003)}


def raw(path: Path, **options: Any) -> RocksDBDict[str, str]:
    """Opened as the model's README does."""
    text = partial(str, encoding="utf-8")
    return RocksDBDict(path, RocksDBOptions(), text, text, str.encode, **options)


def contents(path: Path) -> dict[str, str]:
    with raw(path, readonly=True) as d:
        return dict(d.items())


def tabsep(path: Path, pairs: dict[str, str]) -> Path:
    path.write_text("".join(f"{key}\t{value}\n" for key, value in pairs.items()))
    return path


def sized(data: str) -> bytes:
    return struct.pack("<Q", len(data.encode())) + data.encode()


@pytest.mark.parametrize(
    ("record", "encode"),
    [
        ({"type": "tabsep", "key": None, "value": None}, lambda key, value: f"{key}\t{value}\n".encode()),
        ({"type": "ndjson", "key": "id", "value": "v"}, lambda k, v: json.dumps({"v": v, "id": k}).encode() + b"\n"),
        ({"type": "tuple2", "key": None, "value": None}, lambda k, v: json.dumps([k, v]).encode() + b"\r\n"),
        (
            {"type": "tuple2", "key": "id", "value": "v"},
            lambda k, v: json.dumps([{"id": k}, {"v": v}]).encode() + b"\n",
        ),
        ({"type": "bin_kv", "key": None, "value": None}, lambda key, value: sized(key) + sized(value)),
        ({"type": "csv", "key": 1, "value": 0, "header": False}, lambda key, value: f'"{value}",{key}\n'.encode()),
    ],
    ids=lambda given: given["type"] if isinstance(given, dict) else "",
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_formats(tmp_path: Path, path: Path, record: dict[str, Any], encode: Any, compress: Any) -> None:
    pairs = list(PAIRS.items())
    files = [tmp_path / "one", tmp_path / "two"]
    for file, part in zip(files, (pairs[:2000], pairs[2000:]), strict=True):
        # Several members, where there are such.
        parts = [part] if compress is bytes else [part[:7], part[7:]]
        file.write_bytes(b"".join(compress(b"".join(encode(k, v) for k, v in each)) for each in parts))
    summary = rocksdb_load(str(path), NEW, [str(file) for file in files], {"record_type": record, "is_sorted": False})
    assert (summary.records, summary.written, summary.duplicates) == (len(PAIRS), len(PAIRS), 0)
    assert contents(path) == PAIRS
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["db", "one", "two"]


def test_whole_lines_and_numbers_as_the_model_has_them(tmp_path: Path, path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text('{"id": "a", "n": 7}\n{"id": "b",  "n": -1}\n')
    ndjson = {"record_type": {"type": "ndjson", "key": "id", "value": None}, "is_sorted": True}
    rocksdb_load(path, NEW, [file], ndjson)
    assert contents(path) == {"a": '{"id": "a", "n": 7}', "b": '{"id": "b",  "n": -1}'}
    numbers = {"record_type": {"type": "ndjson", "key": "id", "value": "n"}, "number_type": "i32"}
    rocksdb_load(path, NEW, [file], numbers)
    with RocksDBDict(path, NEW, bytes, bytes, bytes) as d:
        assert list(d.items()) == [(b"a", struct.pack("<i", 7)), (b"b", struct.pack("<i", -1))]
    # Where the model panics: a number that the type does not hold, or no type.
    for wrong in (numbers | {"number_type": "u32"}, numbers | {"number_type": None}):
        with pytest.raises(BadRecordError, match="lines.*line"):
            rocksdb_load(path, NEW, [file], wrong)


def test_new_values_replace_old_ones_and_the_rest_stays(tmp_path: Path, path: Path) -> None:
    rocksdb_load(path, NEW, tabsep(tmp_path / "one", {"a": "1", "b": "2"}), "tabsep")
    with raw(path) as d:
        d["c"] = "3"
        d["b"] = "not loaded"
    summary = rocksdb_load(
        path, RocksDBOptions(), tabsep(tmp_path / "two", {"b": "4", "d": "5"}), "tabsep", compact=True
    )
    assert summary.written == 2
    assert contents(path) == {"a": "1", "b": "4", "c": "3", "d": "5"}


@pytest.mark.parametrize(("rule", "kept"), [("last", "3"), ("first", "1")])
def test_duplicates(tmp_path: Path, path: Path, rule: Any, kept: str) -> None:
    # In the model a second record of a key ends the load and leaves its files behind.
    files = [tmp_path / "one", tmp_path / "two"]
    files[0].write_text("a\t1\nb\t2\n")
    files[1].write_text("a\t3\n")
    assert rocksdb_load(path, NEW, files, "tabsep", duplicates=rule).duplicates == 1
    assert contents(path) == {"a": kept, "b": "2"}
    with pytest.raises(DuplicateKeyError, match="one, line 1.*two, line 1"):
        rocksdb_load(path, NEW, files, "tabsep", duplicates="error")
    assert contents(path) == {"a": kept, "b": "2"}


def test_for_a_dict_without_functions(tmp_path: Path, path: Path) -> None:
    file = tmp_path / "file"
    file.write_text('{"id": 10, "v": [1, {"a": null}]}\n{"id": -3, "v": "x"}\n{"id": "b", "v": 0.5}\n')
    record = {"type": "ndjson", "key": "id", "value": "v"}
    rocksdb_load(path, NEW, file, {"record_type": record}, key_encoding="ordered", value_type="json")
    with RocksDBDict(path) as d:
        assert list(d.items()) == [(-3, "x"), (10, [1, {"a": None}]), ("b", 0.5)]
    with pytest.raises(CacheError, match="ordered"):
        rocksdb_load(path, NEW, file, {"record_type": record | {"value": None}})


def test_a_prefix_extractor_goes_with_the_database(tmp_path: Path, path: Path) -> None:
    options = RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix_alike(prefix="key"))
    rocksdb_load(path, options, tabsep(tmp_path / "file", PAIRS), "tabsep")
    with raw(path) as d:
        assert len(list(d.seek_items("key 12"))) == sum(key.startswith("key 12") for key in PAIRS)
    other = RocksDBOptions(prefix_extractor=fixed_prefix_alike(prefix="ke"))
    with pytest.raises(CacheError, match="prefix"):
        rocksdb_load(path, other, tabsep(tmp_path / "file", {"a": "1"}), "tabsep")
    assert contents(path) == PAIRS


def test_sorting_on_the_disk(tmp_path: Path, path: Path) -> None:
    pairs = {f"{n * 7919 % 200_003:06}": f"{n}" * 20 for n in range(200_003)}
    summary = rocksdb_load(path, NEW, tabsep(tmp_path / "file", pairs), "tabsep", memory_budget=4 << 20)
    assert summary.bytes_spilled > 4 << 20
    with raw(path) as d:
        assert len(d) == len(pairs)
        assert list(d.items()) == sorted(pairs.items())


def test_nothing_to_load(tmp_path: Path, path: Path) -> None:
    file = tmp_path / "empty"
    file.write_text("")
    assert rocksdb_load(path, NEW, file, "tabsep").written == 0
    assert contents(path) == {}
    assert rocksdb_load(path, NEW, [], "tabsep").written == 0


def test_files_of_entries(tmp_path: Path, path: Path) -> None:
    entries = iter([(b"a", b"1"), ("b", "2"), (b"c", b"3")])
    one, two, none = tmp_path / "one.sst", tmp_path / "two.sst", tmp_path / "none.sst"
    assert rocksdb_build_sst_file(NEW, str(one), lambda: next(entries, None)) is True
    later = iter([(b"b", b"newer"), (b"d", b"4")])
    assert rocksdb_build_sst_file(NEW, two, lambda: next(later, None)) is True
    assert rocksdb_build_sst_file(NEW, none, lambda: None) is False and not none.exists()
    rocksdb_ingest_sst_files(str(path), NEW, [str(one), str(two)], True)
    assert contents(path) == {"a": "1", "b": "newer", "c": "3", "d": "4"}
    assert not one.exists() and not two.exists()


def test_files_of_entries_that_are_not_in_order(tmp_path: Path) -> None:
    file = tmp_path / "file.sst"
    for wrong in ([("b", "1"), ("a", "2")], [("a", "1"), ("a", "2")]):
        entries = iter(wrong)
        with pytest.raises(InvalidOptionError, match="a comes after"):
            rocksdb_build_sst_file(NEW, file, lambda entries=entries: next(entries, None))
        assert not file.exists()
    with pytest.raises(ZeroDivisionError):
        rocksdb_build_sst_file(NEW, file, lambda: 1 / 0)
    first = iter([("a", "1")])
    with pytest.raises(CacheError, match="int"):
        rocksdb_build_sst_file(NEW, file, lambda: next(first, (1, 2)))
    assert not file.exists()
