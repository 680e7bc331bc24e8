"""A source of another kind than was said is an error that names the kind it is."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import diskcache
import pytest
import sqlitedict
from cachemere import Cache
from cachemere.cli import import_command
from cachemere.errors import IncompatibleError, InputFileError, NotInstalledError
from cachemere.migration import import_store
from cachemere.migration._kinds import KINDS
from sources import FIXTURES, snapshot

ROCKSDB = Path(__file__).parents[3] / "cachemere-rocksdb" / "tests" / "fixtures" / "hugedict-2.14.6" / "str"


def diskcache_at(place: Path) -> None:
    with diskcache.Cache(place) as cache:
        cache["a"] = "1"


def fanout_at(place: Path) -> None:
    with diskcache.FanoutCache(place, shards=2) as cache:
        cache["a"] = "1"


def sqlitedict_at(place: Path) -> None:
    with sqlitedict.SqliteDict(str(place)) as d:
        d["a"] = 1
        d.commit()


def shelve_at(place: Path) -> None:
    with importlib.import_module("dbm.dumb").open(str(place), "c") as opened:
        opened["a"] = b"\x80\x04K\x01."


def cachemere_at(place: Path) -> None:
    with Cache(place) as cache:
        cache["a"] = 1


MAKERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "diskcache": ("diskcache", diskcache_at),
    "a FanoutCache": ("diskcache", fanout_at),
    "persistdict": ("persistdict", lambda place: shutil.copytree(FIXTURES / "persistdict-0.2.14" / "plain", place)),
    "sqlitedict": ("sqlitedict", sqlitedict_at),
    "shelve": ("shelve", shelve_at),
    "a shelf of SQLite": ("shelve", lambda place: shutil.copy(FIXTURES / "shelve-python3.13.db", place)),
    "hugedict": ("hugedict", lambda place: shutil.copytree(ROCKSDB, place)),
    "cachemere": ("cachemere", cachemere_at),
    "an empty directory": ("nothing", lambda place: place.mkdir()),
    "a text": ("nothing", lambda place: place.write_text("what is this")),
    "an empty file": ("nothing", lambda place: place.write_bytes(b"")),
}
SAID = ("diskcache", "persistdict", "sqlitedict", "shelve", "hugedict")
#: A file of SQLite with one table of keys and values can be of both.
ALIKE = {("hugedict", "sqlitedict")}


def test_the_command_knows_all_kinds() -> None:
    assert set(SAID) == set(KINDS) == set(import_command.KINDS)


@pytest.mark.parametrize("name", MAKERS)
def test_what_it_is_is_told(name: str, tmp_path: Path, path: Path) -> None:
    actual, make = MAKERS[name]
    home = tmp_path / "home"
    home.mkdir()
    make(home / "theirs")
    before = snapshot(home)
    tried = 0
    for said in SAID:
        if said == actual or (said, name) in ALIKE:
            continue
        with pytest.raises(IncompatibleError, match=f"is not of {said}") as caught:
            import_store(said, home / "theirs", path)  # type: ignore[arg-type]
        hint = {"cachemere": "which needs no import", "nothing": ""}.get(actual, f"--from {actual}")
        assert hint in str(caught.value)
        tried += 1
    assert tried >= 3 and snapshot(home) == before and not path.exists()


@pytest.mark.parametrize("said", SAID)
def test_what_is_not_there_is_told(said: str, tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputFileError, match="theirs does not exist"):
        import_store(said, tmp_path / "theirs", path)  # type: ignore[arg-type]
    (tmp_path / "theirs").symlink_to("nowhere")
    with pytest.raises((InputFileError, IncompatibleError), match="theirs"):
        import_store(said, tmp_path / "theirs", path)  # type: ignore[arg-type]
    assert not path.exists()


def test_without_rocksdb_the_line_that_installs_it_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachemere._core.which_engine.WHY_NO_ROCKSDB", "it is not installed")
    before = snapshot(ROCKSDB)
    with pytest.raises(NotInstalledError, match="pip install cachemere-rocksdb"):
        import_store("hugedict", ROCKSDB, path)
    assert snapshot(ROCKSDB) == before


def test_paths_can_be_links_and_have_any_name(tmp_path: Path, path: Path) -> None:
    place = tmp_path / "what? #1 100%41 é;mode=rw"
    diskcache_at(place)
    link = tmp_path / "link"
    link.symlink_to(place)
    assert import_store("diskcache", link, path).imported == 1
    assert import_store("diskcache", place / "cache.db", path, existing="replace").imported == 1
    with pytest.raises(Exception, match="is in the source"):
        import_store("diskcache", place, link / "inside")
    sqlitedict_at(tmp_path / "a?b#c.db")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "a?b#c.db")
    summary = import_store("sqlitedict", tmp_path / "elsewhere" / "link.db", path, namespace="n", allow_pickle=True)
    assert summary.imported == 1
