"""What works with hugedict works here, with the import changed; what goes wrong there does not."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from collections.abc import Callable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import IncompatibleError, KeyFormError
from cachemere.rocksdb import (
    CacheDict,
    RocksDBCompressionOptions,
    RocksDBDict,
    RocksDBOptions,
    fixed_prefix,
    fixed_prefix_alike,
)

FIXTURE = Path(__file__).parent / "fixtures" / "hugedict-2.14.6"
TEXT: Callable[..., str] = partial(str, encoding="utf-8")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Databases that hugedict 2.14.6 wrote; see `make_hugedict_fixture.py`."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "theirs"))


def test_the_example_of_its_readme(tmp_path: Path) -> None:
    dbpath, create_if_missing = str(tmp_path / "db"), True
    # replace [str, str] for the types of keys and values you want
    # as well as deser_key, deser_value, ser_value
    mapping: MutableMapping[str, str] = RocksDBDict(
        path=dbpath,  # path (str) to db file
        options=RocksDBOptions(
            create_if_missing=create_if_missing
        ),  # whether to create database if missing, check other options
        deser_key=partial(str, encoding="utf-8"),  # decode the key from memoryview
        deser_value=partial(str, encoding="utf-8"),  # decode the value from memoryview
        ser_value=str.encode,  # encode the value to bytes
        readonly=False,  # open database in read only mode
        secondary_mode=False,  # open database in secondary mode
        secondary_path=None,  # when secondary_mode is True, it's a string pointing to a directory for storing data
    )
    mapping["P17"] = "country"
    assert dict(mapping) == {"P17": "country"}


def test_a_database_it_wrote_with_str_is_read_and_written(theirs: Path) -> None:
    d: RocksDBDict[Any, str] = RocksDBDict(
        str(theirs / "str"), RocksDBOptions(), deser_key=TEXT, deser_value=TEXT, ser_value=str.encode
    )
    expected = {f"P{number:03}": f"property {number}" for number in range(200)}
    expected |= {"Ä": "an umlaut", "bytes": "a key of bytes", "": "no key"}
    assert dict(d) == expected and len(d) == 203 and d["P017"] == "property 17"
    assert list(d.seek_keys("P01")) == [f"P01{digit}" for digit in range(10)]
    d["new"] = "one"
    d.close()
    again: RocksDBDict[Any, str] = RocksDBDict(
        theirs / "str", key_encoding="hugedict", deser_key=TEXT, deser_value=TEXT, ser_value=str.encode
    )
    assert dict(again) == expected | {"new": "one"} and again[None] == "no key" and again[b"bytes"] == "a key of bytes"
    # It notes nothing, so that the other package's users are not kept out.
    assert not (theirs / "str" / "CACHEMERE").exists()


def test_a_database_it_wrote_with_ints_is_read_and_written(theirs: Path) -> None:
    d: RocksDBDict[Any, bytes] = RocksDBDict(
        theirs / "int",
        key_encoding="hugedict",
        deser_key=lambda view: int.from_bytes(view, "little", signed=True),
        deser_value=bytes,
    )
    assert dict(d) == {key: str(key).encode() for key in (-2, -1, 0, 1, 2, 256, 2**40)}
    d[7] = b"7"
    assert d[7] == b"7" and d.get(8) is None and True in d
    for wrong in (1.5, ("a",), 2**63):
        with pytest.raises(KeyFormError, match="hugedict"):
            d[wrong]
    d.close()
    bytes_only: RocksDBDict[Any, bytes] = RocksDBDict(theirs / "int", key_encoding="hugedict")
    assert next(iter(bytes_only)) == bytes(8)


def test_its_prefix_extractor_is_known(theirs: Path) -> None:
    same = RocksDBOptions(prefix_extractor=fixed_prefix(size=3))
    RocksDBDict[Any, Any](theirs / "int", same, key_encoding="hugedict").close()
    with pytest.raises(IncompatibleError, match="3 bytes.*5 bytes"):
        RocksDBDict(theirs / "int", RocksDBOptions(prefix_extractor=fixed_prefix(size=5)), key_encoding="hugedict")


def test_without_saying_how_it_is_encoded_it_is_refused_untouched(theirs: Path) -> None:
    before = {file: file.read_bytes() for file in theirs.rglob("*") if file.is_file()}
    for given in ({}, {"deser_key": bytes}, {"deser_value": bytes}, {"readonly": True}):
        with pytest.raises(IncompatibleError, match="does not say how its entries are encoded.*key_encoding"):
            RocksDBDict(theirs / "str", **given)  # type: ignore[arg-type]
    after = {file: file.read_bytes() for file in theirs.rglob("*") if file.is_file()}
    # RocksDB notes that somebody looked.
    assert {file: data for file, data in after.items() if not file.name.startswith("LO")} == before


def test_a_cache_in_memory(path: Path) -> None:
    d: RocksDBDict[str, str] = RocksDBDict(path, deser_key=TEXT, deser_value=TEXT, ser_value=str.encode)
    d["a"] = "1"
    cached = d.cache()
    assert isinstance(cached, CacheDict) and "a" in cached and "b" not in cached
    filled = d.update_cache([("b", "2")])
    assert filled["b"] == "2" and "b" in filled and "b" not in d and len(filled) == 1
    assert cached.update_cache({"c": "3"}) is cached and cached["c"] == "3"


# --- what goes wrong there ------------------------------------------------------------------------------------------


def test_it_is_a_mutable_mapping(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    assert isinstance(d, MutableMapping)
    d.update(a=1)
    assert d.setdefault("a", 2) == 1 and list(reversed(d)) == ["a"] and d.popitem() == ("a", 1)
    d.clear()


def test_views_of_memory_do_not_outlive_it(path: Path) -> None:
    kept: list[memoryview] = []
    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, deser_value=kept.append, ser_value=bytes)
    d["a"] = b"x" * 100_000
    assert d["a"] is None
    del d["a"]
    with pytest.raises(ValueError, match="released"):
        kept[0].tobytes()


def test_ints_are_in_their_order(path: Path) -> None:
    d: RocksDBDict[int, None] = RocksDBDict(path)
    keys = [-(2**70), -256, -2, -1, 0, 1, 2, 255, 256, 2**40, 2**70]
    d.update(dict.fromkeys(reversed(keys)))
    assert list(d) == keys


def test_a_str_is_not_equal_to_its_bytes(path: Path) -> None:
    d: RocksDBDict[Any, int] = RocksDBDict(path)
    d["a"] = 1
    assert b"a" not in d


def test_it_is_pickled_with_all_its_options(path: Path) -> None:
    options = RocksDBOptions(
        create_if_missing=True,
        compression_opts=RocksDBCompressionOptions(window_bits=-14, level=3, strategy=0, max_dict_bytes=1024),
        zstd_max_train_bytes=1600,
        bottommost_zstd_max_train_bytes=3200,
    )
    d: RocksDBDict[str, str] = RocksDBDict(path, options, TEXT, TEXT, str.encode)
    d["a"] = "1"
    state = pickle.dumps(d)
    d.close()
    copy = pickle.loads(state)
    assert copy.options == options and copy["a"] == "1" and copy.deser_key(b"b") == "b"
    copy.close()


def _length(d: RocksDBDict[Any, Any]) -> int:
    return len(d)


def test_readers_are_given_to_processes(path: Path) -> None:
    writer: RocksDBDict[str, int] = RocksDBDict(path)
    writer.update(a=1, b=2)
    reader: RocksDBDict[str, int] = RocksDBDict(path, readonly=True)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_length, [reader] * 4) == [2] * 4


def test_a_missing_key_is_an_error_when_it_is_deleted_or_popped(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    with pytest.raises(KeyError):
        del d["a"]
    with pytest.raises(KeyError):
        d.pop("a")


def test_a_prefix_is_matched_whole_without_an_extractor(path: Path) -> None:
    options = RocksDBOptions(create_if_missing=True)
    d: RocksDBDict[str, str] = RocksDBDict(path, options, TEXT, TEXT, str.encode)
    d.update({"P7": "", "P71": "", "P8": "", "Q": ""})
    assert list(d.seek_keys("P7")) == ["P7", "P71"]
    d.close()
    d = RocksDBDict(path.with_name("other"), RocksDBOptions(
        create_if_missing=True, prefix_extractor=fixed_prefix_alike(type="fixed_prefix_alike", prefix="P7")
    ), TEXT, TEXT, str.encode)  # fmt: skip
    d.update({"P7": "", "P71": "", "P8": "", "Q": "", "P": ""})
    assert list(d.seek_keys("P")) == ["P", "P7", "P71", "P8"]
