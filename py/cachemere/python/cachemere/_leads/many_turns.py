"""Single flight for many keys at once: each key is made once, and all that are missing are made together.

A call takes the leads of those of its keys that nobody has, without waiting, makes and keeps their values, and gives
the leads back. Only then, holding none, it waits for what others make. So two calls whose keys overlap never wait for
each other in a circle.

Among processes, leads are locks on a file, and the kernel looks through all of them for each. So a chunk of more than
:data:`AMONG_PROCESSES` keys has leads of this process, and one lead among all processes for the chunk as a whole: the
same chunk is made once, while a key that is in two different ones can be made twice.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence, Sized
from time import perf_counter
from typing import Any, Generic, NoReturn, TypeVar

from .._engine import Lead, Leads, Store
from ..errors import BatchLengthError, CacheError
from .failures import Failure, is_of_function
from .thread_turns import LANDED, take_turn, wait_for_lead

K = TypeVar("K", bound=Hashable)

#: Keys of a chunk that are led among processes one by one.
AMONG_PROCESSES = 256

_UNCHANGING = (str, bytes, int, float, bool, complex, type(None))


class Many(Generic[K]):
    """How the values of many keys are found, made and kept, in a store.

    Args:
        find: The values of those of the keys that have some.
        make: The values of keys, in their order; of a coroutine function, an awaitable of them.
        keep: Stores the values of keys in one transaction, each of which took so many seconds.
        size: How many are made together at most. `None`: any number.
        shares_failure: Whether those who wait for a call that fails do so, too.
        shown: Who makes them, for messages.
        trouble: Called with errors of the store, in the midst; raises.
    """

    def __init__(
        self,
        store: Store,
        *,
        find: Callable[[list[K]], dict[K, Any]],
        make: Callable[[list[K]], Any],
        keep: Callable[[list[K], Any, float], object],
        size: int | None,
        shares_failure: bool,
        shown: str,
        trouble: Callable[[CacheError], NoReturn],
    ) -> None:
        self.store = store
        self.find = find
        self.make = make
        self.keep = keep
        self.size = size
        self.shares_failure = shares_failure
        self.shown = shown
        self.trouble = trouble

    def chunks(self, keys: list[K]) -> Iterator[list[K]]:
        """The keys, as many at a time as are made together."""
        size = self.size or len(keys)
        for start in range(0, len(keys), size):
            yield keys[start : start + size]

    def checked(self, keys: list[K], values: Any) -> Any:
        """The values that were made of keys.

        Raises:
            BatchLengthError: They are not as many, or no list.
        """
        if not isinstance(values, Sized) or isinstance(values, (str, bytes, dict, set, frozenset)):
            raise BatchLengthError(
                f"{self.shown} was given {len(keys)} items and returned an object of type '{type(values).__name__}': "
                f"return a list with a result for each, in their order"
            )
        if len(values) != len(keys):
            raise BatchLengthError(
                f"{self.shown} was given {len(keys)} items and returned {len(values)} results: return one for each, in "
                f"their order, None where there is none"
            )
        return values

    def chunk_key(self, keys: list[K]) -> tuple[str, str]:
        """What stands for a chunk as a whole, of which all are to be made."""
        digest = hashlib.sha256()
        for key in keys:
            digest.update(self.store.key_bytes(key))
        return "memoize/2 chunk", digest.hexdigest()


def make_many(many: Many[K], missing: list[K]) -> dict[K, Any]:
    """The values of keys that are missing, each key once in them: made, or waited for.

    Raises:
        Exception: What making them raised, here or in a call that was waited for. What was made before is kept.
    """
    made: dict[K, Any] = {}
    left = missing
    while left:
        others: list[K] = []
        for chunk in many.chunks(left):
            others += _make_chunk(many, chunk, made)
        if others:
            _wait_for(many, others[0], made)
            made.update(many.find([key for key in others if key not in made]))
        left = [key for key in others if key not in made]
    return made


def make_alone(many: Many[K], missing: list[K]) -> dict[K, Any]:
    """As :func:`make_many`, without asking whether others make them."""
    made: dict[K, Any] = {}
    for chunk in many.chunks(missing):
        began = perf_counter()
        values = many.checked(chunk, many.make(chunk))
        keep_all(many, chunk, values, perf_counter() - began, made)
    return made


def _make_chunk(many: Many[K], chunk: list[K], made: dict[K, Any]) -> list[K]:
    """Makes what nobody else makes. Returns the keys of what others do."""
    whole: Lead | None = None
    is_large = len(chunk) > AMONG_PROCESSES
    if is_large:
        turn = _chunk_turn(many, chunk)
        if isinstance(turn, Failure):
            raise turn.again()
        if turn is LANDED:
            made.update(many.find(chunk))
            return [key for key in chunk if key not in made]
        assert turn is None or isinstance(turn, Lead)
        whole = turn
    try:
        leads, places = try_leads(many, chunk, in_thread=True)
        try:
            own = [chunk[place] for place in places]
            _make_led(many, own, (leads, whole), made)
        finally:
            leads.release()
    finally:
        if whole is not None:
            whole.release()
    return chunk_without(chunk, own)


def _make_led(many: Many[K], own: list[K], leads: Sequence[Lead | Leads | None], made: dict[K, Any]) -> None:
    """Makes what is still missing of the keys whose leads the caller has."""
    if not own:
        return
    made.update(many.find(own))
    todo = [key for key in own if key not in made]
    if not todo:
        return
    began = perf_counter()
    try:
        values = many.checked(todo, many.make(todo))
    except Exception as error:
        if many.shares_failure and is_of_function(error):
            for lead in leads:
                if lead is not None:
                    lead.fail(Failure(error))
        raise
    keep_all(many, todo, values, perf_counter() - began, made)


def keep_all(many: Many[K], keys: list[K], values: Any, seconds: float, made: dict[K, Any]) -> None:
    """Keeps what was made. What cannot be kept is the `result` of the error."""
    try:
        many.keep(keys, values, seconds / len(keys))
    except CacheError as error:
        error.result = list(values)
        raise
    made.update(zip(keys, values, strict=True))


def _wait_for(many: Many[K], key: K, made: dict[K, Any]) -> None:
    """Waits until nobody makes the value of a key, and makes it if it is still missing then."""

    def look(key: K) -> dict[K, Any] | None:
        return many.find([key]) or None

    turn = _turn(many, key, look)
    if isinstance(turn, Failure):
        raise turn.again()
    if turn is not None and not isinstance(turn, Lead):
        made.update(turn)
        return
    try:
        _make_led(many, [key], (turn,), made)
    finally:
        if turn is not None:
            turn.release()


def _chunk_turn(many: Many[K], chunk: list[K]) -> Any:
    """The lead of a chunk as a whole, as :func:`wait_for_lead` gives it."""
    try:
        return wait_for_lead(many.store, many.chunk_key(chunk))
    except CacheError as error:
        many.trouble(error)


def _turn(many: Many[K], key: Any, look: Callable[[Any], dict[K, Any] | None]) -> dict[K, Any] | Lead | Failure | None:
    try:
        return take_turn(many.store, key, look)
    except CacheError as error:
        many.trouble(error)


def try_leads(many: Many[K], chunk: list[K], *, in_thread: bool) -> tuple[Leads, list[int]]:
    """The leads of those keys of a chunk that nobody has, and their places."""
    try:
        return many.store.try_leads(chunk, len(chunk) <= AMONG_PROCESSES, in_thread)
    except CacheError as error:
        many.trouble(error)


def chunk_without(chunk: list[K], own: list[K]) -> list[K]:
    """The keys of a chunk that are not the caller's own."""
    if len(own) == len(chunk):
        return []
    mine = set(own)
    return [key for key in chunk if key not in mine]


def in_order(keys: list[K], found: dict[K, Any]) -> list[Any]:
    """The value of each key. One that is there several times has a copy in each place."""
    if len(found) == len(keys):
        return [found[key] for key in keys]
    given: set[K] = set()
    values = []
    for key in keys:
        value = found[key]
        if key in given and not isinstance(value, _UNCHANGING):
            value = copy.deepcopy(value)
        given.add(key)
        values.append(value)
    return values
