"""The loops that a wait must not stop: asyncio's, and that of gevent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop of the present task.

    Raises:
        RuntimeError: It is one of another library.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "this waits with asyncio, of which no loop runs here: under trio or curio, call a plain memoized function "
            "or the plain methods of the cache in a thread (trio.to_thread.run_sync)"
        ) from None


def gevent_sleep() -> Callable[[float], object] | None:
    """What lets other greenlets run, if gevent is at work in this thread; `None`: it is not."""
    gevent = sys.modules.get("gevent")
    if gevent is None:
        return None
    monkey, hubs = sys.modules.get("gevent.monkey"), sys.modules.get("gevent._hub_local")
    is_patched = monkey is not None and monkey.is_module_patched("threading")
    if not is_patched and (hubs is None or hubs.get_hub_if_exists() is None):
        return None
    sleep: Callable[[float], object] = gevent.sleep
    return sleep
