"""Memoized functions from a list to a list, of which each item is kept by itself."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from inspect import BoundArguments, Parameter
from typing import Any, ParamSpec

from .._engine import Gathered
from .._leads.many_tasks import make_alone_in_task, make_many_in_task
from .._leads.many_turns import Many, in_order, make_alone, make_many
from ..errors import InvalidOptionError
from .call_key import CallKey, Names, Values
from .memoized import Functionlike
from .names import shown_function
from .results import Bypassed, Hit, Results
from .stacks import has_rows, stacked, stored_stack

P = ParamSpec("P")


class Batch:
    """How a function takes a batch.

    Args:
        name: The parameter that takes the list.
        size: How many items it is given at most.
        is_stacked: Whether what a call returns is one array.
    """

    def __init__(self, function: Callable[..., Any], name: str, size: int | None, is_stacked: bool) -> None:
        self.name = name
        self.size = size
        self.is_stacked = is_stacked
        self.shown = shown_function(function)
        self._signature = inspect.signature(function)
        parameter = self._signature.parameters.get(name)
        if parameter is None or parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise InvalidOptionError(
                f"memoize: batch= names {name!r}, which {self.shown}{self._signature} does not have as a parameter "
                f"that takes a list"
            )

    def bound(self, args: Values, options: Names) -> tuple[BoundArguments, list[Any]]:
        """The arguments of a call, and its items."""
        bound = self._signature.bind(*args, **options)
        bound.apply_defaults()
        given = bound.arguments[self.name]
        if isinstance(given, (str, bytes, bytearray, dict)):
            raise TypeError(
                f"{self.shown} takes a list of items as {self.name!r}, not one of type '{type(given).__name__}'"
            )
        return bound, list(given)

    def call(self, function: Callable[..., Any], bound: BoundArguments, items: list[Any]) -> Any:
        """Calls the function with these items."""
        of_items = BoundArguments(bound.signature, bound.arguments | {self.name: items})
        return function(*of_items.args, **of_items.kwargs)

    def answer(self, call: _Call, found: dict[CallKey, Any]) -> Any:
        """What a call returns, of what was found and made."""
        if self.is_stacked and call.whole is not None:
            return call.whole
        return self.given_out(in_order(call.keys, found))

    def given_out(self, values: Any) -> Any:
        """What a call returns."""
        return stacked(self.shown, list(values)) if self.is_stacked else list(values)


class _Call:
    """A call of a batch: its items, each with its key."""

    def __init__(self, results: Results, batch: Batch, args: Values, options: Names, salt: str) -> None:
        self.bound, self.items = batch.bound(args, options)
        self.keys = results.keys.of_items(self.bound, batch.name, self.items, salt)
        results.name_once()
        #: Each key once, with its item.
        self.by_key = dict(zip(reversed(self.keys), reversed(self.items), strict=True))
        self.wanted = list(dict.fromkeys(self.keys))
        #: What was found of them, if that was looked for.
        self.gathered: Gathered | None = None
        #: What the function returned, if it was asked for all of them.
        self.whole: Any = None

    def of(self, keys: list[CallKey]) -> list[Any]:
        """The items of keys."""
        return [self.by_key[key] for key in keys]


class _MemoBatch(Functionlike[P, Any]):
    """What both kinds have. A key, a stored result and so on are those of each item."""

    def __init__(self, results: Results, function: Callable[..., Any], batch: Batch) -> None:
        super().__init__(results, function)
        self._batch = batch

    def cache_key(self, *args: Any, **kwargs: Any) -> Any:
        """The key of each item."""
        return self._call_of(args, kwargs, "").keys

    def cached(self, *args: Any, **kwargs: Any) -> Any:
        """What is stored of each item, with age and cost, or `None`. Calls nothing."""
        found: list[Hit | None] = [self._results.look(key) for key in self._call_of(args, kwargs, "").keys]
        return found

    def cache_delete(self, *args: Any, **kwargs: Any) -> int:
        """Removes what is stored of each item; how many had something."""
        return self._results.delete(self._call_of(args, kwargs, "").wanted)

    def _call_of(self, args: Values, kwargs: Names, salt: str) -> _Call:
        return _Call(self._results, self._batch, args, kwargs, salt)

    def _start(self, args: Values, kwargs: Names, salt: str, is_fresh: bool) -> Any:
        if self._results.is_disabled:
            return self._plainly(args, kwargs)
        return self._answer(self._call_of(args, kwargs, salt), is_fresh)

    def _plainly(self, args: Values, kwargs: Names) -> Any:
        raise NotImplementedError

    def _answer(self, call: _Call, is_fresh: bool) -> Any:
        raise NotImplementedError

    def _stored_stack(self, call: _Call) -> Any:
        """All results as one array, the short way; `None` if that cannot be."""
        if not self._batch.is_stacked or len(call.keys) != len(call.wanted) or not call.keys:
            return None
        call.gathered = self._results.gather(call.keys)
        found = None if call.gathered is None else stored_stack(call.gathered, len(call.keys))
        if found is None:
            return None
        self._results.calls.hit(found[1], len(call.keys))
        return found[0]

    def _found(self, call: _Call, is_fresh: bool) -> tuple[dict[CallKey, Any], bool]:
        """What is stored, and whether the rest is made without asking whether others make it."""
        mode = self._results.mode()
        if mode != "replay" and (is_fresh or mode == "refresh"):
            self._results.store.native.check_place()
            return {}, True
        found = self._results.find_many(call.wanted, call.gathered)
        if mode == "replay":
            for key in call.wanted:
                if key not in found:
                    self._results.refuse(key)
        return found, False

    def _many(self, call: _Call) -> Many[CallKey]:
        results = self._results

        def keep(keys: list[CallKey], values: Any, cost: float) -> None:
            results.keep_many(keys, values, cost)
            if len(keys) == len(call.keys) and has_rows(values):
                call.whole = values

        return Many(
            results.store.native,
            find=results.find_many,
            make=lambda keys: self._batch.call(self._function, call.bound, call.of(keys)),
            keep=keep,
            size=self._batch.size,
            shares_failure=results.shares_failures,
            shown=self._batch.shown,
            trouble=results.trouble,
        )


class MemoBatch(_MemoBatch[P]):
    """Of a plain function."""

    def _plainly(self, args: Values, kwargs: Names) -> Any:
        return self._batch.given_out(self._function(*args, **kwargs))

    def _answer(self, call: _Call, is_fresh: bool) -> Any:
        try:
            whole = None if is_fresh else self._stored_stack(call)
            if whole is not None:
                return whole
            found, is_alone = self._found(call, is_fresh)
            missing = [key for key in call.wanted if key not in found]
            if missing:
                many = self._many(call)
                found.update(make_alone(many, missing) if is_alone else make_many(many, missing))
        except Bypassed:
            self._results.calls.miss(len(call.items))
            return self._batch.given_out(self._batch.call(self._function, call.bound, call.items))
        return self._batch.answer(call, found)


class MemoBatchCoroutine(_MemoBatch[P]):
    """Of an `async def`."""

    async def _plainly(self, args: Values, kwargs: Names) -> Any:
        return self._batch.given_out(await self._function(*args, **kwargs))

    async def _answer(self, call: _Call, is_fresh: bool) -> Any:
        try:
            whole = None if is_fresh else await asyncio.to_thread(self._stored_stack, call)
            if whole is not None:
                return whole
            found, is_alone = await asyncio.to_thread(self._found, call, is_fresh)
            missing = [key for key in call.wanted if key not in found]
            if missing:
                many = self._many(call)
                make = make_alone_in_task if is_alone else make_many_in_task
                found.update(await make(many, missing))
        except Bypassed:
            self._results.calls.miss(len(call.items))
            return self._batch.given_out(await self._batch.call(self._function, call.bound, call.items))
        return self._batch.answer(call, found)
