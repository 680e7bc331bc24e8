"""Text of a store, on a terminal: nothing in it may move the cursor, or pass for something else."""

from __future__ import annotations

import re
from typing import Any

from .stored import Named, Own, Pickled


def one_line(text: str) -> str:
    """The text with whatever cannot be printed written as Python would."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """The text as Python writes it."""
    return one_line(repr(text))


#: What could be taken for a key of another type, or for a quoted text.
_LIKE_ANOTHER = re.compile(r"""[\s<(\[{'"]|[-+.]*\d|(None|True|False|nan|inf|-inf)$|b['"]|[\w.]+\(|-$|.*\s$|$""")


def word(text: str) -> str:
    """Text as it is if nothing else is shown like it; else as Python writes it."""
    return text if text.isprintable() and not _LIKE_ANOTHER.match(text) else quoted(text)


def key(it: Any) -> str:
    """A key, so that each is shown differently: `a` and `1` for the text and the number, `'1'` for the text."""
    return word(it) if type(it) is str else one_line(_written(it))


def in_words(it: Any) -> str:
    """A key in a sentence."""
    return quoted(it) if type(it) is str else key(it)


def _written(it: Any) -> str:
    if isinstance(it, tuple):
        return f"({', '.join(map(_written, it))}{',' if len(it) == 1 else ''})"
    if isinstance(it, frozenset):
        return f"frozenset({{{', '.join(sorted(map(_written, it)))}}})"
    if isinstance(it, Named):
        return f"<{it.name.removeprefix('of:')} {_written(it.plain)}>"
    if isinstance(it, Pickled):
        return f"<pickle {it.data.hex()}>"
    if isinstance(it, Own):
        return f"<own {it.stored!r}>"
    if isinstance(it, int) and it.bit_length() > _LONG:
        return hex(it)
    try:
        return repr(it)
    except ValueError:
        # There is such a number in it.
        return f"<{type(it).__name__}>"


#: Python refuses to write longer numbers in decimal.
_LONG = 8192


def kind(it: Any) -> str:
    """What a value is, in a word."""
    if isinstance(it, Named):
        match it:
            case Named("enum" | "flag", (str(module), str(name), _)):
                return f"{module}.{name}"
        return it.name.removeprefix("of:")
    if isinstance(it, Pickled):
        return "pickle"
    if isinstance(it, Own):
        return "own"
    return "None" if it is None else type(it).__name__
