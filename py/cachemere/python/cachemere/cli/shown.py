"""Text of a store, on a terminal: nothing in it may move the cursor, or pass for something else."""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text with whatever cannot be printed written as Python would."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
