"""Names that stand for values which are none."""

from __future__ import annotations

from typing import Any


class Constant(tuple[Any, ...]):
    """A value that is only itself, and is written as its name."""

    __slots__ = ()

    def __new__(cls, name: str) -> Constant:
        return tuple.__new__(cls, (name,))

    def __repr__(self) -> str:
        return str(self[0])


#: There is no value, or none was given.
ENOVAL: Any = Constant("ENOVAL")
#: A key or value that is not known.
UNKNOWN: Any = Constant("UNKNOWN")

# How diskcache says in which form a row has its value. Nothing here is stored by them; programs import them by name.
MODE_NONE = 0
MODE_RAW = 1
MODE_BINARY = 2
MODE_TEXT = 3
MODE_PICKLE = 4
