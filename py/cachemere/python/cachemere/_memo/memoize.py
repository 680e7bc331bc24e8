"""The decorator."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from .._cache.cache_argument import check_cache
from .._core import checks
from .._core.guarded import GuardedStore, default_path
from .._core.options import Options, resolve
from .._core.quantities import Seconds
from .._forms.forms import Forms
from .._leads.stream_leads import PATIENCE
from ..cache import Cache
from ..errors import InvalidOptionError, StoreIOError
from .decorator import Decorator, OnChange, decorator
from .lifetimes import TimeToLive
from .memoized import Memoized

P = ParamSpec("P")
R = TypeVar("R")


@overload
def memoize(function: Callable[P, R], /) -> Memoized[P, R]: ...
@overload
def memoize(
    *,
    ttl: TimeToLive = None,
    stale_while_revalidate: Seconds | None = None,
    name: str | None = None,
    version: str | int | None = None,
    on_change: OnChange | None = None,
    depends_on: Iterable[Any] = (),
    ignore: Iterable[str] = (),
    key: Callable[..., Any] | None = None,
    key_types: Mapping[type, Callable[[Any], Any]] | None = None,
    cache_if: Callable[[Any], bool] | None = None,
    typed: bool = False,
    tags: Iterable[str] = (),
    cache: Cache | str | os.PathLike[str] | None = None,
    types: Iterable[type] = (),
    on_error: str | None = None,
    stream_patience: float | None = PATIENCE,
    strict: bool = False,
    retry_waiters: bool = False,
    batch: str | None = None,
    batch_size: int | None = None,
    stack: bool = False,
    register_return: bool = True,
) -> Decorator: ...
def memoize(
    function: Callable[..., Any] | None = None,
    /,
    *,
    ttl: TimeToLive = None,
    stale_while_revalidate: Seconds | None = None,
    name: str | None = None,
    version: str | int | None = None,
    on_change: OnChange | None = None,
    depends_on: Iterable[Any] = (),
    ignore: Iterable[str] = (),
    key: Callable[..., Any] | None = None,
    key_types: Mapping[type, Callable[[Any], Any]] | None = None,
    cache_if: Callable[[Any], bool] | None = None,
    typed: bool = False,
    tags: Iterable[str] = (),
    cache: Cache | str | os.PathLike[str] | None = None,
    types: Iterable[type] = (),
    on_error: str | None = None,
    stream_patience: float | None = PATIENCE,
    strict: bool = False,
    retry_waiters: bool = False,
    batch: str | None = None,
    batch_size: int | None = None,
    stack: bool = False,
    register_return: bool = True,
) -> Any:
    """Keeps the results of a function, for all threads and processes that share the cache, and from run to run.

    For functions, methods, coroutines, generators and asynchronous generators. Used as `@memoize`, `@memoize(...)` or
    `@cache.memoize(...)`; see :class:`Memoized` for what the decorated function can do.

    A result is found by the function's module and qualified name, the digest of its code, what it carries with it
    (variables of an enclosing function, the object of a bound method), and the bound arguments with defaults applied.
    A function that was changed gets no old results; they are found again if the edit is undone. Positions, comments,
    annotations and the docstring do not count, nor does where the file lies. Not in the key: globals, and the
    functions that it calls; see `depends_on`. docs/KEYS.md has all of it.

    Each argument, and what is carried, must have a canonical form: plain data, nested, and the usual types of the
    standard library, dataclasses (the fields that count for equality), enums, pydantic and attrs models, named tuples,
    functions, classes that can be imported, arrays, frames, tensors and images. Anything else is an error that names
    it. `self` and `cls` are arguments like any other. Forms of more than 256 characters are in the key as their
    SHA-256.

    Of all threads, tasks and processes that miss a result at once, one computes it. If it raises, so does each call of
    this process that waited for it, and one of each other process that waits tries again. Exceptions are not kept: the
    next call tries again. If it is cancelled, interrupted or killed, the next one takes over. A result that cannot be
    stored is returned all the same; see `strict`. No lock of the store is held while the function runs, and
    coroutines never block the loop. Functions that need each other's results in a circle run twice rather than wait
    for ever.

    Generators are recorded while they are consumed, and stored with what they returned if they end by themselves and
    their consumer neither sent values nor threw exceptions into them.

    Args:
        ttl: How long a result lives: seconds, a `timedelta`, or a text such as `"30d"`, `"12h"`, `"90s"`. Or a function
            that says so of a result (of a stream, of the list of its items): `ttl=lambda answer: answer["expires_in"]`.
            `None`: as the cache says.
        stale_while_revalidate: How long after that a result is still served, while it is made anew in the background,
            by one of all that ask for it: in a daemon thread, or in a task for a coroutine function, at most 16 of them
            in a process. A program that ends does not wait for it. If it fails, the log says so once, what is there is
            served until its time is over, and the next try is a second later. Each hit costs some microseconds more.
        name: Takes the place of module and qualified name, so that the function can be moved and renamed.
        version: Part of the key: another version has other entries. With it the programmer says when results are new:
            the code is not in the key.
        on_change: What becomes of results that other code of the function has made. `"recompute"`: they are kept but
            not used, and one line of the log tells how many. `"ignore"`: they are used where the present code has
            none. `"warn"`: as that, and says so once. `None`: `"recompute"`, unless a version is given.
        depends_on: What else belongs to the code: functions and classes that it uses, and plain data, by value.
        ignore: Parameters, and variables of enclosing functions, that the result does not depend on, by name.
        key: Takes the place of the arguments in the key: called with the same arguments, returns plain data.
        key_types: From classes to functions that make plain data of their objects, for arguments that have no
            canonical form: `{Client: lambda it: it.base_url}`. A class can have a method `__cachemere_key__` instead.
        cache_if: Called with each result (of a stream, the list of its items); if false, the result is not stored.
        typed: Whether `1`, `1.0` and `True` are different arguments, as in `functools.lru_cache`.
        tags: Tags of the entries, for :meth:`Cache.evict`.
        cache: Where the results are: a cache, or the directory of one. `None`: the default store (`$CACHEMERE_DIR` or
            the platform's cache directory), found at the first call.
        types: Of results in the default store: the dataclasses, enums, named tuples and pydantic models to be stored
            and built again, with those their fields name; see :class:`Cache`. A cache that is given has its own:
            `memoize(cache=cachemere.Cache(path, types=[Answer]))`. Objects are built from their fields without
            validation: change `version` when a class changes.
        on_error: Of the default store. `"bypass"`: where it cannot be opened, read or written (a home that cannot be
            written to, a user without a home, a full disk, a damaged file), results are computed, and one line of the
            log says why and how to have another place; what can only be read is read. `"raise"`: it is an error.
            `None`: `"bypass"`, or with `strict` `"raise"`. A cache that is given has its own.
        stream_patience: Seconds for which others wait for a generator whose consumer does not ask for the next item.
            After that whoever wants it computes it, too. However long an item takes, nobody else begins. `None`: they
            wait for as long as the generator is there.
        strict: Whether a result that cannot be kept (an object without a safe form, more than an entry or the store can
            hold, a full disk) is an error, which has it as its `result`. Otherwise it is returned, and a line of the
            log, one for each function, says why and what to do.
        retry_waiters: Whether calls that wait for one that raises try themselves, one after the other, instead of
            raising what it did.
        batch: The parameter that takes a list, of a function that returns a list with a result for each item:
            `batch="texts"`. Each item is kept by itself: a call looks all up at once, calls the function once with
            those that are missing, each once, and keeps theirs in one transaction. Of all that miss an item at once,
            one computes it. The result is a list.
        batch_size: How many items the function is given at most. What was computed is kept before the next are.
        stack: Whether results are arrays of one shape, and a call returns them as one array.
        register_return: Whether the classes that the return annotation names (`-> Answer`, `-> list[Answer] | None`)
            are registered, as those of `types`, with the handle that keeps the results.

    With `CACHEMERE_MODE=replay`, a result that is not stored is a :class:`~cachemere.errors.ReplayMissError`; with
    `refresh`, all calls compute and store; with `CACHEMERE_DISABLE=1`, all calls just call.

    Raises:
        InvalidOptionError: At once: for a parameter that does not exist, say.

    Example:
        >>> import tempfile, cachemere
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store")
        >>> @cache.memoize(version="v1", ignore=("client",))
        ... def ask(client, prompt, *, model="m"):
        ...     print("asking")
        ...     return prompt.upper()
        >>> ask(None, "hello")
        asking
        'HELLO'
        >>> ask(object(), prompt="hello", model="m")
        'HELLO'
        >>> ask.cache_info().hits
        1
        >>> cache.close()
    """
    options: dict[str, Any] = {
        "ttl": ttl,
        "stale_while_revalidate": stale_while_revalidate,
        "name": name,
        "version": version,
        "on_change": on_change,
        "depends_on": depends_on,
        "ignore": ignore,
        "key": key,
        "key_types": key_types,
        "cache_if": cache_if,
        "typed": typed,
        "tags": tags,
        "stream_patience": stream_patience,
        "strict": strict,
        "retry_waiters": retry_waiters,
        "batch": batch,
        "batch_size": batch_size,
        "stack": stack,
        "register_return": register_return,
    }
    kinds = checks.items("memoize: types", types, "classes")
    # At once, if one of them cannot be registered.
    Forms(kinds)
    if on_error is not None:
        checks.choice("memoize: on_error", on_error, ("raise", "bypass"))
    if isinstance(cache, (str, os.PathLike)):
        cache, kinds, on_error = _cache_in(resolve(cache), kinds, on_error or "raise"), (), None
    if cache is not None:
        check_cache("memoize: cache", cache)
    if cache is not None and kinds:
        raise InvalidOptionError(
            "memoize: types= is for a store of memoize's own; give it to the cache: Cache(path, types=...)"
        )
    if on_error is None:
        trouble = "raise" if strict is True else "bypass"
    else:
        trouble = on_error
        if cache is not None:
            raise InvalidOptionError(
                "memoize: on_error= is for a store of memoize's own; give it to the cache: Cache(path, on_error=...)"
            )
    decorate: Any
    if cache is not None:
        decorate = cache.memoize(**options)
    else:
        decorate = decorator(**options, find_store=lambda: _default_store(kinds, trouble), way="memoize(types=[{}])")
    return decorate if function is None else decorate(function)


_caches: dict[tuple[pathlib.Path, tuple[type, ...], str], Cache] = {}


def _cache_in(path: pathlib.Path, types: tuple[type, ...], on_error: str) -> Cache:
    """The cache in a directory, one for all functions that are memoized there."""
    which = path, types, on_error
    made = _caches.get(which)
    return made or _caches.setdefault(which, Cache(path, types=types, on_error=on_error))


_defaults: dict[tuple[pathlib.Path | None, tuple[type, ...], str], GuardedStore] = {}


def _default_store(types: tuple[type, ...], on_error: str) -> GuardedStore:
    try:
        path = default_path()
    except StoreIOError:
        # Whoever uses the store hears of it, each time.
        path = None
    which = path, types, on_error
    made = _defaults.get(which)
    if made is not None and made.made is not None and made.made.is_gone:
        # The directory was removed: nobody has a handle to open it again.
        _defaults.pop(which, None)
        made = None
    if made is None:
        # Without a lock, which a fork could copy while it is held. One that is made in vain opens nothing.
        options = Options(path, types=types, read_only_if_unwritable=on_error == "bypass")
        made = _defaults.setdefault(which, GuardedStore(options, on_error, is_default=True))
    return made
