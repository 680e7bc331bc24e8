"""What the facade adds to the store's own operations, and how it stands beside diskcache: with much room for a busy
machine. The numbers are those of `make bench-facade`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cachemere
import diskcache as theirs
from cachemere import diskcache

ROUNDS, TIMES = 15, 100


def by_turns(*works: Callable[[], object]) -> list[float]:
    """Microseconds a call, of each the best round, since anything else on the machine only makes it worse."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, times in zip(works, taken, strict=True):
            began = time.perf_counter()
            for _ in range(TIMES):
                work()
            times.append((time.perf_counter() - began) * 1e6 / TIMES)
    return [min(times) for times in taken]


def test_the_facade_adds_little(path: Path) -> None:
    value = {"text": "answer " * 100, "scores": [0.5] * 20}
    with diskcache.Cache(path) as cache, cachemere.Cache(path) as store:
        cache["a"] = value
        for _ in range(3):
            assert cache.get("a") == store.get("a") == value
        facade, own = by_turns(lambda: cache.get("a"), lambda: store.get("a"))
        assert facade < own + 30
        facade, own = by_turns(lambda: cache.get("a", tag=True, expire_time=True), lambda: store.get("a"))
        assert facade < own + 60
        facade, own = by_turns(lambda: cache.set("b", value), lambda: store.set("b", value))
        assert facade < own + 60


def test_it_is_faster_than_diskcache(path: Path) -> None:
    with diskcache.Cache(path) as ours, theirs.Cache(str(path) + " of diskcache") as other:
        for cache in (ours, other):
            cache.set(b"5", b"x" * 100)
        mine, diskcaches = by_turns(lambda: ours.get(b"5"), lambda: other.get(b"5"))
        assert mine * 5 < diskcaches
        mine, diskcaches = by_turns(lambda: ours.set(b"5", b"x" * 100), lambda: other.set(b"5", b"x" * 100))
        assert mine < diskcaches
