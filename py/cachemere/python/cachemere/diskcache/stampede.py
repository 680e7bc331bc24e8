"""Memoizing functions whose results expire, without all callers computing at once when they do."""

from __future__ import annotations

import functools
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
    """As :meth:`Cache.memoize`; computes results anew before they expire, in a thread: the sooner, the longer it took.

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

        def compute(key: Any, args: Any, kwargs: Any) -> Any:
            began = time.time()
            result = function(*args, **kwargs)
            with unkept.passed(result):
                cache.set(key, (result, time.time() - began), expire=expire, tag=tag, retry=True)
            return result

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            key = __cache_key__(*args, **kwargs)
            pair, expires = cache.get(key, default=ENOVAL, expire_time=True, retry=True)
            if pair is ENOVAL:
                return compute(key, args, kwargs)
            result, taken = pair
            left = math.inf if expires is None else expires - time.time()
            # `random()` is less than 1, but can be 0.
            if -taken * beta * math.log(1 - random.random()) >= left:
                is_first = cache.add((*key, _EARLY), None, expire=taken, retry=True)
                if is_first:
                    threading.Thread(target=compute, args=(key, args, kwargs), daemon=True).start()
            return result

        made: Any = wrapper
        made.__cache_key__ = __cache_key__
        return made  # type: ignore[no-any-return]

    return decorate
