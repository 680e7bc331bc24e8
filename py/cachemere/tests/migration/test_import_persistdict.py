"""What PersistDict stored is in the store afterwards, in the order of creation and with its ages."""

from __future__ import annotations

import datetime
import json
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import lmdb
import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import BusyError, DamagedError, IncompatibleError, InvalidOptionError, NotInstalledError
from cachemere.migration import import_store
from sources import FIXTURES, Holder, Trap, run_import, snapshot

MADE = FIXTURES / "persistdict-0.2.14"
TIMES: dict[str, str] = json.loads((MADE / "contents.json").read_text())
VALUES = {
    "a": 1,
    "nested": {"x": [1, 2.5, None], "t": (1, b"\0"), "s": {1, 2}},
    "1": "a key like a number",
    "null": True,
    "é😀\n: x": "a key of YAML's own",
    "k" * 2000: "a long key",
    "": "an empty key",
}


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory that PersistDict 0.2.14 wrote; see `make_persistdict_fixture.py`."""
    return Path(shutil.copytree(MADE / "plain", tmp_path / "theirs"))


def test_it_is_imported_in_the_order_of_creation_with_its_ages(theirs: Path, path: Path) -> None:
    before = snapshot(theirs)
    summary = import_store("persistdict", theirs, path, allow_pickle=True)
    assert snapshot(theirs) == before
    assert (summary.entries, summary.imported, summary.without_safe_form) == (8, 7, 1)
    assert summary.skipped[0].name == "key 'a class'"
    with Cache(path) as ours:
        assert list(ours.items()) == list(VALUES.items())
        for key in VALUES:
            created = datetime.datetime.fromisoformat(TIMES[key]).timestamp()
            info = ours.info(key)
            assert info is not None and info.created == pytest.approx(created, abs=1e-3) and info.expires_at is None
            assert info.atime == pytest.approx(created, abs=0.05)


def test_its_times_are_of_the_zone_of_this_machine(theirs: Path, path: Path) -> None:
    run_import("--from", "persistdict", "--allow-pickle", theirs, path, check=1, TZ="Asia/Tokyo")
    naive = datetime.datetime.fromisoformat(TIMES["a"])
    with Cache(path) as ours:
        info = ours.info("a")
        there = naive.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=9))).timestamp()
        assert info is not None and info.created == pytest.approx(there, abs=1e-3)


def test_what_has_no_safe_form_is_pickled_on_request(theirs: Path, path: Path) -> None:
    assert import_store("persistdict", theirs, path, allow_pickle=True, pickle_values=True).imported == 8
    with PersistDict(path) as ours:
        assert ours["a class"] is str and dict(ours) == VALUES | {"a class": str}
    with pytest.raises(InvalidOptionError, match="give allow_pickle, too"):
        import_store("persistdict", theirs, path, pickle_values=True)


def test_lifetimes_begin_with_the_age(theirs: Path, path: Path) -> None:
    created = datetime.datetime.fromisoformat(TIMES["a"]).timestamp()
    days = (time.time() - created) / 86400 + 10
    assert import_store("persistdict", theirs, path, allow_pickle=True, expiration_days=days).imported == 7
    with PersistDict(path) as ours:
        info = ours.info("a")
        assert info is not None and info.expires_at == pytest.approx(time.time() + 10 * 86400, abs=60)
    other = path.with_name("other")
    summary = import_store("persistdict", theirs, other, allow_pickle=True, expiration_days=1e-6)
    assert (summary.imported, summary.expired) == (0, 8)


def test_functions_of_the_programs_own(path: Path) -> None:
    theirs = MADE / "own-functions"
    before = snapshot(theirs)
    # The function for keys does not matter, and no pickle is read.
    assert import_store("persistdict", theirs, path, values="json").is_complete
    assert snapshot(theirs) == before
    with Cache(path) as ours:
        assert list(ours.items()) == [("b", [1, {"x": None}]), ("a", "text")]


def test_pickles_are_refused_without_leave(theirs: Path, path: Path) -> None:
    summary = import_store("persistdict", theirs, path)
    assert (summary.imported, summary.pickles) == (0, 8) and not path.exists()


# --- made by hand: what the package would need long for, or would not do ----------------------------------------------


def write(theirs: Path, entries: dict[bytes, tuple[bytes | None, bytes | None]]) -> None:
    """Puts metadata and values; `None` removes."""
    environment = lmdb.open(str(theirs), max_dbs=3, map_size=1 << 30)
    databases = [environment.open_db(f"PersistDict_{name}".encode()) for name in ("metadata", "values")]
    with environment.begin(write=True) as transaction:
        for key, both in entries.items():
            for database, value in zip(databases, both, strict=True):
                if value is None:
                    transaction.delete(key, db=database)
                else:
                    transaction.put(key, value, db=database)
    environment.close()
    (theirs / "lock.mdb").unlink()


def metadata(key: str, when: str = "2026-01-02 03:04:05.000006") -> bytes:
    return zlib.compress(
        f"{{atime: &id001 !!timestamp '{when}', ctime: *id001, fullkey: {json.dumps(key)}}}\n".encode()
    )


def test_hostile_entries_are_refused_and_run_nothing(theirs: Path, path: Path) -> None:
    trap = Trap(path.parent)
    command = f"!!python/object/apply:os.mkdir ['{trap.mark}']"
    write(
        theirs,
        {
            b"pickle": (metadata("pickle"), trap.pickle),
            # As a key of PersistDict is: it is not loaded.
            __import__("base64").b64encode(trap.pickle): (metadata("key"), trap.pickle),
            b"yaml": (zlib.compress(f"{{fullkey: {command}}}".encode()), b"x"),
            b"yaml 2": (zlib.compress(b"{fullkey: a, ctime: " + command.encode() + b"}"), b"x"),
            b"bomb": (zlib.compress(bytes(20 << 20)), b"x"),
            b"no yaml": (zlib.compress(b"]["), b"x"),
            b"no zlib": (b"\0\1", b"x"),
            b"no text": (zlib.compress(b"{fullkey: [1]}"), b"x"),
            b"no metadata": (None, trap.pickle),
            b"no value": (metadata("no value"), None),
        },
    )
    before = snapshot(theirs)
    summary = import_store("persistdict", theirs, path)
    assert snapshot(theirs) == before and not trap.was_sprung
    assert (summary.imported, summary.pickles, summary.unreadable) == (0, 10, 7)
    assert "its key is lost" in "".join(skipped.why for skipped in summary.skipped)
    summary = import_store("persistdict", theirs, path, values="bytes")
    assert summary.imported == 10 and not trap.was_sprung


def test_memory_does_not_grow_with_it(theirs: Path, path: Path, torture: bool) -> None:
    count = 100_000 if torture else 10_000
    write(theirs, {b"%d" % n: (metadata(f"key {n}"), b"x" * 1000) for n in range(count)})
    summary = import_store("persistdict", theirs, path, values="bytes")
    assert summary.imported == count + 8
    with Cache(path) as ours:
        assert len(ours) == count + 8 and ours["key 17"] == b"x" * 1000


IN_USE = """
import lmdb
environment = lmdb.open(sys.argv[1], max_dbs=3, map_size=1 << 30)
values = environment.open_db(b"PersistDict_values")
wait()
for number in range(int(sys.argv[2])):
    with environment.begin(write=True) as transaction:
        transaction.put(b"%d" % (number % 50), b"y" * 3000, db=values)
