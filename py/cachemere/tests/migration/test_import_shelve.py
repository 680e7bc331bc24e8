"""What shelves of the standard library have is in the store afterwards, whichever kind of dbm they are of."""

from __future__ import annotations

import dbm
import importlib
import shelve
import shutil
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.errors import DamagedError, IncompatibleError, InputFileError, InvalidOptionError, NotInstalledError
from cachemere.migration import import_store
from sources import FIXTURES, snapshot

CONTENTS = {"b": {"x": (1, None)}, "é": [1], "a": "text", "long": "x" * 100_000}


def _is_there(backend: str) -> bool:
    try:
        importlib.import_module(backend)
    except ImportError:
        return False
    return True


#: Which of them a Python has depends on how it was built. A shelf of SQLite, from Python 3.13, is a fixture.
BACKENDS = [backend for backend in ("dbm.dumb", "dbm.gnu", "dbm.ndbm") if _is_there(backend)]


def make(name: Path, backend: str, contents: dict[str, Any]) -> None:
    module = importlib.import_module(backend)
    with shelve.Shelf(module.open(str(name), "c")) as shelf:
        shelf.update(contents)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shelf_is_imported(home: Path, path: Path, backend: str) -> None:
    make(home / "shelf", backend, CONTENTS)
    before = snapshot(home)
    assert import_store("shelve", home / "shelf", path, allow_pickle=True).imported == 4
    assert snapshot(home) == before
    with Cache(path) as ours:
        assert dict(ours.items()) == CONTENTS


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_of_its_files_names_it_too(home: Path, path: Path, backend: str) -> None:
    make(home / "shelf", backend, CONTENTS)
    for file in sorted(home.iterdir()):
        assert import_store("shelve", file, path, allow_pickle=True, existing="replace").imported == 4


def test_a_shelf_of_sqlite_is_read_by_every_python(home: Path, path: Path) -> None:
    shutil.copy(FIXTURES / "shelve-python3.13.db", home)
    before = snapshot(home)
    summary = import_store("shelve", home / "shelve-python3.13.db", path, allow_pickle=True)
    # It is written with a log, which other readers would make anew.
    assert summary.imported == 3 and snapshot(home) == before
    with Cache(path) as ours:
        assert list(ours.items()) == [("b", {"x": (1, None)}), ("é", [1]), ("a", "text")]


def test_without_leave_all_is_refused(home: Path, path: Path) -> None:
    make(home / "shelf", "dbm.dumb", CONTENTS)
    summary = import_store("shelve", home / "shelf", path)
    assert (summary.entries, summary.imported, summary.pickles) == (4, 0, 4) and not path.exists()
    assert {skipped.name for skipped in summary.skipped} == {f"key {key!r}" for key in CONTENTS}
    with pytest.raises(InvalidOptionError, match="a shelf has nothing else"):
        import_store("shelve", home / "shelf", path, values="json")


def test_a_kind_of_dbm_that_this_python_lacks_is_told(home: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "shelf").write_bytes(bytes.fromhex("ce9a5713") + bytes(100))
    assert dbm.whichdb(str(home / "shelf")) == "dbm.gnu"
    # Also where it is there, as if it were not.
    monkeypatch.setitem(__import__("sys").modules, "dbm.gnu", None)
    with pytest.raises(NotInstalledError, match="dbm.gnu, which this Python was built without.*python3-gdbm"):
        import_store("shelve", home / "shelf", path)


def test_a_shelf_that_is_damaged(home: Path, path: Path) -> None:
    make(home / "shelf", "dbm.dumb", {"cut": [1] * 100, "good": 2, "pickle": 3})
    index = (home / "shelf.dir").read_text()
    (home / "shelf.dir").write_text(index.replace("'cut', (0, ", "'cut', (3, "))
    summary = import_store("shelve", home / "shelf", path, allow_pickle=True)
    assert (summary.imported, summary.unreadable) == (2, 1) and summary.skipped[0].name == "key 'cut'"
    (home / "shelf.dir").write_text("'a', (0, ")
    with pytest.raises(DamagedError, match="damaged"):
        import_store("shelve", home / "shelf", path)
    (home / "shelf.dir").write_text("'a', 'b'\n")
    summary = import_store("shelve", home / "shelf", path, allow_pickle=True)
    assert (summary.imported, summary.unreadable) == (0, 1)


def test_what_is_no_shelf_is_told(home: Path, path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        import_store("shelve", home / "none", path)
    (home / "text").write_text("a text")
    with pytest.raises(IncompatibleError, match="not of shelve"):
        import_store("shelve", home / "text", path)
    make(home / "shelf", "dbm.dumb", CONTENTS)
    with pytest.raises(IncompatibleError, match="not of diskcache.*--from shelve"):
        import_store("diskcache", home / "shelf", path)
    assert not path.exists()
