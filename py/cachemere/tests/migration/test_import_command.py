"""`python -m cachemere import`, as it is typed."""

from __future__ import annotations

import json
import os
import pty
import shelve
import subprocess
import sys
from pathlib import Path
from typing import Any

import diskcache
import pytest
from cachemere import Cache
from sources import run_import, snapshot, summary_of


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    with diskcache.Cache(tmp_path / "theirs") as cache:
        cache["a"], cache["b"] = "1", b"2"
        cache["\x1b[31mred"] = {"a": 1}
    return tmp_path / "theirs"


def test_it_tells_what_it_came_to(theirs: Path, path: Path) -> None:
    done = run_import("--from", "diskcache", theirs, path, check=1)
    assert done.stderr == "" and "\x1b" not in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["entries", "in", "the", "source", "3"] in lines and ["imported", "2"] in lines
    assert ["left", "out:", "pickles,", "not", "allowed", "to", "be", "read", "1"] in lines
    assert r"key '\x1b[31mred': its value is a pickle" in done.stdout and "--allow-pickle" in done.stdout
    done = run_import("--from", "diskcache", "--allow-pickle", theirs, path)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["already", "there,", "kept", "2"] in lines and ["imported", "1"] in lines
    with Cache(path) as ours:
        assert dict(ours.items()) == {"a": "1", "b": b"2", "\x1b[31mred": {"a": 1}}


OTHER_PROGRAM = """
import diskcache, sys
class Own:
    pass
with diskcache.Cache(sys.argv[1]) as cache:
    for name in sys.argv[2:]:
        cache[name] = Own() if name.startswith("own") else complex if name.startswith("type") else {"a": 1}
    cache[[1, 2]] = "a list as a key"
"""


def made_by_another_program(theirs: Path, *names: str) -> Path:
    subprocess.run([sys.executable, "-c", OTHER_PROGRAM, str(theirs), *names], check=True)
    return theirs


def test_a_reason_is_said_once_above_the_keys_it_holds_for(path: Path, tmp_path: Path) -> None:
    theirs = made_by_another_program(tmp_path / "theirs", "one", "two", "three")
    lines = run_import("--from", "diskcache", theirs, path, check=1).stdout.splitlines()
    assert "\n".join(lines).count("its value is a pickle, and loading one can run any code") == 1
    said = lines.index("left out: pickles, not allowed to be read")
    assert lines[said + 2 : said + 5] == ["    key 'one'", "    key 'two'", "    key 'three'"]


def test_pickle_values_is_suggested_only_where_it_helps_and_was_not_given(path: Path, tmp_path: Path) -> None:
    theirs = made_by_another_program(tmp_path / "theirs", "plain")
    for existing in ("keep", "replace"):
        # Nothing helps a list that is a key.
        given = ("--from", "diskcache", "--allow-pickle", "--existing", existing, theirs, path)
        done = run_import(*given, check=1).stdout
        assert "not hashable" in done and "--pickle-values" not in done
    theirs = made_by_another_program(theirs, "type 1", "type 2")
    done = run_import("--from", "diskcache", "--allow-pickle", theirs, path, check=1).stdout
    assert "Run it again with --pickle-values" in done
    done = run_import("--from", "diskcache", "--allow-pickle", "--pickle-values", theirs, path, check=1).stdout
    assert "imported                                               2" in done and "--pickle-values" not in done


def test_a_class_of_the_old_program_s_own_module_says_who_can_import_it(path: Path, tmp_path: Path) -> None:
    theirs = made_by_another_program(tmp_path / "theirs", "own")
    done = run_import("--from", "diskcache", "--allow-pickle", "--pickle-values", theirs, path, check=1).stdout
    assert "Own" in done and "call cachemere.migration.import_store in that program" in done


def test_for_programs(theirs: Path, path: Path, tmp_path: Path) -> None:
    left_out = tmp_path / "skipped.ndjson"
    done = summary_of(run_import("--from", "diskcache", "--json", "--skipped", left_out, theirs, path, check=1))
    assert (done["kind"], done["source"], done["target"]) == ("diskcache", str(theirs), str(path))
    assert (done["entries"], done["imported"], done["pickles"], done["namespace"]) == (3, 2, 1, "default")
    assert [json.loads(line) for line in left_out.read_text().splitlines()] == done["skipped"]
    assert done["skipped"][0]["reason"] == "pickle"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the following arguments are required"),
        (("--from", "redis", "SRC", "DST"), "invalid choice: 'redis'"),
        (("--from", "diskcache", "SRC"), "DST"),
        (("--from", "diskcache", "--existing", "merge", "SRC", "DST"), "invalid choice: 'merge'"),
        (("--from", "diskcache", "SRC", "SRC/in"), "is in the source, which stays as it is"),
        (("--from", "diskcache", "--pickle-values", "SRC", "DST"), "give allow_pickle, too"),
        (("--from", "diskcache", "--expiration-days", "-2", "SRC", "DST"), "expiration_days must be"),
        (("--from", "diskcache", "--table", "t", "SRC", "DST"), "table is not for diskcache"),
        (("--from", "diskcache", "--key-file", "SRC/cache.db", "SRC", "DST"), "key has exactly 32"),
    ],
)
def test_what_makes_no_sense_ends_with_2(theirs: Path, path: Path, arguments: tuple[str, ...], said: str) -> None:
    before = snapshot(theirs)
    given = [argument.replace("SRC", str(theirs)).replace("DST", str(path)) for argument in arguments]
    assert said in run_import(*given, check=2).stderr
    assert not path.exists() and snapshot(theirs) == before


