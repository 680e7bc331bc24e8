"""The classes that the fields of a registered class are annotated with, since its objects hold objects of those.

They are a closed set that the program has chosen, by naming them in its own classes; nothing in a store adds to it.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from .._core.signals import is_of_handler


def is_model(kind: type) -> bool:
    """Whether it is a class of pydantic's."""
    return hasattr(kind, "model_dump") and hasattr(kind, "model_validate")


def is_attrs(kind: type) -> bool:
    """Whether it is a class of attrs."""
    return isinstance(getattr(kind, "__attrs_attrs__", None), tuple)


def is_named_tuple(kind: type[Any]) -> bool:
    """Whether it is a named tuple's class."""
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def annotated(kinds: Iterable[type]) -> list[type]:
    """The classes that can be registered and that the fields of these name, and theirs, and so on.

    A reference to what is not defined is passed over, and subclasses of what is named are not found. Some 25 µs for
    each class.
    """
    given = list(kinds)
    left, seen, found = list(given), set(given), []
    while left:
        for kind in _named(left.pop()):
            if kind not in seen:
                seen.add(kind)
                found.append(kind)
                left.append(kind)
    return found


def returned(function: Any) -> list[type] | None:
    """The classes that can be registered and that what a function returns is annotated with.

    `None`: the annotation cannot be read, because what it names is not defined, or not yet.
    """
    try:
        annotation = getattr(function, "__annotations__", {}).get("return")
        if annotation is None or annotation in _PLAIN:
            return []
        if isinstance(annotation, str) or typing.get_args(annotation):
            names = getattr(function, "__globals__", {})
            annotation = typing.get_type_hints(_Alone("return", annotation), names, _variables(function))["return"]
        return [kind for kind in dict.fromkeys(_classes(annotation)) if is_registrable(kind)]
    except Exception as error:
        if is_of_handler(error):
            raise
        return None


_PLAIN = (str, "str", int, "int", float, "float", bytes, "bytes", bool, "bool", dict, "dict", list, "list", "None")


def _variables(function: Any) -> dict[str, Any]:
    """Those of the functions around it that it uses."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def _named(kind: type) -> Iterator[type]:
    for annotation in _annotations(kind):
        for it in _classes(annotation):
            if is_registrable(it):
                yield it


def is_registrable(kind: type) -> bool:
    """Whether a class can be registered."""
    checks = (dataclasses.is_dataclass, is_model, is_attrs, is_named_tuple)
    return issubclass(kind, enum.Enum) or any(check(kind) for check in checks)


def _annotations(kind: Any) -> list[Any]:
    if issubclass(kind, enum.Enum):
        return []
    if is_model(kind):
        # Resolved by pydantic, those of generic models too.
        hints = _hints(kind) if kind.__private_attributes__ else {}
        private = [hints[name] for name in kind.__private_attributes__ if name in hints]
        return [*(field.annotation for field in kind.model_fields.values()), *private]
    if is_attrs(kind):
        hints = _hints(kind)
        return [hints.get(field.name, field.type) for field in kind.__attrs_attrs__]
    # Not class variables, which are in no entry.
    fields = [it.name for it in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    hints = _hints(kind)
    return [hints[name] for name in fields if name in hints]


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception as error:
        if is_of_handler(error):
            raise
        # One of them means nothing here: the others by themselves.
        return _hints_one_by_one(kind)


def _hints_one_by_one(kind: Any) -> dict[str, Any]:
    found = {}
    for base in reversed(kind.__mro__):
        names = vars(sys.modules.get(base.__module__, types))
        for name, annotation in vars(base).get("__annotations__", {}).items():
            try:
                found.update(typing.get_type_hints(_Alone(name, annotation), names, dict(vars(base))))
            except Exception as error:
                if is_of_handler(error):
                    raise
                continue
    return found


class _Alone:
    """Has one annotation."""

    def __init__(self, name: str, annotation: Any) -> None:
        self.__annotations__ = {name: annotation}


def _classes(annotation: Any, depth: int = 0) -> Iterator[type]:
    """The classes in an annotation, in whatever it says about them: unions, lists, literals."""
    if depth > 20:
        return
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is None and isinstance(annotation, type):
        yield annotation
    elif origin is typing.Literal:
        yield from (type(it) for it in arguments)
        return
    elif isinstance(origin, type):
        yield origin
    for inside in arguments:
        # Those of `Callable` come in a list.
        for it in inside if isinstance(inside, list) else (inside,):
            yield from _classes(it, depth + 1)
    # Of `type Name = ...` and `NewType`.
    for name in ("__value__", "__supertype__"):
        if hasattr(annotation, name) and not isinstance(annotation, type):
            yield from _classes(getattr(annotation, name), depth + 1)
