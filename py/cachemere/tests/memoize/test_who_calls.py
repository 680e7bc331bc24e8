"""Which ways of calling a function find one entry. The table in docs/KEYS.md is this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

QA = """
import cachemere, dataclasses

@dataclasses.dataclass
class Question:
    text: str

@cachemere.memoize
def ask(question):
    print("computed", end=" ")
    return question.text + "!ANSWER"

def main():
    print(ask(Question("q")))

if __name__ == "__main__":
    main()
"""

CALL = "import qa; qa.main()"


class Place:
    """A directory with the project, and how to run Python in it."""

    def __init__(self, folder: Path, store: Path, answer: str = "") -> None:
        self.folder, self.store = folder, store
        (folder / "pkg").mkdir(parents=True, exist_ok=True)
        (folder / "pkg" / "__init__.py").touch()
        for file in (folder / "qa.py", folder / "pkg" / "qa.py"):
            file.write_text(QA.replace("ANSWER", answer))
        (folder / "caller.py").write_text(CALL)

    def run(self, *words: str, folder: Path | None = None, given: str | None = None) -> bool:
        """Whether it computed."""
        environment = {**os.environ, "CACHEMERE_DIR": str(self.store), "PYTHONPATH": ""}
        where = self.folder if folder is None else folder
        done = subprocess.run(
            [sys.executable, *words], cwd=where, env=environment, text=True, input=given, capture_output=True
        )
        out = done.stdout
        assert out.strip().removeprefix("computed ").startswith("q"), done
        return out.startswith("computed")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "project", tmp_path / "store")
    assert made.run("qa.py"), "the first time"
    return made


SAME = {
    "a script": ["qa.py"],
    "a script elsewhere": ["-c", "import runpy, os; os.chdir('/'); runpy.run_path(FILE, run_name='__main__')"],
    "a module": ["-m", "qa"],
    "imported by a program given with -c": ["-c", CALL],
    "imported by a script": ["caller.py"],
    "with optimizations": ["-OO", "-c", CALL],
    "without bytecode": ["-B", "-c", CALL],
}


@pytest.mark.parametrize("words", SAME.values(), ids=SAME)
def test_these_find_what_the_script_stored(place: Place, words: list[str]) -> None:
    assert not place.run(*[word.replace("FILE", repr(str(place.folder / "qa.py"))) for word in words])


def test_a_terminal_that_imports_finds_it(place: Place) -> None:
    assert not place.run("-", given=CALL)


def test_a_project_that_was_moved_finds_its_results(place: Place, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    place.folder.rename(moved)
    assert not place.run("qa.py", folder=moved)
    assert not place.run("-c", CALL, folder=moved)


def test_a_zip_file_finds_it_and_can_be_moved(place: Place, tmp_path: Path) -> None:
    zipapp.create_archive(place.folder, tmp_path / "app.pyz", main="qa:main")
    assert not place.run(str(tmp_path / "app.pyz"), folder=tmp_path)
    (tmp_path / "app.pyz").rename(tmp_path / "other.zip")
    assert not place.run(str(tmp_path / "other.zip"), folder=tmp_path)


def test_a_module_of_a_package_is_itself_however_it_is_run(place: Place) -> None:
    assert place.run("-m", "pkg.qa"), "another module than qa"
    assert not place.run("pkg/qa.py")
    assert not place.run("-c", "import pkg.qa; pkg.qa.main()")


def test_another_environment_finds_it(place: Place, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(place.folder / "qa.py", site)
    (tmp_path / "empty").mkdir()
    program = f"import sys; sys.path.insert(0, {str(site)!r}); {CALL}"
    assert not place.run("-c", program, folder=tmp_path / "empty")


def test_another_project_with_the_same_names_does_not(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other", tmp_path / "store", "other q")
    for words in (["qa.py"], ["-m", "pkg.qa"]):
        assert other.run(*words)
        assert not place.run("-c", CALL)


def test_what_is_typed_is_the_program_itself(place: Place, tmp_path: Path) -> None:
    assert place.run("-c", QA), "another name than qa"
    assert not place.run("-c", "\n\n" + QA)
    assert place.run("-c", QA.replace('"computed"', '"computed" ""').replace("+ ", "+ '' + "))


def test_a_cell_of_a_notebook_is_a_program_itself(place: Place) -> None:
    cell = (
        "import linecache, sys\n"
        "source = SOURCE\n"
        "linecache.cache[FILE] = (len(source), None, source.splitlines(True), FILE)\n"
        "exec(compile(source, FILE, 'exec'), vars(sys.modules['__main__']))\n"
    )

    def run(source: str, number: int) -> bool:
        return place.run("-", given=cell.replace("SOURCE", repr(source)).replace("FILE", repr(f"<cell {number}>")))

    assert run(QA, 1)
    assert not run("\n# moved down\n" + QA, 2)
    assert run(QA.replace("+ ", "+ '' + "), 1)
