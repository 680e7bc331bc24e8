"""Functions whose results are kept in a file of SQLite."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeVar

from .._core import checks
from ..errors import InvalidOptionError, KeyFormError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_logger = logging.getLogger(__name__)


def cached_function(
    function: F,
    results: MutableMapping[bytes, Any],
    cache_args: Sequence[str] | None,
    cache_key: Callable[..., bytes] | None,
) -> F:
    """The function, with its results kept in a mapping."""
    make_key = cache_key if cache_key is not None else _key_of_arguments(function, cache_args)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        key = make_key(*args, **options)
        # One look, since the entry can be gone at the next.
        found = results.get(key, _MISSING)
        if found is not _MISSING:
            return found
        made = function(*args, **options)
        results[key] = made
        return made

    return call  # type: ignore[return-value]


def timed(what: str, work: Callable[[Any], T]) -> Callable[[Any], T]:
    """A function that tells the log how long it took."""

    def call(it: Any) -> T:
        start = time.perf_counter()
        made = work(it)
        _logger.info("%s took %.6f s", what, time.perf_counter() - start)
        return made

    return call


def _key_of_arguments(function: Callable[..., Any], names: Sequence[str] | None) -> Callable[..., bytes]:
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InvalidOptionError(f"cache_fn: '{parameter}' takes any number of arguments: give cache_key")
    wanted = tuple(signature.parameters) if names is None else tuple(names)
    for name in wanted:
        if name not in signature.parameters:
            raise InvalidOptionError(f"cache_args: the function has no argument {checks.shown(name)}")

    def make(*args: Any, **options: Any) -> bytes:
        given = signature.bind(*args, **options)
        given.apply_defaults()
        values = {name: given.arguments[name] for name in wanted}
        for name, value in values.items():
            if value is not None and type(value) not in (str, int, bool):
                kind = type(value).__name__
                raise KeyFormError(f"the argument '{name}' is a '{kind}', not a str, int, bool or None: give cache_key")
        return json.dumps(values, sort_keys=True).encode()

    return make


_MISSING: Any = object()