wait()
"""


def test_one_that_another_process_has_open_is_imported(theirs: Path, path: Path) -> None:
    holder = Holder(IN_USE, theirs, 0)
    before = snapshot(theirs)
    assert "lock.mdb" in {Path(name).name for name in before}
    assert import_store("persistdict", theirs, path, allow_pickle=True).imported == 7
    assert snapshot(theirs) == before
    holder.kill()
    # What it left is no lock.
    assert import_store("persistdict", theirs, path, allow_pickle=True).kept == 7
    assert snapshot(theirs) == before


def test_one_that_is_written_meanwhile_is_imported_as_it_was_or_not_at_all(theirs: Path, path: Path) -> None:
    holder = Holder(IN_USE, theirs, 2000)
    holder.go_on()
    done = 0
    for number in range(5):
        try:
            summary = import_store("persistdict", theirs, path.with_name(f"{number}"), allow_pickle=True)
        except BusyError as error:
            assert "being written by another process" in str(error)
        else:
            assert summary.imported == 7
            done += 1
    holder.kill()
    assert import_store("persistdict", theirs, path, allow_pickle=True).imported == 7 and 0 <= done <= 5


def test_one_that_this_program_has_open_is_refused(theirs: Path, path: Path) -> None:
    environment = lmdb.open(str(theirs), max_dbs=3)
    with pytest.raises(BusyError, match="this program has .* open itself"):
        import_store("persistdict", theirs, path)
    environment.close()


@pytest.mark.parametrize("length", [0, 100, 4096, 5000, 8192, 12288, 40000])
def test_a_file_that_is_cut_is_an_error_and_kills_nobody(theirs: Path, path: Path, length: int) -> None:
    file = theirs / "data.mdb"
    file.write_bytes(file.read_bytes()[:length])
    done = run_import("--from", "persistdict", theirs, path, check=1)
    assert "damaged" in done.stderr or "not of persistdict" in done.stderr
    assert not path.exists()


def test_a_length_that_is_a_lie_is_an_error(theirs: Path, path: Path) -> None:
    file = theirs / "data.mdb"
    data = bytearray(file.read_bytes())
    for meta in (0, 4096):
        struct.pack_into("=Q", data, meta + 136, 10**9)
    file.write_bytes(data)
    with pytest.raises(DamagedError, match="should have"):
        import_store("persistdict", theirs, path)


def test_other_directories_of_lmdb_are_told_apart(tmp_path: Path, path: Path) -> None:
    theirs = tmp_path / "theirs"
    lmdb.open(str(theirs)).close()
    with pytest.raises(IncompatibleError, match="not of persistdict .its data.mdb has other databases"):
        import_store("persistdict", theirs, path)
    with Cache(tmp_path / "ours") as ours:
        ours["a"] = 1
    with pytest.raises(IncompatibleError, match="it is a store of Cachemere, which needs no import"):
        import_store("persistdict", tmp_path / "ours", path)


@pytest.mark.parametrize("missing", ["lmdb", "yaml"])
def test_a_package_that_is_missing_is_told(theirs: Path, path: Path, missing: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(NotInstalledError, match=rf"needs {missing}: pip install 'lmdb>=1.4' 'pyyaml>=6'"):
        import_store("persistdict", theirs, path)


def test_the_package_imports_neither(path: Path) -> None:
    program = "import sys, cachemere.migration; assert not {'lmdb', 'yaml', 'diskcache', 'tqdm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
