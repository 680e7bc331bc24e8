"""A cache for the nodes of LangGraph.

It needs `langgraph`: `pip install 'cachemere[langgraph]'`. LangGraph's own serializer is not used, since it imports
modules by names it reads: entries are in the safe form of :class:`~cachemere.Cache`, and the classes that can come out
of one are LangChain's messages and documents, LangGraph's `Send` and `Overwrite`, and those of `types=` of the cache.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from .._core import checks
from ..cache import Cache
from ..errors import DecodeError
from ._host import Host
from ._part import Part, Troubles

_HOST = Host(module="langgraph", extra="langgraph", distribution="langgraph", supported=">=1.0.2,<2")

try:
    from langchain_core.documents import Document
    from langgraph.cache.base import BaseCache, FullKey, Namespace
    from langgraph.types import Overwrite, Send

    from .langchain import MESSAGES
except ImportError as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["CachemereCache"]


@dataclasses.dataclass(frozen=True)
class _Sent:
    """What a `Send` is stored as: it is no class of fields itself."""

    node: str
    arg: Any
    timeout: Any


class CachemereCache(BaseCache[Any]):
    """Keeps what nodes write: for `compile(cache=...)`, with a `CachePolicy` for each node.

    What is given out is built anew each time. State that is not plain data, messages or documents (dataclasses, enums,
    pydantic models) needs its classes in `types=` of the cache; what cannot be stored is not, and the log says why.

    LangGraph names a node's entries by the function and the result of the policy's `key_func`, not by its code: clear
    the cache, or its namespace, when the function changes.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it.
        namespace: Which part of the store. The adapter has it for itself, with all namespaces of LangGraph in it.
        on_error: `"bypass"`: what goes wrong when entries are read or written is logged (logger `cachemere`), once for
            each kind, and the node is run as if there were no cache. `"raise"`: it is raised.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> from cachemere.integrations.langgraph import CachemereCache
        >>> cache = CachemereCache(cachemere.Cache(tempfile.mkdtemp() + "/store"))
        >>> cache.set({(("writes", "node"), "key"): ([("answer", 42)], 60)})
        >>> cache.get([(("writes", "node"), "key"), (("writes", "node"), "other")])
        {(('writes', 'node'), 'key'): [('answer', 42)]}
        >>> cache.close()
    """

    def __init__(self, cache: Cache, *, namespace: str = "langgraph", on_error: str = "bypass") -> None:
        super().__init__()
        self._troubles = Troubles("LangGraph", on_error)
        self._part = Part.of(cache, namespace, (*MESSAGES, Document, Overwrite, _Sent))

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Those of the keys that have values, with their values."""
        found = {}
        for namespace, name in keys:
            key = tuple(namespace), name
            try:
                value = self._part.get(key)
                if value is not None:
                    found[key] = _restored(value)
            except Exception as error:
                self._troubles.meet(error)
        return found

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """As :meth:`get`. One value alone that is in memory and current is given out without a thread."""
        if len(keys) != 1:
            return await asyncio.to_thread(self.get, keys)
        [(namespace, name)] = keys
        key = tuple(namespace), name
        try:
            value = await self._part.aget(key)
            return {} if value is None else {key: _restored(value)}
        except Exception as error:
            self._troubles.meet(error)
            return {}

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Writes values, each with its time to live in seconds; `None`: as the cache says."""
        for (namespace, name), (value, ttl) in pairs.items():
            key = tuple(namespace), name
            try:
                if ttl is not None and ttl <= 0:
                    # It has expired, and so has what was there before.
                    self._part.delete(key)
                else:
                    self._part.set(key, _stored(value), ttl)
            except Exception as error:
                self._troubles.meet(error)

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """As :meth:`set`, in a thread."""
        await asyncio.to_thread(self.set, pairs)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Removes all entries, or those of some of LangGraph's namespaces, for which every key is read.

        Its errors are always raised: nobody should believe entries are gone who still has them.
        """
        if namespaces is None:
            self._part.clear()
            return
        wanted = {tuple(namespace) for namespace in namespaces}
        self._part.delete_many([key for key in self._part if isinstance(key, tuple) and key[0] in wanted])

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """As :meth:`clear`, in a thread."""
        await asyncio.to_thread(self.clear, namespaces)

    def close(self) -> None:
        """Closes this adapter's handle of the store; that of the cache stays open."""
        self._part.close()


def _stored(value: Any) -> tuple[Any, ...]:
    # In a tuple, which tells it from the entries of others: what a node wrote of one, any other value of two.
    if isinstance(value, (list, deque)) and all(map(_is_write, value)):
        return ([(channel, _sent(written)) for channel, written in value],)
    return None, _sent(value)


def _sent(value: Any) -> Any:
    return _Sent(value.node, value.arg, getattr(value, "timeout", None)) if type(value) is Send else value


def _restored(found: Any) -> Any:
    match found:
        case ([*writes],) if type(found) is tuple and all(map(_is_write, writes)):
            return [(channel, _send(value)) for channel, value in writes]
        case (None, value) if type(found) is tuple:
            return _send(value)
    raise DecodeError(
        f"the entry is not what a node wrote but {checks.shown(found)}: give each adapter a namespace of its own"
    )


def _is_write(it: Any) -> bool:
    return type(it) is tuple and len(it) == 2 and type(it[0]) is str


def _send(value: Any) -> Any:
    if type(value) is not _Sent:
        return value
    return Send(value.node, value.arg) if value.timeout is None else Send(value.node, value.arg, timeout=value.timeout)


_HOST.check_complete(CachemereCache)
