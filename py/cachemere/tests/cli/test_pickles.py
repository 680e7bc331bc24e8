"""Nothing in a store runs code, unless that was allowed; and nothing is lost by it."""

from __future__ import annotations

import base64
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, PersistDict
from cachemere._forms.known_types import UNPACK
from cachemere.cli.stored import Looking, Named, StoredForms
from command_line import here, ok, run


class Bomb:
    """Whoever loads its pickle makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


MODULE = """\
class Plain:
    def __init__(self): self.name, self.parts = "n", [1, (2,)]
class Items(list): pass
class Slots:
    __slots__ = ("a",)
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "code ran"


@pytest.fixture
def hostile(path: Path, mark: Path) -> Path:
    """A store whose values and keys are pickles that run code."""
    with PersistDict[Any, Any](path) as d:
        d["bomb"] = Bomb(mark)
        d["plain"] = {"a": 1}
        d["nested"] = [Bomb(mark)]
    return path


def test_no_command_runs_what_is_in_a_pickle(hostile: Path, mark: Path, tmp_path: Path) -> None:
    for command in (["stats", "--full"], ["ls"], ["ls", "--json"], ["verify"], ["sweep"], ["compact"], ["export"]):
        ok(command[0], hostile, *command[1:])
    ok("backup", hostile, tmp_path / "backup")
    for options in ([], ["--json"]):
        done = run("get", hostile, "bomb", *options)
        assert (done.status, done.out) == (1, "")
        assert "is a pickle of" in done.err and "--allow-pickle" in done.err
    assert not mark.exists()
    run("get", hostile, "bomb", "--allow-pickle")
    assert mark.exists(), "it would have run"


def test_ls_shows_which_values_are_pickled(hostile: Path) -> None:
    assert [(line["key"], line["kind"]) for line in ok("ls", hostile, "--json").lines()] == [
        ("bomb", "pickle"),
        ("plain", "dict"),
        ("nested", "pickle"),
    ]


def test_the_bytes_of_a_pickle_can_be_had_without_loading_it(hostile: Path, mark: Path) -> None:
    value = ok("export", hostile).lines()[0]["value"]
    assert value.keys() == {"$pickle"}
    made = base64.b64decode(value["$pickle"])
    assert made == pickle.dumps(Bomb(mark), 5) and not mark.exists()
    assert "mkdir" in ok("get", hostile, "plain", "--json").out or b"mkdir" in made


def test_a_pickled_key_is_shown_and_found_again(path: Path, tmp_path: Path) -> None:
    with PersistDict[Any, Any](path) as d:
        d[Path] = "of a class"
    line = ok("ls", path, "--json").lines()[0]
    assert base64.b64decode(line["key"]["$pickle"]) == pickle.dumps(Path, 4)
    assert line["size"] > 0 and line["created"] > 0, "its entry was found"
    assert ok("ls", path).table()[1][-1] == f"<pickle {pickle.dumps(Path, 4).hex()}>"


