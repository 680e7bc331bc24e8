"""docs/COMPARE.md, whose tables are between marks with the name of what measured them."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def write(name: str, told: str) -> None:
    """Puts a text between the marks of a name."""
    page = DOCS / "COMPARE.md"
    mark, end = f"<!-- benches/{name}: begin -->", f"<!-- benches/{name}: end -->"
    before, begun, rest = page.read_text(encoding="utf-8").partition(mark)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        sys.exit(f"{page.name} lacks the marks {mark} and {end}")
    page.write_text(f"{before}{mark}\n{told.rstrip()}\n{end}{after}", encoding="utf-8")
