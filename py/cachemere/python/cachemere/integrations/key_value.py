"""A store for py-key-value, which FastMCP and others keep their state and their cached answers in.

It needs `py-key-value-aio`: `pip install 'cachemere[key-value]'`. Values are kept as the JSON that the library says
they are, so that nothing but plain data can come out of an entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from .._core import checks
from ..cache import Cache
from ..errors import DecodeError
from ._host import Host
from ._part import Part, Troubles

_HOST = Host(module="key_value", extra="key-value", distribution="py-key-value-aio", supported=">=0.3,<1")

try:
    from key_value.aio.stores.base import (
        BaseContextManagerStore,
        BaseCullStore,
        BaseDestroyCollectionStore,
        BaseDestroyStore,
        BaseEnumerateCollectionsStore,
        BaseEnumerateKeysStore,
        ManagedEntry,
    )
except ImportError as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["CachemereStore"]

#: The JSON of a value, when it was written and when it expires, in seconds since the epoch.
_Entry = tuple[str, float | None, float | None]


class CachemereStore(
    BaseContextManagerStore,
    BaseCullStore,
    BaseDestroyStore,
    BaseDestroyCollectionStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
):
    """Keeps mappings by collection and key: wherever a library takes an `AsyncKeyValue`.

    All processes that open the directory share what is in it. Nothing blocks the event loop: only what is in memory
    and current is given out without a thread.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it. Its `ttl` is for what is put without one.
        namespace: Which part of the store. The adapter has it for itself, with all collections in it.
        default_collection: The collection of calls that name none.
        on_error: `"bypass"`: what goes wrong when entries are read or written is logged (logger `cachemere`), once for
            each kind, and the host goes on as if they were not there. `"raise"`: it is raised; choose it where the
            host keeps state and not only copies. A value that is not JSON is the library's `SerializationError`
            either way.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import asyncio, tempfile, cachemere
        >>> from cachemere.integrations.key_value import CachemereStore
        >>> async def program():
        ...     async with CachemereStore(cachemere.Cache(tempfile.mkdtemp() + "/store")) as store:
        ...         await store.put("ada", {"born": 1815}, collection="people", ttl=3600)
        ...         return await store.get("ada", collection="people")
        >>> asyncio.run(program())
        {'born': 1815}
    """

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str = "key-value",
        default_collection: str | None = None,
        on_error: str = "bypass",
    ) -> None:
        self._troubles = Troubles("py-key-value", on_error)
        self._part = Part.of(cache, namespace)
        super().__init__(default_collection=default_collection, stable_api=True)

    async def _setup(self) -> None:
        self._exit_stack.push_async_callback(self._part.aclose)

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        try:
            return _managed(await self._part.aget((collection, key)))
        except Exception as error:
            self._troubles.meet(error)
            return None

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        wanted = [(collection, key) for key in keys]
        try:
            found = await self._part.aget_many(wanted)
            return [_managed(found.get(key)) for key in wanted]
        except Exception as error:
            self._troubles.meet(error)
            # One entry that cannot be read does not take the others with it.
            return [await self._get_managed_entry(collection=collection, key=key) for key in keys]

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        await self._put({(collection, key): self._entry(managed_entry)})

    async def _put_managed_entries(
        self, *, collection: str, keys: Sequence[str], managed_entries: Sequence[ManagedEntry], **_: Any
    ) -> None:
        # All of them or, on an error, none.
        await self._put(
            {(collection, key): self._entry(entry) for key, entry in zip(keys, managed_entries, strict=True)}
        )

    async def _put(self, pairs: Mapping[tuple[str, str], _Entry]) -> None:
        try:
            expires = next((entry[2] for entry in pairs.values()), None)
            ttl = None if expires is None else expires - _now()
            if ttl is not None and ttl <= 0:
                # They have expired, and so has what was there before.
                await self._part.adelete_many(pairs)
            else:
                await self._part.aset_many(pairs, ttl)
        except Exception as error:
            self._troubles.meet(error)

    def _entry(self, managed: ManagedEntry) -> _Entry:
        created, expires = _epoch(managed.created_at), _epoch(managed.expires_at)
        if expires is None and self._part.ttl is not None:
            # So that the library can be told how long it lives.
            expires = _now() + self._part.ttl
        return managed.value_as_json, created, expires

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        # Errors of deleting are always raised: nobody should believe they are gone who still has them.
        return await self._part.adelete((collection, key))

    async def _delete_managed_entries(self, *, keys: Sequence[str], collection: str) -> int:
        return await self._part.adelete_many([(collection, key) for key in keys])

    async def _get_collection_keys(self, *, collection: str, limit: int | None = None) -> list[str]:
        return [key for of, key in await self._keys() if of == collection][:limit]

    async def _get_collection_names(self, *, limit: int | None = None) -> list[str]:
        return list(dict.fromkeys(collection for collection, _ in await self._keys()))[:limit]

    async def _keys(self) -> list[tuple[str, str]]:
        """Every key, in the order of insertion."""
        keys: list[tuple[str, str]] = []
        try:
            async for key in self._part.akeys():
                if _is_key(key):
                    keys.append(key)
        except Exception as error:
            self._troubles.meet(error)
        return keys

    async def _delete_collection(self, *, collection: str) -> bool:
        found = [key async for key in self._part.akeys() if _is_key(key) and key[0] == collection]
        return await self._part.adelete_many(found) > 0

    async def _delete_store(self) -> bool:
        await self._part.aclear()
        return True

    async def _cull(self) -> None:
        await self._part.asweep()


def _is_key(it: Any) -> bool:
    return type(it) is tuple and len(it) == 2 and all(isinstance(part, str) for part in it)


def _managed(found: Any) -> ManagedEntry | None:
    if found is None:
        return None
    match found:
        case (str(text), float() | None as created, float() | None as expires):
            try:
                value = json.loads(text)
                if isinstance(value, dict):
                    return ManagedEntry(value=value, created_at=_datetime(created), expires_at=_datetime(expires))
            except (ValueError, OverflowError, RecursionError) as error:
                raise DecodeError(f"the entry is not what py-key-value wrote: {error}") from error
    raise DecodeError(
        f"the entry is not what py-key-value wrote but {checks.shown(found)}: give each adapter a namespace of its own"
    )


def _now() -> float:
    return datetime.now(timezone.utc).timestamp()


def _epoch(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _datetime(time: float | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time, timezone.utc)


_HOST.check_complete(CachemereStore)
