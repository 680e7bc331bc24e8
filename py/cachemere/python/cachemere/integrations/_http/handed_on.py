"""Errors that the clients of OpenAI and Anthropic hand on as what they are."""

from __future__ import annotations

import functools
import sys

from ...errors import CacheError


def handed_on(kind: type[CacheError], message: str) -> CacheError:
    """An error of this kind.

    Both clients take whatever a transport raises for a trouble of the connection, try again and then raise an error of
    their own; but errors of their own root class they hand on at once. So where one of them is loaded, this is such an
    error as well.
    """
    roots: list[type[Exception]] = []
    for client, name in (("openai", "OpenAIError"), ("anthropic", "AnthropicError")):
        root = getattr(sys.modules.get(client), name, None)
        if isinstance(root, type) and issubclass(root, Exception):
            roots.append(root)
    return _with_roots(kind, tuple(roots))(message)


@functools.cache
def _with_roots(kind: type[CacheError], roots: tuple[type[Exception], ...]) -> type[CacheError]:
    return type(kind.__name__, (kind, *roots), {"__module__": kind.__module__}) if roots else kind
