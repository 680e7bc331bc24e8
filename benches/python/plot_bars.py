"""Times that `--results` of load.py, rocks_load.py and rocks.py kept, as bars: an SVG written by hand.

    python benches/python/plot_bars.py RESULTS CAPTION SVG

A panel for each title in the results, of the latest line that has it. In it a bar for each peer, from nothing to its
median, and a line from the least to the most. Each panel has a scale of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from plot import BAR, GAP, LINE, MARGIN, OURS, STEP, TEXT, THEIRS, WIDTH

COLUMNS, LABEL, NUMBER, HEAD = 2, 80, 76, 26


def svg(panels: Sequence[Mapping[str, object]], caption: str) -> str:
    """The panels in two columns."""
    width = (WIDTH - 2 * MARGIN - GAP) / COLUMNS
    parts, bottom = [], MARGIN + 26
    for first in range(0, len(panels), COLUMNS):
        row = panels[first : first + COLUMNS]
        for place, panel in enumerate(row):
            parts += _panel(panel, MARGIN + place * (width + GAP), bottom, width)
        bottom += HEAD + STEP * max(len(panel["bars"]) for panel in row) + 12  # type: ignore[arg-type]
    height = bottom + MARGIN - 12
    shown = escape(caption)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="{shown}" font-family="system-ui, sans-serif" font-size="11" fill="{TEXT}">',
            f"<title>{shown}</title>",
            f'<text x="{MARGIN}" y="{MARGIN + 8}" font-size="13">{shown}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _panel(panel: Mapping[str, object], left: float, top: float, width: float) -> list[str]:
    bars: Mapping[str, Sequence[float]] = panel["bars"]  # type: ignore[assignment]
    start = left + LABEL
    scale = (width - LABEL - NUMBER) / max(max(times) for times in bars.values())
    parts = [
        f'<text x="{left:.0f}" y="{top + 12:.0f}" font-size="14" font-weight="600">{escape(str(panel["title"]))}</text>'
    ]
    for number, (name, times) in enumerate(bars.items()):
        y = top + HEAD + STEP * number
        ours = name == "cachemere"
        weight = ' font-weight="700"' if ours else ""
        median, least, most = statistics.median(times), min(times), max(times)
        parts.append(
            f'<text x="{start - 6:.0f}" y="{y + 10:.0f}" text-anchor="end"{weight}>{escape(name)}</text>'
            f'<rect x="{start:.0f}" y="{y:.0f}" width="{max(median * scale, 1):.1f}" height="{BAR}" rx="2" '
            f'fill="{OURS if ours else THEIRS}"/>'
            f'<line x1="{start + least * scale:.1f}" y1="{y + BAR / 2:.0f}" x2="{start + most * scale:.1f}" '
            f'y2="{y + BAR / 2:.0f}" stroke="{LINE}" stroke-width="2"/>'
            f'<text x="{start + most * scale + 6:.1f}" y="{y + 10:.0f}"{weight}>{median:.3g} {panel["unit"]}</text>'
        )
    return parts


def main() -> None:
    """Writes the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("caption")
    parser.add_argument("svg", type=Path)
    given = parser.parse_args()
    read = (json.loads(line) for line in given.results.read_text(encoding="utf-8").splitlines())
    latest = {panel["title"]: panel for panel in read}
    given.svg.write_text(svg(list(latest.values()), given.caption), encoding="utf-8")


if __name__ == "__main__":
    main()
