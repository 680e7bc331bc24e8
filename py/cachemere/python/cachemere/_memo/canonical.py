"""Canonical forms of arguments: a text for each object that says all that it is, and never a guess.

Equal texts mean equal arguments. What a text cannot say (an open connection, a module, an object with hidden state)
has no form. Objects that are equal may have different forms (`Decimal("1.0")` and `Decimal("1.00")`), as a function can
tell them apart: better to compute once too often than to give a wrong answer. Only equal numbers of the built-in types
are one argument, as they are to `functools.lru_cache`, unless types are to be told apart.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import math
import re
import sys
import types
import typing
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any

from .._engine import BoundMemo, MemoBase
from .._forms.forms import OF_LIBRARIES, Forms
from . import code_digest
from .carried import UNSET, carried, inner
from .contents import of_contents
from .names import quoted, shown_function, shown_name, type_name

#: Objects nested deeper than this have no form: they probably contain themselves.
DEPTH = 100

#: Forms longer than this, in characters, are replaced by their digest in keys.
ARGUMENT_LIMIT = 256

_forms = Forms()


class Formless(Exception):
    """An object has no canonical form. Says which, in words."""


def digest(form: str) -> str:
    """What stands for a form that is too long: 32 bytes of SHA-256, which no text has in its stead."""
    return "sha256:" + hashlib.sha256(form.encode("utf-8", "surrogatepass")).hexdigest()


def shortened(form: str) -> str:
    """A form as it stands in a key."""
    return form if len(form) <= ARGUMENT_LIMIT else digest(form)


KeyTypes = Mapping[type, Callable[[Any], Any]]


class How:
    """How forms are made, and which functions' forms are being made: some hold themselves."""

    __slots__ = ("key_types", "typed", "within")

    def __init__(self, typed: bool, key_types: KeyTypes) -> None:
        self.typed = typed
        self.key_types = key_types
        self.within: list[int] = []


Former = Callable[[Any, How, int], str]


def form(it: Any, typed: bool, key_types: KeyTypes = MappingProxyType({})) -> str:
    """The canonical form of an object.

    Args:
        it: The object.
        typed: Whether equal numbers of other types are told apart.
        key_types: From classes to functions that make plain data of their objects.

    Raises:
        Formless: It has none.
    """
    return _form(it, How(typed, key_types), 0)


def _form(it: Any, how: How, depth: int) -> str:
    kind = type(it)
    if kind is str:
        return encode_basestring(it)
    if it is None:
        return "None"
    former = _FORMERS.get(kind)
    if former is not None:
        if depth > DEPTH:
            raise Formless("an object that contains itself, or is nested too deeply")
        return former(it, how, depth + 1)
    if depth > DEPTH:
        raise Formless("an object that contains itself, or is nested too deeply")
    return _form_of_other(it, kind, how, depth + 1)


# --- numbers and bytes ------------------------------------------------------------------------------------------------


def _bool(it: bool, how: How, depth: int) -> str:
    return repr(it) if how.typed else str(int(it))


def _int(it: int, how: How, depth: int) -> str:
    # Python refuses to write very long numbers in decimal.
    return str(it) if it.bit_length() < 1000 else hex(it)


def _float(it: float, how: How, depth: int) -> str:
    if not math.isfinite(it):
        return str(it)
    if it == 0:
        # Of either sign: they are equal.
        return "0.0" if how.typed else "0"
    return repr(it) if how.typed or not it.is_integer() else _int(int(it), how, depth)


# --- containers -------------------------------------------------------------------------------------------------------


def _joined(items: Iterable[Any], how: How, depth: int) -> str:
    return ", ".join([_form(item, how, depth) for item in items])


def _list(it: list[Any], how: How, depth: int) -> str:
    return f"[{_joined(it, how, depth)}]"


def _tuple(it: tuple[Any, ...], how: How, depth: int) -> str:
    return f"({_joined(it, how, depth)},)"


def _dict(it: dict[Any, Any], how: How, depth: int) -> str:
    pairs = sorted((_form(key, how, depth), _form(value, how, depth)) for key, value in it.items())
    return "{" + ", ".join([f"{key}: {value}" for key, value in pairs]) + "}"


def _set(it: Iterable[Any], how: How, depth: int) -> str:
    return "set(" + ", ".join(sorted([_form(item, how, depth) for item in it])) + ")"


def _frozenset(it: Iterable[Any], how: How, depth: int) -> str:
    return "frozen" + _set(it, how, depth)


# --- classes ----------------------------------------------------------------------------------------------------------


