"""The costs as bars, an SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from peers import Cachemere
from timing import Measured, spread

TITLES = {"set": "set", "bulk": "bulk write, an item", "fresh": "get, fresh handle", "hot": "get, hot"}

WIDTH, MARGIN, LABEL, GAP = 940, 16, 128, 24
BAR, STEP, HEAD = 12, 18, 46
#: Readable on white and on black.
TEXT, LINE, THEIRS, OURS, LIMIT = "#7a828e", "#7a828e", "#5b93d3", "#e8710a", "#8d96a0"


def svg(measured: Sequence[Measured], caption: str) -> str:
    """Four panels with a bar for each peer, on a logarithmic scale."""
    shown = [entry for entry in measured if entry.failure is None]
    medians = {operation: [(entry, spread(entry.times[operation])[0]) for entry in shown] for operation in TITLES}
    numbers = [time for column in medians.values() for _, time in column]
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)))
    panel = (WIDTH - 2 * MARGIN - GAP) / 2
    tall = HEAD + STEP * len(shown) + 14
    height = MARGIN + 22 + 2 * tall + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(caption)}" font-family="system-ui, sans-serif" font-size="11" fill="{TEXT}">',
        f"<title>{escape(caption)}</title>",
        f'<text x="{MARGIN}" y="{MARGIN + 8}" font-size="13">{escape(caption)}</text>',
    ]
    for place, (operation, title) in enumerate(TITLES.items()):
        left = MARGIN + (place % 2) * (panel + GAP)
        top = MARGIN + 22 + (place // 2) * tall
        parts += _panel(title, medians[operation], (left, top), panel, (low, high))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _panel(
    title: str,
    column: Sequence[tuple[Measured, float]],
    corner: tuple[float, float],
    width: float,
    decades: tuple[int, int],
) -> list[str]:
    left, top = corner
    low, high = decades
    start, room = left + LABEL, width - LABEL - 52

    def across(time: float) -> float:
        return start + room * (math.log10(time) - low) / (high - low)

    bottom = top + HEAD + STEP * len(column)
    parts = [f'<text x="{left:.0f}" y="{top + 16:.0f}" font-size="14" font-weight="600">{escape(title)}</text>']
    for decade in range(low, high + 1):
        x = across(10.0**decade)
        parts.append(
            f'<line x1="{x:.1f}" y1="{top + HEAD - 8:.0f}" x2="{x:.1f}" y2="{bottom:.0f}" stroke="{LINE}" '
            f'stroke-opacity=".3"/><text x="{x:.1f}" y="{top + HEAD - 12:.0f}" text-anchor="middle" font-size="9">'
            f"{_time(10.0**decade)}</text>"
        )
    for row, (entry, time) in enumerate(sorted(column, key=lambda it: it[1])):
        y = top + HEAD + STEP * row
        is_ours = issubclass(entry.peer, Cachemere)
        color = OURS if is_ours else THEIRS if entry.peer.persists else LIMIT
        weight = ' font-weight="700"' if is_ours else ""
        name = escape(entry.peer.name.replace("`", ""))
        parts.append(
            f'<text x="{start - 6:.0f}" y="{y + 10:.0f}" text-anchor="end"{weight}>{name}</text>'
            f'<rect x="{start:.0f}" y="{y:.0f}" width="{max(across(time) - start, 1):.1f}" height="{BAR}" rx="2" '
            f'fill="{color}"/>'
            f'<text x="{across(time) + 5:.1f}" y="{y + 10:.0f}"{weight}>{_time(time)}</text>'
        )
    return parts


def _time(microseconds: float) -> str:
    if microseconds < 1:
        return f"{microseconds * 1e3:.0f} ns"
    return f"{microseconds:.3g} µs" if microseconds < 1000 else f"{microseconds / 1e3:.3g} ms"
