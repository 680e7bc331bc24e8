"""The error of a miss in replay mode, which the clients of OpenAI and Anthropic hand on as what it is."""

from __future__ import annotations

import functools
import sys

from ...errors import ReplayMissError


def replay_miss(url: str) -> ReplayMissError:
    """The error for a request that is not stored.

    Both clients take whatever a transport raises for a trouble of the connection, try again and then raise an error of
    their own; but errors of their own root class they hand on at once. So where one of them is loaded, this is such an
    error as well.
    """
    roots: list[type[Exception]] = []
    for client, name in (("openai", "OpenAIError"), ("anthropic", "AnthropicError")):
        root = getattr(sys.modules.get(client), name, None)
        if isinstance(root, type) and issubclass(root, Exception):
            roots.append(root)
    return _kind(tuple(roots))(
        f"the answer to this POST to {url} is not in the cache, and in replay mode nothing is asked: leave that mode "
        f"(mode= of the transport, CACHEMERE_MODE), or record the answer first"
    )


@functools.cache
def _kind(roots: tuple[type[Exception], ...]) -> type[ReplayMissError]:
    if not roots:
        return ReplayMissError
    return type("ReplayMissError", (ReplayMissError, *roots), {"__module__": ReplayMissError.__module__})
