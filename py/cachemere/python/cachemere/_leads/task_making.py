"""What `aget_or_set` does: of all tasks, threads and processes that miss a key at once, one makes its value."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from .._core import checks
from .._core.guarded import GuardedStore
from .._core.options import check_tags
from .._core.quantities import Seconds
from ..errors import CacheError
from .failures import Failure
from .task_flights import Flight, Found, leading, opened, take_off

_MISSING: Any = object()


async def get_or_make(
    store: GuardedStore, key: Hashable, make: Callable[[], Any], ttl: Seconds | None, tags: Iterable[str], strict: bool
) -> Any:
    """See :meth:`Cache.aget_or_set`."""
    if store.disabled:
        return await _called(make)

    async def find(key: Hashable) -> Found | None:
        found = await asyncio.to_thread(store.get, key, _MISSING)
        return None if found is _MISSING else Found(found, 0.0)

    found = store.peek(key, _MISSING)
    if found is not _MISSING:
        return found
    stored = await find(key)
    if stored is not None:
        return stored.value
    native = store.native

    def peek(key: Hashable) -> Found | None:
        try:
            found = native.peek(key, _MISSING)
        except CacheError:
            # An entry that cannot be read, of which whoever has the turn will hear.
            return None
        return None if found is _MISSING else Found(found, 0.0)

    try:
        await opened(native)
        turn = await take_off(native, key, peek, find)
    except CacheError as error:
        if store.bypasses(error):
            return await _called(make)
        raise
    if isinstance(turn, Found):
        return turn.value
    if isinstance(turn, Failure):
        raise turn.again()
    try:
        # Before the value is made, which can cost much.
        lifetime, marks = checks.seconds("ttl", ttl), check_tags(tags)
        checks.flag("strict", strict)
        with leading(turn):
            return await _make(store, turn, key, make, lifetime, marks, strict)
    finally:
        turn.end()


async def _make(
    store: GuardedStore,
    flight: Flight,
    key: Hashable,
    make: Callable[[], Any],
    ttl: float | None,
    tags: tuple[str, ...] | None,
    strict: bool,
) -> Any:
    """Makes and stores the value. What is done in a thread is done to its end if the task is cancelled meanwhile."""

    def keep(value: Any) -> Any:
        store.keep(key, value, ttl, tags, strict)
        return value

    def make_and_keep() -> Any:
        made = called()
        return made if inspect.isawaitable(made) else keep(made)

    def called() -> Any:
        try:
            return _plainly(make)
        except Exception as error:
            flight.note(error)
            raise

    made = make() if _is_coroutine(make) else await flight.in_thread(make_and_keep)
    if not inspect.isawaitable(made):
        return made
    try:
        value = await made
    except Exception as error:
        flight.note(error)
        raise
    return await flight.in_thread(keep, value)


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
