"""Leads of streams: given up when the consumer does not consume.

Who computes a stream does so when its consumer wants the next item, and that may be never: it stopped half-way and kept
the generator, or its event loop was closed. So a lead that rests for longer than its patience is given up, by a thread
that is there while any such lead is, and whoever waits for the stream computes it.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from weakref import WeakSet

from .._engine import Lead
from .failures import Failure

#: Seconds.
PATIENCE = 30.0
#: The longest and the shortest time between two looks, in seconds.
_LONGEST_LOOK, _SHORTEST_LOOK = 5.0, 0.01


class StreamLead:
    """The lead of a stream, given up after so many seconds in which nobody wants the next item. `None`: never.

    It rests from its beginning: a stream is computed by its consumer.
    """

    __slots__ = ("__weakref__", "_lead", "patience", "since")

    def __init__(self, lead: Lead, patience: float | None) -> None:
        self._lead = lead
        self.patience = patience
        #: When it began to rest; `None`: the next item is being computed, for as long as that takes.
        self.since: float | None = monotonic()
        if patience is not None:
            _watch.add(self)

    def work(self) -> None:
        """The next item is computed from now on."""
        self.since = None

    def rest(self) -> None:
        """The consumer has it."""
        self.since = monotonic()

    def release(self) -> None:
        """Gives the lead back."""
        self._lead.release()

    def fail(self, failure: Failure) -> None:
        """Gives the lead back, and the failure to those who wait."""
        self._lead.fail(failure)


class _Watch:
    def __init__(self) -> None:
        self._leads: WeakSet[StreamLead] = WeakSet()
        self._changed = threading.Condition()
        self._is_running = False

    def add(self, lead: StreamLead) -> None:
        with self._changed:
            self._leads.add(lead)
            if self._is_running:
                self._changed.notify()
                return
            try:
                threading.Thread(target=self._run, name="cachemere-streams", daemon=True).start()
                self._is_running = True
            except RuntimeError:
                # No thread can be started while the interpreter ends, and the leads end with it.
                pass

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = self._look()
                if pause is None:
                    self._is_running = False
                    return
                self._changed.wait(pause)

    def _look(self) -> float | None:
        """Gives up what has rested too long. The seconds until the next look; `None`: nothing is left."""
        now, pause = monotonic(), None
        for lead in list(self._leads):
            since, patience = lead.since, lead.patience
            assert patience is not None
            left = patience if since is None else since + patience - now
            if left <= 0:
                self._leads.discard(lead)
                lead.release()
            else:
                pause = min(left, _LONGEST_LOOK if pause is None else pause)
        return None if pause is None else max(pause, _SHORTEST_LOOK)


def _begin_anew() -> None:
    global _watch
    _watch = _Watch()


_watch = _Watch()
# The thread is the parent's, and so are the leads.
os.register_at_fork(after_in_child=_begin_anew)
