"""Output goes where it should, wholly or not at all, and fits where it is read."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cachemere import Cache
from command_line import PROGRAM, environment, here, ok
from terminal import on_a_terminal


@pytest.fixture
def store(path: Path) -> Path:
    with Cache(path) as cache:
        cache.set_many({f"key {number:05} {'x' * 60}": "v" * 500 for number in range(5000)}, tags=("a tag",))
    return path


@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["export"], ["ls", "--sort", "key"]], ids=" ".join)
def test_a_reader_that_stops_ends_the_program_quietly(store: Path, command: list[str]) -> None:
    child = subprocess.Popen(
        [*PROGRAM, command[0], str(store), *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(timeout=60) == 141
    child.stderr.close()


def test_an_output_that_is_full_is_an_error(store: Path) -> None:
    for command in ("ls", "verify", "stats"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*PROGRAM, command, str(store)], stdout=full, stderr=subprocess.PIPE, text=True, env=environment()
            )
        assert done.returncode == 1 and "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_closed_output_is_an_error(store: Path) -> None:
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "ls", str(store)], env=environment())
    assert done.returncode == 1


def test_ctrl_c_ends_it_and_leaves_no_file(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    child = subprocess.Popen(
        [*PROGRAM, "export", str(store), "-o", str(file)], stderr=subprocess.PIPE, text=True, env=environment()
    )
    end = time.monotonic() + 30
    while not list(tmp_path.glob(".out.jsonl.*")) and time.monotonic() < end:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    # It can have been done already.
    assert child.returncode in (130, 0) and "Traceback" not in said
    assert file.exists() == (child.returncode == 0)
    assert list(tmp_path.glob(".out.jsonl.*")) == []


def test_an_output_file_that_cannot_be_written_is_an_error(store: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "none" / "out", tmp_path, Path("/")):
        done = here("export", store, "-o", file)
        assert (done.status, done.out) == (1, "") and str(file) in done.err
    assert {place.name for place in tmp_path.iterdir()} == {"store"}


def test_an_output_file_can_be_a_link_or_a_device(store: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to("real")
    assert here("export", store, "-o", tmp_path / "link").status == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text().count("\n") == 5000
    assert here("export", store, "-o", "/dev/null").status == 0
    assert Path("/dev/null").is_char_device()


def test_a_failed_export_leaves_the_file_of_before(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("of before")
    assert here("export", store, "-o", file, "--namespace", "none").status == 1
    assert file.read_text() == "of before"


def test_a_file_that_is_there_is_kept_unless_it_is_forced(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    done = here("export", store, "-o", file)
    assert (done.status, done.out) == (2, "") and "--force" in done.err and file.read_text() == "mine"
    assert here("export", store, "-o", file, "--force").status == 0
    assert file.read_text().count("\n") == 5000


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_table_fits_the_terminal(store: Path, columns: int) -> None:
    status, seen = on_a_terminal("ls", str(store), "--limit", "20", columns=columns)
    lines = seen.splitlines()
    assert status == 0 and len(lines) == 21 and max(map(len, lines)) <= columns
    assert "\x1b" not in seen
    if columns == 80:
        assert all("…x" in line and line.endswith("x") for line in lines[1:])
    else:
        assert lines[1].endswith("x" * 60)


def test_wide_letters_count_as_two_columns(path: Path) -> None:
    with Cache(path) as cache:
        cache.set("日本語" * 30, 1, tags=("日本",))
        cache.set("e\u0301" * 100, 2, tags=("x",))
    status, seen = on_a_terminal("ls", str(path), columns=80)
    head, first, second = seen.splitlines()
    assert status == 0 and "…" in first[:-1] and "…" in second[:-1]
    place = head.index("KEY")
    assert second.index("e\u0301") == place and first.index("日本語") == place - 2
    assert first.count("日") + first.count("本") + first.count("語") == (80 - place - 1) // 2 + 2


def test_long_keys_are_cut_in_their_midst_so_that_they_do_not_look_alike(path: Path) -> None:
    with Cache(path) as cache:
        for number in range(10):
            cache[("POST", "https://models.example/v1/chat/completions", f"{number:064x}")] = number
    status, seen = on_a_terminal("ls", str(path), columns=80)
    keys = [line[line.index("('POST") :] for line in seen.splitlines()[1:]]
    assert status == 0 and len(set(keys)) == 10
    assert all(key.count("…") == 1 and key.endswith(f"{number}')") for number, key in enumerate(keys))


def test_tables_line_up(store: Path) -> None:
    head, *rows = ok("ls", store, "--limit", "50").out.splitlines()
    for name in ("AGE", "LAST USED", "EXPIRES", "KIND", "TAGS", "KEY"):
        place = head.index(name)
        assert all(row[place - 2 : place] == "  " and row[place] != " " for row in rows)
    assert all(re.match(r" *\d+ B  ", row) for row in rows)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["get"],
        ["ls", "STORE", "--nothing"],
        ["ls", "STORE", "--limit", "0"],
        ["ls", "STORE", "--limit", "-1"],
        ["ls", "STORE", "--limit", "x"],
        ["ls", "STORE", "--sort", "x"],
        ["ls", "STORE", "--js"],
        ["ls", ""],
        ["get", "STORE"],
        ["get", "STORE", "k", "--raw", "--json"],
        ["backup", "STORE"],
        ["backup", "STORE", ""],
        ["backup", "STORE", "STORE"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(store: Path, arguments: list[str]) -> None:
    done = here(*[str(store) if word == "STORE" else word for word in arguments])
    assert (done.status, done.out) == (2, "") and done.err
    assert "_" not in done.err.replace(str(store), ""), "no name of the program's own"


def test_help_and_version() -> None:
    done = ok("--help")
    for name in ("stats", "ls", "get", "sweep", "verify", "compact", "backup", "export"):
        assert re.search(rf"^    {name} +\w", done.out, re.MULTILINE)
        assert (
            here(name, "--help").out.startswith(f"usage: {'python -m cachemere'}") or here(name, "--help").status == 0
        )
    assert done.out.startswith("usage: python -m cachemere ")
    assert ok("--version").out.startswith("cachemere ")