def _class(it: type) -> str:
    """A class that can be imported. Another of the same name may do something else."""
    found: Any = sys.modules.get(it.__module__)
    for part in it.__qualname__.split("."):
        found = getattr(found, part, None)
    # Of `None`, say, the class is nowhere else.
    if found is not it and getattr(types, it.__name__, None) is not it:
        raise Formless(f"the class {shown_name(it)}, which cannot be imported by its name")
    return f"<class {type_name(it)}>"


def _generic(it: Any, how: How, depth: int) -> str:
    """An annotation with arguments: `list[int]`, `int | None`, `Literal["a"]`."""
    origin = typing.get_origin(it)
    head = _SPECIAL.get(id(origin)) or _form(origin, how, depth)
    # As it was written: a function can tell `List[int]` from `list[int]`.
    written = "typing." if type(it) is _LIST else ""
    arguments = typing.get_args(it)
    if origin is typing.Annotated:
        arguments = (it.__origin__, *it.__metadata__)
    typed = How(True, how.key_types) if origin is typing.Literal else how
    inside = [_list(part, typed, depth) if type(part) is list else _form(part, typed, depth) for part in arguments]
    return f"<{written}{head}[{', '.join(inside)}]>"


#: What `typing` has under other kinds in other versions of Python.
_SPECIAL = {
    **{id(types.UnionType): "<typing.Union>", id(typing.Union): "<typing.Union>", id(typing.Any): "<typing.Any>"},
    **{id(typing.Literal): "<typing.Literal>", id(typing.Annotated): "<typing.Annotated>"},
}

_LIST: type = type(typing.List[int])  # noqa: UP006

_GENERIC: frozenset[type] = frozenset(
    map(
        type,
        (
            *(list[int], Callable[[int], str], int | None, typing.List[int], typing.Optional[int]),  # noqa: UP006, UP045
            *(typing.Literal[1], typing.Annotated[int, 1], typing.Callable[[int], str], typing.Tuple[int]),  # noqa: UP006
        ),
    )
)


# --- functions --------------------------------------------------------------------------------------------------------


def _function(it: Any, how: How, depth: int) -> str:
    """A function: its name, its code, and what it carries. That of one in C is its name."""
    plain = inner(it)
    while not hasattr(plain, "__code__") and getattr(plain, "__wrapped__", None) is not None:
        plain = plain.__wrapped__
    if id(plain) in how.within:
        return f"<itself {len(how.within) - how.within.index(id(plain))}>"
    how.within.append(id(plain))
    try:
        ignored = it.ignored_names if getattr(type(it), "is_memoized", False) is True else ()
        parts = [f"{name}={_variable(value, how, depth)}" for name, value in carried(it) if name not in ignored]
        for defaults in (getattr(plain, "__defaults__", None), getattr(plain, "__kwdefaults__", None)):
            if defaults:
                parts.append(_form(defaults, how, depth))
    finally:
        how.within.pop()
    of_code = code_digest.of_function(inner(it))
    return f"<function {quoted(shown_function(it))} {of_code}({', '.join(parts)})>"


def _variable(value: Any, how: How, depth: int) -> str:
    if value is UNSET:
        return "unset"
    # To a function, a module that it carries is what one of its own module is: code, not an argument.
    return f"<module {quoted(value.__name__)}>" if isinstance(value, types.ModuleType) else _form(value, how, depth)


def form_of_carried(it: Any, typed: bool, key_types: KeyTypes, function: Any) -> str:
    """The form of what a function carries.

    Raises:
        Formless: It has none.
    """
    how = How(typed, key_types)
    how.within.append(id(inner(function)))
    return _variable(it, how, 0)


# --- everything else --------------------------------------------------------------------------------------------------


def _fields(kind: type, pairs: Iterable[tuple[str, Any]], how: How, depth: int) -> str:
    return f"{type_name(kind)}({', '.join([f'{quoted(name)}={_form(value, how, depth)}' for name, value in pairs])})"


