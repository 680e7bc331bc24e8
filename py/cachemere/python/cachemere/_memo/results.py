"""The results of one memoized function in one cache: finding and storing them, and whose turn it is to compute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from .._core.guarded import GuardedStore
from .._core.unkept import UNKEPT, Unkept
from .._engine import Calls, Gathered, Lead
from .._forms.advice import advise
from .._leads.failures import Failure
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
from .lifetimes import Lifetime
from .refreshing import Refreshing
from .stacks import bytes_of, has_rows

_log = logging.getLogger("cachemere")

_MISSING: Any = object()


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
        lifetime: Lifetime,
        tags: tuple[str, ...] | None,
        cache_if: Callable[[Any], bool] | None,
        stream_patience: float | None,
        strict: bool,
        retry_waiters: bool,
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
        #: How long results live.
        self.lifetime = lifetime
        self.refreshing = Refreshing(keys.shown_name)
        self._tags = tags
        self._cache_if = cache_if
        #: Seconds for which the lead of a stream is kept for a consumer that does not consume.
        self.stream_patience = stream_patience
        #: Whether those who wait for a call that fails do so, too.
        self.shares_failures = not retry_waiters
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
        self.name_once()
        # Unless what the function carries has become something else meanwhile.
        if made[1] == self.keys.name:
            self.calls.remember(args, options, made)
        return made

    def name_once(self) -> None:
        """Tells, at the first call, if another function has the same keys."""
        if not self._is_named:
            self._is_named = True
            notice(self.keys)

    def mode(self) -> str:
        """What the environment says is to be done.

        Raises:
            Bypassed: The store has failed.
        """
        try:
            return self._prepare()
        except CacheError as error:
            self.trouble(error)

    # --- in a thread --------------------------------------------------------------------------------------------------

    def begin(self, key: CallKey, is_fresh: bool) -> Found | Lead | None:
        """What is stored, or the right to compute it; `None`: the right of one who does not ask.

        Raises:
            ReplayMissError: Nothing is stored and nothing may be computed.
            Bypassed: The store has failed.
            Exception: What the function raised in a call that was waited for.
        """
        try:
            mode = self._prepare()
            store = self.store.native
            if mode == "refresh" or (is_fresh and mode != "replay"):
                store.check_place()
                return None
            if mode == "replay":
                return self._replayed(key)
            turn = take_turn(store, key, self.recall)
        except CacheError as error:
            self._failed(error, key)
        if isinstance(turn, Failure):
            raise turn.again()
        return turn

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

    def find_many(self, keys: list[CallKey], gathered: Gathered | None = None) -> dict[CallKey, Any]:
        """The stored results of those of the keys that have some, which may be gathered already. Counts hits.

        Raises:
            Bypassed: The store has failed.
        """
        if gathered is None:
            gathered = self.gather(keys)
        if gathered is None:
            recalled = ((key, self.recall(key)) for key in keys)
            return {key: it.value for key, it in recalled if it is not None}
        values, seconds = gathered.values(_MISSING)
        known = {key: value for key, value in zip(keys, values, strict=True) if value is not _MISSING}
        self.calls.hit(seconds, len(known))
        if len(known) < len(keys):
            for version in self._changes.earlier_versions(self.store):
                missing = [key for key in keys if key not in known]
                earlier = [(key[0], key[1], version, key[3], key[4]) for key in missing]
                for key, value in zip(missing, self.store.native.get_many(earlier, _MISSING), strict=True):
                    if value is not _MISSING:
                        self._changes.used()
                        self.calls.hit(0.0)
                        known[key] = value
        return known

    def gather(self, keys: list[CallKey]) -> Gathered | None:
        """What is stored, not yet decoded; `None`: something is damaged and passed over."""
        try:
            self._prepare()
            return self.store.native.gather(keys)
        except CacheError as error:
            if isinstance(error, (DamagedError, TamperedError)) and self.store.bypasses(error):
                return None
            self.trouble(error)

    def trouble(self, error: CacheError) -> NoReturn:
        """Raises an error of the store.

        Raises:
            Bypassed: Instead, if that is to be done.
        """
        if self.store.bypasses(error):
            raise Bypassed from error
        raise error

    def keep_many(self, keys: list[CallKey], values: Any, cost: float) -> None:
        """Stores the results of a batch in one transaction, those that `cache_if` agrees to."""
        self.calls.miss(len(keys))
        wanted = [pair for pair in zip(keys, values, strict=True) if self._is_wanted(pair[1])]
        if not wanted:
            return
        if self.lifetime.of_result is None:
            self._put_many(wanted, values if len(wanted) == len(keys) else None, cost, self.lifetime.ttl)
            return
        by_lifetime: dict[float | None, list[tuple[CallKey, Any]]] = {}
        for pair in wanted:
            by_lifetime.setdefault(self.lifetime.of(pair[1]), []).append(pair)
        for ttl, pairs in by_lifetime.items():
            self._put_many(pairs, None, cost, ttl)

    def _put_many(self, wanted: list[tuple[CallKey, Any]], values: Any, cost: float, ttl: float | None) -> None:
        """Stores results of one lifetime, in one transaction. `values`: what they are together, if they are."""
        store = self.store.native
        try:
            if has_rows(values):
                keys = [key for key, _ in wanted]
                store.put_rows(keys, values[0], bytes_of(values), ttl=ttl, tags=self._tags, cost=cost)
            else:
                store.put_many(wanted, ttl=ttl, tags=self._tags, cost=cost)
            self._changes.stored(self.store)
        except CacheError as error:
            if self.store.bypasses(error):
                return
            if not isinstance(error, UNKEPT):
                raise
            # One of them need not take the others with it.
            for key, value in wanted:
                self._put(key, value, cost, ttl)

    def keep(self, key: CallKey, value: Any, cost: float, judged: Any = None) -> None:
        """Stores a result, if `cache_if` agrees; it judges `judged` if that is given."""
        self.calls.miss()
        judged = value if judged is None else judged
        if self._is_wanted(judged):
            self._put(key, value, cost, self.lifetime.of(judged))

    def _is_wanted(self, result: Any) -> bool:
        return self._cache_if is None or bool(self._cache_if(result))

    def _put(self, key: CallKey, value: Any, cost: float, ttl: float | None) -> None:
        try:
            self.store.native.put(key, value, ttl=ttl, tags=self._tags, cost=cost)
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
        # Of one that can be stale it has to be seen each time.
        if not self._is_attached and self.lifetime.stale is None:
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
            self.refuse(key)
        self.calls.miss()
        raise Bypassed from error

    def _replayed(self, key: CallKey) -> Found:
        found = self.recall(key)
        if found is None:
            self.refuse(key)
        return found

    def refuse(self, key: CallKey) -> NoReturn:
        """Raises what a miss is in replay mode."""
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
                return Flight((), None)
            if mode == "replay":
                return self._replayed(key)
            turn = await take_off(store, key, self.recall)
            if is_stream and isinstance(turn, Flight):
                turn.becomes_stream(self.stream_patience)
        except CacheError as error:
            self._failed(error, key)
        if isinstance(turn, Failure):
            raise turn.again()
        return turn

    async def akeep(self, flight: Flight, key: CallKey, value: Any, cost: float, judged: Any = None) -> None:
        """As :meth:`keep`. Cancelled, it lets the write end before somebody else computes."""
        self.calls.miss()
        judged = value if judged is None else judged
        if self._is_wanted(judged):
            await flight.in_thread(self._put, key, value, cost, self.lifetime.of(judged))

    # --- beyond the lifetime ---------------------------------------------------------------------------------------

    def lead_of_stale(self, key: CallKey) -> Lead | None:
        """The lead to make a result anew that is beyond its lifetime. `None`: it is not, or somebody does already."""
        if self.lifetime.stale is None or self.store.mode == "replay":
            return None
        store = self.store.native
        try:
            if not self.lifetime.is_over(store, key) or not self.refreshing.may_begin(key):
                return None
            lead = store.try_lead(key)
            if not isinstance(lead, Lead):
                return None
            # Somebody can have made it just before.
            if self.lifetime.is_over(store, key):
                return lead
            lead.release()
        except CacheError as error:
            # There is something to serve.
            _log.debug("a result of %s is not made anew: %s", self.keys.shown_name, error)
        return None

    # --- about the results --------------------------------------------------------------------------------------------

    def look(self, key: CallKey) -> Hit | None:
        """The stored result with its age and cost. Not counted."""
        stored = self.store.ask(None, lambda store: (store.fetch(key), store.times(key)))
        found, times = (None, None) if stored is None else stored
        if found is None or times is None:
            return None
        value = found[0][0] if self.keys.kind == STREAM else found[0]
        return Hit(value, max(0.0, time.time() - times[2]), found[3] or 0.0)

    def delete(self, keys: list[CallKey]) -> int:
        """Removes results, and those that earlier code has stored if they are used. How many calls had one."""
        removed = 0
        for key in keys:
            known = [key, *self._changes.earlier(key, self.store)]
            removed += any([self.store.ask(False, lambda store, it=it: store.remove(it)) for it in known])  # type: ignore[misc]
        return removed

    def all_keys(self) -> Iterator[CallKey]:
        """The keys of all results, of all versions, in the order in which they were stored."""
        head = self.keys.head
        for key, *_ in self.store.walk(reverse=False, keys_only=True):
            if isinstance(key, tuple) and len(key) == KEY_LENGTH and key[: len(head)] == head:
                yield key

    def count(self, *, remove: bool) -> int:
        """How many entries the function has, of all versions; with `remove` they are gone."""
        return self.store.ask(0, lambda store: store.matching(self.keys.head, KEY_LENGTH, remove))

    def info(self) -> CacheInfo:
        """Counts."""
        hits, misses, saved = self.calls.counts()
        return CacheInfo(hits, misses, None, self.count(remove=False), saved)
