"""What a memoized function carries with it, as it stands in its keys.

A variable of an enclosing function can be bound anew, and a list be changed, so it is looked at in each call. What
cannot be changed is known by its identity: then a call that was seen before finds its key without this.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from ..errors import KeyFormError
from .canonical import Formless, KeyTypes, form_of_carried, shortened
from .carried import carried, cells, content, inner

_FIXED = frozenset({str, bytes, int, float, complex, bool, type(None), re.Pattern, ModuleType})


class CarriedForms:
    """The forms of what one function carries."""

    def __init__(
        self, function: Callable[..., Any], typed: bool, key_types: KeyTypes, ignore: frozenset[str], shown_name: str
    ) -> None:
        self._function = function
        self._typed = typed
        self._key_types = key_types
        self._ignore = ignore
        self._shown_name = shown_name
        #: Called before the form becomes another.
        self.on_change: Callable[[], object] = lambda: None
        #: The variables, and what they held when the form was made: as long as they hold it, the form is the same. Who
        #: keeps these lists need not ask. Of different lengths, they say nothing.
        self.cells: list[CellType] = []
        self.held: list[Any] = []
        self._made = ""
        if not (isinstance(function, FunctionType) and function.__closure__ is None):
            self.cells.append(CellType())

    def now(self) -> str:
        """The form of all that is carried: "" of nothing.

        Raises:
            KeyFormError: Something has none.
        """
        if self._is_held():
            return self._made
        plain = self._function
        while not isinstance(plain, FunctionType) and (within := _within(plain)) is not None:
            plain = within
        found = [cell for _, cell in cells(plain)] if isinstance(plain, FunctionType) else []
        held = [content(cell) for cell in found]
        parts = [(name, value) for name, value in carried(self._function) if name not in self._ignore]
        made = ", ".join([f"{name}={self._part(name, value)}" for name, value in parts])
        made = f"({made})" if parts else ""
        is_fixed = all(_is_fixed(value) for _, value in parts)
        self.on_change()
        self._made = made
        # In this order: while they do not fit, nobody believes them.
        self.held.clear()
        self.cells[:] = found if is_fixed else [CellType()]
        self.held.extend(held if is_fixed else [])
        return made

    def _is_held(self) -> bool:
        found, held = self.cells, self.held
        return len(found) == len(held) and all(content(cell) is it for cell, it in zip(found, held, strict=False))

    def _part(self, name: str, value: Any) -> str:
        try:
            return shortened(form_of_carried(value, self._typed, self._key_types, self._function))
        except Formless as formless:
            raise KeyFormError(self._refusal(name, formless)) from None

    def _refusal(self, name: str, formless: Formless) -> str:
        what = "is bound to an object that" if name == "self" else f"carries '{name}' with it, which"
        return (
            f"the function {self._shown_name} {what} has no canonical form: it holds {formless}. If results do not "
            f"depend on it, memoize with ignore=({name!r},); else say what it is with key_types={{...}} or a method "
            f"__cachemere_key__ of its class, or make it a parameter"
        )


def _within(function: Any) -> Any:
    if isinstance(function, (functools.partial, MethodType)):
        return inner(function)
    return getattr(function, "__wrapped__", None)


def _is_fixed(value: Any, depth: int = 3) -> bool:
    """Whether it can never be another one than it is."""
    if type(value) is tuple:
        return depth > 0 and all(_is_fixed(item, depth - 1) for item in value)
    if isinstance(value, FunctionType):
        return value.__closure__ is None and not value.__kwdefaults__ and _is_fixed(value.__defaults__)
    return type(value) in _FIXED
