"""The engine's message of an object without a safe form, told anew where not all that it advises can be done."""

from __future__ import annotations

import re

from .errors import ValueFormError

_UNSAFE = re.compile(r"an object of type '(?P<kind>.+)' has no safe form:")


def advise(error: ValueFormError, way: str) -> str | None:
    """The message with `way` as advice, the class filled in; `None` if the error is another one."""
    found = _UNSAFE.match(str(error))
    if found is None:
        return None
    name = found["kind"].rpartition(".")[2]
    return (
        f"{found[0]} if it is a dataclass, enum, named tuple or pydantic model, register it: {way.format(name)}; else "
        f"convert it to plain data"
    )
