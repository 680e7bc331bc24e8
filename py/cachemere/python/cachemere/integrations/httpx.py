"""Transports for `httpx` that keep the answers of models and of other chosen requests.

They need `httpx`: `pip install 'cachemere[httpx]'`. They stand under any client of httpx: OpenAI's takes one, as do
older ones of others. Those from Anthropic's 2 on take `httpx2` alone.
Entries are the same as those of :mod:`cachemere.integrations.httpx2`.
"""

from __future__ import annotations

from ._host import Host
from ._http.library import Library
from ._http.request_key import KEY_HEADERS
from ._http.transports import MAX_BODY, AsyncCachingTransport, CachingTransport

_HOST = Host(module="httpx", extra="httpx", distribution="httpx", supported=">=0.28.1,<1")

try:
    import httpx

    _LIBRARY = Library(httpx)
except (ImportError, AttributeError) as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["KEY_HEADERS", "MAX_BODY", "AsyncCachemereTransport", "CachemereTransport"]


class CachemereTransport(CachingTransport, httpx.BaseTransport):
    """Keeps answers: for `transport=` of a `httpx.Client`.

    Arguments and behaviour are those of :class:`cachemere.integrations.httpx2.CachemereTransport`.

    Example:
        >>> import tempfile, cachemere, httpx
        >>> from cachemere.integrations.httpx import CachemereTransport
        >>> def model(request):  # In the place of a server.
        ...     print("asked")
        ...     return httpx.Response(200, json={"answer": 42})
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store")
        >>> client = httpx.Client(transport=CachemereTransport(cache, httpx.MockTransport(model)))
        >>> for body in ({"model": "m", "input": "Why?"}, {"input": "Why?", "model": "m"}):
        ...     answer = client.post("https://example.com/v1/responses", json=body)
        ...     print(answer.json(), answer.headers["x-cachemere"])
        asked
        {'answer': 42} miss
        {'answer': 42} hit
        >>> client.close(); cache.close()
    """

    _library = _LIBRARY


class AsyncCachemereTransport(AsyncCachingTransport, httpx.AsyncBaseTransport):
    """As :class:`CachemereTransport`, for `transport=` of a `httpx.AsyncClient`, under asyncio.

    Whatever is done on the disk is done in threads. Of all that ask the same at once, one does.

    Example:
        >>> import asyncio, tempfile, cachemere, httpx
        >>> from cachemere.integrations.httpx import AsyncCachemereTransport
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store")
        >>> model = httpx.MockTransport(lambda request: httpx.Response(200, json={"answer": 42}))
        >>> async def main():
        ...     async with httpx.AsyncClient(transport=AsyncCachemereTransport(cache, model)) as client:
        ...         ask = lambda: client.post("https://example.com/v1/responses", json={"input": "Why?"})
        ...         return [(await ask()).headers["x-cachemere"] for _ in range(2)]
        >>> asyncio.run(main())
        ['miss', 'hit']
        >>> cache.close()
    """

    _library = _LIBRARY
