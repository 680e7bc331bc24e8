"""What a transport does with a request, in a thread and in a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar

from ..._core.quantities import Seconds, Size
from ..._engine import Lead
from ..._leads.failures import Failure, is_of_function
from ..._leads.task_flights import Flight
from ...cache import Cache
from . import completeness, mismatch
from .answers import MARK, Answers
from .exchange import Exchange
from .library import Library
from .recording import Recording
from .replay_miss import replay_miss
from .request_key import KEY_HEADERS, Asked, Key

#: Bytes of a body that is stored at most, unless told otherwise.
MAX_BODY = 16 << 20


class _Transport:
    """What both have."""

    _library: ClassVar[Library]

    def __init__(
        self,
        cache: Cache,
        transport: Any = None,
        *,
        namespace: str = "http",
        ttl: Seconds | None = None,
        match: Callable[[Any], bool] | None = None,
        headers: Iterable[str] = KEY_HEADERS,
        ignore: Iterable[str] = (),
        account: str | None = None,
        mode: str = "normal",
        max_body: Size = MAX_BODY,
        cache_if: Callable[[Any], bool] | None = None,
        on_error: str = "bypass",
    ) -> None:
        self._answers = Answers(
            cache,
            namespace=namespace,
            ttl=ttl,
            match=match,
            headers=headers,
            ignore=ignore,
            account=account,
            mode=mode,
            max_body=max_body,
            cache_if=cache_if,
            on_error=on_error,
        )
        self._inner = self._inner_transport(transport)

    def _inner_transport(self, given: Any) -> Any:
        raise NotImplementedError

    def _replayed(self, exchange: Exchange) -> Any:
        return self._library.response(
            exchange.status,
            headers=[*exchange.headers, (MARK, "hit")],
            stream=self._library.replayed(exchange.chunks),
        )

    def _recorded(self, response: Any, stream: Any) -> Any:
        # Another object, since this one may have been read already, as those of other transports than that to the
        # network are.
        return self._library.response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )

    def _recording(self, response: Any) -> Recording | None:
        """What to record of an answer, if it can be one that is stored. It is marked in any case."""
        headers = response.headers.multi_items()
        response.headers[MARK] = "miss"
        if not completeness.may_be_stored(response.status_code):
            return None
        version = response.extensions.get("http_version")
        answers = self._answers
        return Recording(
            response.status_code, headers, version, answers.max_body, self._library.decoded, answers.is_wanted
        )


class CachingTransport(_Transport):
    """Base of the transports for clients in threads."""

    def _inner_transport(self, given: Any) -> Any:
        return self._library.inner(given)

    def handle_request(self, request: Any) -> Any:
        """The stored answer to a request, or that of the transport beneath."""
        if not isinstance(request, self._library.request):
            raise mismatch.of_another_library(self, request, self._library.name)
        answers = self._answers
        mode = answers.plan(request)
        asked = None if mode is None else answers.asked(request, request.read(), mode)
        if asked is None:
            return self._inner.handle_request(request)
        if mode != "refresh":
            found = answers.find(asked.key)
            if found is not None:
                return self._replayed(found)
            if mode == "replay":
                raise replay_miss(asked.key[1])
        if mode == "refresh" or asked.wants_stream:
            return self._ask(request, asked, None)
        turn = answers.turn(asked.key)
        if isinstance(turn, Exchange):
            return self._replayed(turn)
        if isinstance(turn, Failure):
            raise turn.again()
        try:
            return self._ask(request, asked, turn)
        except Exception as error:
            if turn is not None and is_of_function(error):
                turn.fail(Failure(error))
            raise
        finally:
            if turn is not None:
                turn.release()

    def _ask(self, request: Any, asked: Asked, lead: Lead | None) -> Any:
        response = self._inner.handle_request(request)
        recording = self._recording(response)
        if recording is None:
            return response
        stream = self._library.recorded(response.stream, recording, self._keeper(asked.key))
        # Those who wait shall find the answer. A stream takes its consumer's time, so they do not wait for it.
        if lead is not None and completeness.is_finite(recording.content_type):
            stream.read_ahead()
        return self._recorded(response, stream)

    def _keeper(self, key: Key) -> Callable[[Recording, bool], None]:
        return lambda recording, has_ended: self._answers.keep(key, recording, has_ended)

    def close(self) -> None:
        """Closes the transport beneath. The cache stays open."""
        self._inner.close()

    # What a client for tasks calls, if it was given this transport.

    async def handle_async_request(self, request: Any) -> Any:
        """Raises the error that says which transport to take."""
        raise mismatch.for_threads(self._library.name)

    async def __aenter__(self) -> Any:
        raise mismatch.for_threads(self._library.name)

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()


class AsyncCachingTransport(_Transport):
    """Base of the transports for clients in tasks of asyncio."""

    def _inner_transport(self, given: Any) -> Any:
        return self._library.async_inner(given)

    async def handle_async_request(self, request: Any) -> Any:
        """The stored answer to a request, or that of the transport beneath."""
        if not isinstance(request, self._library.request):
            raise mismatch.of_another_library(self, request, self._library.name)
        answers = self._answers
        mode = answers.plan(request)
        asked = None if mode is None else answers.asked(request, await request.aread(), mode)
        if asked is None:
            return await self._inner.handle_async_request(request)
        if mode != "refresh":
            found = await answers.afind(asked.key)
            if found is not None:
                return self._replayed(found)
            if mode == "replay":
                raise replay_miss(asked.key[1])
        if mode == "refresh" or asked.wants_stream:
            return await self._ask(request, asked, None)
        turn = await answers.aturn(asked.key)
        if isinstance(turn, Exchange):
            return self._replayed(turn)
        if isinstance(turn, Failure):
            raise turn.again()
        try:
            return await self._ask(request, asked, turn)
        except Exception as error:
            if turn is not None:
                turn.note(error)
            raise
        finally:
            if turn is not None:
                turn.land()

    async def _ask(self, request: Any, asked: Asked, flight: Flight | None) -> Any:
        response = await self._inner.handle_async_request(request)
        recording = self._recording(response)
        if recording is None:
            return response
        stream = self._library.async_recorded(response.stream, recording, self._keeper(asked.key))
        if flight is not None and completeness.is_finite(recording.content_type):
            await stream.read_ahead()
        return self._recorded(response, stream)

    def _keeper(self, key: Key) -> Callable[[Recording, bool], Awaitable[None]]:
        return lambda recording, has_ended: self._answers.akeep(key, recording, has_ended)

    async def aclose(self) -> None:
        """Closes the transport beneath. The cache stays open."""
        await self._inner.aclose()

    # What a client for threads calls, if it was given this transport.

    def handle_request(self, request: Any) -> Any:
        """Raises the error that says which transport to take."""
        raise mismatch.for_tasks(self._library.name)

    def __enter__(self) -> Any:
        raise mismatch.for_tasks(self._library.name)

    def close(self) -> None:
        """Nothing, since nothing was asked: the transport beneath is closed by a task."""
