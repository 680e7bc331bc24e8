"""From the options of a memoized function to what makes it of the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from .._core import checks
from .._core.guarded import GuardedStore
from .._core.options import check_tags
from .._core.quantities import Seconds
from .._engine import BoundMemo
from ..errors import InvalidOptionError
from .batches import Batch, MemoBatch, MemoBatchCoroutine
from .call_key import ITEM, PLAIN, STREAM, CallKeys
from .carried import inner
from .lifetimes import Lifetime, TimeToLive
from .memoized import MemoAsyncGenerator, MemoCoroutine, MemoFunction, MemoGenerator, Memoized
from .results import Results

#: What to do with results of other code than the function has now.
OnChange = Literal["recompute", "warn", "ignore"]

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """Makes a memoized function of a function."""

    def __call__(self, function: Callable[P, R], /) -> Memoized[P, R]: ...


def decorator(
    *,
    ttl: TimeToLive,
    stale_while_revalidate: Seconds | None,
    name: str | None,
    version: str | int | None,
    on_change: OnChange | None,
    depends_on: Iterable[Any],
    ignore: Iterable[str],
    key: Callable[..., Any] | None,
    key_types: Mapping[type, Callable[[Any], Any]] | None,
    cache_if: Callable[[Any], bool] | None,
    typed: bool,
    tags: Iterable[str],
    stream_patience: float | None,
    strict: bool,
    retry_waiters: bool,
    batch: str | None,
    batch_size: int | None,
    stack: bool,
    register_return: bool,
    find_store: Callable[[], GuardedStore],
    way: str,
) -> Any:
    """See :func:`cachemere.memoize`. `find_store` is called at the first call; `way` is how a class is registered."""
    lifetime, made_tags = Lifetime.given(ttl, stale_while_revalidate), check_tags(tags)
    ignored = checks.items("memoize: ignore", ignore, "str, ('client',) for example")
    if not all(isinstance(parameter, str) for parameter in ignored):
        raise InvalidOptionError(f"memoize: ignore takes names of parameters, not {checks.shown(ignore)}")
    if name is not None and not (isinstance(name, str) and name):
        raise InvalidOptionError(f"memoize: name must be a str that is not empty, not {checks.shown(name)}")
    if version is not None and not isinstance(version, (str, int)):
        raise InvalidOptionError(f"memoize: version must be a str or int, not {checks.shown(version)}")
    checks.function("memoize: key", key)
    if on_change is not None:
        checks.choice("memoize: on_change", on_change, ("recompute", "warn", "ignore"))
    needed = checks.items("memoize: depends_on", depends_on, "functions, classes or plain data")
    makers = dict(key_types or {})
    for kind, maker in makers.items():
        if not isinstance(kind, type) or not callable(maker):
            raise InvalidOptionError(
                f"memoize: key_types takes functions by classes, {{Client: lambda it: it.url}} for example, not "
                f"{checks.shown(kind)}: {checks.shown(maker)}"
            )
    checks.function("memoize: cache_if", cache_if)
    checks.flag("memoize: typed", typed)
    checks.flag("memoize: strict", strict)
    checks.flag("memoize: retry_waiters", retry_waiters)
    if batch is not None and not (isinstance(batch, str) and batch):
        raise InvalidOptionError(
            f"memoize: batch must name a parameter, 'texts' for example, not {checks.shown(batch)}"
        )
    if batch_size is not None:
        checks.count("memoize: batch_size", batch_size)
    checks.flag("memoize: stack", stack)
    if batch is None and (batch_size is not None or stack):
        raise InvalidOptionError(
            "memoize: batch_size= and stack= are for functions with batch=, the parameter of a list"
        )
    checks.flag("memoize: register_return", register_return)
    patience = checks.seconds("memoize: stream_patience", stream_patience)

    def decorate(function: Any) -> Any:
        if isinstance(function, staticmethod):
            return staticmethod(decorate(function.__func__))
        if isinstance(function, classmethod):
            return _MemoClassMethod(decorate(function.__func__))
        kind = _kind(function)
        if lifetime.stale is not None and (batch is not None or kind not in (MemoFunction, MemoCoroutine)):
            raise InvalidOptionError("memoize: stale_while_revalidate= is not for streams, and not for batch=")
        of_batch = None if batch is None else Batch(function, batch, batch_size, stack)
        if of_batch is not None:
            if kind not in (MemoFunction, MemoCoroutine):
                raise InvalidOptionError(f"memoize: batch= is for functions that return a list, not for {function!r}")
            if batch in ignored:
                raise InvalidOptionError(
                    f"memoize: the items of the batch are told apart by {batch!r}: do not ignore it"
                )
        keys = CallKeys(
            function,
            kind=ITEM if batch is not None else STREAM if kind in (MemoGenerator, MemoAsyncGenerator) else PLAIN,
            name=name,
            version="" if version is None else str(version),
            on_change=on_change,
            depends_on=needed,
            ignore=ignored,
            key=key,
            key_types=makers,
            typed=typed,
        )

        results = Results(
            keys,
            find_store,
            lifetime=lifetime,
            tags=made_tags,
            cache_if=cache_if,
            stream_patience=patience,
            strict=strict,
            retry_waiters=retry_waiters,
            register_return=register_return,
            way=way,
        )
        if of_batch is not None:
            return (MemoBatchCoroutine if kind is MemoCoroutine else MemoBatch)(results, function, of_batch)
        return kind(results, function)

    return decorate


def _kind(function: Any) -> Any:
    if not callable(function):
        raise InvalidOptionError(f"memoize takes a function, not {function!r}; options are given by name")
    if isinstance(function, type):
        raise InvalidOptionError(f"memoize takes a function, not the class {function.__qualname__}")
    if isinstance(inner(function), BoundMemo) or not isinstance(getattr(inner(function), "__qualname__", None), str):
        raise InvalidOptionError(
            f"memoize cannot tell {function!r} from others of its kind: memoize the function where it is defined"
        )
    if inspect.iscoroutinefunction(function):
        return MemoCoroutine
    if inspect.isasyncgenfunction(function):
        return MemoAsyncGenerator
    return MemoGenerator if inspect.isgeneratorfunction(function) else MemoFunction


class _MemoClassMethod(classmethod):  # type: ignore[type-arg]
    """A class method whose `C.f.refresh(x)` takes the class, in all versions of Python."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        function: Any = self.__func__
        return function.__get__(type(instance) if owner is None else owner)
