"""What is compared with one peer each, most with the one that is closest."""

from __future__ import annotations

import functools
import gc
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import values
from peers import Cachemere, DiskCache, Lmdb, Peer, PersistDictPeer, RocksDict
from processes import Rates
from timing import Measured, Scale, microseconds, ratios, spread

Spread = tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """A comparison: theirs and ours in `unit`, and their ratios by round."""

    what: str
    versus: str
    theirs: Sequence[float] = ()
    ours: Sequence[float] = ()
    unit: str = "µs"
    #: Why there are no numbers.
    failure: str | None = None

    @property
    def ratio(self) -> Spread | None:
        """Median, least and most."""
        return spread(ratios(self.ours, self.theirs)) if self.theirs and self.ours else None


def of_columns(measured: Sequence[Measured]) -> list[Row]:
    """Those that compare what is in the table of all peers."""
    by_peer = {entry.peer: entry for entry in measured}
    rows = []
    asked: list[tuple[str, str, type[Peer]]] = [
        ("set", "set", Lmdb),
        ("set", "set", DiskCache),
        ("set", "set", RocksDict),
        ("`update`, an item", "bulk", Lmdb),
        ("`update`, an item", "bulk", RocksDict),
        ("fresh get", "fresh", Lmdb),
        ("fresh get", "fresh", RocksDict),
        ("hot get of the nested dict", "hot", Lmdb),
    ]
    for what, operation, peer in asked:
        ours, theirs = by_peer.get(Cachemere), by_peer.get(peer)
        if ours is None or theirs is None:
            continue
        failure = ours.failure or theirs.failure
        if failure is None:
            rows.append(Row(what, peer.name, theirs.times[operation], ours.times[operation]))
        else:
            rows.append(Row(what, peer.name, failure=failure))
    return rows


def hot_strings(scale: Scale, directory: Path) -> list[Row]:
    """`d[key]` of strings in memory, against a plain dict in the same loop."""
    from cachemere import PersistDict

    plain = {values.key(number): values.string(number) for number in range(scale.many)}
    keys = list(plain)
    random.Random(0).shuffle(keys)
    rows = []
    ours: PersistDict[str, str]
    with PersistDict(directory / "strings") as ours:
        ours.update(plain)
        _look_up(ours, keys)
        for what, some in (
            (f"hot `d[key]` of strings, {scale.hot} keys", keys[: scale.hot] * (scale.many // scale.hot)),
            (f"hot `d[key]` of strings, {scale.many:,} keys in random order", keys),
        ):
            theirs, mine = functools.partial(_look_up, plain, some), functools.partial(_look_up, ours, some)
            times = _by_turns(scale, theirs, mine, len(some))
            rows.append(Row(what, "dict", *times))
    return rows


def _look_up(mapping: dict[str, str], keys: Sequence[str]) -> None:
    for key in keys:
        mapping[key]


def _by_turns(
    scale: Scale, theirs: Callable[[], object], ours: Callable[[], object], count: int
) -> tuple[list[float], list[float]]:
    theirs()
    ours()
    times: tuple[list[float], list[float]] = [], []
    for number in range(2 * scale.rounds):
        sides = [(theirs, times[0]), (ours, times[1])]
        for work, taken in sides if number % 2 else reversed(sides):
            taken.append(microseconds(work, count))
    return times


def memoized(scale: Scale, directory: Path) -> list[Row]:
    """A call of a memoized function that hits, against `functools.lru_cache`."""
    import cachemere

    def ask(prompt: str, model: str = "m", temperature: float = 0.0) -> str:
        return f"{model} {temperature} {prompt}"

    prompts = [values.key(number) for number in range(scale.hot)] * (scale.many // scale.hot // 4)
    count = len(prompts)
    baseline = functools.lru_cache(maxsize=None)(ask)
    rows = []

    def add(what: str, call: Callable[[str], str]) -> None:
        times = _by_turns(scale, lambda: _call(baseline, prompts), lambda: _call(call, prompts), count)
        rows.append(Row(what, "functools.lru_cache", *times))

    with cachemere.Cache(directory / "memo") as cache:
        add("memoized hit", cache.memoize()(ask))
    try:
        from cachetools import LRUCache, cached

        add("(a hit of `cachetools.cached`)", cached(LRUCache(1 << 20))(ask))
    except ImportError:
        pass
    return rows


def _call(function: Callable[[str], str], prompts: Sequence[str]) -> None:
    for prompt in prompts:
        function(prompt)


def opening(scale: Scale, directory: Path) -> list[Row]:
    """Opening a store and getting one entry."""
    sides: dict[type[Peer], list[float]] = {}
    key = values.key(scale.many // 2)
    both: tuple[type[Peer], ...] = (Lmdb, Cachemere)
    for peer in both:
        if peer.missing() is None:
            (directory / peer.__name__).mkdir(parents=True)
            store = peer(directory / peer.__name__)
            for start in range(0, scale.many, 10_000):
                numbers = range(start, min(start + 10_000, scale.many))
                store.write_all([(values.key(number), values.document(number)) for number in numbers])
            store.close()
            sides[peer] = []
    for _ in range(3 * scale.rounds):
        for peer, times in sides.items():
            gc.collect()
            start_time = time.perf_counter()
            store = peer(directory / peer.__name__)
            store.get(key)
            times.append((time.perf_counter() - start_time) * 1e3)
            store.close()
    shutil.rmtree(directory, ignore_errors=True)
    what = f"opening a store of {scale.many:,} entries and the first get"
    return [Row(what, Lmdb.name, sides.get(Lmdb, ()), sides[Cachemere], unit="ms")]


def of_processes(rates: Sequence[Rates]) -> list[Row]:
    """Throughput and the 99th percentile of four processes."""
    by_peer: dict[Any, Rates] = {entry.peer: entry for entry in rates}
    ours, theirs = by_peer[Cachemere], by_peer[DiskCache]
    failure = ours.failure or theirs.failure
    rate, p99 = "4 processes, 90 % reads: operations a second", "4 processes, 90 % reads: 99th percentile"
    if failure:
        rows = [
            Row(rate, DiskCache.name, failure=failure),
            Row(p99, DiskCache.name, failure=failure),
        ]
    else:
        thousands = [[number / 1e3 for number in side.rate] for side in (theirs, ours)]
        rows = [
            Row(rate, DiskCache.name, thousands[0], thousands[1], unit="k/s"),
            Row(p99, DiskCache.name, theirs.p99, ours.p99),
        ]
    for entry in (ours, theirs, by_peer.get(PersistDictPeer)):
        if entry is not None and entry.failure is None:
            share = [100 * entry.stale / max(entry.reads, 1)]
            what = f"stale reads among these, {entry.peer.name} ({entry.stale:,} of {entry.reads:,})"
            rows.append(Row(what, "", (), share, unit="%"))
    return rows
