"""What loads came to: printed, and kept for a plot."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Load(NamedTuple):
    """One load by one loader."""

    seconds: float
    #: MiB of memory that the process had at most.
    peak: int


def tell(title: str, times: Mapping[str, Sequence[Load]], ours: str) -> None:
    """Prints a line for each loader, and how many times ours the others took, round by round."""
    print(f"{title}, {len(times[ours])} rounds; median (least-most), and MiB at most")
    for name, loads in times.items():
        line = f"{name:10} {spread([load.seconds for load in loads])} s, {max(load.peak for load in loads)} MiB"
        if name != ours:
            ratios = [theirs.seconds / own.seconds for own, theirs in zip(times[ours], loads, strict=True)]
            line += f", {spread(ratios)} times {ours}"
        print(line)


def spread(numbers: Sequence[float]) -> str:
    """The median, with the least and the most."""
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f}-{max(numbers):.2f})"


def keep(file: Path | None, title: str, unit: str, bars: Mapping[str, Sequence[float]]) -> None:
    """Adds a line of JSON for a panel of a plot to a file, if there is one."""
    if file is not None:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps({"title": title, "unit": unit, "bars": bars}, ensure_ascii=False) + "\n")
