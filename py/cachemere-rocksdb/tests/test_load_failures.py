"""rocksdb_load: what is refused, what a kill leaves, and that the database is as it was then."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import BadRecordError, BusyError, CacheError, DamagedError, InputFileError, InvalidOptionError
from cachemere.rocksdb import RocksDBDict, RocksDBOptions, fixed_prefix, rocksdb_ingest_sst_files, rocksdb_load
from conftest import TORTURE

NEW = RocksDBOptions(create_if_missing=True)


def raw(path: Path, **options: Any) -> RocksDBDict[bytes, bytes]:
    return RocksDBDict(path, RocksDBOptions(), bytes, bytes, bytes, **options)


@pytest.fixture
def filled(path: Path) -> Path:
    """A database with one entry."""
    with RocksDBDict(path, NEW, bytes, bytes, bytes) as d:
        d[b"there"] = b"1"
    return path


def untouched(path: Path) -> bool:
    """Whether there is only what was there, and no directory of a load."""
    with raw(path, readonly=True) as d:
        entries = dict(d.items())
    return entries == {b"there": b"1"} and not directories(path.parent, path) and not directories(path)


def directories(path: Path, *known: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir() and entry not in known]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("format", {"format": "parquet"}),
        ("format", {"format": 5}),
        ("record_type", {"format": {"is_sorted": True}}),
        ("sorted", {"format": {"record_type": "tabsep", "sorted": True}}),
        ("keys", {"format": {"record_type": {"type": "tabsep", "keys": 1}}}),
        ("number_type", {"format": {"record_type": "tabsep", "number_type": "u128"}}),
        ("is_sorted", {"format": {"record_type": "tabsep", "is_sorted": "yes"}}),
        ("key", {"format": "ndjson"}),
        ("dbopts", {"dbopts": {}}),
        ("key_encoding", {"key_encoding": "utf-8"}),
        ("compact", {"compact": 1}),
        ("duplicates", {"duplicates": "any"}),
        ("memory_budget", {"memory_budget": 1}),
        ("files", {"files": 5}),
    ],
)
def test_options_that_make_no_sense_are_named(filled: Path, tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    given = {"dbpath": filled, "dbopts": NEW, "files": [write(tmp_path / "file", "a\t1\n")], "format": "tabsep"}
    with pytest.raises(InvalidOptionError, match=name):
        rocksdb_load(**given | change)
    assert untouched(filled)


@pytest.mark.parametrize("is_new", [True, False])
def test_bad_files_leave_nothing_behind(filled: Path, tmp_path: Path, is_new: bool) -> None:
    path = tmp_path / "sub" / "new" if is_new else filled
    path.parent.mkdir(exist_ok=True)
    good = write(tmp_path / "good", "a\t1\n" * 1000)
    cut = write(tmp_path / "cut", gzip.compress(os.urandom(100_000).hex().encode())[:-100])
    for bad in (tmp_path / "missing", cut, tmp_path):
        with pytest.raises(InputFileError, match=bad.name):
            rocksdb_load(path, NEW, [good, bad], "tabsep")
    columns = write(tmp_path / "columns", "a\t1\nno tab\n")
    with pytest.raises(BadRecordError, match="columns, line 2"):
        rocksdb_load(path, NEW, [good, columns], "tabsep")
    json = write(tmp_path / "json", '{"id": "a"}\n{"id": \n')
    with pytest.raises(BadRecordError, match="json, line 2"):
        rocksdb_load(path, NEW, json, {"record_type": {"type": "ndjson", "key": "id"}})
    unsorted = {"record_type": "tabsep", "is_sorted": True}
    with pytest.raises(CacheError, match="sorted"):
        rocksdb_load(path, NEW, write(tmp_path / "unsorted", "b\t1\na\t1\n"), unsorted)
    if is_new:
        assert not list(path.parent.iterdir())
        path.parent.rmdir()
    assert untouched(filled)
    skipped = rocksdb_load(filled, NEW, columns, "tabsep", on_error="skip")
    assert (skipped.written, skipped.skipped) == (1, 1) and "line 2" in skipped.bad[0]


def test_a_database_in_use_or_not_there(filled: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "a\t1\n")
    with raw(filled) as d:
        with pytest.raises(BusyError):
            rocksdb_load(filled, NEW, file, "tabsep")
        assert dict(d.items()) == {b"there": b"1"}
    with pytest.raises(CacheError, match="create_if_missing"):
        rocksdb_load(tmp_path / "none", RocksDBOptions(), file, "tabsep")
    assert not (tmp_path / "none").exists()
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "somebody's", "")
    with pytest.raises(CacheError, match="somebody's"):
        rocksdb_load(tmp_path / "other", NEW, file, "tabsep")
    with pytest.raises(CacheError, match="prefix"):
        rocksdb_load(_with_prefix(tmp_path / "prefixed", file), _prefixed(3), file, "tabsep")
    (tmp_path / "prefixed").rename(tmp_path / "moved")
    (tmp_path / "other" / "somebody's").unlink()
    assert untouched(filled) or directories(tmp_path, filled) == [tmp_path / "moved", tmp_path / "other"]


def _prefixed(size: int) -> RocksDBOptions:
    return RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix(size=size))


def _with_prefix(path: Path, file: Path) -> Path:
    rocksdb_load(path, _prefixed(2), file, "tabsep")
    return path


def test_files_of_entries_that_are_missing_or_damaged(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError):
        rocksdb_ingest_sst_files(filled, NEW, [tmp_path / "missing.sst"])
    with pytest.raises(DamagedError):
        rocksdb_ingest_sst_files(filled, NEW, [write(tmp_path / "noise.sst", os.urandom(5000))])
    assert untouched(filled)


LOAD = """
import sys
from cachemere.rocksdb import RocksDBOptions, rocksdb_load
path, file, compact = sys.argv[1:]
print("begin", flush=True)
rocksdb_load(path, RocksDBOptions(create_if_missing=True), file, "tabsep", compact=bool(compact), memory_budget=8 << 20)
print("end", flush=True)
"""


def _big(path: Path, count: int = 300_007) -> Path:
    lines = (f"key {n * 7919 % count}\t{'x' * (n % 90)}\n" for n in range(count))
    return write(path, "".join(lines))


@pytest.mark.parametrize("is_new", [True, False])
def test_a_killed_load_changes_nothing(filled: Path, tmp_path: Path, is_new: bool) -> None:
    file = _big(tmp_path / "file")
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", LOAD, tmp_path / "whole", file, "x"], check=True, capture_output=True)
    whole = time.monotonic() - began
    draw = random.Random(7)
    killed = 0
    for n in range(50 if TORTURE else 6):
        path = tmp_path / f"new {n}" if is_new else filled
        child = subprocess.Popen([sys.executable, "-c", LOAD, path, file, "x"], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "begin\n"
        time.sleep(draw.random() * whole * 0.9)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        killed += rest != "end\n"
        if is_new:
            # Either it is not there at all, or the load was over but for its last word.
            if path.exists():
                with raw(path) as d:
                    assert len(d) == 300_007
        else:
            # Opening clears up.
            with raw(path) as d:
                assert d[b"there"] == b"1" and len(d) in (1, 300_008)
                if len(d) != 1:
                    d.clear()
                    d[b"there"] = b"1"
            assert not directories(path)
    assert killed >= 2
    rocksdb_load(tmp_path / "last", NEW, write(tmp_path / "small", "a\t1\n"), "tabsep")
    left = [entry.name for entry in directories(tmp_path) if entry.name.startswith("cachemere-load")]
    assert not left


def test_an_interrupt_ends_it(filled: Path, tmp_path: Path) -> None:
    file = _big(tmp_path / "file", 1_500_007)
    for _ in range(5):
        path = shutil.copytree(filled, tmp_path / "copies" / "copy")
        child = subprocess.Popen(
            [sys.executable, "-c", LOAD, path, file, ""], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stdout.readline() == "begin\n"
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        rest, told = child.communicate(timeout=60)
        # A load that was over before this process woke up says nothing about interrupts.
        if rest != "end\n":
            break
        shutil.rmtree(path)

    assert "KeyboardInterrupt" in told and rest == "", (child.returncode, rest, told)
    assert untouched(path)


PEAK = """
import sys
from cachemere.rocksdb import RocksDBOptions, rocksdb_load
path, file, budget = sys.argv[1:]
summary = rocksdb_load(path, RocksDBOptions(create_if_missing=True), file, "tabsep", memory_budget=int(budget))
print(summary.bytes_spilled)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")).split()[1])
"""


def test_ten_times_the_memory_budget(tmp_path: Path) -> None:
    # The interpreter, the engine and RocksDB take some 40 MiB of it.
    budget = (256 if TORTURE else 64) << 20
    file = tmp_path / "file"
    with open(file, "w") as opened:
        for n in range(budget * 10 // 520):
            opened.write(f"{n * 7919 % 100_000_007:09}\t{'0123456789' * 50}{n:09}\n")
    assert file.stat().st_size > 10 * budget * 0.95
    command = [sys.executable, "-c", PEAK, tmp_path / "db", file, str(budget)]
    spilled, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(spilled) > budget
    assert int(peak) * 1024 < 2 * budget, f"{int(peak) // 1024} MiB with a budget of {budget >> 20} MiB"
