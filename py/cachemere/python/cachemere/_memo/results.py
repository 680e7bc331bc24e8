"""The results of one memoized function in one cache: finding and storing them, and whose turn it is to compute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .._engine import Calls, Lead
from .._forms.advice import advise
from .._leads.task_flights import Flight, Found, take_off
from ..errors import CacheError, DamagedError, ReplayMissError, TamperedError, UnsafeValueError
from .call_key import KEY_LENGTH, STREAM, CallKey, CallKeys, Names, Values

if TYPE_CHECKING:
    from ..cache import Cache


class Hit(NamedTuple):
    """A stored result, from :meth:`Memoized.cached`."""

    value: Any
    #: Seconds since it was stored.
    age: float
    #: Seconds it took to compute.
    cost: float


class CacheInfo(NamedTuple):
    """As of `functools.lru_cache`, and the seconds saved."""

    #: Of this process, since the function was memoized or its entries were cleared.
    hits: int
    #: Calls that computed.
    misses: int
    maxsize: None
    #: Entries in the store, of all versions and made by any process.
    currsize: int
    #: What the hits took to compute when they were stored, in seconds.
    saved: float


class Bypassed(Exception):
    """The store has failed, and the cache is to be bypassed."""


class Results:
    """See the module. Opens nothing before the first call."""

    def __init__(
        self,
        keys: CallKeys,
        find_cache: Callable[[], Cache],
        *,
        ttl: float | None,
        tags: tuple[str, ...] | None,
        cache_if: Callable[[Any], bool] | None,
        stream_patience: float | None,
        way: str,
    ) -> None:
        self.keys = keys
        self.calls = Calls(keys.typed, keys.ignored_places, keys.ignore, keys.carried.cells, keys.carried.held)
        keys.carried.on_change = self.calls.forget
        self._find_cache = find_cache
        self._found_cache: Cache | None = None
        self._ttl = ttl
        self._tags = tags
        self._cache_if = cache_if
        #: Seconds for which the lead of a stream is kept for a consumer that does not consume.
        self.stream_patience = stream_patience
        #: How a class is registered, for messages.
        self._way = way
        self._is_attached = False

    @property
    def cache(self) -> Cache:
        """Where the results are."""
        if self._found_cache is None:
            self._found_cache = self._find_cache()
        return self._found_cache

    @property
    def is_disabled(self) -> bool:
        """Whether the environment says to call the function and nothing else."""
        return self.cache.disabled

    def key(self, args: Values, options: Names, salt: str = "") -> CallKey:
        """The key of a call."""
        if salt:
            return self.keys.of(args, options, salt)
        known: CallKey | None = self.calls.key(args, options)
        if known is not None:
            return known
        made = self.keys.of(args, options)
        # Unless what the function carries has become something else meanwhile.
        if made[1] == self.keys.name:
            self.calls.remember(args, options, made)
        return made

    # --- in a thread --------------------------------------------------------------------------------------------------

    def begin(self, key: CallKey, is_fresh: bool) -> Found | Lead | None:
        """What is stored, or the right to compute it; `None`: the right of one who does not ask.

        Raises:
            ReplayMissError: Nothing is stored and nothing may be computed.
            Bypassed: The store has failed.
        """
        try:
            mode = self._prepare()
            store = self.cache._store
            if mode == "refresh" or (is_fresh and mode != "replay"):
                store.check_place()
                return None
            while True:
                found = self.recall(key)
                if found is not None:
                    return found
                if mode == "replay":
                    self._refuse(key)
                lead = store.lead(key)
                if lead is not None:
                    break
            try:
                found = self.recall(key)
            except BaseException:
                lead.release()
                raise
            if found is None:
                return lead
            lead.release()
            return found
        except CacheError as error:
            self._failed(error, key)

    def recall(self, key: CallKey) -> Found | None:
        """What is stored. Counts a hit. A damaged entry is an error, or if that is bypassed nothing: it is replaced."""
        try:
            found = self.cache._store.recall(key)
        except (DamagedError, TamperedError) as error:
            if not self.cache._bypass(error):
                raise
            return None
        if found is None:
            return None
        self.calls.hit(found[1])
        return Found(*found)

    def keep(self, key: CallKey, value: Any, cost: float, judged: Any = None) -> None:
        """Stores a result, if `cache_if` agrees; it judges `judged` if that is given."""
        self.calls.miss()
        if self._is_wanted(value if judged is None else judged):
            self._put(key, value, cost)

    def _is_wanted(self, result: Any) -> bool:
        return self._cache_if is None or bool(self._cache_if(result))

    def _put(self, key: CallKey, value: Any, cost: float) -> None:
        try:
            self.cache._store.put(key, value, ttl=self._ttl, tags=self._tags, cost=cost)
        except CacheError as error:
            if not self.cache._bypass(error):
                error.result = value
                advised = advise(error, self._way) if isinstance(error, UnsafeValueError) else None
                if advised is not None:
                    error.args = (f"the result of {self.keys.shown_name} holds {advised}",)
                raise

    def _prepare(self) -> str:
        """Makes the short way to what is in memory known. What the environment says is to be done."""
        mode = self.cache.mode
        if not self._is_attached:
            self.calls.attach(self.cache._store)
            self._is_attached = True
        return mode

    def _failed(self, error: CacheError, key: CallKey) -> NoReturn:
        if isinstance(error, ReplayMissError) or not self.cache._bypass(error):
            raise error
        if self.cache.mode == "replay":
            self._refuse(key)
        self.calls.miss()
        raise Bypassed from error

    def _refuse(self, key: CallKey) -> NoReturn:
        self.calls.miss()
        raise ReplayMissError(
            f"the result of {key[1]}({key[3]}), version {key[2]!r}, is not in the cache at {self.cache.path}, and in "
            f"replay mode nothing is computed: unset CACHEMERE_MODE, or record it first"
        )

    # --- in a task ----------------------------------------------------------------------------------------------------

    async def abegin(self, key: CallKey, is_fresh: bool, *, is_stream: bool = False) -> Found | Flight:
        """As :meth:`begin`, without blocking the loop. Reading what is stored takes microseconds; opening the store and
        writing are done in a thread."""
        try:
            store = self.cache._store
            if not store.is_open:
                await asyncio.get_running_loop().run_in_executor(None, store.open_now)
            mode = self._prepare()
            if mode == "refresh" or (is_fresh and mode != "replay"):
                store.check_place()
                return Flight(None, None)
            found = self.recall(key)
            if found is not None:
                return found
            if mode == "replay":
                self._refuse(key)
            turn = await take_off(store, key, self.recall)
            if is_stream and isinstance(turn, Flight):
                turn.becomes_stream(self.stream_patience)
            return turn
        except CacheError as error:
            self._failed(error, key)

    async def akeep(self, flight: Flight, key: CallKey, value: Any, cost: float, judged: Any = None) -> None:
        """As :meth:`keep`, and lands the flight. Cancelled, it lets the write end before somebody else computes."""
        writing: asyncio.Future[None] | None = None
        try:
            self.calls.miss()
            if self._is_wanted(value if judged is None else judged):
                writing = asyncio.get_running_loop().run_in_executor(None, self._put, key, value, cost)
                await asyncio.shield(writing)
        finally:
            if writing is None or writing.done():
                flight.land()
            else:
                flight.land_after(writing)

    # --- about the results --------------------------------------------------------------------------------------------

    def look(self, key: CallKey) -> Hit | None:
        """The stored result with its age and cost. Not counted."""
        if self.is_disabled:
            return None
        try:
            store = self.cache._store
            found, times = store.fetch(key), store.times(key)
        except CacheError as error:
            if self.cache._bypass(error):
                return None
            raise
        if found is None or times is None:
            return None
        value = found[0][0] if self.keys.kind == STREAM else found[0]
        return Hit(value, max(0.0, time.time() - times[2]), found[3] or 0.0)

    def count(self, *, remove: bool) -> int:
        """How many entries the function has, of all versions; with `remove` they are gone."""
        if self.is_disabled:
            return 0
        try:
            return self.cache._store.matching(self.keys.head, KEY_LENGTH, remove)
        except CacheError as error:
            if self.cache._bypass(error):
                return 0
            raise

    def info(self) -> CacheInfo:
        """Counts."""
        hits, misses, saved = self.calls.counts()
        return CacheInfo(hits, misses, None, self.count(remove=False), saved)
