"""What type checkers see of a RocksDBDict is a mutable mapping of its keys and values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from collections.abc import Iterator, MutableMapping
from functools import partial
from typing_extensions import assert_type
from cachemere.rocksdb import CacheDict, RocksDBDict, RocksDBOptions, fixed_prefix

text = partial(str, encoding="utf-8")
mapping: MutableMapping[str, str] = RocksDBDict(
    path="/nowhere", options=RocksDBOptions(), deser_key=text, deser_value=text, ser_value=str.encode
)
d: RocksDBDict[str, int] = RocksDBDict("/nowhere")
assert_type(RocksDBDict("/nowhere", deser_key=bytes, deser_value=bytes), RocksDBDict[bytes, bytes])
assert_type(d["a"], int)
assert_type(d.get("a"), int | None)
assert_type(d.get("a", "b"), int | str)
assert_type(d.pop("a"), int)
assert_type(d.popitem(), tuple[str, int])
assert_type(d.setdefault("a", 1), int)
assert_type(d.get_many(["a"]), dict[str, int])
assert_type(list(d), list[str])
assert_type(list(d.items(start="a", reverse=True)), list[tuple[str, int]])
assert_type(list(d.values()), list[int])
assert_type(d.seek_items("a"), Iterator[tuple[str, int]])
assert_type(d.cache(), CacheDict[str, int])
assert_type(len(d), int)
d["a"] = "b"  # error: assignment
d[1]  # error: index
RocksDBDict("/nowhere", readonly=1)  # error: arg-type
RocksDBOptions(compression_type="gzip")  # error: arg-type
RocksDBOptions(max_open_file=1)  # error: call-arg
fixed_prefix(size="3")  # error: arg-type
with d as same:
    assert_type(same, RocksDBDict[str, int])
"""


def test_type_checkers_see_the_keys_and_values(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    lines = list(enumerate(PROGRAM.splitlines(), start=1))
    expected = [(number, line.rpartition("# error: ")[2]) for number, line in lines if "# error: " in line]
    found = [
        (int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]"))
        for line in done.stdout.splitlines()
        if ": error: " in line
    ]
    assert found == expected, done.stdout + done.stderr
