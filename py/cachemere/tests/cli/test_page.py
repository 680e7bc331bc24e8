"""The page about the command line tells of all there is, and its examples do what they show."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cachemere.cli import program
from command_line import environment

PAGE = (Path(__file__).parents[4] / "docs" / "command-line.md").read_text()
#: Commands that have pages of their own.
ELSEWHERE = {"import"}

SHELL = f'cachemere() {{ "{sys.executable}" -m cachemere "$@"; }}\n'


def blocks(language: str) -> list[str]:
    """The blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[str, str]]:
    """Each command line, with what it is said to print."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks("console")), re.MULTILINE)
    return [(command, shown) for command, shown in found]


def alike(text: str) -> str:
    """Without what differs from one run to another: times, sizes of files, and widths of columns."""
    text = re.sub(r"\b\d{10}(\.\d+)?\b", "<time>", text)
    text = re.sub(r"\b[\d.]+ (s|min|h|d)\b", "<span>", text)
    # Those of files: pages are larger on some machines.
    text = re.sub(r"\b[\d.]+ KiB\b", "<size>", text)
    text = re.sub(r"/\S*/", "<directory>/", text)
    return re.sub(r"  +", "  ", text).strip()


def test_the_examples_do_what_they_show(tmp_path: Path) -> None:
    more = environment(HOME=str(tmp_path))
    (made,) = blocks("python")
    subprocess.run([sys.executable, "-c", made], cwd=tmp_path, env=more, check=True)
    assert len(steps()) >= 12
    for command, shown in steps():
        done = subprocess.run(
            ["sh", "-c", f"{SHELL}{command}"], cwd=tmp_path, env=more, capture_output=True, text=True, check=False
        )
        assert [alike(line) for line in (done.stderr + done.stdout).splitlines()] == [
            alike(line) for line in shown.splitlines()
        ], command
    assert os.listdir(tmp_path / "answers-backup")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """That of each command."""
    (choices,) = [it.choices for it in program.parser()._actions if isinstance(it, argparse._SubParsersAction)]
    return {name: parser for name, parser in choices.items() if name not in ELSEWHERE}


def section(name: str) -> str:
    """What the page says under the heading that has a command's name."""
    for part in PAGE.split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        if name in heading.split(", "):
            return part
    raise AssertionError(f"no heading for {name}")


COMMON = PAGE.partition("\n## stats")[0]


@pytest.mark.parametrize("name", parsers())
def test_every_option_is_on_the_page(name: str) -> None:
    for action in parsers()[name]._actions:
        for option in action.option_strings:
            if option not in ("-h", "--help"):
                where = COMMON if option in ("--key-file", "--passphrase-file") else section(name)
                assert re.search(rf"{option}(?![\w-])", where), f"{name} {option}"


def test_every_option_of_the_page_is_there() -> None:
    known = {option for parser in parsers().values() for action in parser._actions for option in action.option_strings}
    # Of other programs.
    said = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE))
    assert said <= known, said - known


def test_every_choice_of_an_order_is_on_the_page() -> None:
    (sort,) = [action for action in parsers()["ls"]._actions if action.dest == "sort"]
    assert sort.choices and all(f"`{choice}`" in section("ls") for choice in sort.choices)


def test_every_form_of_json_is_on_the_page() -> None:
    from json_reader import _TAGGED

    said = set(re.findall(r'"(\$[a-z]+)"', PAGE))
    assert said == {*_TAGGED, "$pickle", "$own"}
    source = Path(program.__file__).with_name("json_form.py").read_text()
    assert set(re.findall(r'"(\$[a-z]+)"', source)) == said


def test_every_status_is_on_the_page() -> None:
    from cachemere.cli import status

    values = {value for name, value in vars(status).items() if name.isupper()}
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == values


def test_every_command_has_a_line_of_help() -> None:
    for name, module in program.commands().items():
        assert module.__doc__ and len(module.__doc__.strip().splitlines()) == 1, name
        assert callable(module.add_arguments) and callable(module.run)


def test_the_console_script_is_the_same_program() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    (entry,) = re.findall(r'^cachemere = "([\w.]+):(\w+)"$', project, re.MULTILINE)
    assert entry == (program.__name__, program.main.__name__)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from cachemere.cli.program import main; sys.argv[0] = 'x/cachemere'; main()",
        ],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2 and done.stderr.startswith("usage: cachemere ")