def _form_of_other(it: Any, kind: Any, how: How, depth: int) -> str:
    own = _own_key(it, kind, how)
    if own is not None:
        return f"{type_name(kind)}<{_form(own[0], how, depth)}>"
    if isinstance(it, enum.Enum):
        value = _form(it.value, how, depth) if isinstance(it, enum.Flag) else quoted(it.name)
        return f"{type_name(kind)}.{value}"
    if id(it) in _SPECIAL:
        return _SPECIAL[id(it)]
    if kind in _GENERIC:
        return _generic(it, how, depth)
    if isinstance(it, type):
        return _class(it)
    if dataclasses.is_dataclass(it):
        names = [field.name for field in dataclasses.fields(it) if field.compare]
        return _fields(kind, [(name, getattr(it, name)) for name in names if hasattr(it, name)], how, depth)
    if hasattr(kind, "model_dump") and hasattr(kind, "model_validate"):
        values = sorted((name, it.__dict__[name]) for name in kind.model_fields if name in it.__dict__)
        # As two models that are equal have it.
        more = it.__pydantic_extra__ or None, it.__pydantic_private__ or None
        return _fields(kind, [*values, *([("", more)] if more != (None, None) else [])], how, depth)
    if hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__ if field.eq]
        return _fields(kind, [(name, getattr(it, name)) for name in names], how, depth)
    if kind.__module__.partition(".")[0] == "numpy":
        return _numpy(it, how, depth)
    if isinstance(it, _FUNCTIONS) or getattr(kind, "is_memoized", False) is True:
        return _function(it, how, depth)
    if kind is re.Pattern:
        return f"<pattern {_form(it.pattern, how, depth)}, {it.flags}>"
    if isinstance(it, types.ModuleType):
        raise Formless(f"the module {it.__name__}, which can hold anything; give its name, a str, and import it there")
    packed = of_contents(it)
    if packed is not None:
        return f"<{packed[0]} {_form(packed[1], How(True, how.key_types), depth)}>"
    # What of those libraries is told by its contents was told above.
    packed = None if kind.__module__.partition(".")[0] in OF_LIBRARIES else _forms.pack(it)
    if packed is not None:
        return f"{packed[0]}({_form(packed[1], how, depth)})"
    for base, former in _BASES:
        if isinstance(it, base):
            return f"{type_name(kind)}({_of_subclass(it, kind, base, former, how, depth)})"
    raise Formless(f"a {shown_name(kind)}")


def _own_key(it: Any, kind: Any, how: How) -> tuple[Any] | None:
    """What the program says that an object is, if it does."""
    for base in kind.__mro__ if how.key_types else ():
        if base in how.key_types:
            return (how.key_types[base](it),)
    # Of the class: its objects can answer to any name.
    own = getattr(kind, "__cachemere_key__", None)
    return None if own is None or isinstance(it, type) else (own(it),)


def _of_subclass(it: Any, kind: type, base: type, former: Former | None, how: How, depth: int) -> str:
    """The form of an object of a subclass of a built-in type as one of that type, if that is all it is."""
    own = kind.__mro__[: kind.__mro__.index(base)]
    has_slots = any(vars(part).get("__slots__", ()) for part in own)
    if has_slots or getattr(it, "__dict__", None) or isinstance(it, (defaultdict, OrderedDict)):
        raise Formless(f"a {shown_name(kind)}, which has more to it than a {base.__name__}")
    # Not by `str()`, which the subclass may have changed.
    plain = str.__str__(it) if base is str else base(it)
    return _form(plain, How(True, how.key_types), depth) if former is None else former(plain, how, depth)


def _numpy(it: Any, how: How, depth: int) -> str:
    numpy = sys.modules["numpy"]
    if isinstance(it, numpy.dtype) and it.names is None:
        return f"numpy.dtype({it.str})"
    if not isinstance(it, (numpy.ndarray, numpy.generic)) or it.dtype.hasobject or it.dtype.names is not None:
        raise Formless(f"a {shown_name(type(it))} of Python objects or fields")
    if type(it) is not numpy.ndarray and not isinstance(it, numpy.generic):
        raise Formless(f"a {shown_name(type(it))}")
    whole = (
        it.data
        if isinstance(it, numpy.ndarray) and it.flags.c_contiguous and it.dtype.kind in "biufc"
        else it.tobytes()
    )
    of_bytes = hashlib.sha256(whole).hexdigest()
    return f"numpy.{'array' if type(it) is numpy.ndarray else 'scalar'}({it.dtype.str}, {it.shape}, {of_bytes})"


_FUNCTIONS: tuple[type, ...] = (
    *(types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType, functools.partial),
    *(types.MethodDescriptorType, types.WrapperDescriptorType, type(functools.lru_cache(len)), MemoBase, BoundMemo),
)

_FORMERS: dict[type, Former] = {
    bool: _bool,
    int: _int,
    float: _float,
    bytes: lambda it, how, depth: repr(it),
    bytearray: lambda it, how, depth: f"bytearray({bytes(it)!r})",
    complex: lambda it, how, depth: f"complex({it.real!r}, {it.imag!r})",
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
}

_BASES: tuple[tuple[type, Former | None], ...] = (
    (str, None),
    (bytes, None),
    (int, _int),
    (float, _float),
    (list, _list),
    (tuple, _tuple),
    (dict, _dict),
    (set, _set),
    (frozenset, _frozenset),
)
