"""No adapter stops the event loop, even where the store waits for another process."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from adapters import ADAPTERS, Adapter, opened
from cachemere import Cache
from held_lock import held_lock

#: Seconds for which the loop may be kept off by what else the machine does, and for which it would be by a disk that
#: is slow.
BUSY, SLOW = 0.25, 0.4


async def longest_pause(seconds: float) -> float:
    """The longest time, in seconds, that the loop did not come round."""
    end = time.perf_counter() + seconds
    longest, before = 0.0, time.perf_counter()
    while before < end:
        await asyncio.sleep(0.001)
        longest, before = max(longest, (now := time.perf_counter()) - before), now
    return longest


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
async def test_the_loop_goes_on_while_a_write_waits_for_another_process(path: Path, adapter: Adapter) -> None:
    made = opened(adapter, Cache(path, memory_bytes=0))
    await adapter.awrite(made, adapter.value)

    async def write() -> Any:
        return await adapter.awrite(made, adapter.value)

    with held_lock(path):
        waiting = asyncio.create_task(write())
        longest = await longest_pause(0.3)
        assert not waiting.done(), "the other process has the lock"
        # Reading waits for nobody.
        assert await asyncio.wait_for(adapter.aread(made), 5) == adapter.value
    await asyncio.wait_for(waiting, 30)
    assert longest < BUSY


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
async def test_the_loop_goes_on_while_the_disk_is_slow(
    path: Path, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(adapter, Cache(path, memory_bytes=0))
    await adapter.awrite(made, adapter.value)
    for name in ("get", "set", "get_many", "set_many", "delete", "delete_many"):
        slow(made._part, name, monkeypatch)
    for work in (adapter.aread(made), adapter.awrite(made, adapter.value)):
        working = asyncio.ensure_future(work)
        assert await longest_pause(0.1) < BUSY
        assert not working.done(), "what is slow is used"
        await working


def slow(part: Cache, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = getattr(part, name)

    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(SLOW)
        return plain(*arguments, **options)

    monkeypatch.setattr(part, name, slowly)
