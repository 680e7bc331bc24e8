"""Single flight for many keys at once among tasks; see :mod:`.many_turns`. Nobody blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar

from ..errors import CacheError
from .failures import Failure
from .many_turns import AMONG_PROCESSES, K, Many, chunk_without, keep_all, try_leads
from .task_flights import Flight, leading, slot_of, take_off

F = TypeVar("F")


async def make_many_in_task(many: Many[K], missing: list[K]) -> dict[K, Any]:
    """As :func:`~.many_turns.make_many`, where `make` gives an awaitable."""
    made: dict[K, Any] = {}
    left = missing
    while left:
        others: list[K] = []
        for chunk in many.chunks(left):
            others += await _make_chunk(many, chunk, made)
        if others:
            await _wait_for(many, others[0], made)
            rest = [key for key in others if key not in made]
            made.update(await asyncio.to_thread(many.find, rest))
        left = [key for key in others if key not in made]
    return made


async def make_alone_in_task(many: Many[K], missing: list[K]) -> dict[K, Any]:
    """As :func:`make_many_in_task`, without asking whether others make them."""
    made: dict[K, Any] = {}
    for chunk in many.chunks(missing):
        began = perf_counter()
        values = many.checked(chunk, await many.make(chunk))
        await asyncio.to_thread(keep_all, many, chunk, values, perf_counter() - began, made)
    return made


async def _make_chunk(many: Many[K], chunk: list[K], made: dict[K, Any]) -> list[K]:
    whole: Flight | None = None
    if len(chunk) > AMONG_PROCESSES:

        async def all_found(_: object) -> dict[K, Any] | None:
            found = await asyncio.to_thread(many.find, chunk)
            return found if len(found) == len(chunk) else None

        turn = await _turn(many, await asyncio.to_thread(many.chunk_key, chunk), lambda _: None, all_found)
        if isinstance(turn, Failure):
            raise turn.again()
        if not isinstance(turn, Flight):
            made.update(turn)
            return []
        whole = turn
    flight: Flight | None = None
    try:
        leads, places = await asyncio.to_thread(try_leads, many, chunk, in_thread=False)
        own = [chunk[place] for place in places]
        flight = Flight((slot_of(many.store, key) for key in own), leads)
        await _make_led(many, own, [each for each in (whole, flight) if each is not None], made)
    finally:
        for each in (flight, whole):
            if each is not None:
                each.end()
    return chunk_without(chunk, own)


async def _make_led(many: Many[K], own: list[K], flights: list[Flight], made: dict[K, Any]) -> None:
    if not own:
        return
    made.update(await asyncio.to_thread(many.find, own))
    todo = [key for key in own if key not in made]
    if not todo:
        return
    began = perf_counter()
    try:
        with leading(*flights):
            values = many.checked(todo, await many.make(todo))
    except Exception as error:
        if many.shares_failure:
            for flight in flights:
                flight.note(error)
        raise
    first, *rest = flights
    # All of them land when the write has ended, also if the task is cancelled meanwhile.
    await first.in_thread(keep_all, many, todo, values, perf_counter() - began, made, beside=rest)


async def _wait_for(many: Many[K], key: K, made: dict[K, Any]) -> None:
    async def look(key: K) -> dict[K, Any] | None:
        return await asyncio.to_thread(many.find, [key]) or None

    turn = await _turn(many, key, lambda _: None, look)
    if isinstance(turn, Failure):
        raise turn.again()
    if not isinstance(turn, Flight):
        made.update(turn)
        return
    try:
        await _make_led(many, [key], [turn], made)
    finally:
        turn.end()


async def _turn(
    many: Many[K], key: Any, peek: Callable[[Any], F | None], look: Callable[[Any], Awaitable[F | None]]
) -> F | Flight | Failure:
    try:
        return await take_off(many.store, key, peek, look)
    except CacheError as error:
        many.trouble(error)
