"""Programs of DSPy and instructor, run twice: the second process asks no model."""

from __future__ import annotations

from pathlib import Path

import host_programs
import pytest
from host_process import run

PROGRAM = host_programs.__file__


def test_dspy_answers_from_disk(path: Path) -> None:
    # However it comes to the facade.
    assert run(PROGRAM, "dspy_installed", path) == ["blue", 1, 1]
    assert run(PROGRAM, "dspy_attribute", path) == ["blue", 0, 1]


@pytest.mark.parametrize("name", ["instructor_cache", "instructor_decorator"])
def test_instructor_answers_from_disk(path: Path, name: str) -> None:
    assert run(PROGRAM, name, path) == ["blue", 1]
    assert run(PROGRAM, name, path) == ["blue", 0]
