"""Whatever a store contains and whatever is asked for: an exit status and one message, never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cachemere import Cache, PersistDict
from cachemere.cli import stats_command
from command_line import PROGRAM, here, ok, run


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A store with entries that nobody writes who means well, and some odd ones."""
    path = tmp_path / "odd"
    with PersistDict[object, object](path) as d:
        d["good"] = 1
        for number, cost in enumerate([float("nan"), float("inf"), -float("inf")]):
            d._store.put(f"cost {number}", 1, cost=cost)
        for number, tags in enumerate([(1,), (None, "a"), (("t",),)]):
            d._store.put(f"tags {number}", 1, tags=tags)  # type: ignore[arg-type]
        d._store.put("surrogate", 1, tags=("\ud800",))
        d[float("nan")], d["\ud800"], d[10**5000], d[object] = float("inf"), "\ud800", 10**5000, object
        d[1, "\x1b[0m"] = {1: (2,)}
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["stats", "--full"],
        ["stats", "--full", "--json"],
        ["ls"],
        ["ls", "--json"],
        ["ls", "--tag", "a"],
        ["ls", "--sort", "key"],
        ["ls", "--sort", "expires", "--reverse"],
        ["export"],
    ],
    ids=" ".join,
)
def test_entries_that_nobody_means_well_with_are_told_of(odd: Path, command: list[str]) -> None:
    done = run(command[0], odd, *command[1:])
    assert done.status == 1 and "Traceback" not in done.err
    # Each has its line, and the rest goes on.
    assert done.err.count("not those of a key or value") == 6
    assert "good" in done.out or command[0] == "stats" or "--tag" in command


@pytest.mark.parametrize("key", ["cost 0", "cost 1", "cost 2", "tags 0", "tags 1", "tags 2"])
@pytest.mark.parametrize("how", [[], ["--json"], ["--raw"]], ids=str)
def test_one_of_them_has_one_message(odd: Path, key: str, how: list[str]) -> None:
    done = run("get", odd, key, *how)
    assert done.status == 1 and done.out == "" and len(done.err.splitlines()) == 1


LITERALS = ["1e999", "nan", "(1,", "[]", "{1}", "1j", "..."]
LITERALS += ["1" * 5000, "(" * 500 + ")" * 500, "-" * 5000 + "1"]


@pytest.mark.parametrize("literal", LITERALS, ids=lambda it: it[:9])
def test_an_odd_literal_is_a_key_or_none(odd: Path, literal: str) -> None:
    done = here("get", odd, literal, "--literal")
    assert done.status in (1, 2) and len(done.err.splitlines()) >= 1 and "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "{}", "--limit", "9" * 5000],
        ["ls", "{}", "--limit", "٣"],
        ["ls", "{}", "--namespace", ""],
        ["ls", "{}", "--namespace", "x" * 300],
        ["ls", "{}", "--namespace", "\udcff"],
        ["ls", "{}", "--key-file", "/dev/zero"],
        ["ls", "{}", "--key-file", "{}"],
        ["export", "{}", "-o", "{}"],
        ["export", "{}", "-o", "/dev/full"],
        ["export", "{}", "-o", "{}/absent/file"],
        ["backup", "{}", "{}"],
        ["backup", "{}", ""],
        ["verify", "/etc/passwd"],
        ["stats", ""],
        ["compact", "/"],
        [],
        ["nothing"],
    ],
    ids=lambda it: " ".join(it)[:30],
)
def test_odd_arguments_have_a_status_and_a_message(odd: Path, arguments: list[str]) -> None:
    done = run(*(argument.replace("{}", str(odd)) for argument in arguments))
    assert done.status in (1, 2) and done.err.strip()


def test_of_several_backups_to_one_path_one_is_made(tmp_path: Path) -> None:
    with Cache(tmp_path / "store") as cache:
        cache.set_many((number, b"v" * 10_000) for number in range(300))
    for attempt in range(3):
        copy = tmp_path / f"copy {attempt}"
        command = [*PROGRAM, "backup", str(tmp_path / "store"), str(copy)]
        several = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        told = [(process.communicate(timeout=60)[1], process.returncode) for process in several]
        # The others find that one in the making, or made.
        assert [status for _, status in told].count(0) == 1, told
        assert {status for _, status in told} <= {0, 1, 2}, told
        assert all(len(text.splitlines()) == (status != 0) for text, status in told), told
        assert ok("verify", copy).status == 0
        # And nothing is left of the others.
        assert {path.name for path in tmp_path.iterdir()} == {
            "store",
            *(f"copy {number}" for number in range(attempt + 1)),
        }
        with Cache(copy) as cache:
            assert len(cache) == 300


def test_what_nobody_thought_of_is_one_message(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> int:
        raise ZeroDivisionError("of a mistake")

    monkeypatch.setattr(stats_command, "run", fail)
    done = here("stats", odd)
    assert (done.status, done.out) == (1, "")
    assert done.err == "cachemere: ZeroDivisionError, which was not expected: of a mistake\n"
