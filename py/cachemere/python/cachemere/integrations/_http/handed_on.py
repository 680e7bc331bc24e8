"""Errors that the clients of OpenAI and Anthropic hand on as what they are."""

from __future__ import annotations

import functools
import sys
from typing import Any

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
    made: CacheError = _of_all((kind, *roots))(message)
    return made


@functools.cache
def _of_all(kinds: tuple[type[Exception], ...]) -> Any:
    first = kinds[0]
    return first if len(kinds) == 1 else type(first.__name__, kinds, {"__module__": first.__module__})
