"""Single flight among tasks: of all that miss a key at once, one computes it, and nobody blocks the loop.

The engine gives the lead of a key to one thread or task of all processes. A task that does not get it waits for the
task of its own loop that has it, or, if that is elsewhere, looks again after a pause. Three rules keep tasks from
waiting for each other for ever:

* A task that leads a key, itself or in one of its ancestors, and would wait for a key whose computation waits for its
  own, computes without a lead. So it runs twice rather than never.
* One that leads a key does so too after having waited :data:`PATIENCE` for another loop or process, since a circle
  through those cannot be seen.
* A stream advances when its consumer wants it to. Others wait for it as long as its consumer wants the next item within
  the stream's patience; then one of them computes it. See :mod:`.stream_leads`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet, WeakValueDictionary

from .._engine import Lead, Leads, Store
from ..errors import CacheError
from .failures import Failure, is_of_function
from .loops import running_loop
from .stream_leads import StreamLead

_log = logging.getLogger("cachemere")

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")
T = TypeVar("T")

#: Seconds.
PATIENCE = 30.0
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.05


class Found(NamedTuple):
    """A stored result."""

    value: Any
    #: Seconds it took to compute.
    cost: float


class Flight:
    """The right of a task to compute the result of a key, until :meth:`land`. Without a lead it is nobody's concern."""

    __slots__ = ("__weakref__", "_landed", "_lead", "_slots", "_waits", "drivers", "failure", "is_landing")

    def __init__(self, slots: Iterable[tuple[Any, ...]], lead: Lead | Leads | None) -> None:
        #: Of the keys that it makes: one, unless it makes many together.
        self._slots = tuple(slots)
        self._lead: Lead | Leads | StreamLead | None = lead
        self._landed = asyncio.Event()
        #: Whether it lands by itself, when a write has ended.
        self.is_landing = False
        #: What it lands with instead of a result.
        self.failure: Failure | None = None
        #: Flights that tasks wait for on which this one depends.
        self._waits: list[Flight] = []
        #: Of a stream: who consumes it, as far as can be known.
        self.drivers: tuple[asyncio.Task[Any] | None, ...] = ()
        for slot in self._slots:
            _airborne[slot] = self

    def becomes_stream(self, patience: float | None) -> None:
        """Has the lead given up when nobody consumes the stream for so many seconds."""
        if isinstance(self._lead, Lead):
            self._lead = StreamLead(self._lead, patience)

    def drive(self, caller: asyncio.Task[Any] | None) -> None:
        """Notes that the present task wants the next item of the stream that this flight computes.

        That can be one of `asyncio.wait_for`, for this item alone; so the task that called the function counts too.
        """
        if isinstance(self._lead, StreamLead):
            self._lead.work()
        if self._slots and not self.has_landed:
            self.drivers = (caller, asyncio.current_task())
            _streams.add(self)

    def rest(self, caller: asyncio.Task[Any] | None) -> None:
        """Notes that the consumer has the item."""
        self.drive(caller)
        if isinstance(self._lead, StreamLead):
            self._lead.rest()

    def _patience_left(self) -> float | None:
        """How long others wait at least before they look again. `None`: until it has landed."""
        lead = self._lead
        if not isinstance(lead, StreamLead) or lead.patience is None:
            return None
        return lead.patience if lead.since is None else lead.since + lead.patience - monotonic()

    def note(self, error: BaseException) -> None:
        """Has those who wait fail as the function has, when it lands."""
        if is_of_function(error):
            assert isinstance(error, Exception)
            self.failure = Failure(error)

    def land(self) -> None:
        """Gives the right back. Waiting tasks look for the result, and one of them takes over if there is none, unless
        the function has failed."""
        if self._lead is not None:
            if self.failure is None:
                self._lead.release()
            else:
                self._lead.fail(self.failure)
        for slot in self._slots:
            if _airborne.get(slot) is self:
                del _airborne[slot]
        _streams.discard(self)
        self.drivers = ()
        self._landed.set()

    def land_after(self, work: asyncio.Future[Any]) -> None:
        """Lands when a thread has ended its work, whose task was cancelled: it will not be begun again beside it."""
        self.is_landing = True
        work.add_done_callback(self._land_late)

    def end(self) -> None:
        """Lands, unless a write is still under way, which lands it."""
        if not self.is_landing:
            self.land()

    async def in_thread(self, work: Callable[..., T], *arguments: Any, beside: Iterable[Flight] = ()) -> T:
        """Runs something in a thread. If the task is cancelled meanwhile, the flight lands when it has ended, and so do
        others that are one with it."""
        doing = running_loop().run_in_executor(None, copy_context().run, work, *arguments)
        try:
            return await asyncio.shield(doing)
        finally:
            if not doing.done():
                for flight in (self, *beside):
                    flight.land_after(doing)

    def _land_late(self, work: asyncio.Future[Any]) -> None:
        if not work.cancelled() and work.exception() is not None:
            _log.warning("a result of a cancelled task was not stored: %s", work.exception())
        elif not work.cancelled() and inspect.iscoroutine(work.result()):
            # Nobody is left to await it.
            work.result().close()
        # Who was cancelled has not failed.
        self.failure = None
        self.land()

    @property
    def has_landed(self) -> bool:
        """Whether the right was given back."""
        return self._landed.is_set()

    def depends_on(self, flights: Iterable[Flight]) -> bool:
        """Whether this flight cannot land before one of these, over any number of others."""
        wanted, seen, left = set(flights), set[Flight](), [self]
        while left:
            flight = left.pop()
            if flight in wanted:
                return True
            if flight not in seen:
                seen.add(flight)
                left.extend(flight._waits)
        return False

    async def _wait(self) -> None:
        """Waits for the landing. A stream whose consumer does not consume lands for who waits."""
        while not self.has_landed:
            left = self._patience_left()
            if left is None:
                await self._landed.wait()
            elif left <= 0:
                self.land()
            else:
                try:
                    await asyncio.wait_for(self._landed.wait(), left)
                except asyncio.TimeoutError:
                    pass


