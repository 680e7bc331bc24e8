"""The examples in the docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import tempfile
from pathlib import Path

import cachemere
import pytest

MODULES = [
    cachemere,
    *(
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(cachemere.__path__, "cachemere.", onerror=lambda _: None)
        # Of another distribution, whose own tests run its examples.
        if not module.name.startswith("cachemere.rocksdb")
    ),
]
EXAMPLES = [
    found
    for module in MODULES
    # An engine of machine code has docstrings, but no source to say on which lines.
    for found in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__)
    if found.examples
]


def test_the_faces_have_examples() -> None:
    names = {example.name.rpartition(".")[2] for example in EXAMPLES}
    assert {"Cache", "PersistDict", "memoize", "CacheDict"} <= names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_does_what_it_shows(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    result = doctest.DocTestRunner().run(example, out=said.append)
    assert result.attempted == len(example.examples) and result.failed == 0, "".join(said)
