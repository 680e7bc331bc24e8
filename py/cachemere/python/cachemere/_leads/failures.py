"""Failures of functions, which those share who wait for the same result.

All of them asked for one thing, and it has failed once. To call the function for each of them would only take their
time, and the money of whoever pays. The next call tries again.
"""

from __future__ import annotations

from types import MemberDescriptorType, TracebackType
from typing import Any

from .._core.signals import is_of_handler

#: Of a class that Python itself has, and not a program.
_HEAP_TYPE = 1 << 9

_EMPTY: Any = object()


class Failure:
    """What a function raised, for those who waited for its result."""

    __slots__ = ("_error", "_traceback")

    def __init__(self, error: Exception) -> None:
        self._error = error
        #: As it is now. That of the error grows while it goes on to whoever called the function.
        self._traceback: TracebackType | None = error.__traceback__

    def again(self) -> Exception:
        """An exception to raise: for each who waited one of their own, since threads that raise one together mix up its
        traceback and its context. It is of the same class, with the same attributes, cause and traceback."""
        error = self._error
        try:
            made = _copy(error)
        except Exception as trouble:
            if is_of_handler(trouble):
                raise
            # Made in a way of its own, so it is shared. At least its traceback does not grow with each of them.
            made = error
        return made.with_traceback(self._traceback)


def is_of_function(error: BaseException) -> bool:
    """Whether it is the function that has failed.

    What ends a program, thread or task is not of the function, nor what a handler of a signal raises; and how deep the
    stack is depends on who called it.
    """
    return isinstance(error, Exception) and not isinstance(error, RecursionError) and not is_of_handler(error)


def _copy(error: Exception) -> Exception:
    """A copy, without calling what the class has as `__init__`, which can take other things than `args`."""
    kind = type(error)
    made: Any = _builtin(kind).__new__(kind, *error.args)
    made.args = error.args
    made.__dict__.update(error.__dict__)
    for base in kind.__mro__:
        for member in vars(base).values():
            if isinstance(member, MemberDescriptorType):
                _copy_member(member, error, made)
    made.__cause__ = error.__cause__
    made.__context__ = error.__context__
    made.__suppress_context__ = error.__suppress_context__
    copied: Exception = made
    return copied


def _copy_member(member: MemberDescriptorType, error: Exception, made: Exception) -> None:
    """A slot, or what Python's own exceptions have in their place: the number of an `OSError`."""
    value = _held(member, error)
    # Some of those that Python's own have can be read only, and are what they were made with.
    if value is not _held(member, made):
        member.__set__(made, value)


def _held(member: MemberDescriptorType, error: Exception) -> Any:
    try:
        return member.__get__(error)
    except AttributeError:
        return _EMPTY


def _builtin(kind: type[Exception]) -> type[Exception]:
    """The nearest class above that is Python's own, which knows how to make an object of it."""
    return next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)
