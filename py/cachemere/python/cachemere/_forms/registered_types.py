"""The types that a program registers: how their objects become plain data and back."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

from ..errors import DecodeError, InvalidOptionError
from .annotated_types import is_attrs, is_model, is_named_tuple
from .known_types import Misshapen, exactly, shaped, type_name


@dataclasses.dataclass(frozen=True)
class Registered:
    """How one type of the user's becomes plain data and back."""

    name: str
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]


def register(kind: type) -> Registered:
    name = type_name(kind)
    if issubclass(kind, enum.Enum):
        if issubclass(kind, enum.Flag):
            return Registered(name, lambda it: it.value, kind)
        return Registered(name, lambda it: it.name, lambda plain: kind[plain])
    if is_model(kind):
        return Registered(name, _pydantic_to_plain, lambda plain: _pydantic_from_plain(kind, plain))
    if dataclasses.is_dataclass(kind):
        return Registered(name, _dataclass_to_plain, lambda plain: _dataclass_from_plain(kind, plain))
    if is_attrs(kind):
        return Registered(name, _attrs_to_plain, lambda plain: _attrs_from_plain(kind, plain))
    if is_named_tuple(kind):
        return Registered(name, tuple, exactly(tuple, lambda plain: _named_tuple(kind, plain)))
    raise InvalidOptionError(
        f"types: '{name}' is not a dataclass, enum, named tuple, attrs or pydantic class: convert its values to one of "
        f"these, or allow pickle"
    )


def _named_tuple(kind: Any, plain: Any) -> Any:
    return tuple.__new__(kind, plain)


def _dataclass_to_plain(it: Any) -> dict[str, Any]:
    return {field.name: getattr(it, field.name) for field in dataclasses.fields(it) if hasattr(it, field.name)}


def _dataclass_from_plain(kind: type, plain: dict[str, Any]) -> Any:
    # As pickle does: the fields are what they were, and `__init__` and `__post_init__` do not run again.
    if not _is_fields(plain):
        raise Misshapen
    made: Any = object.__new__(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = plain.keys() - known
    if unknown:
        raise DecodeError(
            f"the entry has fields {sorted(unknown)} that {type_name(kind)} has no more: store it under a new version"
        )
    for field in dataclasses.fields(kind):
        if field.name in plain:
            object.__setattr__(made, field.name, plain[field.name])
        elif field.default is not dataclasses.MISSING:
            object.__setattr__(made, field.name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(made, field.name, field.default_factory())
        else:
            raise DecodeError(
                f"the entry lacks the field '{field.name}' of {type_name(kind)}: store it under a new version"
            )
    return made


def _attrs_to_plain(it: Any) -> dict[str, Any]:
    return {field.name: getattr(it, field.name) for field in type(it).__attrs_attrs__ if hasattr(it, field.name)}


def _attrs_from_plain(kind: Any, plain: Any) -> Any:
    # As with dataclasses: the fields are what they were, and no converter or validator runs again.
    from attr import NOTHING, Factory

    if not _is_fields(plain):
        raise Misshapen
    made: Any = object.__new__(kind)
    unknown = plain.keys() - {field.name for field in kind.__attrs_attrs__}
    if unknown:
        raise DecodeError(
            f"the entry has fields {sorted(unknown)} that {type_name(kind)} has no more: store it under a new version"
        )
    for field in kind.__attrs_attrs__:
        if field.name in plain:
            value = plain[field.name]
        elif field.default is NOTHING:
            raise DecodeError(
                f"the entry lacks the field '{field.name}' of {type_name(kind)}: store it under a new version"
            )
        elif isinstance(field.default, Factory):  # type: ignore[arg-type]
            value = field.default.factory(*((made,) if field.default.takes_self else ()))
        else:
            value = field.default
        object.__setattr__(made, field.name, value)
    if "_attrs_cached_hash" in getattr(getattr(kind.__hash__, "__code__", None), "co_names", ()):
        object.__setattr__(made, "_attrs_cached_hash", None)
    return made


def _is_fields(plain: Any) -> bool:
    return type(plain) is dict and all(type(name) is str for name in plain)


def _pydantic_to_plain(it: Any) -> Any:
    """The fields as they are, those of nested models too, each by the rules of its own type."""
    values = {name: it.__dict__[name] for name in type(it).model_fields if name in it.__dict__}
    return values, it.__pydantic_extra__, sorted(it.__pydantic_fields_set__), it.__pydantic_private__


def _pydantic_from_plain(kind: Any, plain: Any) -> Any:
    # As pickle does: nothing is validated again, and no code of the model runs but factories of defaults.
    found, extra, fields_set, private = shaped(plain, dict, (dict, type(None)), list, (dict, type(None)))
    of_names = (found, extra or {}, private or {})
    if not all(map(_is_fields, of_names)) or not all(type(name) is str for name in fields_set):
        raise Misshapen
    unknown = found.keys() - kind.model_fields.keys()
    if unknown:
        raise DecodeError(
            f"the entry has fields {sorted(unknown)} that {type_name(kind)} has no more: store it under a new version"
        )
    values = {}
    for name, field in kind.model_fields.items():
        if name in found:
            values[name] = found[name]
        elif field.is_required():
            raise DecodeError(f"the entry lacks the field '{name}' of {type_name(kind)}: store it under a new version")
        else:
            values[name] = field.get_default(call_default_factory=True)
    if kind.__private_attributes__:
        present = private or {}
        private = {
            name: present[name] if name in present else attribute.get_default()
            for name, attribute in kind.__private_attributes__.items()
            if name in present or private is None
        }
    made = kind.__new__(kind)
    made.__setstate__(
        {
            "__dict__": values,
            "__pydantic_extra__": extra,
            "__pydantic_fields_set__": set(fields_set),
            "__pydantic_private__": private,
        }
    )
    return made
