"""The command line with stores in RocksDB, which one process writes while others look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cachemere import Cache


def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What the program does, in a process of its own. Others are variables of the environment."""
    command = [sys.executable, "-m", "cachemere", *map(str, arguments)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | more,
        check=False,
        timeout=60,
    )
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
    assert "backend    RocksDB, format 1, not encrypted" in run("stats", store).stdout
    listed = run("ls", store, "--limit", "2", "--reverse", "--json").stdout.splitlines()
    assert [json.loads(line)["key"] for line in listed] == ["k19", "k18"]
    assert json.loads(run("get", store, "k5").stdout) == {"n": 5}
    assert len(run("export", store).stdout.splitlines()) == 20
    assert run("verify", store).stdout.endswith("no problems\n")
    assert run("sweep", store).stdout == "removed 0 expired entries\n"
    assert run("compact", store).stdout.startswith("gave back ")
    assert run("backup", store, tmp_path / "backup").stdout.startswith("copied ")
    assert run("export", tmp_path / "backup").stdout == run("export", store).stdout != ""


def test_an_encrypted_store_is_looked_at_and_looked_after(tmp_path: Path) -> None:
    with Cache(tmp_path / "store", backend="rocksdb", encryption_key="a passphrase", max_entries=50) as cache:
        cache["k"] = 1
        with cache.namespace("other") as other:
            other["k"] = 2
        # While this process writes it, too.
        looked = run("stats", tmp_path / "store", CACHEMERE_KEY="a passphrase")
        assert looked.returncode == 0 and "RocksDB, format 1, encrypted (xchacha20poly1305)" in looked.stdout
    stats = json.loads(run("stats", tmp_path / "store", "--json", CACHEMERE_KEY="a passphrase").stdout)
    assert (stats["cipher"], stats["max_bytes"], stats["entries"]) == ("xchacha20poly1305", None, 2)
    assert [it["max_entries"] for it in stats["namespaces"]] == [50, 50]
    assert len(run("export", tmp_path / "store", CACHEMERE_KEY="a passphrase").stdout.splitlines()) == 2
    for command in ("verify", "sweep", "compact"):
        assert run(command, tmp_path / "store", CACHEMERE_KEY="a passphrase").returncode == 0
    done = run("ls", tmp_path / "store", CACHEMERE_KEY="another")
    assert done.returncode == 1 and "wrong secret" in done.stderr


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
