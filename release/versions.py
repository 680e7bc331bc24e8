"""Reads and sets the version, whose place is `[workspace.package]` in Cargo.toml.

The crates take it from there, and the wheel from the crate. What is read before there is an engine to ask has a copy,
which `make release` sets and `test_versions.py` holds to it.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "Cargo.toml"
_IN_PLACE = re.compile(r'(?<=\[workspace\.package\]\nversion = ")[^"]+')

#: The copies, and what stands around them.
COPIES = [
    (ROOT / "py/cachemere/python/cachemere/_version.py", re.compile(r'(?<=^__version__ = ")[^"]+', re.MULTILINE)),
    (
        ROOT / "py/cachemere-rocksdb/python/cachemere_rocksdb/__init__.py",
        re.compile(r'(?<=^__version__ = ")[^"]+', re.MULTILINE),
    ),
    # The two distributions go together: one of another version is not loaded.
    (ROOT / "py/cachemere-rocksdb/pyproject.toml", re.compile(r'(?<="cachemere==)[^"]+')),
    (ROOT / "Cargo.lock", re.compile(r'(?<=name = "cachemere"\nversion = ")[^"]+')),
    # The macros are made for this very version: what they write calls what is not for others.
    (ROOT / "Cargo.toml", re.compile(r'(?<=cachemere-macros = \{ version = "=)[^"]+')),
    (ROOT / "Cargo.lock", re.compile(r'(?<=name = "cachemere-macros"\nversion = ")[^"]+')),
    (ROOT / "Cargo.lock", re.compile(r'(?<=name = "cachemere-python"\nversion = ")[^"]+')),
]


def current() -> str:
    """Returns the version."""
    return _one(_IN_PLACE, PLACE)


def copies() -> dict[str, str]:
    """Returns each copy by its place."""
    return {f"{path.relative_to(ROOT)}: {pattern.pattern}": _one(pattern, path) for path, pattern in COPIES}


def write(version: str) -> list[Path]:
    """Sets the version and its copies; returns the files."""
    for path, pattern in [(PLACE, _IN_PLACE), *COPIES]:
        _one(pattern, path)
        path.write_text(pattern.sub(version, path.read_text()))
    return sorted({PLACE, *(path for path, _ in COPIES)})


def _one(pattern: re.Pattern[str], path: Path) -> str:
    found = pattern.findall(path.read_text())
    if len(found) != 1:
        raise SystemExit(f"{path}: {pattern.pattern} is there {len(found)} times, not once")
    return str(found[0])
