"""What an answer is found by, with no credential in it.

A key is the method, the URL without its query, and a SHA-256 of all else that tells a request from others: the query,
the chosen headers, the account, and the body in its canonical form. So nothing that was asked is in a key in the clear.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from ... import _checks
from ...errors import InvalidOptionError
from .bodies import canonical

Key = tuple[str, str, str]

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
    #: What its JSON says. `None` for other bodies.
    body: Any
    #: Whether it asks for a stream, whose consumer decides how long it takes.
    wants_stream: bool


class RequestKeys:
    """Makes keys.

    Args:
        headers: Names of headers whose values are part of the key.
        account: Tells apart accounts that do not share answers. In the key only as part of the SHA-256.

    Raises:
        InvalidOptionError: A header is a credential.
    """

    def __init__(self, headers: Iterable[str], account: str | None) -> None:
        names = _checks.items("headers", headers, "names of headers, ('accept',) for example")
        if not all(isinstance(name, str) for name in names):
            raise InvalidOptionError(f"headers takes names of headers, not {_checks.shown(headers)}")
        self._names = tuple(sorted({name.lower() for name in names}))
        if found := CREDENTIAL_HEADERS.intersection(self._names):
            raise InvalidOptionError(
                f"headers: {', '.join(sorted(found))} has credentials, which are kept in no key: tell accounts apart "
                f"by account="
            )
        if account is not None and not isinstance(account, str):
            # Not shown: it may be a secret.
            raise InvalidOptionError(f"account must be a str, not {type(account).__name__}")
        self._account = None if account is None else _checks.utf8("account", account).hex()

    def asked(self, request: Any, content: bytes) -> Asked:
        """What is asked by a request whose content was read."""
        headers, url = request.headers, request.url
        body = canonical(headers.get("content-type", ""), content)
        chosen = [headers.get(name) for name in self._names]
        about = [1, self._account, _query(url.query), self._names, chosen, body.kind]
        if body.kind == "bytes":
            about.append(headers.get("content-type"))
        # No line feed is in the JSON, so where the body begins is certain.
        told = hashlib.sha256(json.dumps(about).encode() + b"\n" + body.form).hexdigest()
        # Not `url.path`, in which `%2F` has become a slash.
        path = url.raw_path.partition(b"?")[0].decode("ascii")
        key = (request.method, f"{url.scheme}://{url.netloc.decode('ascii')}{path}", told)
        wants_stream = (isinstance(body.value, dict) and bool(body.value.get("stream"))) or "stream" in path.lower()
        return Asked(key, body.value, wants_stream)


def _query(query: bytes) -> list[str]:
    """The parameters of a query that are no credentials, in the order of their names."""
    if not query:
        return []
    named = [(unquote(part.partition("=")[0]).lower(), part) for part in query.decode("ascii").split("&")]
    named.sort(key=lambda each: each[0])
    return [part for name, part in named if name not in CREDENTIAL_PARAMETERS]
