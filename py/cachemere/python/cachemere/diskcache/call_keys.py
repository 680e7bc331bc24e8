"""From the arguments of a call to the key of its result, in the order and with the options that diskcache has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .._memo.canonical import Formless, form, shortened
from .._memo.names import function_name, type_name
from ..errors import KeyFormError

#: Begins what stands for an argument that is not text, bytes or a number. No argument of such a form stays as it is.
_FORM = "\0form"

_NONE = (_FORM, "None")

_AS_THEY_ARE = frozenset({str, bytes, int, float, bool, type(None)})


def full_name(function: Any) -> str:
    """Module and qualified name of a function. One of the program itself has a digest of its code, so that
    programs differ."""
    return function_name(function)


def args_to_key(
    base: tuple[Any, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any], typed: bool, ignore: Collection[Any]
) -> tuple[Any, ...]:
    """The key of a call: `base`, the arguments by place, `None`, and names with the arguments by name, sorted.

    An argument that is not text, bytes or a number stands in it by its canonical form, so that lists, dicts and
    dataclasses can be arguments, in whatever order their items came.

    Raises:
        KeyFormError: An argument has no canonical form.
    """
    places = [(place, value) for place, value in enumerate(args) if place not in ignore]
    names = [(name, value) for name, value in sorted(kwargs.items()) if name not in ignore]
    # An argument that is `None` could be taken for the one that stands between: f(None, "a") for f(a=None).
    key = [*base, *(_NONE if value is None else _part(base, place, value, typed) for place, value in places), None]
    for name, value in names:
        key += (name, _part(base, name, value, typed))
    if typed:
        key += (type_name(type(value)) for _, value in (*places, *names))
    return tuple(key)


def _part(base: tuple[Any, ...], where: int | str, value: Any, typed: bool) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    try:
        return _FORM, shortened(form(value, typed))
    except Formless as formless:
        raise KeyFormError(
            f"the argument {where!r} of {base[0]} has no canonical form: it holds {formless}. If the result does not "
            f"depend on it, memoize with ignore=({where!r},)"
        ) from None
