"""Functions of notebooks, of `python -c` and of terminals: programs with other code share no results, others do."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from cachemere._memo import code_digest
from cachemere._memo.canonical import form
from cachemere._memo.names import function_name, shown_name


def run(tmp_path: Path, program: str, seed: str = "0") -> str:
    """What `python -c` prints, with the default store here."""
    environment = {**os.environ, "CACHEMERE_DIR": str(tmp_path / "default"), "PYTHONHASHSEED": seed}
    return subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).strip()


def told(body: str) -> str:
    return f"""
import cachemere
@cachemere.memoize
def f(x):
    print("computed", end=" ")
    {body}
print(f(1))
"""


def test_programs_with_other_code_share_no_results(tmp_path: Path) -> None:
    bodies = ["return 'one'", "return 'two'", "return f'{x}'", "return str(x)", "return len([it for it in [x]])"]
    expected = ["one", "two", "1", "1", "1"]
    assert [run(tmp_path, told(body)) for body in bodies] == [f"computed {value}" for value in expected]


def test_a_program_finds_its_own_results_again(tmp_path: Path) -> None:
    body = "return x in {'a', 'b', 'c', 1} and [it for it in (1.5, None, ..., b'x')][0] and (lambda: -x)()"
    runs = [run(tmp_path, "\n" * int(seed) + told(body), seed) for seed in "123"]
    assert runs == ["computed -1", "-1", "-1"], "whatever the seed of hashes and the line"


def test_a_terminal_s_functions_are_told_apart_too(tmp_path: Path) -> None:
    environment = {**os.environ, "CACHEMERE_DIR": str(tmp_path / "default")}
    runs = [
        subprocess.run([sys.executable], input=told(body), env=environment, text=True, capture_output=True, check=True)
        for body in ("return 'one'", "return 'two'", "return 'two'")
    ]
    assert [it.stdout.strip() for it in runs] == ["computed one", "computed two", "two"]


CLASSES = {
    "a dataclass": """
@dataclasses.dataclass
class A:
    n: int
    def price(self): return self.n * RATE
made = A(1)""",
    "an enum": "class A(enum.Enum):\n    N = RATE\nmade = A.N",
    "a class": "class A:\n    rate = RATE\nmade = A",
    "a str": "class A(str):\n    def shown(self): return RATE\nmade = A('a')",
    "a model": "class A(pydantic.BaseModel):\n    def price(self): return RATE\nmade = A()",
    "a property": "@dataclasses.dataclass\nclass A:\n    @property\n    def rate(self): return RATE\nmade = A()",
    "a base": "class B:\n    def rate(self): return RATE\n@dataclasses.dataclass\nclass A(B): ...\nmade = A()",
}


@pytest.mark.parametrize("source", CLASSES.values(), ids=CLASSES)
def test_classes_are_told_apart_by_their_code(tmp_path: Path, source: str) -> None:
    program = (
        "import dataclasses, enum, pydantic\nfrom cachemere._memo.canonical import form\n%s\nprint(form(made, False))"
    )
    ones = {run(tmp_path, program % source.replace("RATE", "10"), seed) for seed in "12"}
    other = run(tmp_path, program % source.replace("RATE", "20"))
    assert len(ones) == 1 and "__main__:A#" in other
    assert other not in ones


def cell(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a notebook's cell defines: each cell has a file name of its own, and the program has none."""
    program = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", program)
    exec(compile(source, f"/tmp/kernel/{name}.py", "exec"), vars(program))
    return program


def test_a_cell_that_is_run_again_has_the_same_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f(x):\n    def g(y): return y + 1\n    return g(x)\nclass A:\n    def m(self): return {1, 2}\n"
    first, again = (cell(source, name, monkeypatch) for name in ("1", "2"))
    lower = cell("import os\n\n" + source, "3", monkeypatch)
    changed = cell(source.replace("+ 1", "+ 2").replace("{1, 2}", "[1, 2]"), "4", monkeypatch)
    assert function_name(first.f) == function_name(again.f) == function_name(lower.f) != function_name(changed.f)
    assert code_digest.of_class(first.A) == code_digest.of_class(lower.A) != code_digest.of_class(changed.A)


def test_a_decorated_function_is_told_by_what_it_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import functools\n@functools.lru_cache\ndef f(x): return x + 1"
    one, other = cell(source, "1", monkeypatch), cell(source.replace("1", "2"), "2", monkeypatch)
    assert function_name(one.f) != function_name(other.f)
    assert function_name(one.f).startswith("__main__.f#")


def test_a_program_with_a_file_goes_by_what_it_would_be_imported_as(monkeypatch: pytest.MonkeyPatch) -> None:
    program = cell("def f(x): return x\nclass A: ...", "1", monkeypatch)
    program.__file__ = "/programs/one.py"
    assert shown_name(program.f) == "one.f"
    assert form(program.A, False) == "<class one:A>"


def test_messages_name_classes_without_a_digest(tmp_path: Path) -> None:
    program = (
        "import cachemere\nclass A: ...\n@cachemere.memoize\ndef f(x): ...\n"
        "try: f(A())\nexcept cachemere.errors.KeyFormError as error: print(error)"
    )
    assert "it holds a __main__.A. If" in run(tmp_path, program)


def test_the_digest_of_a_class_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program = cell("class A:\n    def m(self): return 1", "1", monkeypatch)
    first = code_digest.of_class(program.A)
    monkeypatch.setattr(code_digest, "_class", lambda kind: pytest.fail("made again"))
    assert code_digest.of_class(program.A) == first
