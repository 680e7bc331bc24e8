"""The examples in the docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib

import pytest
from cachemere import rocksdb

EXAMPLES = [
    found
    for module in (rocksdb, importlib.import_module("cachemere.rocksdb._rocksdb_dict"))
    for found in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__)
    if found.examples
]


def test_the_face_has_examples() -> None:
    assert "RocksDBDict" in {example.name.rpartition(".")[2] for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_does_what_it_shows(example: doctest.DocTest) -> None:
    said: list[str] = []
    result = doctest.DocTestRunner().run(example, out=said.append)
    assert result.attempted == len(example.examples) and result.failed == 0, "".join(said)
