"""The classes of `httpx` or `httpx2` that the transports use. Both have the same, by the same names."""

from __future__ import annotations

from typing import Any

from ..._checks import shown
from ...errors import InvalidOptionError
from .recording import AsyncRecordedStream, RecordedStream, ReplayedStream


class Library:
    """See the module. It takes the library's own module.

    Raises:
        AttributeError: The library has another interface.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        #: Of the library.
        self.response = module.Response
        self._kinds = (module.BaseTransport, module.HTTPTransport)
        self._async_kinds = (module.AsyncBaseTransport, module.AsyncHTTPTransport)
        # Clients take no streams but of these classes.
        of_threads, of_tasks = module.SyncByteStream, module.AsyncByteStream
        self.replayed: Any = type("ReplayedStream", (ReplayedStream, of_tasks, of_threads), {})
        self.recorded: Any = type("RecordedStream", (RecordedStream, of_threads), {})
        self.async_recorded: Any = type("AsyncRecordedStream", (AsyncRecordedStream, of_tasks), {})
        self._decoding_error: type[Exception] = module.DecodingError

    def inner(self, given: Any) -> Any:
        """The transport beneath, for threads: what the program has given, or a new one of the library."""
        return self._checked(given, *self._kinds)

    def async_inner(self, given: Any) -> Any:
        """The transport beneath, for tasks."""
        return self._checked(given, *self._async_kinds)

    def _checked(self, given: Any, base: type, default: type) -> Any:
        if given is None:
            return default()
        if not isinstance(given, base):
            raise InvalidOptionError(f"transport must be a {base.__module__}.{base.__name__}, not {shown(given)}")
        return given

    def decoded(self, encoding: str, chunks: list[bytes]) -> tuple[list[bytes], bool]:
        """The chunks of a body, decoded, as far as they go, and whether they go to the end."""
        response = self.response(200, headers={"content-encoding": encoding}, stream=self.replayed(chunks))
        decoded: list[bytes] = []
        try:
            decoded.extend(response.iter_bytes())
        except self._decoding_error:
            return decoded, False
        return decoded, True
