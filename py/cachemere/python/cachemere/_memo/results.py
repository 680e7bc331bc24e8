"""The results of one memoized function in one cache: finding and storing them, and whose turn it is to compute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from .._core.guarded import GuardedStore
from .._core.unkept import Unkept
from .._engine import Calls, Lead
from .._forms.advice import advise
from .._leads.task_flights import Flight, Found, opened, take_off
from .._leads.thread_turns import take_turn
from ..errors import (
    CacheError,
    DamagedError,
    ReplayMissError,
    TamperedError,
    UnsafeValueError,
)
from .call_key import KEY_LENGTH, STREAM, CallKey, CallKeys, Names, Values
from .carried import inner
from .changes import Changes, notice


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
        find_store: Callable[[], GuardedStore],
        *,
        ttl: float | None,
        tags: tuple[str, ...] | None,
        cache_if: Callable[[Any], bool] | None,
        stream_patience: float | None,
        strict: bool,
        register_return: bool,
        way: str,
    ) -> None:
        self.keys = keys
        self.calls = Calls(keys.typed, keys.ignored_places, keys.ignore, keys.carried.cells, keys.carried.held)
        keys.carried.on_change = self.calls.forget
        self._changes = Changes(keys, KEY_LENGTH)
        self._is_named = keys.has_code
        self._find_store = find_store
        self._found_store: GuardedStore | None = None
        self._ttl = ttl
        self._tags = tags
        self._cache_if = cache_if
        #: Seconds for which the lead of a stream is kept for a consumer that does not consume.
        self.stream_patience = stream_patience
        self._registers_return = register_return
        #: How a class is registered, for messages.
        self._way = way
        #: Whether a result that cannot be kept is an error.
        self._is_strict = strict
        self._unkept = Unkept(f"a result of {keys.shown_name}", once=True)
        self._is_attached = False

    @property
    def store(self) -> GuardedStore:
        """Where the results are."""
        if self._found_store is None:
            found = self._find_store()
            if self._registers_return:
                found.forms.add_returned(inner(self.keys.function))
            self._found_store = found
        return self._found_store

    @property
    def is_disabled(self) -> bool:
        """Whether the environment says to call the function and nothing else."""
        return self.store.disabled

    def key(self, args: Values, options: Names, salt: str = "") -> CallKey:
        """The key of a call."""
        if salt:
            return self.keys.of(args, options, salt)
        known: CallKey | None = self.calls.key(args, options)
        if known is not None:
            return known
        made = self.keys.of(args, options)
        if not self._is_named:
            self._is_named = True
            notice(self.keys)
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
            store = self.store.native
            if mode == "refresh" or (is_fresh and mode != "replay"):
                store.check_place()
                return None
            if mode == "replay":
                return self._replayed(key)
            return take_turn(store, key, self.recall)
        except CacheError as error:
            self._failed(error, key)

    def recall(self, key: CallKey) -> Found | None:
        """What is stored. Counts a hit. A damaged entry is an error, or if that is bypassed nothing: it is replaced."""
        try:
            found = self.store.native.recall(key) or self._recall_earlier(key)
        except (DamagedError, TamperedError) as error:
            if not self.store.bypasses(error):
                raise
            return None
        if found is None:
            return None
        self.calls.hit(found[1])
        return Found(*found)

    def _recall_earlier(self, key: CallKey) -> tuple[Any, float] | None:
        """What earlier code has stored, if that is to be used."""
        for earlier in self._changes.earlier(key, self.store):
            found = self.store.native.recall(earlier)
            if found is not None:
                self._changes.used()
                return found
        return None

    def keep(self, key: CallKey, value: Any, cost: float, judged: Any = None) -> None:
        """Stores a result, if `cache_if` agrees; it judges `judged` if that is given."""
        self.calls.miss()
        if self._is_wanted(value if judged is None else judged):
            self._put(key, value, cost)

    def _is_wanted(self, result: Any) -> bool:
        return self._cache_if is None or bool(self._cache_if(result))

    def _put(self, key: CallKey, value: Any, cost: float) -> None:
        try:
            self.store.native.put(key, value, ttl=self._ttl, tags=self._tags, cost=cost)
            self._changes.stored(self.store)
        except CacheError as error:
            if not self.store.bypasses(error):
                error.result = value
                advised = advise(error, self._way) if isinstance(error, UnsafeValueError) else None
                if advised is not None:
                    error.args = (f"the result of {self.keys.shown_name} cannot be stored: {advised}",)
                if self._is_strict or not self._unkept.passes(error):
                    raise

    def _prepare(self) -> str:
        """Makes the short way to what is in memory known. What the environment says is to be done."""
        mode = self.store.mode
        if not self._is_attached:
            self.calls.attach(self.store.native)
            self._is_attached = True
        return mode

    def _failed(self, error: CacheError, key: CallKey) -> NoReturn:
        if isinstance(error, ReplayMissError):
            raise error
        if not self.store.bypasses(error):
            if self.store.is_default:
                error.args = (self.store.told(error),)
            raise error
        if self.store.mode == "replay":
            self._refuse(key)
        self.calls.miss()
        raise Bypassed from error

    def _replayed(self, key: CallKey) -> Found:
        found = self.recall(key)
        if found is None:
            self._refuse(key)
        return found

    def _refuse(self, key: CallKey) -> NoReturn:
        self.calls.miss()
        raise ReplayMissError(
            f"the result of {key[1]}({key[3]}), version {key[2]!r}, is not in the cache at {self.store.path}, and in "
            f"replay mode nothing is computed: unset CACHEMERE_MODE, or record it first"
        )

    # --- in a task ----------------------------------------------------------------------------------------------------

    async def abegin(self, key: CallKey, is_fresh: bool, *, is_stream: bool = False) -> Found | Flight:
        """As :meth:`begin`, without blocking the loop. Reading what is stored takes microseconds; opening the store and
        writing are done in a thread."""
        try:
            store = self.store.native
            await opened(store)
            mode = self._prepare()
            if mode == "refresh" or (is_fresh and mode != "replay"):
                store.check_place()
                return Flight(None, None)
            if mode == "replay":
                return self._replayed(key)
            turn = await take_off(store, key, self.recall)
            if is_stream and isinstance(turn, Flight):
                turn.becomes_stream(self.stream_patience)
            return turn
        except CacheError as error:
            self._failed(error, key)

    async def akeep(self, flight: Flight, key: CallKey, value: Any, cost: float, judged: Any = None) -> None:
        """As :meth:`keep`. Cancelled, it lets the write end before somebody else computes."""
        self.calls.miss()
        if self._is_wanted(value if judged is None else judged):
            await flight.in_thread(self._put, key, value, cost)

    # --- about the results --------------------------------------------------------------------------------------------

    def look(self, key: CallKey) -> Hit | None:
        """The stored result with its age and cost. Not counted."""
        stored = self.store.ask(None, lambda store: (store.fetch(key), store.times(key)))
        found, times = (None, None) if stored is None else stored
        if found is None or times is None:
            return None
        value = found[0][0] if self.keys.kind == STREAM else found[0]
        return Hit(value, max(0.0, time.time() - times[2]), found[3] or 0.0)

    def count(self, *, remove: bool) -> int:
        """How many entries the function has, of all versions; with `remove` they are gone."""
        return self.store.ask(0, lambda store: store.matching(self.keys.head, KEY_LENGTH, remove))

    def info(self) -> CacheInfo:
        """Counts."""
        hits, misses, saved = self.calls.counts()
        return CacheInfo(hits, misses, None, self.count(remove=False), saved)
