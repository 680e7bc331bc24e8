"""What an object without a safe form is, told anew where not all that the engine advises can be done."""

from __future__ import annotations

from ..errors import ValueFormError


def advise(error: ValueFormError, way: str) -> str | None:
    """A message with `way` as advice, the class filled in; `None` if the error is another one."""
    kind = error.unsafe_type
    if kind is None:
        return None
    return (
        f"an object of type '{kind}' has no safe form: if it is a dataclass, enum, named tuple, attrs or pydantic "
        f"class, register it: {way.format(kind.rpartition('.')[2])}; else convert it to plain data"
    )
