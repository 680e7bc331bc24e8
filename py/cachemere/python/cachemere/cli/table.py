"""Rows in columns."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

#: Rows that are looked at before the first is printed. Longer cells of later ones stand out.
_LOOKED_AT = 1000

#: Cells are no longer than this where there is no terminal that says how wide it is.
_LONGEST = 200


def rows(head: Sequence[str], body: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> Iterator[str]:
    """The lines of a table, whose last column ends where the terminal does.

    What is longer there is cut in its midst: keys often differ at their ends alone.

    `right` are the columns that are flush to the right: numbers.
    """
    coming = iter(body)
    first = list(islice(coming, _LOOKED_AT))
    widths = [max(map(width, column)) for column in zip(head, *first, strict=True)]
    most = _terminal()
    for row in chain([head], first, coming):
        cells = [
            fill(cut(cell, _LONGEST), wide, place in right)
            for place, (cell, wide) in enumerate(zip(row[:-1], widths[:-1], strict=True))
        ]
        before = sum(width(cell) + 2 for cell in cells)
        left = _LONGEST if most is None else max(most - before, 12)
        yield "  ".join([*cells, cut_amid(row[-1], left)]).rstrip()


def fill(cell: str, wide: int, right: bool) -> str:
    """The cell, as wide as its column."""
    space = " " * (wide - width(cell))
    return space + cell if right else cell + space


def cut(cell: str, wide: int) -> str:
    """The cell, or its beginning and an ellipsis."""
    # No character is wider than two columns.
    if len(cell) * 2 <= wide or width(cell) <= wide:
        return cell
    kept, used = [], 0
    for character in cell:
        used += width(character)
        if used > wide - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def cut_amid(cell: str, wide: int) -> str:
    """The cell, or its beginning, an ellipsis and its end."""
    if len(cell) * 2 <= wide or width(cell) <= wide:
        return cell
    beginning = cut(cell, (wide + 1) // 2)
    room = wide - width(beginning)
    kept = len(cell)
    while kept and (room := room - _width(cell[kept - 1])) >= 0:
        kept -= 1
    # A mark is not parted from its letter.
    while kept < len(cell) and unicodedata.combining(cell[kept]):
        kept += 1
    return beginning + cell[kept:]


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _terminal() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
