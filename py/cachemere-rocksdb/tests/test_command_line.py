"""The command line with stores in RocksDB, which one process writes while others look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cachemere import Cache


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the program does, in a process of its own."""
    command = [sys.executable, "-m", "cachemere", *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with Cache(tmp_path / "store", backend="rocksdb") as cache:
        for number in range(20):
            cache.set(f"k{number}", {"n": number}, ttl=3600 if number % 2 else None, tags=("t",))
    return tmp_path / "store"


def test_every_command_works(store: Path, tmp_path: Path) -> None:
    stats = json.loads(run("stats", store, "--full", "--json").stdout)
    assert (stats["backend"], stats["entries"], stats["namespaces"][0]["expiring"]) == ("rocksdb", 20, 10)
    assert [file["name"] for file in stats["files"]] == ["rocksdb", "token"]
    assert "backend    RocksDB, not encrypted" in run("stats", store).stdout
    listed = run("ls", store, "--limit", "2", "--reverse", "--json").stdout.splitlines()
    assert [json.loads(line)["key"] for line in listed] == ["k19", "k18"]
    assert json.loads(run("get", store, "k5").stdout) == {"n": 5}
    assert len(run("export", store).stdout.splitlines()) == 20
    assert run("verify", store).stdout.endswith("no problems\n")
    assert run("sweep", store).stdout == "removed 0 expired entries\n"
    assert run("compact", store).stdout.startswith("gave back ")
    assert run("backup", store, tmp_path / "backup").stdout.startswith("copied ")
    assert run("export", tmp_path / "backup").stdout == run("export", store).stdout != ""


def test_looking_works_while_another_process_writes(store: Path) -> None:
    with Cache(store) as cache:
        cache["new"] = 1
        assert run("get", store, "new").stdout == "1\n"
        assert len(run("ls", store).stdout.splitlines()) == 22
        for command in ("sweep", "compact"):
            done = run(command, store)
            assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("cachemere: ")


def test_no_command_makes_a_store(tmp_path: Path) -> None:
    for command in ("stats", "ls", "verify", "sweep", "compact", "export"):
        assert run(command, tmp_path / "none").returncode == 1
    assert list(tmp_path.iterdir()) == []
