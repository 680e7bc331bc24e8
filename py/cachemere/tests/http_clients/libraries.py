"""Both libraries with their transports, sync and async alike, for tests that hold for all four.

`ask` of each sends one POST, reads the answer to its end and gives it; the server is a function.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import cachemere.integrations.httpx
import cachemere.integrations.httpx2
import httpx
import httpx2
import pytest
from cachemere import Cache

URL = "https://models.example/v1/chat/completions"


class Kind:
    """A library, for threads or for tasks."""

    def __init__(self, library: ModuleType, of_tasks: bool) -> None:
        self.library: Any = library
        self.of_tasks = of_tasks
        integration: Any = getattr(cachemere.integrations, library.__name__)
        self.transport: Any = integration.AsyncCachemereTransport if of_tasks else integration.CachemereTransport
        self._client: Any = library.AsyncClient if of_tasks else library.Client

    def __repr__(self) -> str:
        return f"{self.library.__name__}{' in tasks' if self.of_tasks else ''}"

    def ask(self, cache: Cache, server: Callable[[Any], Any], url: str = URL, **options: Any) -> Any:
        """An answer to a POST through a transport of its own."""
        own = {name: options.pop(name) for name in list(options) if name in _OF_THE_CLIENT}
        transport = self.transport(cache, self.mock(server), **({"on_error": "raise"} | options))
        if not self.of_tasks:
            with self._client(transport=transport, follow_redirects=True) as client:
                return client.post(url, **own)

        async def ask() -> Any:
            async with self._client(transport=transport, follow_redirects=True) as client:
                return await client.post(url, **own)

        return asyncio.run(ask())

    def mock(self, server: Callable[[Any], Any]) -> Any:
        """A transport to a function."""
        return self.library.MockTransport(server)

    def response(self, chunks: Iterable[bytes | BaseException], status: int = 200, **headers: Any) -> Any:
        """An answer that comes in chunks, or fails where one is an exception."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.library.Response(status, headers=named, stream=self._stream(chunks))

    def _stream(self, chunks: Iterable[bytes | BaseException]) -> Any:
        class Stream(self.library.AsyncByteStream if self.of_tasks else self.library.SyncByteStream):  # type: ignore
            def __iter__(self) -> Iterator[bytes]:
                for chunk in chunks:
                    if isinstance(chunk, BaseException):
                        raise chunk
                    yield chunk

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for chunk in iter(self):
                    yield chunk

        return Stream()

    def parts(self, cache: Cache, server: Callable[[Any], Any], leave_after: int | None = None) -> list[bytes]:
        """The body of an answer in the chunks it comes in, or so many of them, after which it is left."""
        transport = self.transport(cache, self.mock(server), on_error="raise")
        if not self.of_tasks:
            with self._client(transport=transport) as client, client.stream("POST", URL, json={"stream": True}) as got:
                return list(itertools.islice(got.iter_raw(), leave_after))

        async def read() -> list[bytes]:
            async with (
                self._client(transport=transport) as client,
                client.stream("POST", URL, json={"stream": True}) as got,
            ):
                read: list[bytes] = []
                async for chunk in got.aiter_raw():
                    read.append(chunk)
                    if len(read) == leave_after:
                        break
                return read

        return asyncio.run(read())


_OF_THE_CLIENT = {"json", "content", "files", "data", "extensions", "params"}

KINDS = [Kind(library, of_tasks) for library in (httpx, httpx2) for of_tasks in (False, True)]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
