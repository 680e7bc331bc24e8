"""A source of SQLite is the same afterwards, byte for byte, also if it was not closed or is in use."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import time
from pathlib import Path

import diskcache
import pytest
import sqlitedict
from cachemere import Cache
from cachemere.errors import BusyError, DiskFullError
from cachemere.migration import import_store
from sources import Holder, run_import, snapshot

#: Keeps pairs of entries equal, each pair in one transaction, so that half a transaction would be seen.
PAIRS = """
import diskcache, time
cache = diskcache.Cache(sys.argv[1])
def write(turn):
    with cache.transact():
        for side in ("left", "right"):
            for number in range(20):
                cache[side, number] = f"{turn} " + "x" * (turn % 7) * 500
write(0)
wait()
deadline = time.monotonic() + float(sys.argv[2])
turn = 0
while time.monotonic() < deadline:
    turn += 1
    write(turn)
wait()
"""


def check_pairs(path: Path) -> int:
    """Whether both sides are of one transaction; which."""
    with Cache(path) as ours:
        found = dict(ours.items())
        assert len(found) == 40
        turns = {value.split()[0] for value in found.values()}
        assert len(turns) == 1, turns
        return int(turns.pop())


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return tmp_path / "theirs"


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if file.is_file())


def test_one_that_was_closed_gets_no_log(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        cache["a"] = "1"
    assert (theirs / "cache.db").read_bytes()[18:20] == b"\2\2", "it is written with a log"
    before = snapshot(theirs)
    assert names(theirs) == ["cache.db"]
    assert import_store("diskcache", theirs, path).imported == 1
    assert snapshot(theirs) == before


def test_a_log_that_a_killed_process_left_is_read_and_stays(theirs: Path, path: Path) -> None:
    holder = Holder(PAIRS, theirs, 0)
    holder.kill()
    before = snapshot(theirs)
    assert names(theirs) == ["cache.db", "cache.db-shm", "cache.db-wal"]
    # All of it is in the log.
    assert (theirs / "cache.db-wal").stat().st_size > 4096
    assert import_store("diskcache", theirs, path, allow_pickle=True).imported == 40
    assert snapshot(theirs) == before and check_pairs(path) == 0
    (theirs / "cache.db-shm").unlink()
    before = snapshot(theirs)
    assert import_store("diskcache", theirs, path.with_name("other"), allow_pickle=True).imported == 40
    assert snapshot(theirs) == before


def test_one_that_another_process_has_open_is_read_as_it_is(theirs: Path, path: Path) -> None:
    holder = Holder(PAIRS, theirs, 0)
    before = snapshot(theirs)
    assert import_store("diskcache", theirs, path, allow_pickle=True).imported == 40
    assert snapshot(theirs) == before and check_pairs(path) == 0
    holder.go_on()
    holder.finish()


def test_one_that_is_written_meanwhile_is_read_as_it_was_at_one_time(theirs: Path, path: Path, torture: bool) -> None:
    holder = Holder(PAIRS, theirs, 30 if torture else 2)
    holder.go_on()
    deadline = time.monotonic() + (30 if torture else 2)
    turns = []
    while time.monotonic() < deadline:
        target = path.with_name(f"store-{len(turns)}")
        assert import_store("diskcache", theirs, target, allow_pickle=True).imported == 40
        turns.append(check_pairs(target))
    holder.finish()
    assert turns == sorted(turns) and turns[-1] > 0 and len(turns) > 3


def test_the_log_of_a_file_that_is_named_by_a_link_is_found(theirs: Path, path: Path, tmp_path: Path) -> None:
    Holder(PAIRS, theirs, 0).kill()
    link = tmp_path / "link"
    link.mkdir()
    (link / "cache.db").symlink_to(theirs / "cache.db")
    before = snapshot(theirs, link)
    assert import_store("diskcache", link, path, allow_pickle=True).imported == 40
    assert snapshot(theirs, link) == before and check_pairs(path) == 0


def test_without_room_for_a_copy_it_is_told(theirs: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Holder(PAIRS, theirs, 0).kill()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFullError, match="set TMPDIR"):
        import_store("diskcache", theirs, path)


CUT = """
import os, sqlite3
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 5")
database.execute("BEGIN")
database.execute("UPDATE unnamed SET value = x'00'")
wait()
"""


def test_a_journal_that_a_killed_process_left_is_played_back_elsewhere(theirs: Path, path: Path) -> None:
    theirs.mkdir()
    file = theirs / "some.db"
    with sqlitedict.SqliteDict(str(file), encode=str.encode, decode=bytes.decode) as d:
        for number in range(300):
            d[str(number)] = f"{number} " * 200
        d.commit()
    holder = Holder(CUT, file)
    holder.kill()
    before = snapshot(theirs)
    assert names(theirs) == ["some.db", "some.db-journal"] and (theirs / "some.db-journal").stat().st_size > 4096
    database = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
    halved = database.execute("SELECT COUNT(*) FROM unnamed WHERE value = x'00'").fetchone()[0]
    database.close()
    assert halved > 0, "the file itself has part of the transaction"
    assert import_store("sqlitedict", file, path, values="text").imported == 300
    assert snapshot(theirs) == before
    with Cache(path) as ours:
        assert ours["17"] == "17 " * 200 and len(ours) == 300


WRITING = """
import sqlitedict
d = sqlitedict.SqliteDict(sys.argv[1], encode=str.encode, decode=bytes.decode)
d["committed"] = "1"
d.commit()
d["not committed"] = "2"
d["not committed"]
wait()
d.commit()
d.close()
"""


def test_what_is_not_committed_is_not_read_and_can_be_committed_meanwhile(theirs: Path, path: Path) -> None:
    theirs.mkdir()
    holder = Holder(WRITING, theirs / "some.db")
    before = snapshot(theirs)
    assert import_store("sqlitedict", theirs / "some.db", path, values="text").imported == 1
    assert snapshot(theirs) == before
    holder.finish()
    assert import_store("sqlitedict", theirs / "some.db", path, values="text").imported == 1
    with Cache(path) as ours:
        assert dict(ours.items()) == {"committed": "1", "not committed": "2"}


LOCKED = """
import sqlite3
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
wait()
"""


def test_one_that_is_locked_for_good_is_busy(theirs: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs.mkdir()
    file = theirs / "some.db"
    with sqlitedict.SqliteDict(str(file)) as d:
        d["a"] = 1
        d.commit()
    holder = Holder(LOCKED, file)
    monkeypatch.setattr("cachemere.migration._sqlite_file.PATIENCE", 0.2)
    with pytest.raises(BusyError, match="is being written by another process"):
        import_store("sqlitedict", file, path)
    holder.finish()


def test_one_that_this_program_has_open_is_refused(theirs: Path, path: Path) -> None:
    with diskcache.Cache(theirs) as cache:
        cache["a"] = "1"
        with pytest.raises(BusyError, match="this program has .* open itself"):
            import_store("diskcache", theirs, path)
    assert import_store("diskcache", theirs, path).imported == 1


OPENED = """
import diskcache
cache = diskcache.Cache(sys.argv[1])
cache["new"] = 1
for number in range(1000, 2000):
    cache[number] = "y" * 100
