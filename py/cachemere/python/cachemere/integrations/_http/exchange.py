"""An answer as it is stored: its status, some of its headers, and its body in the chunks it came in.

The body is stored decoded, so that it can be read where the library that decodes it is missing. Headers are stored that
are in a list: those of credentials (`set-cookie`), of the connection, and of the account and its limits are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..._core.checks import shown
from ...errors import DecodeError

#: The headers of an answer that are stored.
KEPT_HEADERS = frozenset(
    {
        "content-disposition",
        "content-language",
        "content-length",
        "content-type",
        "date",
        "openai-model",
        "openai-processing-ms",
        "openai-version",
        "request-id",
        "x-request-id",
    }
)

_MARK = "http answer 1"

Headers = tuple[tuple[str, str], ...]


class Exchange(NamedTuple):
    """A stored answer."""

    status: int
    headers: Headers
    chunks: list[bytes]

    def stored(self) -> tuple[Any, ...]:
        """Plain data."""
        return _MARK, self.status, self.headers, self.chunks


def restored(found: Any) -> Exchange:
    """What :meth:`Exchange.stored` gave.

    Raises:
        DecodeError: It is something else.
    """
    match found:
        case (mark, int(status), tuple(headers), list(chunks)) if (
            mark == _MARK and 200 <= status < 300 and all(map(_is_header, headers)) and _are_bytes(chunks)
        ):
            return Exchange(status, headers, chunks)
    raise DecodeError(f"the entry is not an answer but {shown(found)}: give each adapter a namespace of its own")


def kept_headers(headers: Iterable[tuple[str, str]], was_encoded: bool) -> Headers:
    """Those of an answer's headers that are stored. The length of an encoded body is not that of the decoded one."""
    return tuple(
        (name, value)
        for name, value in headers
        if name.lower() in KEPT_HEADERS and _is_plain(value) and not (was_encoded and name.lower() == "content-length")
    )


def _is_header(it: Any) -> bool:
    return (
        type(it) is tuple and len(it) == 2 and type(it[0]) is str and it[0].lower() in KEPT_HEADERS and _is_plain(it[1])
    )


def _is_plain(it: Any) -> bool:
    return type(it) is str and it.isascii() and it.isprintable()


def _are_bytes(chunks: list[Any]) -> bool:
    return not chunks or set(map(type, chunks)) == {bytes}
