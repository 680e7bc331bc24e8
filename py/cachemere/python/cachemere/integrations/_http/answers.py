"""The answers in a store, as a transport uses them, and what it is to do with a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from ..._core import checks
from ..._core.quantities import Seconds, Size
from ..._engine import Lead
from ..._leads.failures import Failure
from ..._leads.task_flights import Flight, take_off
from ..._leads.thread_turns import take_turn
from ...cache import Cache
from ...errors import CacheError
from .._finished import is_finished
from .._part import Part, Troubles
from .chosen import is_model_call
from .exchange import Exchange, restored
from .recording import Recording
from .replay_miss import replay_miss
from .request_key import Asked, Key, RequestKeys

#: In an answer: `hit` or `miss`. In a request: what to do with this one, see :data:`MODES`.
MARK = "x-cachemere"

#: `"normal"`, `"refresh"` or `"replay"`, as for memoized functions; a single request can also bypass the cache.
MODES = ("normal", "refresh", "replay")

_MISSING: Any = object()


class Answers:
    """See the module. The arguments are those of the transports."""

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str,
        ttl: Seconds | None,
        match: Callable[[Any], bool] | None,
        headers: Iterable[str],
        ignore: Iterable[str],
        account: str | None,
        mode: str,
        max_body: Size,
        cache_if: Callable[[Any], bool] | None,
        on_error: str,
    ) -> None:
        checks.function("cache_if", cache_if)
        #: Whether to keep an answer, by what it says.
        self.is_wanted = is_finished if cache_if is None else cache_if
        self._ttl = checks.seconds("ttl", ttl)
        checks.function("match", match)
        checks.choice("mode", mode, MODES)
        self.max_body = checks.size("max_body", max_body)
        self._match = match
        self._keys = RequestKeys(headers, ignore, account)
        self._mode = mode
        self._troubles = Troubles("the HTTP client", on_error)
        self._part = Part.of(cache, namespace)

    # --- a request ----------------------------------------------------------------------------------------------------

    def plan(self, request: Any) -> str | None:
        """What to do with a request, one of :data:`MODES`; `None`: to hand it on and nothing else.

        Raises:
            InvalidOptionError: The request, or the environment, asks for a mode that does not exist.
        """
        wanted = self._asked_mode(request)
        if request.method != "POST" or wanted == "bypass" or self._part.disabled:
            return None
        if not (is_model_call(request) if self._match is None else self._match(request)):
            return None
        said = (wanted, self._mode, self._part.mode)
        # Replay wins, as it does for memoized functions: whoever says it wants nothing to be asked.
        return "replay" if "replay" in said else "refresh" if "refresh" in said else "normal"

    def asked(self, request: Any, content: bytes, mode: str) -> Asked | None:
        """What a request asks, once its content was read; `None`: what no stored answer is right for."""
        try:
            asked = self._keys.asked(request, content)
        except Exception as error:
            self._troubles.meet(error)
            if mode == "replay":
                raise replay_miss(request.url.host) from error
            return None
        return None if self._match is None and asked.depends_on_more else asked

    def _asked_mode(self, request: Any) -> str:
        # By a header, since that is what the clients of models let their users set. It is not sent.
        if MARK in request.headers:
            told: Any = request.headers.pop(MARK)
        elif "cachemere" in request.extensions:
            told = request.extensions["cachemere"]
        else:
            return "normal"
        checks.choice(f"{MARK} of a request", told, (*MODES, "bypass"))
        # For a redirection, which is another request with these extensions. Not put into what may be the caller's own.
        request.extensions = {**request.extensions, "cachemere": told}
        return str(told)

    # --- its answer ---------------------------------------------------------------------------------------------------

    def find(self, key: Key) -> Exchange | None:
        """What is stored."""
        try:
            return self._given(self._part.get(key, _MISSING))
        except Exception as error:
            self._troubles.meet(error)
            return None

    async def afind(self, key: Key) -> Exchange | None:
        """As :meth:`find`. Only what is in memory and current is given out without a thread."""
        try:
            return self._given(await self._part.aget(key, _MISSING))
        except Exception as error:
            self._troubles.meet(error)
            return None

    def _given(self, found: Any) -> Exchange | None:
        return None if found is _MISSING else restored(found)

    def keep(self, key: Key, recording: Recording, has_ended: bool) -> None:
        """Stores an answer, if it is a whole one."""
        try:
            exchange = recording.finished(has_ended)
            if exchange is not None:
                self._part.set(key, exchange.stored(), self._ttl)
        except Exception as error:
            self._troubles.meet(error)

    async def akeep(self, key: Key, recording: Recording, has_ended: bool) -> None:
        """As :meth:`keep`, in a thread. A cancelled task does not take with it what is about to be written."""
        try:
            writing = asyncio.get_running_loop().run_in_executor(None, self.keep, key, recording, has_ended)
        except RuntimeError as error:
            # Of another loop than asyncio's.
            self._troubles.meet(error)
        else:
            await asyncio.shield(writing)

    # --- whose turn it is to ask --------------------------------------------------------------------------------------

    def turn(self, key: Key) -> Exchange | Lead | Failure | None:
        """Waits for an answer, for the failure of who asked, or for the turn to ask.

        `None`: the store has failed, ask as if there were none.
        """
        try:
            return take_turn(self._part.native, key, self.find)
        except CacheError as error:
            self._troubles.meet(error)
            return None

    async def aturn(self, key: Key) -> Exchange | Flight | Failure | None:
        """As :meth:`turn`, for a task. Only memory is looked at in the loop."""
        store = self._part.native
        if not store.is_open:
            # Looking for the answer has failed to open it.
            return None
        try:
            return await take_off(store, key, self._peeked, self.afind)
        except Exception as error:
            self._troubles.meet(error)
            return None

    def _peeked(self, key: Key) -> Exchange | None:
        return self._given(self._part.native.peek(key, _MISSING))
