"""The files of a store."""

from __future__ import annotations

from pathlib import Path


def files(path: Path) -> list[tuple[str, int]]:
    """The files that have anything in them, and the bytes they take on the disk. A directory counts as one.

    Not their lengths: a data file has holes where pages are free, and what is allocated for a log may be empty yet.
    """
    sizes: dict[str, int] = {}
    for file in sorted(path.rglob("*")):
        try:
            found = file.stat()
            if file.is_file() and found.st_size:
                name = file.relative_to(path).parts[0]
                sizes[name] = sizes.get(name, 0) + found.st_blocks * 512
        except OSError:
            # Gone meanwhile.
            continue
    return list(sizes.items())
