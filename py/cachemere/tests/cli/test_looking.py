"""Looking changes nothing, makes nothing, and works where nothing can be written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shlex
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import diskcache
import pytest
import sqlitedict
from cachemere import Cache
from cachemere._core.installing import install_rocksdb
from cachemere.cli.program import main
from command_line import here, ok

#: Each way to look.
LOOKS = {
    "stats": ["stats", "STORE", "--full"],
    "ls": ["ls", "STORE"],
    "get": ["get", "STORE", "k"],
    "get absent": ["get", "STORE", "absent"],
    "verify": ["verify", "STORE"],
    "export": ["export", "STORE"],
    "backup": ["backup", "STORE", "BACKUP"],
}
WRITES = {"sweep": ["sweep", "STORE"], "compact": ["compact", "STORE"]}


def filled(command: list[str], store: Path) -> list[str]:
    places = {"STORE": str(store), "BACKUP": str(store.parent / "backup")}
    return [places.get(word, word) for word in command]


def contents(directory: Path) -> dict[str, str]:
    """Every file with a digest. The control file is written by whoever looks."""
    return {
        str(place.relative_to(directory)): ""
        if place.is_dir() or place.name == "control"
        else hashlib.sha256(place.read_bytes()).hexdigest()
        for place in directory.rglob("*")
    }


@pytest.mark.parametrize("command", LOOKS.values(), ids=LOOKS)
def test_looking_changes_nothing(path: Path, command: list[str]) -> None:
    with Cache(path, idle=3600) as cache:
        cache["k"] = 1
        before = cache.info("k")
    files = contents(path)
    assert here(*filled(command, path)).status == (1 if "absent" in command else 0)
    assert contents(path) == files
    with Cache(path, read_only=True) as cache:
        assert cache.info("k") == before, "not even when it was last used"


@pytest.mark.parametrize("command", (LOOKS | WRITES).values(), ids=LOOKS | WRITES)
def test_a_path_that_was_mistyped_makes_no_store(path: Path, command: list[str]) -> None:
    for missing in (path, path / "far" / "below"):
        done = here(*filled(command, missing))
        assert (done.status, done.out, done.err) == (1, "", f"cachemere: there is nothing at {missing}\n")
    path.mkdir()
    done = here(*filled(command, path))
    assert (done.status, done.out, done.err) == (1, "", f"cachemere: there is no store in {path}: it has no data.mdb\n")
    assert list(path.parent.rglob("*")) == [path]


def nothing_at_all(path: Path) -> str:
    path.write_text("a file")
    return "is not a directory"


def another_program(path: Path) -> str:
    path.mkdir()
    with contextlib.closing(sqlite3.connect(path / "cache.db")) as connection:
        connection.execute("create table Cache (key)")
    return "no store"


def noise(path: Path) -> str:
    path.mkdir()
    (path / "data.mdb").write_bytes(b"noise" * 5000)
    return "choose another"


def empty_file(path: Path) -> str:
    path.mkdir()
    (path / "data.mdb").touch()
    return "no store"


def rocksdb_dict(path: Path) -> str:
    path.mkdir()
    (path / "CURRENT").write_text("MANIFEST-000001\n")
    return "cachemere.rocksdb"


def in_rocksdb(path: Path) -> str:
    (path / "rocksdb").mkdir(parents=True)
    return install_rocksdb()


@pytest.mark.parametrize("make", [nothing_at_all, another_program, noise, empty_file, rocksdb_dict, in_rocksdb])
@pytest.mark.parametrize("command", [*LOOKS.values(), *WRITES.values()], ids=[*LOOKS, *WRITES])
def test_what_is_no_store_is_said_to_be_none_and_left_alone(
    path: Path, command: list[str], make: Callable[[Path], str]
) -> None:
    said = make(path)
    before = contents(path.parent)
    done = here(*filled(command, path))
    assert (done.status, done.out) == (1, "") and said in done.err and len(done.err.splitlines()) == 1
    assert contents(path.parent) == before


def test_a_namespace_that_was_mistyped_is_not_made(path: Path) -> None:
    with Cache(path) as cache, cache.namespace("nightly") as other:
        cache["k"], other["k"] = 1, 2
    for command in (["ls"], ["stats"], ["export"], ["get", "k"]):
        done = here(command[0], path, *command[1:], "--namespace", "nigthly")
        assert done.status == 1 and done.out == ""
        assert f"the store at {path} has no namespace 'nigthly'; it has 'default', 'nightly'" in done.err
    assert [it["name"] for it in ok("stats", path, "--json").json()["namespaces"]] == ["default", "nightly"]


def test_a_store_without_entries_is_shown(path: Path) -> None:
    with Cache(path) as cache:
        assert len(cache) == 0
    assert ok("stats", path).out.splitlines()[7].split()[:4] == ["0", "-", "-", "-"]
    assert ok("export", path).out == "" and ok("verify", path).out == "read 0 entries, 0 B\nno problems\n"


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A store in a directory that its owner, who is not root, cannot write to."""
    store = tmp_path / "home" / "store"
    with Cache(store) as cache:
        cache["k"] = {"a": 1}
    mine = [place for place in tmp_path.parents if place.stat().st_uid == os.getuid() and place != Path("/")]
    before = {place: place.stat().st_mode for place in [tmp_path, *mine]}
    for place in before:
        place.chmod(place.stat().st_mode | 0o055)
    theirs = [store, *store.iterdir()]
    if os.getuid() == 0:
        for place in [store.parent, *theirs]:
            os.chown(place, 65534, 65534)
    for place in theirs:
        place.chmod(0o500 if place.is_dir() else 0o400)
    yield store
    for place in theirs:
        place.chmod(0o700)
    for place, mode in before.items():
        place.chmod(mode)


