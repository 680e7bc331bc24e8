"""What hugedict stored in RocksDB is in a cache afterwards, and its directory is as it was."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import IncompatibleError, InputFileError
from cachemere.migration import import_store
from cachemere.rocksdb import RocksDBDict, RocksDBOptions

FIXTURE = Path(__file__).parent / "fixtures" / "hugedict-2.14.6"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Databases that hugedict 2.14.6 wrote; see `make_hugedict_fixture.py`."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "theirs"))


def snapshot(path: Path) -> dict[str, tuple[int, int, str | None]]:
    found = {}
    for file in [path, *path.rglob("*")]:
        stat = file.stat()
        data = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
        found[str(file)] = (stat.st_mtime_ns, stat.st_size, data)
    return found


def make(path: Path, contents: dict[bytes, bytes]) -> None:
    """As hugedict would, but for a note of how it is encoded."""
    with RocksDBDict[Any, Any](path, deser_value=bytes, ser_value=bytes, key_encoding="hugedict") as d:
        d.update(contents)


def test_text_is_imported(theirs: Path, path: Path) -> None:
    before = snapshot(theirs)
    summary = import_store("hugedict", theirs / "str", path)
    # Also what is in its log, as a program leaves it that ends without more.
    assert snapshot(theirs) == before
    assert summary.imported == 203 and summary.is_complete
    expected = {f"P{number:03}": f"property {number}" for number in range(200)}
    expected |= {"Ä": "an umlaut", "bytes": "a key of bytes", "": "no key"}
    with Cache(path) as ours:
        assert dict(ours.items()) == expected and list(ours) == sorted(expected, key=str.encode)


def test_numbers_and_bytes_are_imported(theirs: Path, path: Path) -> None:
    before = snapshot(theirs)
    assert import_store("hugedict", theirs / "int", path, keys="int", values="bytes").imported == 7
    assert snapshot(theirs) == before
    with Cache(path) as ours:
        assert dict(ours.items()) == {key: str(key).encode() for key in (-2, -1, 0, 1, 2, 256, 2**40)}
    summary = import_store("hugedict", theirs / "int", path, namespace="text")
    # Keys like -1 are not text, and others are.
    assert summary.unreadable == 2 and "as text in UTF-8" in summary.skipped[0].why
    summary = import_store("hugedict", theirs / "str", path, namespace="wrong", keys="int")
    assert summary.unreadable == 203 and not summary.is_complete


def test_json_is_imported_into_a_store_in_rocksdb(tmp_path: Path, path: Path) -> None:
    make(tmp_path / "theirs", {b"a": b'{"x": [1, null]}', b"b": b"no json"})
    summary = import_store("hugedict", tmp_path / "theirs", path, values="json", backend="rocksdb")
    assert (summary.imported, summary.unreadable) == (1, 1)
    with Cache(path) as ours:
        assert dict(ours.items()) == {"a": {"x": [1, None]}} and (path / "rocksdb").is_dir()


def test_pickles_are_refused_without_leave(tmp_path: Path, path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "mark"),)

    make(tmp_path / "theirs", {b"bomb": pickle.dumps(Bomb()), b"plain": pickle.dumps((1, 2))})
    summary = import_store("hugedict", tmp_path / "theirs", path, values="pickle")
    assert (summary.imported, summary.pickles) == (0, 2) and not (tmp_path / "mark").exists()
    # As the values of its `cache_func` are.
    summary = import_store("hugedict", tmp_path / "theirs", path, values="pickle", allow_pickle=True)
    assert summary.imported == 2 and (tmp_path / "mark").exists()
    with Cache(path) as ours:
        assert ours["plain"] == (1, 2)


WRITER = """
import sys
from cachemere.rocksdb import RocksDBDict
d = RocksDBDict(sys.argv[1], deser_value=bytes, ser_value=bytes, key_encoding="hugedict")
d.update({f"key {number}": b"x" * 1000 for number in range(5000)})
print("ready", flush=True)
sys.stdin.readline()
"""


def test_one_that_another_process_writes_is_imported(tmp_path: Path, path: Path) -> None:
    theirs = tmp_path / "theirs"
    process = subprocess.Popen([sys.executable, "-c", WRITER, theirs], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    before = snapshot(theirs)
    assert import_store("hugedict", theirs, path).imported == 5000
    assert snapshot(theirs) == before
    process.kill()
    process.wait(timeout=60)
    process.stdin.close()
    process.stdout.close()
    # What it left is imported just so.
    assert import_store("hugedict", theirs, path).kept == 5000 and snapshot(theirs) == before


def test_a_table_that_is_damaged(theirs: Path, path: Path) -> None:
    make(theirs / "new", {f"{number:06}".encode(): b"x" * 500 for number in range(20_000)})
    with RocksDBDict[Any, Any](theirs / "new", RocksDBOptions(), deser_value=bytes, key_encoding="hugedict") as d:
        d.compact()
    tables = sorted((theirs / "new").glob("*.sst"), key=lambda file: file.stat().st_size)
    data = bytearray(tables[-1].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = os.urandom(4096)
    tables[-1].write_bytes(data)
    before = snapshot(theirs)
    summary = import_store("hugedict", theirs / "new", path)
    assert snapshot(theirs) == before
    assert 0 < summary.imported < 20_000 and summary.unreadable == 1 and not summary.is_complete


def test_other_directories_are_told_apart(theirs: Path, path: Path, tmp_path: Path) -> None:
    with RocksDBDict[Any, Any](tmp_path / "ours") as d:
        d["a"] = 1
    with pytest.raises(IncompatibleError, match="encod"):
        import_store("hugedict", tmp_path / "ours", path)
    with Cache(tmp_path / "cache", backend="rocksdb") as cache:
        cache["a"] = 1
    with pytest.raises(IncompatibleError, match="it is a store of Cachemere, which needs no import"):
        import_store("hugedict", tmp_path / "cache", path)
    with pytest.raises(IncompatibleError, match="not of diskcache.*--from hugedict"):
        import_store("diskcache", theirs / "str", path)
    with pytest.raises(InputFileError, match="does not exist"):
        import_store("hugedict", tmp_path / "none", path)
    assert not path.exists()
