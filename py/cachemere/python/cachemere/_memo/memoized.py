"""What a memoized function is: one class for each kind of function, with the same methods."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from time import perf_counter
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from .._engine import BoundMemo, Lead, MemoBase
from .._leads.task_flights import Flight, Found, make_and_keep_in_task, present_task, slot_of
from .._leads.thread_turns import give_up, keep_made
from .call_key import CallKey, Names, Values
from .results import Bypassed, CacheInfo, Hit, Results
from .streams import astream, stream

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

#: Methods that take the function's own arguments.
_PER_CALL = frozenset({"refresh", "bypass", "cache_key", "cached", "cache_delete"})


class Memoized(Generic[P, R]):
    """A memoized function: called as the function is, with methods for single calls and for all of them.

    As a method of an object, `obj.f.refresh(x)` and the like take the object as the function does.
    """

    #: Of the class: an object of it is its function to whoever takes functions as arguments.
    is_memoized = True

    #: What makes such a function of the plain one in another process, if it is known.
    made_by: Callable[[Callable[..., Any]], Memoized[Any, Any]] | None = None

    __wrapped__: Callable[P, R]
    __name__: str
    __qualname__: str

    def __init__(self, results: Results, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function: Callable[..., Any] = function
        self._results = results

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(self: Memoized[Concatenate[S, Q], R], instance: S, owner: type | None = None) -> Memoized[Q, R]: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...

    @property
    def ignored_names(self) -> frozenset[str]:
        """The parameters and carried variables that results do not depend on."""
        return self._results.keys.ignore

    # --- one call -----------------------------------------------------------------------------------------------------

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function, whatever is stored, and stores the result. Does not wait for others that compute it.

        In replay mode it looks up the stored result, as a call does.
        """
        made: R = self._start(args, kwargs, "", True)
        return made

    def bypass(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function and leaves the cache alone."""
        return self.__wrapped__(*args, **kwargs)

    def salted(self, salt: object) -> Callable[P, R]:
        """The function with entries of its own for each salt: `[f.salted(n)(x) for n in range(5)]` are five samples.

        Raises:
            KeyFormError: The salt has no canonical form.
        """
        return functools.partial(self._salted, self._results.keys.salt(salt))

    def _salted(self, salt: str, /, *args: Any, **kwargs: Any) -> Any:
        return self._start(args, kwargs, salt, False)

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> CallKey:
        """The key under which the result of a call is stored; `cache.info(key)` and `cache.delete(key)` take it.

        Raises:
            KeyFormError: An argument has no canonical form.
        """
        return self._results.key(args, kwargs)

    def cached(self, *args: P.args, **kwargs: P.kwargs) -> Hit | None:
        """The stored result of a call (of a stream, its items) with age and cost, or `None`. Calls nothing."""
        return self._results.look(self._results.key(args, kwargs))

    def cache_delete(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Removes the stored result of a call, for everybody. Returns 1 if there was one, else 0.

        Raises:
            KeyFormError: An argument has no canonical form.
        """
        return self._results.delete([self._results.key(args, kwargs)])

    # --- all calls ----------------------------------------------------------------------------------------------------

    def cache_info(self) -> CacheInfo:
        """Hits, misses and seconds saved of this process, and the number of entries in the store.

        Counting the entries reads all of the namespace, about a microsecond each.
        """
        return self._results.info()

    def cache_keys(self) -> Iterator[CallKey]:
        """The keys of all stored results, of all versions, in the order in which they were stored.

        `cache[key]`, `cache.info(key)` and `cache.delete(key)` take them. Reads all keys of the namespace.
        """
        return self._results.all_keys()

    def cache_clear(self) -> None:
        """Removes the entries of this function, of all versions, for everybody, and counts from zero.

        There is no index of them: it reads all entries of the namespace, about a microsecond each.
        """
        self._results.count(remove=True)
        self._results.calls.clear()

    # --- machinery ----------------------------------------------------------------------------------------------------

    def _start(self, args: Values, kwargs: Names, salt: str, is_fresh: bool) -> Any:
        """Calls the function by way of the cache."""
        key = self._key(args, kwargs, salt)
        return self._function(*args, **kwargs) if key is None else self._compute(key, args, kwargs, is_fresh)

    def _key(self, args: Values, kwargs: Names, salt: str) -> CallKey | None:
        """The key of a call; `None` if the function is to be called without the cache."""
        if self._results.is_disabled:
            return None
        try:
            return self._results.key(args, kwargs, salt)
        except TypeError as error:
            if type(error) is TypeError and not _fits(self._function, args, kwargs):
                # The function itself says it best.
                return None
            raise

    def _compute(self, key: CallKey, args: Values, kwargs: Names, is_fresh: bool) -> Any:
        raise NotImplementedError

    def _bind(self, instance: Any, name: str) -> Any:
        """An attribute of the function as a method of an object."""
        found = getattr(self, name)
        if name in _PER_CALL:
            return functools.partial(found, instance)
        if name == "salted":
            return lambda salt: functools.partial(found(salt), instance)
        return MethodType(found, instance) if name == "__wrapped__" else found

    def __reduce__(self) -> str | tuple[Any, ...]:
        # By its name, unless that is the plain function's and it is known how this one was made of it.
        if self.made_by is None or _named(self.__module__, self.__qualname__) is self:
            return self.__qualname__
        return self.made_by, (self._function,)

    def __repr__(self) -> str:
        return f"<memoized {self._function!r}>"


def _named(module: str, qualified: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualified.split("."):
        found = getattr(found, name, None)
    return found


def _fits(function: Callable[..., Any], args: Values, kwargs: Names) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


class MemoFunction(MemoBase, Memoized[P, R]):
    """Of a plain function. Its native base answers from memory."""

    def __new__(cls, results: Results, function: Callable[..., Any]) -> Self:
        return super().__new__(cls, results.calls)

    def __init__(self, results: Results, function: Callable[..., Any]) -> None:
        Memoized.__init__(self, results, function)

    def _begin(self, args: Values, kwargs: Names) -> tuple[Any, ...]:
        """What the native base is to do for a call, as its `_finish` takes it."""
        key = self._key(args, kwargs, "")
        return self._by_itself() if key is None else self._turn(key, args, kwargs, is_fresh=False)

    def _compute(self, key: CallKey, args: Values, kwargs: Names, is_fresh: bool) -> Any:
        return self._finish(self._turn(key, args, kwargs, is_fresh), args, dict(kwargs))

    def _turn(self, key: CallKey, args: Values, kwargs: Names, is_fresh: bool) -> tuple[Any, ...]:
        results = self._results
        try:
            turn = results.begin(key, is_fresh)
        except Bypassed:
            return self._by_itself()
        if isinstance(turn, Found):
            self._refresh_stale(key, args, kwargs)
            return (turn.value,)
        return self._steps(turn, key)

    def _refresh_stale(self, key: CallKey, args: Values, kwargs: Names) -> None:
        results = self._results
        lead = results.lead_of_stale(key)
        if lead is not None:
            try:
                results.refreshing.in_thread(key, lambda: self._finish(self._steps(lead, key), args, dict(kwargs)))
            except BaseException:
                lead.release()
                raise

    def _steps(self, lead: Lead | None, key: CallKey) -> tuple[Any, ...]:
        """The function, what keeps its result, and what gives up when it fails."""
        results = self._results
        began = perf_counter()

        def keep(value: Any) -> None:
            results.keep(key, value, perf_counter() - began)

        return (
            self._function,
            functools.partial(keep_made, lead, keep),
            functools.partial(give_up, lead, results.shares_failures),
        )

    def _by_itself(self) -> tuple[Any, ...]:
        return self._function, _same, _nothing


def _same(value: T) -> T:
    return value


def _nothing(error: BaseException) -> None:
    pass


class Functionlike(Memoized[P, R]):
    """Has what `inspect` looks for in functions of other kinds than the plain one, and is called in Python."""

    def __init__(self, results: Results, function: Callable[..., Any]) -> None:
        super().__init__(results, function)
        inner: Any = inspect.unwrap(function)
        self.__code__ = inner.__code__
        self.__defaults__ = inner.__defaults__
        self.__kwdefaults__ = inner.__kwdefaults__

    if not TYPE_CHECKING:

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            return self._start(args, kwargs, "", False)

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            return self if instance is None else BoundMemo(self, instance)


class MemoCoroutine(Functionlike[P, Coroutine[Any, Any, Any]]):
    """Of an `async def`."""

    async def _compute(self, key: CallKey, args: Values, kwargs: Names, is_fresh: bool) -> Any:
        results = self._results
        try:
            turn = await results.abegin(key, is_fresh)
        except Bypassed:
            return await self._function(*args, **kwargs)
        if isinstance(turn, Found):
            lead = results.lead_of_stale(key)
            if lead is not None:
                flight = Flight((slot_of(results.store.native, key),), lead)
                results.refreshing.in_task(key, self._make(flight, key, args, kwargs))
            return turn.value
        return await self._make(turn, key, args, kwargs)

    async def _make(self, flight: Flight, key: CallKey, args: Values, kwargs: Names) -> Any:
        results = self._results
        began = perf_counter()
        return await make_and_keep_in_task(
            flight,
            lambda: self._function(*args, **kwargs),
            lambda value: results.akeep(flight, key, value, perf_counter() - began),
            shares_failure=results.shares_failures,
        )


class MemoGenerator(Functionlike[P, Generator[Any, Any, Any]]):
    """Of a generator."""

    def _compute(self, key: CallKey, args: Values, kwargs: Names, is_fresh: bool) -> Any:
        return stream(self._function, self._results, key, args, kwargs, is_fresh)


class MemoAsyncGenerator(Functionlike[P, AsyncGenerator[Any, Any]]):
    """Of an asynchronous generator."""

    def _compute(self, key: CallKey, args: Values, kwargs: Names, is_fresh: bool) -> Any:
        return astream(self._function, self._results, key, args, kwargs, is_fresh, present_task())
