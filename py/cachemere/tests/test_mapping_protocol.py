"""CPython's own tests of mappings, run over PersistDict."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

import pytest
from cachemere import PersistDict

mapping_tests = pytest.importorskip(
    "test.mapping_tests", reason="this Python was built without its own tests (`test.mapping_tests`)"
)

#: Tests that cannot pass, and why.
CANNOT_PASS = {
    "test_copy": "copy() is a plain dict in memory: a second store would need a path of its own",
    "test_fromkeys": "fromkeys() has no store to fill, so it makes a plain dict, whatever the subclass",
}
#: Those of the longer form of these tests.
CANNOT_PASS_OF_MAPPINGS = CANNOT_PASS | {
    "test_constructor": "PersistDict() has a path to open, so it is not made from nothing or from another dict",
    "test_setdefault": "values are copies, so that `d.setdefault(key, []).append(3)` appends to nothing that is stored",
}
#: Those of hash tables only.
CANNOT_PASS_OF_HASH_TABLES = CANNOT_PASS_OF_MAPPINGS | {
    "test_getitem": "its keys are of a class inside a function, which no other process could build again",
    "test_pop": "its key is of a class inside a function, and equal to nothing but itself",
    "test_eq": "its keys are of a class inside a function, which no other process could build again",
    "test_repr": "its value is of a class inside a function, which no other process could build again",
}
TOO_LARGE = "it nests a thousand stores, each open, with its files and threads"


class OverPersistDict:
    """Makes the mappings that the tests ask for, each in a store of its own."""

    type2test: Any = PersistDict

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.numbers = itertools.count()
        self.opened: list[PersistDict[Any, Any]] = []

    def tearDown(self) -> None:
        for mapping in self.opened:
            mapping.close()
        shutil.rmtree(self.directory)

    def _empty_mapping(self) -> Any:
        made: Any = PersistDict(self.directory / str(next(self.numbers)))
        self.opened.append(made)
        return made

    def _full_mapping(self, data: Any) -> Any:
        made = self._empty_mapping()
        made.update(data)
        return made


def expecting(failures: dict[str, str]) -> Any:
    """Marks tests that cannot pass. One that passes all the same is reported, so that the lists stay true."""

    def mark(case: Any) -> Any:
        for name in failures:
            if hasattr(case, name):
                original = getattr(case, name)

                def failing(self: Any, original: Any = original) -> None:
                    original(self)

                setattr(case, name, unittest.expectedFailure(failing))
        if hasattr(case, "test_repr_deep"):
            case.test_repr_deep = unittest.skip(TOO_LARGE)(case.test_repr_deep)
        return case

    return mark


@expecting(CANNOT_PASS)
class TestBasics(OverPersistDict, mapping_tests.BasicTestMappingProtocol):  # type: ignore[misc, name-defined]
    pass


@expecting(CANNOT_PASS_OF_MAPPINGS)
class TestMappings(OverPersistDict, mapping_tests.TestMappingProtocol):  # type: ignore[misc, name-defined]
    pass


@expecting(CANNOT_PASS_OF_HASH_TABLES)
class TestHashMappings(OverPersistDict, mapping_tests.TestHashMappingProtocol):  # type: ignore[misc, name-defined]
    pass
