"""Single flight for hosts that look first and store later: whoever looks in vain is the one who asks, and others wait.

Nobody tells a cache that the host has failed in between. So the right to ask ends with the call of the host that
looked: in a thread when its frame is left, in a task when the task is done, if that call is all the task does. Where
neither can be seen, each asks for itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Hashable
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .._engine import Lead
from .._leads.failures import Failure
from .._leads.task_flights import Flight, opened, part_of, take_off
from .._leads.thread_turns import LANDED, wait_for_lead
from ._part import Part

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")

#: Between two looks whether calls of threads are over, in seconds.
_LOOK = 0.05


class Turns:
    """Of one adapter."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._flights: WeakKeyDictionary[asyncio.Task[Any], dict[Any, Flight]] = WeakKeyDictionary()

    def __reduce__(self) -> Any:
        return Turns, (self._part,)

    # --- threads ------------------------------------------------------------------------------------------------------

    def take(self, key: K, look: Callable[[K], F | None], call: FrameType) -> F | None:
        """Waits for what others ask. What is found then; `None`: the caller is to ask, in the frame `call`."""
        store = self._part.native
        while True:
            lead = wait_for_lead(store, key)
            if lead is not LANDED and not isinstance(lead, Lead):
                # Somebody has left without an answer. So each of those who waited asks, at once.
                return None
            try:
                found = look(key)
            except BaseException:
                if lead is not LANDED:
                    lead.release()
                raise
            if lead is LANDED and found is None:
                continue
            if lead is not LANDED and found is not None:
                lead.release()
            elif lead is not LANDED:
                _calls.add(_Call(self, key, lead, call))
            return found

    def give_back(self, key: Hashable) -> None:
        """The answer is stored, or will not be."""
        _calls.end(self, key, threading.get_ident())

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def atake(
        self, key: K, peek: Callable[[K], F | None], look: Callable[[K], Awaitable[F | None]], call: FrameType | None
    ) -> F | Failure | None:
        """As :meth:`take`; a failure is that of the task that has asked."""
        task = asyncio.current_task()
        if task is None or call is None or getattr(task.get_coro(), "cr_frame", None) is not call:
            return None
        await opened(self._part.native)
        turn = await take_off(self._part.native, key, peek, look)
        if not isinstance(turn, Flight):
            return turn
        self._flights.setdefault(task, {})[key] = turn
        part_of(turn)
        task.add_done_callback(self._ended)
        return None

    def agive_back(self, key: Hashable) -> None:
        """As :meth:`give_back`."""
        task = asyncio.current_task()
        flights = {} if task is None else self._flights.get(task, {})
        flight = flights.pop(key, None)
        if flight is not None:
            flight.land()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        for flight in self._flights.pop(task, {}).values():
            error = None if task.cancelled() else task.exception()
            if error is not None:
                flight.note(error)
            flight.land()


class _Call:
    """A call of a host in a thread that is to ask."""

    def __init__(self, turns: Turns, key: Hashable, lead: Lead, frame: FrameType) -> None:
        self.lead = lead
        self.of = (id(turns), key, threading.get_ident())
        self.thread = threading.get_ident()
        self.frame = frame

    def is_over(self, running: dict[int, FrameType]) -> bool:
        step = running.get(self.thread)
        while step is not None and step is not self.frame:
            step = step.f_back
        return step is None


class _Calls:
    """Those that are not over, watched by a thread while there are any."""

    def __init__(self) -> None:
        self._calls: dict[Any, _Call] = {}
        self._is_changing = threading.Lock()
        self._watching: threading.Thread | None = None

    def add(self, call: _Call) -> None:
        with self._is_changing:
            self._calls[call.of] = call
            if self._watching is not None:
                return
            self._watching = threading.Thread(target=self._watch, name="cachemere-calls", daemon=True)
        try:
            self._watching.start()
        except RuntimeError:
            # No thread can be started while the interpreter ends, and the leads end with it.
            pass

    def end(self, turns: Turns, key: Hashable, thread: int) -> None:
        with self._is_changing:
            call = self._calls.pop((id(turns), key, thread), None)
        if call is not None:
            call.lead.release()

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_LOOK)
            running = sys._current_frames()
            with self._is_changing:
                over = [call for call in self._calls.values() if call.is_over(running)]
                for call in over:
                    del self._calls[call.of]
                is_last = not self._calls
                if is_last:
                    self._watching = None
            del running
            for call in over:
                call.lead.fail(None)
            if is_last:
                return


def _begin_anew() -> None:
    global _calls
    _calls = _Calls()


_calls = _Calls()
# The thread is the parent's, and so are the leads.
os.register_at_fork(after_in_child=_begin_anew)
