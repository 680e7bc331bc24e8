"""What `aget_or_set` does: of all tasks, threads and processes that miss a key at once, one makes its value."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .._core import checks
from .._core.options import check_tags
from ..errors import CacheError
from .task_flights import Flight, Found, leading, take_off

if TYPE_CHECKING:
    from ..cache import Cache

_MISSING: Any = object()


async def get_or_make(
    cache: Cache, key: Hashable, make: Callable[[], Any], ttl: float | None, tags: Iterable[str]
) -> Any:
    """See :meth:`Cache.aget_or_set`."""
    found = await cache.aget(key, _MISSING)
    if found is not _MISSING:
        return found
    if cache.disabled:
        return await _called(make)
    try:
        turn = await _turn(cache, key)
    except CacheError as error:
        if cache._bypass(error):
            return await _called(make)
        raise
    if isinstance(turn, Found):
        return turn.value
    try:
        # Before the value is made, which can cost much.
        lifetime, marks = checks.seconds("ttl", ttl), check_tags(tags) or ()
        found = await cache.aget(key, _MISSING)
        if found is _MISSING:
            with leading(turn):
                found = await _make(cache, turn, key, make, lifetime, marks)
        return found
    finally:
        if not turn.is_landing:
            turn.land()


async def _turn(cache: Cache, key: Hashable) -> Found | Flight:
    """What has come to memory meanwhile, or the turn to look on the disk and to make it."""
    store = cache._store
    if not store.is_open:
        await asyncio.to_thread(store.open_now)

    def peeked(key: Hashable) -> Found | None:
        try:
            found = store.peek(key, _MISSING)
        except CacheError:
            # An entry that cannot be read, of which whoever has the turn will hear.
            return None
        return None if found is _MISSING else Found(found, 0.0)

    return await take_off(store, key, peeked)


async def _make(
    cache: Cache, flight: Flight, key: Hashable, make: Callable[[], Any], ttl: float | None, tags: tuple[str, ...]
) -> Any:
    """Makes and stores the value. What is done in a thread is done to its end if the task is cancelled meanwhile."""

    def keep(value: Any) -> Any:
        try:
            cache.set(key, value, ttl, tags)
        except CacheError as error:
            error.result = value
            raise
        return value

    def make_and_keep() -> Any:
        made = _plainly(make)
        return made if inspect.isawaitable(made) else keep(made)

    made = make() if _is_coroutine(make) else await _whole(flight, make_and_keep)
    return await _whole(flight, keep, await made) if inspect.isawaitable(made) else made


async def _whole(flight: Flight, work: Callable[..., Any], *arguments: Any) -> Any:
    """Runs something in a thread. If the task is cancelled, the flight lands when it has ended."""
    doing = asyncio.get_running_loop().run_in_executor(None, copy_context().run, work, *arguments)
    try:
        return await asyncio.shield(doing)
    finally:
        if not doing.done():
            flight.land_after(doing)


async def _called(make: Callable[[], Any]) -> Any:
    made = make() if _is_coroutine(make) else await asyncio.to_thread(_plainly, make)
    return await made if inspect.isawaitable(made) else made


def _is_coroutine(make: Callable[[], Any]) -> bool:
    return inspect.iscoroutinefunction(make) or inspect.iscoroutinefunction(getattr(make, "__call__", None))  # noqa: B004


def _plainly(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except StopIteration as error:
        # A future cannot hold it, and who awaits it would wait for ever.
        raise RuntimeError("the function raised StopIteration") from error
