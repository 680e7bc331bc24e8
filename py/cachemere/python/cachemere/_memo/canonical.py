"""Canonical forms of arguments: a text for each object that says all that it is, and never a guess.

Equal texts mean equal arguments. What a text cannot say (an open connection, a function, an object with hidden state)
has no form. Objects that are equal may have different forms (`Decimal("1.0")` and `Decimal("1.00")`), as a function can
tell them apart: better to compute once too often than to give a wrong answer. Only equal numbers of the built-in types
are one argument, as they are to `functools.lru_cache`, unless types are to be told apart.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import os
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from typing import Any

from .._forms.forms import Forms
from . import code_digest

#: Objects nested deeper than this have no form: they probably contain themselves.
DEPTH = 100

_forms = Forms()

Former = Callable[[Any, bool, int], str]


class Formless(Exception):
    """An object has no canonical form. Says which, in words."""


def digest(form: str) -> str:
    """What stands for a form that is too long: 32 bytes of SHA-256, which no text has in its stead."""
    return "sha256:" + hashlib.sha256(form.encode("utf-8", "surrogatepass")).hexdigest()


def module_name(module: str) -> str:
    """A module's name; for the program itself, which each process calls something else, its file or true name."""
    if module not in ("__main__", "__mp_main__"):
        return module
    found = sys.modules.get(module)
    spec = getattr(found, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(found, "__file__", None)
    # Of a program that comes through a pipe, Python calls the file "<stdin>".
    return _NAMELESS if file is None or file.startswith("<") else os.path.abspath(file)


#: A program that has neither a file nor a name: of `python -c`, a terminal or a notebook.
_NAMELESS = "__main__"


def function_name(function: Any) -> str:
    """Module and qualified name of a function.

    Functions of the program itself go by its file, so that two programs differ; those of one without a file by their
    code too.
    """
    return _told_apart(function, code_digest.of_function)


def type_name(kind: type) -> str:
    """Module and qualified name of a class, by the same rules."""
    return _told_apart(kind, code_digest.of_class)


def _told_apart(it: Any, digest_of: Callable[[Any], str]) -> str:
    name = shown_name(it)
    return f"{name}#{digest_of(it)}" if name == f"{_NAMELESS}.{it.__qualname__}" else name


def shown_name(it: Any) -> str:
    """The name of a function or class in messages, without a digest."""
    return f"{module_name(it.__module__ or 'builtins')}.{it.__qualname__}"


def form(it: Any, typed: bool, depth: int = 0) -> str:
    """The canonical form of an object.

    Raises:
        Formless: It has none.
    """
    kind = type(it)
    if kind is str:
        return encode_basestring(it)
    if it is None:
        return "None"
    former = _FORMERS.get(kind)
    if former is not None:
        if depth > DEPTH:
            raise Formless("an object that contains itself, or is nested too deeply")
        return former(it, typed, depth + 1)
    if depth > DEPTH:
        raise Formless("an object that contains itself, or is nested too deeply")
    return _form_of_other(it, kind, typed, depth + 1)


# --- numbers and bytes ------------------------------------------------------------------------------------------------


def _bool(it: bool, typed: bool, depth: int) -> str:
    return repr(it) if typed else str(int(it))


def _int(it: int, typed: bool, depth: int) -> str:
    # Python refuses to write very long numbers in decimal.
    return str(it) if it.bit_length() < 1000 else hex(it)


def _float(it: float, typed: bool, depth: int) -> str:
    if not math.isfinite(it):
        return str(it)
    if it == 0:
        # Of either sign: they are equal.
        return "0.0" if typed else "0"
    return repr(it) if typed or not it.is_integer() else _int(int(it), typed, depth)


# --- containers -------------------------------------------------------------------------------------------------------


def _joined(items: Iterable[Any], typed: bool, depth: int) -> str:
    return ", ".join([form(item, typed, depth) for item in items])


def _list(it: list[Any], typed: bool, depth: int) -> str:
    return f"[{_joined(it, typed, depth)}]"


def _tuple(it: tuple[Any, ...], typed: bool, depth: int) -> str:
    return f"({_joined(it, typed, depth)},)"


def _dict(it: dict[Any, Any], typed: bool, depth: int) -> str:
    pairs = sorted((form(key, typed, depth), form(value, typed, depth)) for key, value in it.items())
    return "{" + ", ".join([f"{key}: {value}" for key, value in pairs]) + "}"


def _set(it: Iterable[Any], typed: bool, depth: int) -> str:
    return "set(" + ", ".join(sorted([form(item, typed, depth) for item in it])) + ")"


def _frozenset(it: Iterable[Any], typed: bool, depth: int) -> str:
    return "frozen" + _set(it, typed, depth)


# --- classes ----------------------------------------------------------------------------------------------------------


def _class(it: type) -> str:
    """A class that can be imported. Another of the same name may do something else."""
    found: Any = sys.modules.get(it.__module__)
    for part in it.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not it:
        raise Formless(f"the class {shown_name(it)}, which cannot be imported by its name")
    return f"<class {type_name(it)}>"


def _generic(it: types.GenericAlias, typed: bool, depth: int) -> str:
    return f"{form(it.__origin__, typed, depth)}[{_joined(it.__args__, typed, depth)}]"


# --- everything else --------------------------------------------------------------------------------------------------


def _fields(kind: type, pairs: Iterable[tuple[str, Any]], typed: bool, depth: int) -> str:
    return f"{type_name(kind)}({', '.join([f'{name}={form(value, typed, depth)}' for name, value in pairs])})"


def _form_of_other(it: Any, kind: Any, typed: bool, depth: int) -> str:
    if isinstance(it, enum.Enum):
        value = form(it.value, typed, depth) if isinstance(it, enum.Flag) else it.name
        return f"{type_name(kind)}.{value}"
    if isinstance(it, type):
        return _class(it)
    if dataclasses.is_dataclass(it):
        names = [field.name for field in dataclasses.fields(it) if field.compare]
        return _fields(kind, [(name, getattr(it, name)) for name in names if hasattr(it, name)], typed, depth)
    if hasattr(kind, "model_dump") and hasattr(kind, "model_validate"):
        values = {name: it.__dict__[name] for name in kind.model_fields if name in it.__dict__}
        return _fields(kind, sorted({**values, **(it.__pydantic_extra__ or {})}.items()), typed, depth)
    if hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__ if field.eq]
        return _fields(kind, [(name, getattr(it, name)) for name in names], typed, depth)
    if kind.__module__.partition(".")[0] == "numpy":
        return _numpy(it, typed, depth)
    packed = _forms.pack(it)
    if packed is not None:
        return f"{packed[0]}({form(packed[1], typed, depth)})"
    for base, former in _BASES:
        if isinstance(it, base):
            return f"{type_name(kind)}({_of_subclass(it, kind, base, former, typed, depth)})"
    raise Formless(f"a {shown_name(kind)}")