def as_its_owner(command: list[str]) -> tuple[int, str, str]:
    """Status, output and errors in a child without the rights of root, whom no permission stops."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(command)
            os.write(writing, f"{status}\0{out.getvalue()}\0{err.getvalue()}".encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        status, out, err = pipe.read().decode().split("\0")
    assert os.waitpid(child, 0)[1] == 0
    return int(status), out, err


def test_a_directory_that_cannot_be_written_to_can_be_looked_at(unwritable: Path) -> None:
    before = contents(unwritable)
    for name in ("stats", "ls", "get", "verify", "export"):
        status, out, err = as_its_owner(filled(LOOKS[name], unwritable))
        assert (status, err) == (0, "") and out, name
    for command in WRITES.values():
        status, out, err = as_its_owner(filled(command, unwritable))
        assert (status, out) == (1, "") and err.startswith("cachemere: ") and str(unwritable) in err
    assert contents(unwritable) == before


def test_a_directory_that_cannot_be_entered_is_an_error(unwritable: Path) -> None:
    unwritable.parent.chmod(0)
    try:
        for command in (LOOKS | WRITES).values():
            status, out, err = as_its_owner(filled(command, unwritable))
            assert (status, out) == (1, "") and "Permission denied" in err and str(unwritable) in err
    finally:
        unwritable.parent.chmod(0o755)


def test_what_another_package_made_is_named_with_the_command_that_imports_it(path: Path, tmp_path: Path) -> None:
    with diskcache.Cache(tmp_path / "one") as one, diskcache.FanoutCache(str(tmp_path / "many"), shards=2) as many:
        one["a"] = many["a"] = 1
    with sqlitedict.SqliteDict(tmp_path / "a file.db") as other:
        other["a"] = 1
        other.commit()
    for name, kind in (("one", "diskcache"), ("many", "diskcache"), ("a file.db", "sqlitedict")):
        place = tmp_path / name
        for command in ("stats", "ls"):
            done = here(command, place)
            assert (done.status, done.out) == (1, "") and f"it looks like {kind}" in done.err
            assert f"import --from {kind} {shlex.quote(str(place))} DST" in done.err


def test_without_a_path_it_is_the_default_store(tmp_path: Path) -> None:
    place = tmp_path / "of the environment"
    done = here("stats", CACHEMERE_DIR=str(place))
    assert done.status == 1 and f"nothing at {place}" in done.err and not place.exists()
    with Cache(place) as cache:
        cache["a"] = 1
    for command in ("stats", "ls", "export", "verify", "sweep", "compact"):
        assert here(command, CACHEMERE_DIR=str(place)).status == 0
        # Which breaks lines wherever it likes.
        said = "".join(here(command, "--help", CACHEMERE_DIR=str(place)).out.split())
        assert str(place).replace(" ", "") in said
    assert here("ls", "--json", "--limit", "1", CACHEMERE_DIR=str(place)).lines()[0]["key"] == "a"
    assert here("ls", "--json", str(place), CACHEMERE_DIR=str(tmp_path / "none")).lines()[0]["key"] == "a"
