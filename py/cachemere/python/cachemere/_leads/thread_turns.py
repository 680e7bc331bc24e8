"""Single flight among threads: of all that miss a key at once, in whichever process, one computes it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from .._engine import Lead, Store
from ..errors import CacheError
from .failures import Failure, is_of_function

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")
T = TypeVar("T")


def take_turn(store: Store, key: K, look: Callable[[K], F | None]) -> F | Lead | Failure:
    """What `look` finds of a key, waited for if another computes it, or the lead to compute it.

    A failure is that of a thread or task of this process that was waited for.
    """
    while True:
        found = look(key)
        if found is not None:
            return found
        lead = store.lead(key)
        if lead is None:
            continue
        if isinstance(lead, Failure):
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


def make_and_keep(
    lead: Lead | None, make: Callable[[], T], keep: Callable[[T], object], *, shares_failure: bool = True
) -> T:
    """Makes a value, keeps it, and gives the lead back. What cannot be kept is the `result` of the error.

    If the function fails, so do those who wait for it, unless they are to try themselves.
    """
    try:
        try:
            value = make()
        except Exception as error:
            if lead is not None and shares_failure and is_of_function(error):
                lead.fail(Failure(error))
            raise
        try:
            keep(value)
        except CacheError as error:
            error.result = value
            raise
        return value
    finally:
        if lead is not None:
            lead.release()
