"""A source of any size is imported in memory that does not grow with it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import diskcache
import pytest
import sqlitedict
from cachemere import Cache

#: Imports, and prints the most memory of its own that it had meanwhile, in MiB. What is mapped of files is not counted:
#: the system takes it back when it likes.
MEASURED = """
import sys, threading, time
from cachemere.migration import import_store
def own():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
before, most, done = own(), 0, False
def watch():
    global most
    while not done:
        most = max(most, own())
        time.sleep(0.005)
watcher = threading.Thread(target=watch)
watcher.start()
kind, source, target, values = sys.argv[1:]
summary = import_store(kind, source, target, values=values or None)
done = True
watcher.join()
print(summary.imported, most - before)
"""


def measured(kind: str, source: Path, target: Path, values: str) -> tuple[int, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, kind, str(source), str(target), values],
        capture_output=True,
        text=True,
        check=True,
    )
    imported, memory = done.stdout.split()
    return int(imported), float(memory)


@pytest.mark.parametrize("kind", ["diskcache", "sqlitedict"])
def test_memory_does_not_grow_with_the_source(kind: str, tmp_path: Path, path: Path, torture: bool) -> None:
    count = 1_000_000 if torture else 100_000
    text = "x" * 1000
    source = tmp_path / "theirs"
    if kind == "diskcache":
        with diskcache.Cache(source, sqlite_synchronous=0, size_limit=2**40) as cache:
            columns = "key, raw, store_time, access_time, mode, value"
            cache._sql(
                f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}) "
                f"INSERT INTO Cache ({columns}) SELECT i, 1, 1e9 + i, 1e9 + i, 1, ? || i FROM n",
                (text,),
            )
    else:
        sqlitedict.SqliteDict(str(source)).close()
        # Past its thread, which takes half a millisecond for each.
        database = sqlite3.connect(source)
        with database:
            rows = ((str(number), f"{text}{number}".encode()) for number in range(count))
            database.executemany("INSERT INTO unnamed VALUES (?, ?)", rows)
        database.close()
    imported, memory = measured(kind, source, path, "" if kind == "diskcache" else "text")
    # Of some 100 MB, or 1 GB.
    assert imported == count and memory < 64, memory
    with Cache(path) as ours:
        assert len(ours) == count
        assert ours[17 if kind == "diskcache" else "17"] == text + "17"


def test_values_that_are_large_are_written_a_few_at_a_time(tmp_path: Path, path: Path) -> None:
    with sqlitedict.SqliteDict(str(tmp_path / "theirs"), encode=bytes, decode=bytes) as d:
        for number in range(60):
            d[str(number)] = bytes(4 << 20)
        d.commit()
    imported, memory = measured("sqlitedict", tmp_path / "theirs", path, "bytes")
    assert imported == 60 and memory < 96, memory
