"""The files that the benchmarks of loading load."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from pathlib import Path


def pair(number: int) -> tuple[str, str]:
    """A key of some 20 characters, in random order, and a value of 64."""
    noise = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=24).hexdigest()
    return f"{noise[:12]}-{number}", f"value of {number:09} is {noise[12:]} and so on"


def write_files(directory: Path, pairs: int, count: int) -> list[Path]:
    """Files with all pairs, unless the directory has them already."""
    whole = directory / f"input-{pairs}-{count}"
    if not whole.exists():
        begun = Path(tempfile.mkdtemp(dir=directory))
        for part in range(count):
            with gzip.open(begun / f"{part}.tsv.gz", "wt", compresslevel=6) as opened:
                for number in range(part * pairs // count, (part + 1) * pairs // count):
                    opened.write("\t".join(pair(number)) + "\n")
        begun.rename(whole)
    return sorted(whole.iterdir())