def test_what_fails_ends_with_1(theirs: Path, path: Path, tmp_path: Path) -> None:
    assert "does not exist" in run_import("--from", "diskcache", tmp_path / "none", path, check=1).stderr
    wrong = run_import("--from", "sqlitedict", theirs / "cache.db", path, check=1).stderr
    assert "not of sqlitedict" in wrong and "--from diskcache" in wrong
    assert "--from diskcache" in run_import("--from", "shelve", theirs, path, check=1).stderr
    assert "--from diskcache" in run_import("--from", "persistdict", theirs, path, check=1).stderr
    assert (
        "cannot be written"
        in run_import("--from", "diskcache", "--skipped", tmp_path / "no" / "file", theirs, path, check=1).stderr
    )
    assert not path.exists()
    path.write_text("a file")
    run_import("--from", "diskcache", theirs, path, check=1)
    assert path.read_text() == "a file"


def test_the_options_of_the_target(theirs: Path, path: Path) -> None:
    run_import("--from", "diskcache", "--namespace", "n", "--compress", "--expiration-days", "2", theirs, path, check=1)
    with Cache(path) as ours:
        assert len(ours) == 0
    with Cache(path, namespace="n") as ours:
        info = ours.info("a")
        assert ours["a"] == "1" and info is not None and info.expires_at is not None
        ours["b"] = "mine"
    again = ("--from", "diskcache", "--namespace", "n", "--json", theirs, path)
    assert summary_of(run_import("--existing", "keep", *again, check=1))["kept"] == 2
    assert "is in" in run_import("--existing", "error", *again, check=1).stderr
    assert summary_of(run_import("--existing", "replace", *again, check=1))["imported"] == 2
    assert "is a pickle" in run_import("--on-error", "raise", *again, check=1).stderr
    with Cache(path, namespace="n") as ours:
        assert ours["b"] == b"2"


def test_an_encrypted_target(theirs: Path, path: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(os.urandom(32))
    again = ("--from", "diskcache", "--allow-pickle", "--json", theirs, path)
    assert summary_of(run_import("--key-file", key, *again))["imported"] == 3
    assert b"red" not in (path / "data.mdb").read_bytes()
    with Cache(path, encryption_key=key.read_bytes()) as ours:
        assert ours["a"] == "1" and len(ours) == 3
    assert "encrypted" in run_import(*again, check=1).stderr
    assert summary_of(run_import(*again, CACHEMERE_KEY="hex:" + key.read_bytes().hex()))["kept"] == 3
    key.write_bytes(os.urandom(32))
    run_import("--key-file", key, *again, check=1)


def test_the_environments_secret_encrypts_a_new_target_and_leaves_an_old_one(theirs: Path, path: Path) -> None:
    run_import("--from", "diskcache", theirs, path, check=1, CACHEMERE_KEY="a passphrase")
    with Cache(path, encryption_key="a passphrase") as ours:
        assert ours["a"] == "1"
    plain = path.with_name("plain")
    run_import("--from", "diskcache", theirs, plain, check=1)
    run_import("--from", "diskcache", theirs, plain, check=1, CACHEMERE_KEY="a passphrase")
    with Cache(plain) as ours:
        assert ours["a"] == "1"


def test_caches_that_are_switched_off_are_filled_all_the_same(theirs: Path, path: Path) -> None:
    run_import("--from", "diskcache", "--allow-pickle", theirs, path, CACHEMERE_DISABLE="1")
    with Cache(path) as ours:
        assert len(ours) == 3


def on_a_terminal(*arguments: object) -> str:
    """What it writes to a standard error that is a terminal."""
    ours, theirs = pty.openpty()
    command: list[Any] = [sys.executable, "-m", "cachemere", "import", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 1000)
        except OSError:
            # The last one that had it closed it.
            break
        said += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return said.decode()


def test_a_terminal_gets_a_bar(path: Path, tmp_path: Path) -> None:
    with shelve.open(str(tmp_path / "theirs")) as shelf:
        shelf.update({str(number): number for number in range(100)})
    arguments = ("--from", "shelve", "--allow-pickle", tmp_path / "theirs", path)
    said = on_a_terminal(*arguments)
    assert "importing [########################] 100% 100 of 100 entries" in said and said.endswith("\n")
    assert on_a_terminal("--quiet", *arguments) == ""
