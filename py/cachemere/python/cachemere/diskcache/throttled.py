"""Functions that are held up: to so many calls in a time, or to one caller at a time."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .cache import Cache
from .call_keys import full_name

F = TypeVar("F", bound=Callable[..., Any])


def throttle(
    cache: Cache,
    count: float,
    seconds: float,
    name: str | None = None,
    expire: float | None = None,
    tag: Any = None,
    time_func: Callable[[], float] = time.time,
    sleep_func: Callable[[float], object] = time.sleep,
) -> Callable[[F], F]:
    """Lets a function be called `count` times in `seconds`, by all threads and processes together.

    Example:
        >>> from cachemere import diskcache
        >>> @diskcache.throttle(diskcache.Cache(), 2, 0.01)
        ... def increment(number):
        ...     return number + 1
        >>> [increment(number) for number in range(4)]
        [1, 2, 3, 4]
    """

    def decorate(function: F) -> F:
        rate = count / float(seconds)
        key = full_name(function) if name is None else name
        cache.set(key, (time_func(), count), expire=expire, tag=tag, retry=True)

        def delay() -> float:
            with cache.transact(retry=True):
                now = time_func()
                last, tally = cache.get(key, (now, count))
                tally += (now - last) * rate
                if tally < 1:
                    return float((1 - tally) / rate)
                cache.set(key, (now, min(tally, count) - 1), expire=expire, tag=tag)
                return 0

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            while pause := delay():
                sleep_func(pause)
            return function(*args, **kwargs)

        made: Any = wrapper
        return made  # type: ignore[no-any-return]

    return decorate


def barrier(
    cache: Cache,
    lock_factory: Callable[..., Any],
    name: str | None = None,
    expire: float | None = None,
    tag: Any = None,
) -> Callable[[F], F]:
    """Lets a function be called by as many at a time as a lock lets in: a `Lock`, `RLock` or `BoundedSemaphore`.

    Example:
        >>> from cachemere import diskcache
        >>> @diskcache.barrier(diskcache.Cache(), diskcache.Lock)
        ... def work(number):
        ...     return number + 1
        >>> work(1)
        2
    """

    def decorate(function: F) -> F:
        key = full_name(function) if name is None else name
        lock = lock_factory(cache, key, expire=expire, tag=tag)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return function(*args, **kwargs)

        made: Any = wrapper
        return made  # type: ignore[no-any-return]

    return decorate
