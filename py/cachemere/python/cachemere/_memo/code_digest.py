"""A digest of a function's code: the same in all processes and on all versions of Python, as long as it does the same.

It is made of the syntax tree, without where it stands and what it is called. Where there is no source (what is typed
into some terminals, modules that come compiled alone) it is made of the bytecode, and says so: that is another one
on another version of Python.

Classes of a program without a file, which is `__main__` like every other one, are told apart by the code of their
methods and their constants.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import weakref
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from . import source, syntax

#: Of hexadecimal digits: 128 bits.
_LENGTH = 32

#: Begins the digest of what has no source.
_COMPILED = "compiled:"


class Code(NamedTuple):
    """What is known of a function's code."""

    digest: str
    #: How it uses the variables of enclosing functions; `None`: it is not known.
    uses: syntax.Uses | None


# By identity: codes that are equal can have other sources, `1 + 2` and `3`.
_of_codes: dict[int, tuple[weakref.ref[CodeType], Code]] = {}

# Not by each object's own: a dataclass can be an argument some thousand times.
_of_classes: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


def of_code(code: CodeType, names: dict[str, Any]) -> Code:
    """What is known of a code, whose globals are these. Some 50 µs for a small function, once."""
    known = _of_codes.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    made = _read(code, names)
    # Threads that come here at once find the same.
    _of_codes[id(code)] = weakref.ref(code), made
    if len(_of_codes) % 256 == 0:
        _forget_the_dead()
    return made


def _forget_the_dead() -> None:
    for name, (code, _) in list(_of_codes.items()):
        if code() is None:
            _of_codes.pop(name, None)


def _read(code: CodeType, names: dict[str, Any]) -> Code:
    tree = source.find(code, names)
    if tree is None:
        return Code(_COMPILED + _digest(_code(code)), None)
    uses = syntax.uses(tree, code.co_freevars) if code.co_freevars else None
    return Code(_digest(syntax.dump(tree)), uses)


def of_function(function: Any) -> str:
    """The digest of a function's code, and of that of the functions it wraps. Of one without code, nothing."""
    digests: list[str] = []
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            digests.append(of_code(code, getattr(function, "__globals__", {})).digest)
        function = getattr(function, "__wrapped__", None)
    return digests[0] if len(digests) == 1 else _digest(_joined(digests)) if digests else ""


def of_class(kind: type) -> str:
    """The digest of a class: the code of its methods, its constants, and its bases. Some 50 µs, once for each."""
    known = _of_classes.get(kind)
    if known is None:
        # Threads that come here at once find the same.
        known = _of_classes[kind] = _digest(_class(kind))
    return known


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def _class(kind: type) -> str:
    parts = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    for base in kind.__mro__:
        # What has a file, or comes with Python, is told by its name.
        if base.__module__ == kind.__module__:
            parts.extend(f"{name} {_member(name, it)}" for name, it in sorted(vars(base).items()))
    if dataclasses.is_dataclass(kind):
        parts.extend(field.name for field in dataclasses.fields(kind))
    if issubclass(kind, enum.Enum):
        parts.extend(f"{name} {_constant(it.value)}" for name, it in kind.__members__.items())
    return _joined(parts)


def _member(name: str, it: Any) -> str:
    if isinstance(it, (staticmethod, classmethod)):
        return of_function(it.__func__)
    if isinstance(it, property):
        return _joined(of_function(part) for part in (it.fget, it.fset, it.fdel) if part is not None)
    if isinstance(it, functools.cached_property):
        return of_function(it.func)
    # Not by `hasattr`: objects that libraries of models leave in a class may do something at a look.
    if isinstance(it, FunctionType) or "__wrapped__" in getattr(it, "__dict__", {}):
        return "" if _is_generated(it) else of_function(it)
    # Python, and those libraries, note under names like these what changes while the program runs.
    return "" if name.startswith("_") else _constant(it)


def _is_generated(function: Any) -> bool:
    """Whether it is a method that a library has written, from the fields that are told by themselves."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_filename != "<string>":
        return False
    return function.__name__.startswith("__") and source.find(code, {}) is None


def _code(code: CodeType) -> str:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    # Which handler is for which part of the code; Python 3.10 has that in the code itself.
    handlers = getattr(code, "co_exceptiontable", b"")
    return _joined([code.co_name, repr((counts, names)), code.co_code.hex(), handlers.hex(), _constant(code.co_consts)])


def _constant(it: Any) -> str:
    kind = type(it)
    if kind is CodeType:
        return "code" + _code(it)
    if kind is tuple:
        return "tuple" + _joined(map(_constant, it))
    if kind is frozenset:
        # In an order of its own, since a set has another one in each process.
        return "frozenset" + _joined(sorted(map(_constant, it)))
    if kind is int:
        # Python refuses to write very long numbers in decimal.
        return "int" + hex(it)
    if kind is slice:
        return "slice" + _joined(map(_constant, (it.start, it.stop, it.step)))
    # Of anything else a text could have an address in it.
    return f"{kind.__name__} {it!r}" if kind in _PLAIN else kind.__name__


_PLAIN: frozenset[Any] = frozenset({str, bytes, bool, float, complex, type(None), type(...)})


def _joined(parts: Iterable[str]) -> str:
    """Parts with their lengths, so that no others look the same."""
    return "(" + "".join(f"{len(part)}:{part}" for part in parts) + ")"