@pytest.fixture
def objects(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with objects of the classes in a module, which only a pickle can hold."""
    (tmp_path / "classes_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import classes_of_mine  # type: ignore[import-not-found]

    with PersistDict[str, Any](path) as d:
        d["plain"] = classes_of_mine.Plain()
        d["items"] = classes_of_mine.Items([1, 2])
    sys.modules.pop("classes_of_mine")
    return path


def test_allowed_objects_are_shown_by_their_fields(objects: Path, tmp_path: Path) -> None:
    python_path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    shown = ok("get", objects, "plain", "--allow-pickle", PYTHONPATH=python_path).json()
    assert shown == {"$object": ["of:classes_of_mine.Plain", {"name": "n", "parts": [1, {"$tuple": [2]}]}]}
    assert ok("get", objects, "items", "--allow-pickle", PYTHONPATH=python_path).out == "[1, 2]\n"


def test_what_has_no_form_is_reported_and_the_rest_written(objects: Path, tmp_path: Path) -> None:
    python_path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("export", objects, "--allow-pickle", PYTHONPATH=python_path)
    assert done.status == 1 and [line["key"] for line in done.lines()] == ["plain"]
    assert "the value of 'items' in 'default': an object of type classes_of_mine.Items has no form in JSON" in done.err
    assert "1 entry could not be written" in done.err
    done = run("get", objects, "items", "--allow-pickle", "--json", PYTHONPATH=python_path)
    assert (done.status, done.out) == (1, "") and "no form in JSON" in done.err


def test_a_pickle_that_cannot_be_loaded_is_reported(objects: Path) -> None:
    done = run("export", objects, "--allow-pickle")
    assert done.status == 1 and done.out == ""
    assert done.err.count("the pickle cannot be loaded: ModuleNotFoundError") == 2


# --- classes and functions of the program that wrote the store --------------------------------------------------------


def test_objects_of_registered_types_are_shown_without_their_classes(path: Path) -> None:
    from plain_data import TYPES, Box, Colour, Number, Pair, Point

    with Cache(path, types=TYPES) as cache:
        cache["pair"] = Pair(1, Point(2, 3))
        cache["box"] = Box("x", ["l"])
        cache[Pair("a", "b")] = Colour.RED
        cache[Point(1, 2)] = Number.ONE
        cache[Colour.BLUE] = 1
    lines = {str(line["key"]): line for line in ok("export", path).lines()}
    assert lines["pair"]["value"] == {
        "$object": [
            "of:plain_data.Pair",
            {"left": 1, "right": {"$object": ["of:plain_data.Point", {"$tuple": [2, 3]}]}},
        ]
    }
    assert lines["box"]["value"] == {"$object": ["of:plain_data.Box", {"content": "x", "labels": ["l"]}]}
    keys = [line["key"] for line in lines.values()]
    assert keys[2] == {"$object": ["of:plain_data.Pair", {"left": "a", "right": "b"}]}
    assert keys[3] == {"$object": ["of:plain_data.Point", {"$tuple": [1, 2]}]}
    assert keys[4] == {"$object": ["enum", {"$tuple": ["plain_data", "Colour", "BLUE"]}]}
    assert all(line["created"] for line in lines.values()), "each entry was found by its key"
    kinds = [line["kind"] for line in ok("ls", path, "--json").lines()]
    assert kinds == ["plain_data.Pair", "plain_data.Box", "plain_data.Colour", "plain_data.Number", "int"]


def test_an_entry_whose_key_needs_its_class_is_shown_with_its_times(path: Path) -> None:
    from plain_data import Number

    with Cache(path, idle=3600) as cache:
        cache[Number.ONE] = "found as 1"
        info = cache.info(Number.ONE)
    assert info is not None
    (line,) = ok("export", path).lines()
    assert line["key"] == {"$object": ["enum", {"$tuple": ["plain_data", "Number", "ONE"]}]}
    times = (line["created"], line["modified"], line["accessed"], line["expires"], line["idle"], line["size"])
    assert line["value"] == "found as 1"
    assert times == (info.created, info.mtime, info.atime, info.expires_at, 3600, info.size)
    assert ok("get", path, "1", "--literal").json() == "found as 1"
    assert ok("ls", path).table()[1][3] == "in 59 min (idle 60 min)"


def test_a_dict_with_serializers_of_its_own_is_shown_as_it_is_stored(path: Path) -> None:
    with PersistDict[int, Any](
        path,
        key_serializer=lambda key: f"k{key}",
        key_unserializer=lambda stored: int(stored[1:]),
        value_serializer=lambda value: repr(value).encode(),
        value_unserializer=eval,
    ) as d:
        d[7] = {"a": 1}
    (line,) = here("export", path).lines()
    assert (line["key"], line["value"]) == (
        {"$own": "k7"},
        {"$own": {"$bytes": base64.b64encode(b"{'a': 1}").decode()}},
    )
    assert line["created"] is not None
    assert here("ls", path).table()[1][4:] == ["own", "-", "<own 'k7'>"]
    assert here("get", path, "k7").json() == line["value"], "what the serializer makes of a key finds it"
    assert "(serializer: python+own keys+own values)" in here("stats", path).out
    for command in ("verify", "sweep", "compact"):
        assert here(command, path).status == 0
    with PersistDict[str, Any](path, namespace="values", value_serializer=repr, value_unserializer=eval) as values:
        values["k"] = 1
    assert here("get", path, "k", "--namespace", "values").json() == {"$own": "1"}


# --- entries that no program of ours writes ---------------------------------------------------------------------------

#: Data that does not fit the names.
MISFITS: list[Any] = [
    None,
    5,
    -1,
    "x",
    b"\0",
    (),
    (1,),
    (10**5000, 10**5000, 1),
    ("os", "system", "true"),
    [1, [2]],
    {"a": 1},
    {1: {2}},
    1e400,
]


class AnyKey(StoredForms):
    """Takes every key for another one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def canonical(self, key: Any) -> tuple[str, Any, bool]:
        self.count += 1
        return "misfit", self.count, False


class Crafting(Looking):
    """Writes what no handle would."""

    def forms(self) -> StoredForms:
        return AnyKey()


def test_objects_that_cannot_be_are_shown_as_they_are_stored(path: Path) -> None:
    store = Crafting(path=path, memory_bytes=0).open(None)
    names = [*UNPACK, "of:os.system", "of:\x1b[31m", "unknown", ""]
    misfits = [Named(name, misfit) for name in names for misfit in MISFITS]
    for it in misfits:
        store.put(it, [{"in": it}])
        store.put(("in", it), it)
    store.close()
    exported = here("export", path)
    assert (exported.status, exported.err, len(exported.lines())) == (0, "", 2 * len(misfits))
    listed = here("ls", path)
    assert (listed.status, listed.err, len(listed.out.splitlines())) == (0, "", 2 * len(misfits) + 1)
    assert all(line.isprintable() for line in listed.out.splitlines())
    for command in (["ls", "--json"], ["ls", "--sort", "key"], ["stats", "--full"], ["verify"], ["sweep"]):
        assert here(command[0], path, *command[1:]).status == 0
