"""What loads came to: printed, and kept for a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from timing import ratios, spread

OURS = "cachemere"


class Load(NamedTuple):
    """One load by one loader."""

    seconds: float
    #: MiB of memory that the process had at most.
    peak: int


def tell(title: str, times: Mapping[str, Sequence[Load]]) -> None:
    """Prints a table with one row: ours and the other loader."""
    (other,) = (name for name in times if name != OURS)
    taken = [[load.seconds for load in times[name]] for name in (other, OURS)]
    sides = ["{:.3g} ({:.3g}–{:.3g})".format(*spread(seconds)) for seconds in taken]
    ratio = "{:.2f}× ({:.2f}–{:.2f})".format(*spread(ratios(*taken)))
    peaks = [f"{max(load.peak for load in times[name]):,}" for name in (other, OURS)]
    print(f"{len(times[OURS])} rounds.\n")
    print("| seconds, median (least–most) | the other | cachemere | ratio | MiB at most: the other | cachemere |")
    print("|---|---:|---:|---|---:|---:|")
    print(f"| {' | '.join([title, *sides, ratio, *peaks])} |")


def keep(file: Path | None, title: str, unit: str, bars: Mapping[str, Sequence[float]]) -> None:
    """Adds a line of JSON for a panel of a plot to a file, if there is one."""
    if file is not None:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps({"title": title, "unit": unit, "bars": bars}, ensure_ascii=False) + "\n")
