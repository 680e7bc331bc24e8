"""The classes of `httpx` or `httpx2` that the transports use. Both have the same, by the same names."""

from __future__ import annotations

from typing import Any

from ..._core.checks import shown
from ...errors import InvalidOptionError
from .beneath import CONNECTIONS, KEPT_CONNECTIONS, AsyncRoutedTransport, RoutedTransport, Routes, socket_options
from .recording import AsyncRecordedStream, RecordedStream, ReplayedStream


class Library:
    """See the module. It takes the library's own module.

    Raises:
        AttributeError: The library has another interface.
    """

    def __init__(self, module: Any) -> None:
        self.name: str = module.__name__
        #: Of the library.
        self.request: Any = module.Request
        self.response = module.Response
        self._limits = module.Limits(max_connections=CONNECTIONS, max_keepalive_connections=KEPT_CONNECTIONS)
        self._transport, self._async_transport = module.HTTPTransport, module.AsyncHTTPTransport
        self._bases = module.BaseTransport, module.AsyncBaseTransport
        # Clients take no streams but of these classes.
        of_threads, of_tasks = module.SyncByteStream, module.AsyncByteStream
        self.replayed: Any = type("ReplayedStream", (ReplayedStream, of_tasks, of_threads), {})
        self.recorded: Any = type("RecordedStream", (RecordedStream, of_threads), {})
        self.async_recorded: Any = type("AsyncRecordedStream", (AsyncRecordedStream, of_tasks), {})
        self._decoding_error: type[Exception] = module.DecodingError

    def inner(self, given: Any) -> Any:
        """The transport beneath, for threads: what the program has given, or a new one."""
        return RoutedTransport(self._routes(self._transport)) if given is None else _checked(given, self._bases[0])

    def async_inner(self, given: Any) -> Any:
        """The transport beneath, for tasks."""
        if given is None:
            return AsyncRoutedTransport(self._routes(self._async_transport))
        return _checked(given, self._bases[1])

    def _routes(self, transport: Any) -> Routes:
        options = socket_options()
        return Routes(lambda proxy: transport(limits=self._limits, proxy=proxy, socket_options=options))

    def decoded(self, encoding: str, chunks: list[bytes]) -> tuple[list[bytes], bool]:
        """The chunks of a body, decoded, as far as they go, and whether they go to the end."""
        response = self.response(200, headers={"content-encoding": encoding}, stream=self.replayed(chunks))
        decoded: list[bytes] = []
        try:
            decoded.extend(response.iter_bytes())
        except self._decoding_error:
            return decoded, False
        return decoded, True


def _checked(given: Any, base: type) -> Any:
    if not isinstance(given, base):
        raise InvalidOptionError(f"transport must be a {base.__module__}.{base.__name__}, not {shown(given)}")
    return given
