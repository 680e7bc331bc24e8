"""Bodies of answers: recorded while the client reads them, and replayed in the chunks they came in.

The libraries want streams of classes of their own, which their modules derive from those here.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from . import completeness
from .exchange import Exchange, kept_headers

#: Makes a body out of what was received of it with a content encoding: decoded chunks, as far as they go, and whether
#: they go to the end.
Decode = Callable[[str, list[bytes]], tuple[list[bytes], bool]]


class Recording:
    """What was received of an answer so far.

    Args:
        headers: Those of the answer, as pairs.
        version: Of HTTP, as the answer says; `None` if it came over no network.
        limit: Bytes. A longer body is not recorded.
        wanted: Whether a whole answer is to be stored, by what it says; see :func:`.completeness.parsed`.
    """

    def __init__(
        self,
        status: int,
        headers: Iterable[tuple[str, str]],
        version: bytes | None,
        limit: int,
        decode: Decode,
        wanted: Callable[[Any], bool],
    ) -> None:
        self._wanted = wanted
        self._status = status
        self._headers = tuple(headers)
        self._limit = limit
        self._decode = decode
        told = {name.lower(): value for name, value in self._headers}
        self.content_type = told.get("content-type", "")
        encodings = (value.strip() for name, value in self._headers if name.lower() == "content-encoding")
        self._encoding = ", ".join(value for value in encodings if value.lower() != "identity")
        self._length = told.get("content-length")
        self._is_delimited = (
            version not in (b"HTTP/1.0", b"HTTP/1.1") or self._length is not None or "transfer-encoding" in told
        )
        self._chunks: list[bytes] | None = []
        self._size = 0

    @property
    def is_given_up(self) -> bool:
        """Whether it will not be stored."""
        return self._chunks is None

    def add(self, chunk: bytes) -> None:
        """Notes a chunk of the body, as it was received."""
        if self._chunks is not None:
            self._chunks.append(chunk)
            self._size += len(chunk)
            if self._size > self._limit:
                self.give_up()

    def give_up(self) -> None:
        """The body is not to be stored."""
        self._chunks = None

    def finished(self, has_ended: bool) -> Exchange | None:
        """What is to be stored, if anything. It takes time with a large body: it is decoded and looked through."""
        chunks = received = self._chunks
        if chunks is None or received is None or not completeness.may_be_stored(self._status):
            return None
        if has_ended and self._length is not None and self._length != str(self._size):
            return None
        if self._encoding:
            chunks, is_decoded = self._decode(self._encoding, chunks)
            has_ended = has_ended and is_decoded
            if sum(map(len, chunks)) > self._limit:
                return None
        body = b"".join(chunks)
        is_delimited = _is_packed_whole(self._encoding, received) if self._encoding else self._is_delimited
        if not completeness.is_whole(self.content_type, body, has_ended=has_ended, is_delimited=is_delimited):
            return None
        if not self._wanted(completeness.parsed(self.content_type, body)):
            return None
        # The chunks of what was sent at once mean nothing.
        kept = chunks if not completeness.is_finite(self.content_type) else [body]
        return Exchange(self._status, kept_headers(self._headers, bool(self._encoding)), kept)


def _is_packed_whole(encoding: str, chunks: list[bytes]) -> bool:
    """Whether what was received with a content encoding is a whole of it, which hosts do not check for all of them.

    Where a host lacks the library for one, it gives out what it has received. So of all that need one, none is whole.
    """
    if encoding.strip().lower() not in ("gzip", "deflate"):
        return False
    # Gzip or zlib, as the first bytes say.
    unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            unpacker.decompress(chunk)
    except zlib.error:
        return False
    return unpacker.eof


class ReplayedStream:
    """A stored body. For both kinds of clients."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class RecordedStream:
    """A body that is recorded while it is read. What was recorded is given to `keep` when it ended or is closed."""

    def __init__(self, inner: Any, recording: Recording, keep: Callable[[Recording, bool], None]) -> None:
        self._inner = inner
        self._source: Iterator[bytes] | None = None
        self._recording: Recording | None = recording
        self._keep = keep
        self._ahead: list[bytes] = []
        self._has_ended = self._is_closed = False

    def read_ahead(self) -> None:
        """Reads the body to its end, unless it is too long to be recorded, before the client does."""
        try:
            while self._recording is not None and not self._recording.is_given_up:
                chunk = self._next()
                if chunk is not None:
                    self._ahead.append(chunk)
            if self._has_ended:
                self.close()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        while self._ahead:
            yield self._ahead.pop(0)
        while (chunk := self._next()) is not None:
            yield chunk

    def _next(self) -> bytes | None:
        if self._has_ended:
            return None
        if self._source is None:
            self._source = iter(self._inner)
        try:
            chunk = next(self._source)
        except StopIteration:
            self._has_ended = True
            self._end()
            return None
        except BaseException:
            self._recording = None
            raise
        if self._recording is not None:
            self._recording.add(chunk)
        return chunk

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._inner.close()
        except BaseException:
            self._recording = None
            raise
        self._end()

    def _end(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None and not recording.is_given_up:
            self._keep(recording, self._has_ended)


class AsyncRecordedStream:
    """As :class:`RecordedStream`."""

    def __init__(self, inner: Any, recording: Recording, keep: Callable[[Recording, bool], Awaitable[None]]) -> None:
        self._inner = inner
        self._source: AsyncIterator[bytes] | None = None
        self._recording: Recording | None = recording
        self._keep = keep
        self._ahead: list[bytes] = []
        self._has_ended = self._is_closed = False

    async def read_ahead(self) -> None:
        """As :meth:`RecordedStream.read_ahead`."""
        try:
            while self._recording is not None and not self._recording.is_given_up:
                chunk = await self._next()
                if chunk is not None:
                    self._ahead.append(chunk)
            if self._has_ended:
                await self.aclose()
        except BaseException:
            await self.aclose()
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._ahead:
            yield self._ahead.pop(0)
        while (chunk := await self._next()) is not None:
            yield chunk

    async def _next(self) -> bytes | None:
        if self._has_ended:
            return None
        if self._source is None:
            self._source = aiter(self._inner)
        try:
            chunk = await anext(self._source)
        except StopAsyncIteration:
            self._has_ended = True
            await self._end()
            return None
        except BaseException:
            self._recording = None
            raise
        if self._recording is not None:
            self._recording.add(chunk)
        return chunk

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._inner.aclose()
        except BaseException:
            self._recording = None
            raise
        await self._end()

    async def _end(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None and not recording.is_given_up:
            await self._keep(recording, self._has_ended)
