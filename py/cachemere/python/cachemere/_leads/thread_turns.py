"""Single flight among threads: of all that miss a key at once, in whichever process, one computes it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from .._engine import Lead, Store
from ..errors import CacheError

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")
T = TypeVar("T")


def take_turn(store: Store, key: K, look: Callable[[K], F | None]) -> F | Lead:
    """What `look` finds of a key, waited for if another computes it, or the lead to compute it."""
    while True:
        found = look(key)
        if found is not None:
            return found
        lead = store.lead(key)
        if lead is None:
            continue
        try:
            found = look(key)
        except BaseException:
            lead.release()
            raise
        if found is None:
            return lead
        lead.release()
        return found


def make_and_keep(lead: Lead | None, make: Callable[[], T], keep: Callable[[T], object]) -> T:
    """Makes a value, keeps it, and gives the lead back. What cannot be kept is the `result` of the error."""
    try:
        value = make()
    except BaseException:
        give_back(lead)
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
        give_back(lead)
    return value


def give_back(lead: Lead | None) -> None:
    """Lets somebody else compute."""
    if lead is not None:
        lead.release()
