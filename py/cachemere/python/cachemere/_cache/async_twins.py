"""The asynchronous twins of the methods of :class:`~cachemere.Cache`.

Each runs its twin in a thread of the loop's own pool, so that a wait for a lock, the disk or a checkpoint never blocks
the loop. What is in memory and current is given out at once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from .._core.info import EntryInfo, Stats, StoreInfo, VerifyReport
from .._core.load import MEMORY_BUDGET, Format, Kind, LoadSummary
from .._core.quantities import Seconds, Size
from .._leads.many_tasks import make_alone_in_task, make_many_in_task
from .._leads.task_making import get_or_make
from .methods import CacheMethods, Path

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_MISSING: Any = object()


class AsyncTwins(CacheMethods):
    """Base of :class:`~cachemere.Cache`."""

    async def aget(self, key: Hashable, default: Any = None) -> Any:
        """As :meth:`Cache.get`."""
        found = self._guarded.peek(key, _MISSING)
        return await asyncio.to_thread(self.get, key, default) if found is _MISSING else found

    async def aset(self, key: Hashable, value: Any, ttl: Seconds | None = None, tags: Iterable[str] = ()) -> None:
        """As :meth:`Cache.set`."""
        await asyncio.to_thread(self.set, key, value, ttl, tags)

    async def aadd(self, key: Hashable, value: Any, ttl: Seconds | None = None, tags: Iterable[str] = ()) -> bool:
        """As :meth:`Cache.add`."""
        return await asyncio.to_thread(self.add, key, value, ttl, tags)

    async def adelete(self, key: Hashable) -> bool:
        """As :meth:`Cache.delete`."""
        return await asyncio.to_thread(self.delete, key)

    async def apop(self, key: Hashable, default: Any = None) -> Any:
        """As :meth:`Cache.pop`."""
        return await asyncio.to_thread(self.pop, key, default)

    async def aincr(self, key: Hashable, delta: float = 1, default: float = 0, ttl: Seconds | None = None) -> Any:
        """As :meth:`Cache.incr`."""
        return await asyncio.to_thread(self.incr, key, delta, default, ttl)

    async def adecr(self, key: Hashable, delta: float = 1, default: float = 0, ttl: Seconds | None = None) -> Any:
        """As :meth:`Cache.decr`."""
        return await asyncio.to_thread(self.decr, key, delta, default, ttl)

    async def atouch(self, key: Hashable, ttl: Seconds | None = None) -> bool:
        """As :meth:`Cache.touch`."""
        return await asyncio.to_thread(self.touch, key, ttl)

    @overload
    async def aget_or_set(
        self,
        key: Hashable,
        make: Callable[[], Awaitable[T]],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
        *,
        strict: bool = False,
    ) -> T: ...
    @overload
    async def aget_or_set(
        self,
        key: Hashable,
        make: Callable[[], T],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
        *,
        strict: bool = False,
    ) -> T: ...
    async def aget_or_set(
        self,
        key: Hashable,
        make: Callable[[], Any],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
        *,
        strict: bool = False,
    ) -> Any:
        """As :meth:`Cache.get_or_set`; `make` is a function, which is called in a thread, or a coroutine function.

        Of all tasks, threads and processes that miss at once, one calls `make`. If it raises, so does each call of this
        process that waited, and the next call tries again. If its task is cancelled, another takes
        over: of a coroutine function at once; a function in a thread cannot be stopped, so it runs to its end, and its
        value is stored. Tasks that need each other's values in a circle run twice rather than wait for ever.

        Raises:
            RuntimeError: `make` raised `StopIteration`, which a task cannot.

        Example:
            >>> import asyncio, tempfile, cachemere
            >>> async def ask():
            ...     print("asking")
            ...     return "42"
            >>> async def main():
            ...     async with cachemere.Cache(tempfile.mkdtemp() + "/store") as cache:
            ...         return await asyncio.gather(*(cache.aget_or_set("answer", ask) for _ in range(3)))
            >>> asyncio.run(main())
            asking
            ['42', '42', '42']
        """
        return await get_or_make(self._guarded, key, make, ttl, tags, strict)

    async def aget_or_set_many(
        self,
        keys: Iterable[K],
        make: Callable[[list[K]], Awaitable[Iterable[T]]],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
        *,
        batch_size: int | None = None,
    ) -> dict[K, T]:
        """As :meth:`Cache.get_or_set_many`; `make` is a coroutine function."""
        wanted = list(dict.fromkeys(keys))
        found: dict[K, T] = await self.aget_many(wanted)
        missing = [key for key in wanted if key not in found]
        if missing:
            many = self._many(make, ttl, tags, batch_size)
            made = make_alone_in_task if self.disabled else make_many_in_task
            found.update(await made(many, missing))
        return {key: found[key] for key in wanted}

    async def ainfo(self, key: Hashable) -> EntryInfo | None:
        """As :meth:`Cache.info`."""
        return await asyncio.to_thread(self.info, key)

    async def acontains(self, key: Hashable) -> bool:
        """As `key in cache`."""
        return await asyncio.to_thread(self.__contains__, key)

    async def aget_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """As :meth:`Cache.get_many`."""
        return await asyncio.to_thread(self.get_many, keys)

    async def aset_many(
        self,
        pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
        ttl: Seconds | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """As :meth:`Cache.set_many`."""
        await asyncio.to_thread(self.set_many, pairs, ttl, tags)

    async def aload(
        self,
        files: Path | Iterable[Path],
        format: Format,
        *,
        key_field: str | int | None = None,
        value_field: str | int | None = None,
        delimiter: str = ",",
        header: bool = True,
        key_type: Kind = "text",
        value_type: Kind = "text",
        ttl: Seconds | None = None,
        duplicates: str = "last",
        existing: str = "replace",
        on_error: str = "raise",
        memory_budget: Size = MEMORY_BUDGET,
        threads: int | None = None,
        temporary: Path | None = None,
        verbose: bool = False,
    ) -> LoadSummary:
        """As :meth:`Cache.load`. Ctrl-C does not end it, only the wait for it."""
        return await asyncio.to_thread(
            self.load,
            files,
            format,
            key_field=key_field,
            value_field=value_field,
            delimiter=delimiter,
            header=header,
            key_type=key_type,
            value_type=value_type,
            duplicates=duplicates,
            existing=existing,
            on_error=on_error,
            memory_budget=memory_budget,
            threads=threads,
            temporary=temporary,
            ttl=ttl,
            verbose=verbose,
        )

    async def adelete_many(self, keys: Iterable[Hashable]) -> int:
        """As :meth:`Cache.delete_many`."""
        return await asyncio.to_thread(self.delete_many, keys)

    async def aevict(self, tag: str) -> int:
        """As :meth:`Cache.evict`."""
        return await asyncio.to_thread(self.evict, tag)

    async def aclear(self) -> None:
        """As :meth:`Cache.clear`."""
        await asyncio.to_thread(self.clear)

    async def alen(self) -> int:
        """As `len(cache)`."""
        return await asyncio.to_thread(len, self)

    async def akeys(self) -> AsyncIterator[Any]:
        """As :meth:`Cache.keys`."""
        async for key, *_ in self._guarded.awalk(keys_only=True):
            yield key

    async def avalues(self) -> AsyncIterator[Any]:
        """As :meth:`Cache.values`."""
        async for _, value, *_ in self._guarded.awalk(keys_only=False):
            yield value

    async def aitems(self) -> AsyncIterator[tuple[Any, Any]]:
        """As :meth:`Cache.items`."""
        async for key, value, *_ in self._guarded.awalk(keys_only=False):
            yield key, value

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.akeys()

    async def anamespaces(self) -> list[str]:
        """As :meth:`Cache.namespaces`."""
        return await asyncio.to_thread(self.namespaces)

    async def astats(self) -> Stats:
        """As :meth:`Cache.stats`."""
        return await asyncio.to_thread(self.stats)

    async def adescribe(self) -> StoreInfo:
        """As :meth:`Cache.describe`."""
        return await asyncio.to_thread(self.describe)

    async def asweep(self) -> int:
        """As :meth:`Cache.sweep`."""
        return await asyncio.to_thread(self.sweep)

    async def aflush(self) -> None:
        """As :meth:`Cache.flush`."""
        await asyncio.to_thread(self.flush)

    async def abackup(self, path: Path) -> None:
        """As :meth:`Cache.backup`."""
        await asyncio.to_thread(self.backup, path)

    async def acompact(self) -> None:
        """As :meth:`Cache.compact`."""
        await asyncio.to_thread(self.compact)

    async def averify(self) -> VerifyReport:
        """As :meth:`Cache.verify`."""
        return await asyncio.to_thread(self.verify)

    async def aclose(self) -> None:
        """As :meth:`Cache.close`."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
