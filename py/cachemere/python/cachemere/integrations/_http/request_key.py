"""What an answer is found by, with no credential in it.

A key is the method, the URL without its query, and a SHA-256 of all else that tells a request from others: the query,
the chosen headers, the account, and the body in its canonical form. So nothing that was asked is in a key in the clear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from ..._core import checks
from ...errors import InvalidOptionError
from .bodies import canonical
from .chosen import depends_on_more

Key = tuple[str, str, str]

_PORTS = {"http": 80, "https": 443}

#: How many bodies a transport remembers, by their SHA-256.
_REMEMBERED = 4096

#: Headers of a request that say what kind of answer is wanted, of the interfaces the default `match` knows.
KEY_HEADERS = ("accept", "anthropic-beta", "anthropic-version", "openai-beta")

#: Headers that are credentials, or name whose they are. No key has them.
CREDENTIAL_HEADERS = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "openai-organization",
        "openai-project",
        "proxy-authorization",
        "set-cookie",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
    }
)

#: Parameters in the query of a URL that are credentials.
CREDENTIAL_PARAMETERS = frozenset(
    {
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "auth_token",
        "client_secret",
        "key",
        "password",
        "sig",
        "signature",
        "subscription-key",
        "token",
        "x-amz-credential",
        "x-amz-security-token",
        "x-amz-signature",
    }
)


class Asked(NamedTuple):
    """A request as the cache sees it."""

    key: Key
    #: Whether it asks for a stream, whose consumer decides how long it takes.
    wants_stream: bool
    #: Whether the answer to a model call with this body depends on more than the request.
    depends_on_more: bool


class _Body(NamedTuple):
    """What is to be known of a body."""

    kind: str
    #: A SHA-256 of its canonical form.
    told: bytes
    wants_stream: bool
    depends_on_more: bool


class RequestKeys:
    """Makes keys.

    Args:
        headers: Names of headers whose values are part of the key.
        ignore: Names of members of a JSON body that are not.
        account: Tells apart accounts that do not share answers. In the key only as part of the SHA-256.

    Raises:
        InvalidOptionError: A header is a credential.
    """

    def __init__(self, headers: Iterable[str], ignore: Iterable[str], account: str | None) -> None:
        chosen = {name.lower() for name in _names("headers", headers)}
        self._ignore = frozenset(_names("ignore", ignore))
        if found := CREDENTIAL_HEADERS & chosen:
            raise InvalidOptionError(
                f"headers: {', '.join(sorted(found))} has credentials, which are kept in no key: tell accounts apart "
                f"by account="
            )
        if account is not None and not isinstance(account, str):
            # Not shown: it may be a secret.
            raise InvalidOptionError(f"account must be a str, not {type(account).__name__}")
        self._headers = frozenset(checks.utf8("headers", name) for name in chosen)
        # The beginning of what is hashed, which is the same for all.
        of = None if account is None else checks.utf8("account", account)
        about = 1, of, sorted(self._headers), sorted(self._ignore)
        self._begun = hashlib.sha256(repr(about).encode())
        self._bodies: dict[tuple[str, bytes], _Body] = {}

    def asked(self, request: Any, content: bytes) -> Asked:
        """What is asked by a request whose content was read."""
        content_type, chosen = self._told(request.headers.raw)
        body, url = self._body(content_type, content), request.url
        told = self._begun.copy()
        # Of plain bytes and text `repr` leaves no doubt.
        of_bytes = content_type if body.kind == "bytes" else ""
        told.update(repr((_query(url.query), sorted(chosen, key=_name), body.kind, of_bytes, body.told)).encode())
        # Not `url.path`, in which `%2F` has become a slash.
        path = url.raw_path.partition(b"?")[0].decode("ascii")
        key = (request.method, f"{url.scheme}://{_place(url)}{path}", told.hexdigest())
        return Asked(key, body.wants_stream or "stream" in path.lower(), body.depends_on_more)

    def _body(self, content_type: str, content: bytes) -> _Body:
        # Clients write what they ask again as they wrote it before, and its form takes 10 µs and more, with its length.
        same = content_type, hashlib.sha256(content).digest()
        known = self._bodies.get(same)
        if known is not None:
            return known
        body = canonical(content_type, content, self._ignore)
        wants_stream = isinstance(body.value, dict) and bool(body.value.get("stream"))
        made = _Body(body.kind, hashlib.sha256(body.form).digest(), wants_stream, depends_on_more(body.value))
        if len(self._bodies) >= _REMEMBERED:
            self._bodies.clear()
        self._bodies[same] = made
        return made

    def _told(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, list[tuple[bytes, bytes]]]:
        """The type of the content, and the headers that are part of the key."""
        content_type, chosen = b"", []
        for name, value in headers:
            name = name.lower()
            if name in self._headers:
                chosen.append((name, value))
            if name == b"content-type":
                content_type = value
        return content_type.decode("latin-1"), chosen


def _names(option: str, given: Iterable[str]) -> tuple[str, ...]:
    names = checks.items(option, given, "str, ('accept',) for example")
    if not all(isinstance(name, str) for name in names):
        raise InvalidOptionError(f"{option} takes names, not {checks.shown(given)}")
    return names


def _name(header: tuple[bytes, bytes]) -> bytes:
    return header[0]


def _place(url: Any) -> str:
    """Host and port, the latter if it is not that of the scheme."""
    place: str = url.netloc.decode("ascii")
    return place.removesuffix(f":{url.port}") if url.port == _PORTS.get(url.scheme) else place


def _query(query: bytes) -> list[str]:
    """The parameters of a query that are no credentials, in the order of their names."""
    if not query:
        return []
    named = [(unquote(part.partition("=")[0]).lower(), part) for part in query.decode("ascii").split("&")]
    named.sort(key=lambda each: each[0])
    return [part for name, part in named if name not in CREDENTIAL_PARAMETERS]
