"""What tells the functions and classes of programs without a file apart: their code.

A program given to `python -c`, read from a terminal, or in a notebook is `__main__` like every other one. A digest of
the code has nothing of where it stands (line numbers, the name of a notebook's cell) or of the process, so that the
same code is the same function again when it is run again. It is that of one version of Python: another compiles
otherwise, and so computes once more.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import weakref
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

#: Of hexadecimal digits: 128 bits.
_LENGTH = 32

# Not by each object's own: a dataclass can be an argument some thousand times.
_of_classes: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


def of_function(function: Any) -> str:
    """The digest of a function's code, and of that of the functions it wraps."""
    return _digest(_function(function))


def of_class(kind: type) -> str:
    """The digest of a class: the code of its methods, its constants, and its bases. Some 50 µs, once for each."""
    known = _of_classes.get(kind)
    if known is None:
        # Threads that come here at once find the same.
        known = _of_classes[kind] = _digest(_class(kind))
    return known


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def _function(function: Any) -> str:
    parts: list[str] = []
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        code = getattr(function, "__code__", None)
        # Of one without code, what it is has to do.
        parts.append(_code(code) if isinstance(code, CodeType) else type(function).__qualname__)
        function = getattr(function, "__wrapped__", None)
    return _joined(parts)


def _class(kind: type) -> str:
    parts = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    for base in kind.__mro__:
        # What has a file, or comes with Python, is told by its name.
        if base.__module__ == kind.__module__:
            parts.extend(f"{name} {_member(name, it)}" for name, it in sorted(vars(base).items()))
    if issubclass(kind, enum.Enum):
        parts.extend(f"{name} {_constant(it.value)}" for name, it in kind.__members__.items())
    return _joined(parts)


def _member(name: str, it: Any) -> str:
    if isinstance(it, (staticmethod, classmethod)):
        return _function(it.__func__)
    if isinstance(it, property):
        return _joined(_function(part) for part in (it.fget, it.fset, it.fdel) if part is not None)
    if isinstance(it, functools.cached_property):
        return _function(it.func)
    # Not by `hasattr`: objects that libraries of models leave in a class may do something at a look.
    if isinstance(it, FunctionType) or "__wrapped__" in getattr(it, "__dict__", {}):
        return _function(it)
    # Python, and those libraries, note under names like these what changes while the program runs.
    return "" if name.startswith("_") else _constant(it)


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
