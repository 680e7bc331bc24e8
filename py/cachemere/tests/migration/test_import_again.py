"""An import can be interrupted and done again, and does with keys that are there what it was told."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import diskcache
import pytest
import sqlitedict
from cachemere import Cache, PersistDict
from cachemere.errors import DecodeError, DuplicateKeyError, InvalidOptionError, WrongSecretError
from cachemere.migration import import_store
from sources import snapshot

#: The entry in the middle cannot be read, and the import is killed there.
KILLED = """
import os, signal, sys
from cachemere.migration import import_store
def die(skipped):
    os.kill(os.getpid(), signal.SIGKILL)
key = {"encryption_key": sys.argv[3]} if sys.argv[3] else {}
import_store("sqlitedict", sys.argv[1], sys.argv[2], values="json", on_skip=die, **key)
"""


def make(file: Path, contents: dict[str, str]) -> None:
    with sqlitedict.SqliteDict(str(file), encode=str.encode, decode=bytes.decode) as d:
        d.update(contents)
        d.commit()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return tmp_path / "theirs.db"


@pytest.mark.parametrize("secret", ["", "a passphrase"])
def test_killed_in_the_middle_it_is_completed_by_the_next(theirs: Path, path: Path, secret: str) -> None:
    make(theirs, {str(number): str(number) if number != 5500 else "{" for number in range(10_000)})
    before = snapshot(theirs)
    arguments = [sys.executable, "-c", KILLED, str(theirs), str(path), secret]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    key: dict[str, Any] = {"encryption_key": secret} if secret else {}
    with Cache(path, **key) as ours:
        assert len(ours) == 5000
        ours["17"] = "changed meanwhile"
    summary = import_store("sqlitedict", theirs, path, values="json", **key)
    assert (summary.imported, summary.kept, summary.unreadable) == (4999, 5000, 1) and snapshot(theirs) == before
    with Cache(path, **key) as ours:
        expected = {str(number): number for number in range(10_000) if number != 5500} | {"17": "changed meanwhile"}
        assert dict(ours.items()) == expected and list(ours) == list(expected)
        assert ours.verify().is_clean
    again = import_store("sqlitedict", theirs, path, values="json", **key, existing="replace")
    assert again.imported == 9999 and again.kept == 0
    with Cache(path, **key) as ours:
        assert ours["17"] == 17 and len(ours) == 9999


def test_keys_that_are_there_are_kept_replaced_or_an_error(theirs: Path, path: Path) -> None:
    make(theirs, {"a": "1", "b": "2", "c": "3"})
    with Cache(path) as ours:
        ours["b"] = "mine"
    for existing, imported, kept, value in (("keep", 2, 1, "mine"), ("replace", 3, 0, 2)):
        with Cache(path) as ours:
            ours.clear()
            ours["b"] = "mine"
        summary = import_store("sqlitedict", theirs, path, values="json", existing=existing)  # type: ignore[arg-type]
        assert (summary.imported, summary.kept) == (imported, kept)
        with Cache(path) as ours:
            assert dict(ours.items()) == {"a": 1, "b": value, "c": 3}
    with Cache(path) as ours:
        del ours["a"]
    with pytest.raises(DuplicateKeyError, match="'b' is in .* already. Nothing was imported"):
        import_store("sqlitedict", theirs, path, values="json", existing="error")
    with Cache(path) as ours:
        assert "a" not in ours
    # Another namespace has none of them.
    assert import_store("sqlitedict", theirs, path, values="json", existing="error", namespace="new").imported == 3


def test_keys_that_are_equal_here_are_one(tmp_path: Path, path: Path) -> None:
    with diskcache.Cache(tmp_path / "theirs") as cache:
        cache[1] = "first"
        # Pickled, where 1 is not.
        cache[True] = "second"
        assert len(cache) == 2
    summary = import_store("diskcache", tmp_path / "theirs", path, allow_pickle=True)
    assert (summary.entries, summary.imported, summary.kept) == (2, 1, 1)
    with Cache(path) as ours:
        assert dict(ours.items()) == {1: "first"}
    import_store("diskcache", tmp_path / "theirs", path, allow_pickle=True, existing="replace")
    with Cache(path) as ours:
        assert dict(ours.items()) == {1: "second"}


def test_an_entry_that_cannot_be_imported_can_end_it(theirs: Path, path: Path) -> None:
    make(theirs, {"a": "1", "b": "{", "c": "3"})
    with pytest.raises(DecodeError, match="cannot be read as JSON"):
        import_store("sqlitedict", theirs, path, values="json", on_error="raise")
    assert import_store("sqlitedict", theirs, path, values="json").imported == 2


def test_two_at_once_come_to_the_same(theirs: Path, path: Path) -> None:
    make(theirs, {str(number): str(number) for number in range(5000)})
    program = "import sys\nfrom cachemere.migration import import_store\n"
    program += "s = import_store('sqlitedict', *sys.argv[1:], values='json')\nprint(s.imported + s.kept)"
    arguments = [sys.executable, "-c", program, str(theirs), str(path)]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["5000\n"] * 3
    assert [process.returncode for process in processes] == [0] * 3
    with Cache(path) as ours:
        assert dict(ours.items()) == {str(number): number for number in range(5000)}


def test_it_is_read_by_both_faces(theirs: Path, path: Path) -> None:
    make(theirs, {"a": "[1]"})
    import_store("sqlitedict", theirs, path, values="json", namespace="n", compression=True)
    with Cache(path, namespace="n") as cache, PersistDict(path, namespace="n") as d:
        assert cache["a"] == d["a"] == [1] and d == {"a": [1]}


def test_the_secret_of_a_target_that_is_there_is_checked_before_anything_is_read(theirs: Path, path: Path) -> None:
    with Cache(path, encryption_key="right") as ours:
        ours["a"] = 1
    for wrong in ({}, {"encryption_key": "wrong"}):
        with pytest.raises(WrongSecretError):
            import_store("sqlitedict", theirs, path, **wrong)


def test_arguments_that_make_no_sense_are_told(theirs: Path, path: Path) -> None:
    make(theirs, {"a": "1"})
    before = snapshot(theirs)
    for wrong, message in (
        ({"existing": "merge"}, "existing must be 'keep' or 'replace' or 'error'"),
        ({"on_error": "bypass"}, "on_error must be"),
        ({"allow_pickle": 1}, "allow_pickle must be True or False"),
        ({"values": "yaml"}, "values must be"),
        ({"keys": "float"}, "keys must be"),
        ({"table": ""}, "table must be the name of a table"),
        ({"expiration_days": -1}, "expiration_days must be a positive number of days"),
        ({"on_skip": 3}, "on_skip must be a function"),
        ({"namespace": ""}, "namespace must be"),
        ({"encryption_key": b"short"}, "encryption_key must be 32 random bytes"),
    ):
        with pytest.raises(InvalidOptionError, match=message):
            import_store("sqlitedict", theirs, path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="kind must be 'diskcache' or"):
        import_store("redis", theirs, path)  # type: ignore[arg-type]
    for inside in (theirs, theirs / "store"):
        with pytest.raises(InvalidOptionError, match="is in the source, which stays as it is"):
            import_store("sqlitedict", theirs, inside)
    assert snapshot(theirs) == before and not path.exists()