wait()
cache.close()
"""


@pytest.mark.parametrize("closes", [True, False])
def test_one_that_begins_to_be_written_is_read_on_as_it_is_now(theirs: Path, path: Path, closes: bool) -> None:
    with diskcache.Cache(theirs) as cache, cache.transact():
        for number in range(2000):
            cache[number] = "x" * 100
        # The import meets this one first, and then waits for the other program.
        cache._sql("UPDATE Cache SET mode = 9 WHERE key = 0")
    holders: list[Holder] = []

    def write(skipped: object) -> None:
        holders.append(Holder(OPENED, theirs))
        if closes:
            holders[0].finish()

    summary = import_store("diskcache", theirs, path, on_skip=write)
    if not closes:
        holders[0].finish()
    assert len(holders) == 1 and (summary.entries, summary.imported, summary.unreadable) == (2001, 2000, 1)
    with Cache(path) as ours:
        found = dict(ours.items())
    # What was read before is as it was then, and there is no half of a transaction.
    assert found == {number: ("x" if number < 1000 else "y") * 100 for number in range(1, 2000)} | {"new": 1}


def test_nothing_is_left_in_the_directory_for_temporary_files(theirs: Path, path: Path, tmp_path: Path) -> None:
    Holder(PAIRS, theirs, 0).kill()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run_import("--from", "diskcache", "--allow-pickle", theirs, path, TMPDIR=str(temporary))
    assert list(temporary.iterdir()) == [] and check_pairs(path) == 0
