"""That nothing in a directory was changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file below a directory with its bytes, `None` for a directory; of the control file, that it is there.

    That one is written by whoever looks into a store, even to refuse it.
    """
    return {
        str(place.relative_to(directory)): None if place.is_dir() or place.name == "control" else place.read_bytes()
        for place in directory.rglob("*")
    }


@contextmanager
def untouched(directory: Path) -> Iterator[None]:
    """Fails if something below the directory changes meanwhile."""
    before = contents(directory)
    yield
    after = contents(directory)
    changed = {name for name in before.keys() | after.keys() if before.get(name, ...) != after.get(name, ...)}
    assert not changed, changed
