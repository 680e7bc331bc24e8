"""The files of a store."""

from __future__ import annotations

from pathlib import Path


def files(path: Path) -> list[tuple[str, int]]:
    """The files that have anything in them, and their sizes in bytes. A directory counts as one."""
    sizes: dict[str, int] = {}
    for file in sorted(path.rglob("*")):
        try:
            if file.is_file() and (size := file.stat().st_size):
                name = file.relative_to(path).parts[0]
                sizes[name] = sizes.get(name, 0) + size
        except OSError:
            # Gone meanwhile.
            continue
    return list(sizes.items())