def _of_subclass(it: Any, kind: type, base: type, former: Former | None, typed: bool, depth: int) -> str:
    """The form of an object of a subclass of a built-in type as one of that type, if that is all it is."""
    own = kind.__mro__[: kind.__mro__.index(base)]
    has_slots = any(vars(part).get("__slots__", ()) for part in own)
    if has_slots or getattr(it, "__dict__", None) or isinstance(it, (defaultdict, OrderedDict)):
        raise Formless(f"a {shown_name(kind)}, which has more to it than a {base.__name__}")
    # Not by `str()`, which the subclass may have changed.
    plain = str.__str__(it) if base is str else base(it)
    return form(plain, True, depth) if former is None else former(plain, typed, depth)


def _numpy(it: Any, typed: bool, depth: int) -> str:
    numpy = sys.modules["numpy"]
    if isinstance(it, numpy.dtype) and it.names is None:
        return f"numpy.dtype({it.str})"
    if not isinstance(it, (numpy.ndarray, numpy.generic)) or it.dtype.hasobject or it.dtype.names is not None:
        raise Formless(f"a {shown_name(type(it))} of Python objects or fields")
    if type(it) is not numpy.ndarray and not isinstance(it, numpy.generic):
        raise Formless(f"a {shown_name(type(it))}")
    of_bytes = hashlib.sha256(it.tobytes()).hexdigest()
    return f"numpy.{'array' if type(it) is numpy.ndarray else 'scalar'}({it.dtype.str}, {it.shape}, {of_bytes})"


_FORMERS: dict[type, Former] = {
    bool: _bool,
    int: _int,
    float: _float,
    bytes: lambda it, typed, depth: repr(it),
    bytearray: lambda it, typed, depth: f"bytearray({bytes(it)!r})",
    complex: lambda it, typed, depth: f"complex({it.real!r}, {it.imag!r})",
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    types.GenericAlias: _generic,
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
