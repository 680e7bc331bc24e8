"""A key-value store for LlamaIndex: for its ingestion cache, and under its document and index stores.

It needs `llama-index-core`: `pip install 'cachemere[llama-index]'`. Values are the dicts that LlamaIndex makes of its
objects, and what comes out is such a dict again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .._core.checks import seconds, shown
from .._core.quantities import Seconds
from ..cache import Cache
from ..errors import DecodeError, ValueFormError
from ._host import Host
from ._part import Part, Troubles

_HOST = Host(module="llama_index", extra="llama-index", distribution="llama-index-core", supported=">=0.12,<0.15")

try:
    from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore
except ImportError as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["CachemereKVStore"]


class CachemereKVStore(BaseKVStore):
    """Keeps dicts by collection and key: for `IngestionCache(cache=...)`, `KVDocumentStore` and `KVIndexStore`.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it.
        namespace: Which part of the store. The adapter has it for itself, with all collections in it.
        ttl: Seconds an entry lives. `None`: as the cache says.
        on_error: `"bypass"`: what goes wrong when entries are read or written is logged (logger `cachemere`), once for
            each kind, and the host goes on as if they were not there. `"raise"`: it is raised; choose it under a
            document or index store, which has nothing else to go on with.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> from cachemere.integrations.llama_index import CachemereKVStore
        >>> store = CachemereKVStore(cachemere.Cache(tempfile.mkdtemp() + "/store"))
        >>> store.put("ada", {"born": 1815}, collection="people")
        >>> store.get("ada", collection="people"), store.get("ada")
        ({'born': 1815}, None)
        >>> store.get_all(collection="people")
        {'ada': {'born': 1815}}
        >>> store.close()
    """

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str = "llama-index",
        ttl: Seconds | None = None,
        on_error: str = "bypass",
    ) -> None:
        self._ttl = seconds("ttl", ttl)
        self._troubles = Troubles("LlamaIndex", on_error)
        self._part = Part.of(cache, namespace)

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Writes a dict. A write that failed changes nothing."""
        self.put_all([(key, val)], collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """As :meth:`put`, in a thread."""
        await asyncio.to_thread(self.put, key, val, collection)

    def put_all(
        self,
        kv_pairs: list[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Writes all pairs in one transaction, or on an error none. `batch_size` does not matter."""
        try:
            self._part.set_many([((collection, key), _stored(key, val)) for key, val in kv_pairs], self._ttl)
        except Exception as error:
            self._troubles.meet(error)

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As :meth:`put_all`, in a thread."""
        await asyncio.to_thread(self.put_all, kv_pairs, collection, batch_size)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The dict of a key, the caller's own; `None` if there is none."""
        try:
            return _restored(self._part.get((collection, key)))
        except Exception as error:
            self._troubles.meet(error)
            return None

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As :meth:`get`. Only what is in memory and current is given out without a thread."""
        try:
            return _restored(await self._part.aget((collection, key)))
        except Exception as error:
            self._troubles.meet(error)
            return None

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """All of a collection, in the order of insertion. It reads the keys of all collections."""
        try:
            wanted = self._keys(collection)
            found: Mapping[Any, Any] = self._part.get_many(wanted)
            pairs = [(key, _restored(found.get(key))) for key in wanted]
        except Exception as error:
            self._troubles.meet(error)
            # One entry that cannot be read does not take the others with it.
            pairs = [(key, self.get(key[1], collection)) for key in self._readable_keys(collection)]
        return {key: value for (_, key), value in pairs if value is not None}

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As :meth:`get_all`, in a thread."""
        return await asyncio.to_thread(self.get_all, collection)

    def _keys(self, collection: str) -> list[tuple[str, str]]:
        return [
            key
            for key in self._part
            if type(key) is tuple and len(key) == 2 and key[0] == collection and isinstance(key[1], str)
        ]

    def _readable_keys(self, collection: str) -> list[tuple[str, str]]:
        try:
            return self._keys(collection)
        except Exception as error:
            self._troubles.meet(error)
            return []

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Removes a key. Returns `True` if it was there.

        Errors are always raised, so that nobody believes that it is gone while it is still there.
        """
        return self._part.delete((collection, key))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As :meth:`delete`, in a thread."""
        return await asyncio.to_thread(self.delete, key, collection)

    def close(self) -> None:
        """Closes this adapter's handle of the store; that of the cache stays open."""
        self._part.close()


#: Beside each dict, which tells it from the entries of others.
_MARK = "llama-index"


def _stored(key: Any, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(key, str) or type(value) is not dict:
        raise ValueFormError(f"a str and its dict are stored here, not {shown((key, value))}")
    return _MARK, value


def _restored(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    match found:
        case (str(mark), dict() as value) if mark == _MARK and type(found) is tuple:
            return value
    raise DecodeError(f"the entry is not LlamaIndex's but {shown(found)}: give each adapter a namespace of its own")


_HOST.check_complete(CachemereKVStore)
