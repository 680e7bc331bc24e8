"""Memoized generators: recorded while they are consumed, stored when they end, replayed item by item.

A recorded stream is a list of its items and what the generator returned. It is stored only if it ended by itself: one
that was closed, dropped, or ended by an exception stores nothing. Neither does one into which its consumer sent values
or threw exceptions, which are passed on, since the items depend on them. A replayed stream takes no values.
"""

from __future__ import annotations

from asyncio import Task
from collections.abc import AsyncGenerator, Callable, Generator
from copy import deepcopy
from time import perf_counter
from typing import Any

from .._core.signals import is_of_handler
from .._leads.failures import Failure, is_of_function
from .._leads.stream_leads import StreamLead
from .._leads.task_flights import Found, leading
from ..errors import ValueFormError
from .call_key import CallKey, Names, Values
from .results import Bypassed, Results

_FROZEN = (str, int, float, bytes, bool, type(None))


class _Recording:
    """What was heard of a stream so far."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        #: Seconds the generator took, without those its consumer took between the items.
        self.cost = 0.0
        self.is_whole = True
        self._since = 0.0

    def start(self) -> None:
        self._since = perf_counter()

    def stop(self) -> None:
        self.cost += perf_counter() - self._since

    def add(self, item: Any) -> None:
        """Notes an item as it is now: the consumer may change it."""
        if not self.is_whole:
            return
        if type(item) not in _FROZEN:
            try:
                item = deepcopy(item)
            except Exception as cause:
                if is_of_handler(cause):
                    raise
                raise ValueFormError(
                    f"an item of type '{type(item).__name__}' cannot be copied, and so not be recorded: {cause}"
                ) from cause
        self.items.append(item)

    def spoil(self) -> None:
        """The consumer has interfered."""
        self.is_whole = False
        self.items.clear()


def replay(stored: Any) -> Generator[Any, Any, Any]:
    """The items of a stored stream, and what it returned."""
    items, returned = stored
    for item in items:
        _refuse((yield item))
    return returned


async def areplay(stored: Any) -> AsyncGenerator[Any, Any]:
    """The items of a stored stream."""
    for item in stored[0]:
        _refuse((yield item))


def _refuse(sent: Any) -> None:
    if sent is not None:
        raise TypeError("a replayed stream takes no values: consume the stream of the function's bypass() instead")


def stream(
    function: Callable[..., Generator[Any, Any, Any]],
    results: Results,
    key: CallKey,
    args: Values,
    options: Names,
    is_fresh: bool,
) -> Generator[Any, Any, Any]:
    """The stream of a call: replayed, or recorded under the lead of the thread that began to consume it.

    A lead that was given up for want of consuming is not taken again: the stream goes on and is stored all the same.
    """
    try:
        turn = results.begin(key, is_fresh)
    except Bypassed:
        return (yield from function(*args, **options))
    if isinstance(turn, Found):
        return (yield from replay(turn.value))
    lead = None if turn is None else StreamLead(turn, results.stream_patience)
    try:
        recording = _Recording()
        returned = yield from _record(function(*args, **options), recording, lead, results.shares_failures)
        if recording.is_whole:
            results.keep(key, (recording.items, returned), recording.cost, recording.items)
        else:
            results.calls.miss()
        return returned
    finally:
        if lead is not None:
            lead.release()


def _record(
    source: Generator[Any, Any, Any], recording: _Recording, lead: StreamLead | None, shares_failure: bool
) -> Generator[Any, Any, Any]:
    advance: Callable[[], Any] = lambda: next(source)  # noqa: E731
    try:
        while True:
            recording.start()
            if lead is not None:
                lead.work()
            try:
                item = advance()
            except StopIteration as end:
                return end.value
            except Exception as error:
                if lead is not None and shares_failure and recording.is_whole and is_of_function(error):
                    lead.fail(Failure(error))
                raise
            finally:
                recording.stop()
            recording.add(item)
            if lead is not None:
                lead.rest()
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as thrown:
                advance = _throwing(source, thrown)
            else:
                if sent is None:
                    advance = lambda: next(source)  # noqa: E731
                    continue
                advance = _sending(source, sent)
            recording.spoil()
            if lead is not None:
                lead.release()
    finally:
        source.close()


def _throwing(source: Generator[Any, Any, Any], thrown: BaseException) -> Callable[[], Any]:
    return lambda: source.throw(thrown)


def _sending(source: Generator[Any, Any, Any], sent: Any) -> Callable[[], Any]:
    return lambda: source.send(sent)


async def astream(
    function: Callable[..., AsyncGenerator[Any, Any]],
    results: Results,
    key: CallKey,
    args: Values,
    options: Names,
    is_fresh: bool,
    caller: Task[Any] | None,
) -> AsyncGenerator[Any, Any]:
    """As :func:`stream`, under the lead of a task. `caller` is the task that called the function."""
    source: AsyncGenerator[Any, Any]
    try:
        turn = await results.abegin(key, is_fresh, is_stream=True)
    except Bypassed:
        turn, recording = None, None
    else:
        recording = _Recording()
    if isinstance(turn, Found):
        source = areplay(turn.value)
        turn = recording = None
    else:
        source = function(*args, **options)
    try:
        thrown: BaseException | None = None
        sent: Any = None
        while True:
            try:
                if turn is None or recording is None:
                    item = await (source.asend(sent) if thrown is None else source.athrow(thrown))
                else:
                    turn.drive(caller)
                    recording.start()
                    try:
                        with leading(turn):
                            item = await (source.asend(sent) if thrown is None else source.athrow(thrown))
                    finally:
                        recording.stop()
                        turn.rest(caller)
                    recording.add(item)
            except StopAsyncIteration:
                break
            except Exception as error:
                if turn is not None and recording is not None and recording.is_whole and results.shares_failures:
                    turn.note(error)
                raise
            thrown = None
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as error:
                thrown, sent = error, None
            if recording is not None and turn is not None and (thrown is not None or sent is not None):
                recording.spoil()
                turn.land()
        if recording is not None and turn is not None:
            if recording.is_whole:
                await results.akeep(turn, key, (recording.items, None), recording.cost, recording.items)
            else:
                results.calls.miss()
    finally:
        try:
            await source.aclose()
        finally:
            if turn is not None:
                turn.end()
