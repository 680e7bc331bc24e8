"""What a function carries with it: variables of enclosing functions, the object of a method, arguments of a partial."""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, MethodWrapperType, ModuleType
from typing import Any

from . import code_digest

#: What a function can tell something without getting anything for it: no method of these changes its arguments.
_LISTENERS: tuple[Any, ...] = (
    *(list, set, dict, bytearray, deque, Counter, OrderedDict, defaultdict),
    *(logging.Logger, logging.LoggerAdapter, queue.Queue, queue.SimpleQueue, asyncio.Queue),
    *(type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Condition, threading.Semaphore),
    *(threading.Barrier, asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore),
)

Carried = tuple[str, Any]


#: What the arguments of a partial go by.
PARTIAL = "partial"


class _Unset:
    """What stands for a variable that has no value yet."""


UNSET = _Unset()


def inner(function: Any) -> Any:
    """The function of a bound method or partial."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        else:
            return function


def is_method_of_builtin(function: Any) -> bool:
    """Whether it is a method in C that is bound to an object."""
    if isinstance(function, BuiltinFunctionType):
        return not isinstance(function.__self__, (ModuleType, type(None)))
    return isinstance(function, MethodWrapperType)


def carried(function: Any) -> Iterator[Carried]:
    """Names and values. Of variables only those that the function takes something from."""
    while isinstance(function, (functools.partial, MethodType)):
        if isinstance(function, functools.partial):
            yield PARTIAL, (function.args, function.keywords)
            function = function.func
        else:
            yield "self", function.__self__
            function = function.__func__
    if is_method_of_builtin(function):
        yield "self", function.__self__
    elif isinstance(function, FunctionType):
        for name, cell in cells(function):
            value = content(cell)
            if not _is_told(function, name, value):
                yield name, value
    elif not isinstance(function, type) and getattr(function, "__wrapped__", None) is not None:
        yield from carried(function.__wrapped__)


def carried_names(function: Any) -> frozenset[str]:
    """The names of all that a function can carry."""
    plain = inner(function)
    names = set(plain.__code__.co_freevars) if isinstance(plain, FunctionType) else set()
    if isinstance(function, functools.partial):
        names.add(PARTIAL)
        function = function.func
    if isinstance(function, MethodType) or is_method_of_builtin(plain):
        names.add("self")
    return frozenset(names)


def cells(function: FunctionType) -> Iterator[tuple[str, CellType]]:
    """The variables of enclosing functions that a function reads or tells something."""
    if not function.__closure__:
        return
    uses = code_digest.of_code(function.__code__, function.__globals__).uses
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        # The class that a method was written in is told by the method's name.
        if name != "__class__" and (uses is None or name in uses.read or name in uses.told):
            yield name, cell


def content(cell: CellType) -> Any:
    """What a variable holds."""
    try:
        return cell.cell_contents
    except ValueError:
        return UNSET


def _is_told(function: FunctionType, name: str, value: Any) -> bool:
    uses = code_digest.of_code(function.__code__, function.__globals__).uses
    return uses is not None and name in uses.told and isinstance(value, _LISTENERS)
