"""Transports for `httpx2` that keep the answers of models and of other chosen requests.

They need `httpx2`: `pip install 'cachemere[httpx2]'`. They stand under any client of httpx2: OpenAI's from 3 on and
Anthropic's from 2 on are made on it.
Entries are the same as those of :mod:`cachemere.integrations.httpx`.
"""

from __future__ import annotations

from ._host import Host
from ._http.library import Library
from ._http.request_key import KEY_HEADERS
from ._http.transports import MAX_BODY, AsyncCachingTransport, CachingTransport

_HOST = Host(module="httpx2", extra="httpx2", distribution="httpx2", supported=">=2,<3")

try:
    import httpx2

    _LIBRARY = Library(httpx2)
except (ImportError, AttributeError) as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["KEY_HEADERS", "MAX_BODY", "AsyncCachemereTransport", "CachemereTransport"]


class CachemereTransport(CachingTransport, httpx2.BaseTransport):
    """Keeps answers: for `transport=` of a `httpx2.Client`.

    An answer is found again by method, URL, body and chosen headers. Of JSON, the order of members, white space and the
    form of numbers do not matter. Credentials (`Authorization`, `x-api-key`, cookies, those in the URL, ...) are
    neither part of the key nor stored, so that accounts share answers unless `account` tells them apart.

    Stored is an answer of success, once it was received as a whole, that is no error: with some of its headers, its
    body decoded. An event stream is recorded while the client reads it, and replayed in the same chunks. One that is
    left before its last event, broken off, or has an error in it is not stored. All other requests, and all answers,
    go through as they are; in the headers of an answer, `x-cachemere` is `hit` or `miss`.

    Of threads and processes that ask the same at once, one does, and the others wait, unless it is a stream.

    A single request can say otherwise, by a header `x-cachemere` (which is not sent) or an extension `cachemere`:
    `"refresh"`, `"replay"` or `"bypass"`. `CACHEMERE_MODE` and `CACHEMERE_DISABLE` are honoured as by memoized
    functions.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it.
        transport: What asks for what is not stored. `None`: one of httpx2, with the proxies of the environment, and for
            as many connections as the clients of OpenAI and Anthropic want.
        namespace: Which part of the store. The adapter has it for itself.
        ttl: Seconds an answer lives. `None`: as the cache says.
        match: Called with each POST, of which it sees URL and headers; if false, it is handed on and nothing else, if
            true, its body is read into memory. Other methods than POST are always handed on. `None`: requests to
            models, by paths of OpenAI and Anthropic (`/chat/completions`, `/completions`, `/responses`, `/embeddings`,
            `/v1/messages`), but for those with a `conversation` or in the `background`.
        headers: Names of headers whose values are part of the key.
        ignore: Names of members of JSON bodies that the answer does not depend on, such as `user` or `metadata`.
        account: Entries of its own for each account, or for whatever is not to share answers. It can be read in no
            entry.
        mode: `"normal"`; `"refresh"`: all is asked anew and stored; `"replay"`: nothing is asked, and what is not
            stored is a :class:`~cachemere.errors.ReplayMissError`.
        max_body: Bytes. A longer answer is not stored.
        cache_if: Called with what each whole answer says: JSON, or a list of the JSON of a stream's events. If false,
            the answer is not stored. `None`: one that was cut off by its length or by a filter (`finish_reason`,
            `stop_reason`, `incomplete`) is not stored, nor is an empty one.
        on_error: `"bypass"`: what goes wrong when an answer is looked up or stored is logged (logger `cachemere`), once
            for each message, and the request is sent as if there were no cache. `"raise"`: it is raised.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere, httpx2
        >>> from cachemere.integrations.httpx2 import CachemereTransport
        >>> def model(request):  # In the place of a server.
        ...     print("asked")
        ...     return httpx2.Response(200, json={"answer": 42})
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store")
        >>> client = httpx2.Client(transport=CachemereTransport(cache, httpx2.MockTransport(model)))
        >>> for body in ({"model": "m", "input": "Why?"}, {"input": "Why?", "model": "m"}):
        ...     answer = client.post("https://example.com/v1/responses", json=body)
        ...     print(answer.json(), answer.headers["x-cachemere"])
        asked
        {'answer': 42} miss
        {'answer': 42} hit
        >>> client.close(); cache.close()
    """

    _library = _LIBRARY


class AsyncCachemereTransport(AsyncCachingTransport, httpx2.AsyncBaseTransport):
    """As :class:`CachemereTransport`, for `transport=` of a `httpx2.AsyncClient`, under asyncio.

    Whatever is done on the disk is done in threads. Of all that ask the same at once, one does.

    Example:
        >>> import asyncio, tempfile, cachemere, httpx2
        >>> from cachemere.integrations.httpx2 import AsyncCachemereTransport
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store")
        >>> model = httpx2.MockTransport(lambda request: httpx2.Response(200, json={"answer": 42}))
        >>> async def main():
        ...     async with httpx2.AsyncClient(transport=AsyncCachemereTransport(cache, model)) as client:
        ...         ask = lambda: client.post("https://example.com/v1/responses", json={"input": "Why?"})
        ...         return [(await ask()).headers["x-cachemere"] for _ in range(2)]
        >>> asyncio.run(main())
        ['miss', 'hit']
        >>> cache.close()
    """

    _library = _LIBRARY