# A generator that is dropped after its loop was closed never comes to its end, but it goes.
_airborne: WeakValueDictionary[tuple[Any, ...], Flight] = WeakValueDictionary()
_streams: WeakSet[Flight] = WeakSet()
_leading: ContextVar[tuple[Flight, ...]] = ContextVar("cachemere_leading", default=())


class leading:
    """A context in which the present task, and the tasks it starts, are part of flights."""

    __slots__ = ("_before", "_flights")

    def __init__(self, *flights: Flight) -> None:
        self._flights = flights

    def __enter__(self) -> None:
        self._before = _leading.get()
        _leading.set((*self._before, *self._flights))

    def __exit__(self, *error: object) -> None:
        # Not by a token: a stream can be closed in another context than it was advanced in.
        _leading.set(self._before)


def part_of(flight: Flight) -> None:
    """Makes the present task part of a flight, until it has landed."""
    _leading.set((*_leading.get(), flight))


def present_task() -> asyncio.Task[Any] | None:
    """The task that runs, if one does."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _held() -> list[Flight]:
    """The airborne flights that the present task is part of, or whose stream it consumes."""
    task = asyncio.current_task()
    held = [flight for flight in _leading.get() if not flight.has_landed]
    held.extend(flight for flight in list(_streams) if task in flight.drivers)
    return held


def slot_of(store: Store, key: Hashable) -> tuple[Any, ...]:
    """Where the flight of a key is found, among those of the running loop."""
    return running_loop(), store, key


async def opened(store: Store) -> None:
    """Opens a store, in a thread, if it is not open."""
    if not store.is_open:
        await running_loop().run_in_executor(None, store.open_now)


async def take_off(
    store: Store,
    key: K,
    look: Callable[[K], F | None],
    look_longer: Callable[[K], Awaitable[F | None]] | None = None,
) -> F | Flight | Failure:
    """What is found of a key, waited for if another computes it, or the flight in which to compute it.

    A failure is that of a task or thread of this process that was waited for.

    `look` may not block the loop. What takes longer is `look_longer`, which whoever has the flight does once.
    """
    found = look(key)
    turn = await _turn(store, key, look) if found is None else found
    if look_longer is not None and isinstance(turn, Flight):
        try:
            found = await look_longer(key)
        except BaseException:
            turn.land()
            raise
        if found is not None:
            turn.land()
            return found
    return turn


async def make_and_keep_in_task(
    flight: Flight,
    make: Callable[[], Awaitable[T]],
    keep: Callable[[T], Awaitable[object]],
    *,
    shares_failure: bool = True,
) -> T:
    """Makes a value, keeps it, and ends the flight. What cannot be kept is the `result` of the error.

    If the function fails, so do those who wait for it, unless they are to try themselves.
    """
    try:
        try:
            with leading(flight):
                value = await make()
        except Exception as error:
            if shares_failure:
                flight.note(error)
            raise
        try:
            await keep(value)
        except CacheError as error:
            error.result = value
            raise
        return value
    finally:
        flight.end()


async def _turn(store: Store, key: K, recall: Callable[[K], F | None]) -> F | Flight | Failure:
    slot = slot_of(store, key)
    began, pause = monotonic(), FIRST_PAUSE
    while True:
        held = _held()
        flight = _airborne.get(slot)
        if flight is not None:
            if held and flight.depends_on(held):
                return Flight((), None)
            for own in held:
                own._waits.append(flight)
            try:
                await flight._wait()
            finally:
                for own in held:
                    own._waits.remove(flight)
            if flight.failure is not None:
                return flight.failure
        else:
            lead = store.try_lead(key)
            if isinstance(lead, Lead):
                try:
                    found = recall(key)
                except BaseException:
                    lead.release()
                    raise
                if found is None:
                    return Flight((slot,), lead)
                lead.release()
                return found
            if held and monotonic() - began > PATIENCE:
                return Flight((), None)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            if isinstance(lead.failure, Failure):
                return lead.failure
        found = recall(key)
        if found is not None:
            return found
