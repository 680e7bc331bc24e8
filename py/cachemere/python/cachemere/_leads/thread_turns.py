"""Single flight among threads: of all that miss a key at once, in whichever process, one computes it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, TypeVar

from .._engine import Lead, Store
from ..errors import CacheError
from .failures import Failure, is_of_function
from .loops import gevent_sleep

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")
T = TypeVar("T")

#: Somebody has just given a lead back: look again.
LANDED: Any = object()

#: Of greenlets, in seconds.
PATIENCE = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05


def take_turn(store: Store, key: K, look: Callable[[K], F | None]) -> F | Lead | Failure | None:
    """What `look` finds of a key, waited for if another computes it, or the lead to compute it.

    A failure is that of a thread or task of this process that was waited for. `None`: to compute it without a lead, as
    greenlets do that have waited too long.
    """
    while True:
        found = look(key)
        if found is not None:
            return found
        lead = wait_for_lead(store, key)
        if lead is LANDED:
            continue
        if lead is None or isinstance(lead, Failure):
            return lead
        assert isinstance(lead, Lead)
        try:
            found = look(key)
        except BaseException:
            lead.release()
            raise
        if found is None:
            return lead
        lead.release()
        return found


def wait_for_lead(store: Store, key: Hashable) -> Any:
    """The lead of a key, waited for; :data:`LANDED`, a failure, or `None` as :func:`take_turn` says.

    Greenlets of gevent share a thread, so none of them waits in the engine, which would stop all.
    """
    sleep = gevent_sleep()
    if sleep is None:
        found = store.lead(key)
        return LANDED if found is None else found
    began, pause = monotonic(), FIRST_PAUSE
    turn = store.try_lead(key)
    while not isinstance(turn, Lead):
        if monotonic() - began > PATIENCE:
            # In a circle, say: whoever leads waits for this one.
            return None
        sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
        if isinstance(turn.failure, Failure):
            return turn.failure
        turn = store.try_lead(key)
    return turn


def make_and_keep(
    lead: Lead | None, make: Callable[[], T], keep: Callable[[T], object], *, shares_failure: bool = True
) -> T:
    """Makes a value, keeps it, and gives the lead back. What cannot be kept is the `result` of the error.

    If the function fails, so do those who wait for it, unless they are to try themselves.
    """
    try:
        value = make()
    except BaseException as error:
        give_up(lead, shares_failure, error)
        raise
    return keep_made(lead, keep, value)


def keep_made(lead: Lead | None, keep: Callable[[T], object], value: T) -> T:
    """Keeps a value that was made, and gives the lead back."""
    try:
        keep(value)
    except CacheError as error:
        error.result = value
        raise
    finally:
        if lead is not None:
            lead.release()
    return value


def give_up(lead: Lead | None, shares_failure: bool, error: BaseException) -> None:
    """Lets somebody else compute, or fail, too, if the function has failed and they are not to try themselves."""
    if lead is None:
        return
    try:
        if shares_failure and is_of_function(error):
            lead.fail(Failure(error))  # type: ignore[arg-type]
    finally:
        lead.release()
