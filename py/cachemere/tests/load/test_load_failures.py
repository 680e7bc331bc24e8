"""Cache.load: what is refused, and that nothing was changed then."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import (
    BadRecordError,
    CacheError,
    DuplicateKeyError,
    InputFileError,
    InvalidOptionError,
    LoadError,
    ReadOnlyError,
    StoreFullError,
)
from how_long import TORTURE
from loaded import write


def untouched(cache: Cache) -> bool:
    """Whether only what the test put there is there, and nothing in the store's directory but its own files."""
    left = [entry for entry in Path(cache.path).iterdir() if entry.is_dir()]
    return dict(cache.items()) == {"there": 1} and not left


@pytest.fixture
def cache(path: Path) -> Any:
    with Cache(path) as cache:
        cache["there"] = 1
        yield cache


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("format", {"format": "parquet"}),
        ("key_field", {"format": "ndjson"}),
        ("key_field", {"format": "tabsep", "key_field": "id"}),
        ("value_field", {"format": "ndjson", "key_field": "id", "value_field": 1}),
        ("value_field", {"format": "csv", "value_field": -1}),
        ("key_field", {"format": "csv", "key_field": "name", "header": False}),
        ("delimiter", {"format": "csv", "delimiter": ";;"}),
        ("delimiter", {"format": "csv", "delimiter": '"'}),
        ("key_type", {"key_type": "json"}),
        ("value_type", {"value_type": "pickle"}),
        ("duplicates", {"duplicates": "any"}),
        ("existing", {"existing": "remove"}),
        ("on_error", {"on_error": "ignore"}),
        ("memory_budget", {"memory_budget": 1}),
        ("threads", {"threads": 0}),
        ("threads", {"threads": 5000}),
        ("ttl", {"ttl": 0}),
        ("verbose", {"verbose": 1}),
        ("files", {"files": 5}),
    ],
)
def test_options_that_make_no_sense_are_named(cache: Cache, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    file = write(tmp_path / "file", "a\t1\n")
    with pytest.raises(InvalidOptionError, match=name):
        cache.load(**{"files": [file], "format": "tabsep"} | options)
    assert untouched(cache)


@pytest.mark.parametrize(
    ("format", "text", "options", "place"),
    [
        ("tabsep", "a\t1\nno tab\n", {}, "line 2"),
        ("tabsep", b"a\t1\n\xff\t1\n", {}, "line 2"),
        ("tabsep", "a\t1\n\tempty key\n", {"key_type": "bytes", "value_type": "bytes"}, ""),
        ("ndjson", '{"id": 1}\n{"id": \n', {"key_field": "id"}, "line 2"),
        ("ndjson", '{"id": 1}\n{"no": 1}\n', {"key_field": "id"}, "line 2"),
        ("ndjson", '{"id": 1}\n{"id": 1.5}\n', {"key_field": "id"}, "line 2"),
        (
            "ndjson",
            '{"id": "x", "v": "text"}\n{"id": "y", "v": 1}\n',
            {"key_field": "id", "value_field": "v"},
            "line 2",
        ),
        ("tuple2", '["a", "b"]\n["a"]\n', {}, "line 2"),
        ("csv", 'k,v\na,"1\n2"\nb\n', {}, "line 4"),
        ("csv", 'k,v\na,"1"\n', {"value_field": "w"}, "'w'|\"w\""),
        ("bin_kv", b"\x01" + b"\0" * 7 + b"a" + b"\x05" + b"\0" * 7 + b"b", {}, "record 1, byte 0"),
    ],
)
def test_bad_records_have_a_file_and_line(
    cache: Cache, tmp_path: Path, format: Any, text: str | bytes, options: dict[str, Any], place: str
) -> None:
    file = write(tmp_path / "some file", text)
    if options.get("key_type") == "bytes":
        # An empty key is a key as any in Python.
        assert cache.load(file, format, **options).written == 2
        return
    with pytest.raises(LoadError, match=place) as caught:
        cache.load(file, format, **options)
    assert "some file" in str(caught.value) and isinstance(caught.value, CacheError | ValueError)
    assert untouched(cache)


def test_a_missing_or_broken_file_among_many(cache: Cache, tmp_path: Path) -> None:
    good = write(tmp_path / "good", "a\t1\n")
    missing = tmp_path / "missing"
    cut = write(tmp_path / "cut", gzip.compress(os.urandom(100_000).hex().encode())[:-100])
    for bad in (missing, cut, tmp_path):
        with pytest.raises(InputFileError, match=bad.name):
            cache.load([good, bad], "tabsep")
    assert untouched(cache)


def test_duplicates_are_an_error_if_asked_for(cache: Cache, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "a\t1\nb\t2\na\t3\n")
    with pytest.raises(DuplicateKeyError, match=r"key a .*line 1.*line 3"):
        cache.load(file, "tabsep", duplicates="error")
    again = write(tmp_path / "again", "x\t1\nthere\t2\n")
    with pytest.raises(DuplicateKeyError, match=r"key there .*line 2.*store"):
        cache.load(again, "tabsep", existing="error")
    with pytest.raises(BadRecordError):
        cache.load(write(tmp_path / "bad", "x"), "tabsep")
    assert untouched(cache)


def test_a_store_that_is_read_only_or_too_small(path: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "".join(f"{n}\t{n:0200}\n" for n in range(50_000)))
    with Cache(path, max_bytes=4 << 20) as cache:
        cache["there"] = 1
        with pytest.raises(StoreFullError, match="max_bytes"):
            cache.load(file, "tabsep")
        assert untouched(cache)
    with Cache(path, read_only=True) as cache, pytest.raises(ReadOnlyError):
        cache.load(file, "tabsep")


LOADING = """
import sys, cachemere
cache = cachemere.Cache(sys.argv[1])
len(cache)
print("ready", flush=True)
cache.load([sys.argv[2]] * int(sys.argv[3]), "tabsep", memory_budget=8 << 20, verbose=len(sys.argv) > 4)
print("done", flush=True)
"""


def start(path: Path, file: Path, times: int, *more: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", LOADING, path, file, str(times), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """200,000 records."""
    return write(tmp_path / "large", "".join(f"key {n * 7919 % 200_003}\t{n:0100}\n" for n in range(200_000)))


def test_ctrl_c_ends_it_soon_and_changes_nothing(cache: Cache, path: Path, large: Path) -> None:
    child = start(path, large, 300)
    time.sleep(0.7)
    assert child.poll() is None
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in told and time.monotonic() - begun < 5
    assert untouched(cache)


def test_a_killed_load_changes_nothing_and_the_next_one_clears_up(cache: Cache, path: Path, large: Path) -> None:
    for _ in range(20 if TORTURE else 3):
        child = start(path, large, 3)
        time.sleep(random.random())
        child.kill()
        told, _ = child.communicate(timeout=30)
        if len(cache) == 1:
            assert "done" not in told and dict(cache.items()) == {"there": 1}
        else:
            assert len(cache) == 200_001
        assert cache.verify().is_clean
        cache.clear()
        cache["there"] = 1
    cache.load(write(large.parent / "none", ""), "tabsep", memory_budget=8 << 20)
    cache.load(large, "tabsep", memory_budget=4 << 20)
    cache.clear()
    cache["there"] = 1
    assert untouched(cache)


def test_the_bar_goes_to_the_standard_error(path: Path, large: Path) -> None:
    child = start(path, large, 8, "verbose")
    told, shown = child.communicate(timeout=60)
    assert told == "done\n"
    # Reading it as text makes ends of lines of what draws the line anew.
    lines = shown.rstrip("\n").split("\n")
    assert any("reading [" in line and "MB/s" in line and "left" in line for line in lines)
    assert lines[-1].endswith("100% 1,600,000 of 1,600,000 records")


def test_other_threads_run_while_files_are_loaded(cache: Cache, large: Path) -> None:
    import threading

    loading = threading.Thread(target=lambda: cache.load([large] * 5, "tabsep", existing="keep"))
    loading.start()
    turns = 0
    while loading.is_alive():
        turns += 1
        assert cache["there"] == 1
        time.sleep(0.001)
    assert turns > 20 and len(cache) == 200_001
