"""Memoizing functions whose results expire, without all callers computing at once when they do."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from .._core.unkept import Unkept
from .cache import Cache
from .call_keys import args_to_key, full_name
from .constants import ENOVAL

F = TypeVar("F", bound=Callable[..., Any])

#: At the end of the key that says that a result is being computed early. No argument has that form.
_EARLY = "\0early"


def memoize_stampede(
    cache: Cache,
    expire: float,
    name: str | None = None,
    typed: bool = False,
    tag: Any = None,
    beta: float = 1,
    ignore: Collection[Any] = (),
) -> Callable[[F], F]:
    """As :meth:`Cache.memoize`; computes results anew before they expire, beside: the sooner, the longer it took.

    That of an `async def` is computed in a task, that of another function in a thread.

    By Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (2015). A greater `beta`
    computes earlier.

    Example:
        >>> from cachemere import diskcache
        >>> @diskcache.memoize_stampede(diskcache.Cache(), expire=60)
        ... def square(number):
        ...     return number * number
        >>> square(3), square(3)
        (9, 9)
    """

    def decorate(function: F) -> F:
        base = (full_name(function) if name is None else name,)
        unkept = Unkept(f"a result of {base[0]}", once=True)

        def __cache_key__(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return args_to_key(base, args, kwargs, typed, ignore)

        def look(key: Any) -> tuple[Any, bool]:
            """The result, or `ENOVAL`, and whether this caller is to compute it early."""
            pair, expires = cache.get(key, default=ENOVAL, expire_time=True, retry=True)
            if pair is ENOVAL:
                return ENOVAL, False
            result, taken = pair
            left = math.inf if expires is None else expires - time.time()
            # `random()` is less than 1, but can be 0.
            if -taken * beta * math.log(1 - random.random()) < left:
                return result, False
            return result, cache.add((*key, _EARLY), None, expire=taken, retry=True)

        def keep(key: Any, result: Any, taken: float) -> None:
            with unkept.passed(result):
                cache.set(key, (result, taken), expire=expire, tag=tag, retry=True)

        def compute(key: Any, args: Any, kwargs: Any) -> Any:
            began = time.time()
            result = function(*args, **kwargs)
            keep(key, result, time.time() - began)
            return result

        async def acompute(key: Any, args: Any, kwargs: Any) -> Any:
            began = time.time()
            result = await function(*args, **kwargs)
            await asyncio.to_thread(keep, key, result, time.time() - began)
            return result

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            key = __cache_key__(*args, **kwargs)
            result, is_early = look(key)
            if result is ENOVAL:
                return compute(key, args, kwargs)
            if is_early:
                threading.Thread(target=compute, args=(key, args, kwargs), daemon=True).start()
            return result

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            key = __cache_key__(*args, **kwargs)
            result, is_early = await asyncio.to_thread(look, key)
            if result is ENOVAL:
                return await acompute(key, args, kwargs)
            if is_early:
                task = asyncio.ensure_future(acompute(key, args, kwargs))
                # Nobody else holds it while it runs.
                early.add(task)
                task.add_done_callback(early.discard)
            return result

        early: set[asyncio.Future[Any]] = set()
        made: Any = awaited if inspect.iscoroutinefunction(function) else wrapper
        made.__cache_key__ = __cache_key__
        return made  # type: ignore[no-any-return]

    return decorate
