"""The modules of the package import each other in no circle, not even for annotations or within functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import cachemere

ROOT = Path(cachemere.__file__).parent


def test_there_are_no_circles() -> None:
    files = {_name(file): file for file in ROOT.rglob("*.py")}
    assert len(files) > 100
    graph = {name: set(_imported(name, file, files)) - {name} for name, file in files.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"these import each other: {' <- '.join(error.args[1])}") from None


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    files = {"a": tmp_path / "__init__.py", "a.b": tmp_path / "b.py"}
    files["a"].write_text("def f():\n    from .b import f\n")
    files["a.b"].write_text("import a")
    assert {name: list(_imported(name, file, files)) for name, file in files.items()} == {"a": ["a.b"], "a.b": ["a"]}


def _name(file: Path) -> str:
    parts = ("cachemere", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, file: Path, files: dict[str, Path]) -> Iterator[str]:
    """The modules among `files` that one imports, wherever in it."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            # Each is a module of a package, or something that the module itself has.
            for alias in node.names:
                module = f"{source}.{alias.name}"
                if module in files or source in files:
                    yield module if module in files else source
