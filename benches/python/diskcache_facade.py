"""`cachemere.diskcache` beside diskcache, in one run, by turns: get, set and delete, in 1 and in 8 processes.

The work is that of diskcache's own `tests/benchmark_core.py`: 100 keys (numbers as bytes); of the operations of each
process, which are drawn with its own seed, 90 % are `get`, 9 % `set` of a number as bytes repeated 1 to 99 times, and
1 % `delete`; the first 1,000 are not counted. Both classes that it measures are measured: `Cache`, and `FanoutCache`
with 8 shards and a timeout of 10 ms. `set` in `transact` is ours: 100 of the same writes in a transaction.

Each number is that of one round: half of the operations took less (*half*), and the sum of their times by their number
(*mean*), which is what the whole of the work takes.

    python diskcache_facade.py            the full run, some minutes
    python diskcache_facade.py --quick    a small run that shows it works
    python diskcache_facade.py --write    the full run; writes the table into docs/COMPARE.md
    python diskcache_facade.py --ways     what a `set` costs on the ways that were tried to make it cheaper
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import shutil
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import machine
import page
import table
from comparisons import Row
from timing import spread

OPERATIONS = ("get", "set", "delete")
#: How the rows are called, beside those of the operations.
LABELS = {"all": "all operations", "in transact": "`set` in `transact`"}
MEASURED = (*OPERATIONS, *LABELS)
KEYS = 100
WARM_UP = 1_000
BATCH = 100
#: Theirs and ours.
SIDES = ("diskcache", "cachemere.diskcache")
CLASSES: dict[str, dict[str, Any]] = {"Cache": {}, "FanoutCache": {"shards": 8, "timeout": 0.010}}

Times = dict[str, array]  # type: ignore[type-arg]


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds, and operations of each process by how many there are."""

    rounds: int
    operations: dict[int, int]


FULL = Scale(9, {1: 40_000, 8: 10_000})
QUICK = Scale(2, {1: 3_000, 8: 2_000})


@dataclass
class Side:
    """Microseconds an operation, a number for each round."""

    half: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURED})
    mean: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURED})


def made(side: str, kind: str, directory: Path) -> Any:
    """A cache of one side."""
    return getattr(importlib.import_module(side), kind)(str(directory), **CLASSES[kind])


def work(side: str, kind: str, directory: Path, seed: int, operations: int, ready: Any, send: Connection) -> None:
    """What each process does."""
    cache, draw = made(side, kind, directory), random.Random(seed)
    times: Times = {name: array("d") for name in OPERATIONS}
    clock = time.perf_counter
    ready.wait()
    for count in range(operations + WARM_UP):
        key = b"%d" % draw.randrange(KEYS)
        value = b"%d" % count * draw.randrange(1, 100)
        choice = draw.random()
        if choice < 0.9:
            name, start = "get", clock()
            cache.get(key)
        elif choice < 0.99:
            name, start = "set", clock()
            cache.set(key, value)
        else:
            name, start = "delete", clock()
            cache.delete(key)
        taken = clock() - start
        if count >= WARM_UP:
            times[name].append(taken * 1e6)
    cache.close()
    send.send(times)


def measure(side: str, kind: str, processes: int, operations: int, directory: Path) -> Times:
    """What the operations of all processes took."""
    directory.mkdir()
    cache = made(side, kind, directory)
    for number in range(KEYS):
        cache.set(b"%d" % number, b"%d" % number)
    cache.close()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes)
    pipes, children = [], []
    for seed in range(processes):
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(side, kind, directory, seed, operations, ready, send))
        child.start()
        send.close()
        pipes.append(receive)
        children.append(child)
    times: Times = {name: array("d") for name in OPERATIONS}
    for pipe in pipes:
        for name, taken in pipe.recv().items():
            times[name].extend(taken)
    for child in children:
        child.join()
    shutil.rmtree(directory)
    return times


def in_transactions(side: str, directory: Path) -> list[float]:
    """Microseconds a `set`, of a hundred in a transaction."""
    directory.mkdir()
    cache = made(side, "Cache", directory)
    taken = []
    for round_ in range(20):
        start = time.perf_counter()
        with cache.transact():
            for number in range(BATCH):
                cache.set(b"%d" % number, b"%d" % round_ * 50)
        taken.append((time.perf_counter() - start) * 1e6 / BATCH)
    cache.close()
    shutil.rmtree(directory)
    return taken


def run(scale: Scale, directory: Path) -> list[Row]:
    """All of it, by turns, the first side another one in each round."""
    measured: dict[tuple[str, int], dict[str, Side]] = {
        (kind, processes): {side: Side() for side in SIDES} for kind in CLASSES for processes in scale.operations
    }
    for number in range(scale.rounds):
        print(f"round {number + 1} of {scale.rounds}", file=sys.stderr, flush=True)
        for (kind, processes), sides in measured.items():
            for side in SIDES if number % 2 else SIDES[::-1]:
                taken: dict[str, Sequence[float]] = dict(
                    measure(side, kind, processes, scale.operations[processes], directory / "store")
                )
                taken["all"] = [time for name in OPERATIONS for time in taken[name]]
                if (kind, processes) == ("Cache", 1):
                    taken["in transact"] = in_transactions(side, directory / "store")
                for name, times in taken.items():
                    sides[side].half[name].append(statistics.median(times))
                    sides[side].mean[name].append(statistics.fmean(times))
    return [row for (kind, processes), sides in measured.items() for row in rows(kind, processes, sides)]


def rows(kind: str, processes: int, sides: dict[str, Side]) -> list[Row]:
    """How many times faster ours is: the ratio of each round, theirs by ours."""
    theirs, ours = (sides[side] for side in SIDES)
    found = []
    who = f"{kind}, {processes} process{'es' if processes > 1 else ''}"
    for name in MEASURED:
        for what in ("half", "mean") if name != "all" else ("mean",):
            one, two = getattr(theirs, what)[name], getattr(ours, what)[name]
            if one:
                # Turned round, so that the ratio says how many times faster.
                label = LABELS.get(name, f"`{name}`")
                found.append(Row(f"{who}: {label}, {what}", "diskcache", two, one))
    return found


def told(found: Sequence[Row]) -> str:
    """The table, in Markdown."""
    lines = [
        "| | diskcache | `cachemere.diskcache` | times faster, median (least–most) |",
        "|---|---:|---:|---:|",
    ]
    for row in found:
        assert row.ratio is not None
        median, least, most = row.ratio
        sides = [f"{table.number(spread(side)[0])} µs" for side in (row.ours, row.theirs)]
        lines.append(f"| {row.what} | {' | '.join(sides)} | {median:.1f}× ({least:.1f}–{most:.1f}) |")
    return "\n".join(lines)


# --- the ways that were tried -----------------------------------------------------------------------------------------


def ways(directory: Path, rounds: int = 9, count: int = 3_000) -> str:
    """Microseconds a `set` of a small value in one process, by turns, on each of the ways."""
    import cachemere
    from cachemere import diskcache

    def caches(name: str, **options: Any) -> Any:
        return diskcache.Cache(directory / name, **options)

    facade, theirs = caches("facade"), made("diskcache", "Cache", directory / "theirs")
    store = cachemere.Cache(directory / "store")._store
    no_memory = cachemere.Cache(directory / "no memory", memory_bytes=0)._store
    limited = caches("limited", size_limit=16 << 20)
    compressed = caches("compressed", compression=True)

    def batched(numbers: range) -> None:
        for start in range(0, len(numbers), BATCH):
            with facade.transact():
                for number in numbers[start : start + BATCH]:
                    facade.set(b"%d" % (number % KEYS), b"%d" % number * 50)

    def one_by_one(write: Callable[[bytes, bytes], object]) -> Callable[[range], None]:
        def work(numbers: range) -> None:
            for number in numbers:
                write(b"%d" % (number % KEYS), b"%d" % number * 50)

        return work

    tried: dict[str, Callable[[range], None]] = {
        "diskcache": one_by_one(theirs.set),
        "the facade": one_by_one(facade.set),
        "the store alone: without the gate, the checks and the calls of the facade": one_by_one(store.put),
        "the store alone, keeping nothing in memory": one_by_one(no_memory.put),
        "the facade with a limit of size, whose pages are used again": one_by_one(limited.set),
        "the facade with compression": one_by_one(compressed.set),
        f"the facade, {BATCH} in a transaction": batched,
    }
    taken: dict[str, list[float]] = {name: [] for name in tried}
    for number in range(rounds):
        names = list(tried) if number % 2 else list(tried)[::-1]
        for name in names:
            start = time.perf_counter()
            tried[name](range(count))
            taken[name].append((time.perf_counter() - start) * 1e6 / count)
    lines = ["| a `set`, µs | median (least–most) | diskcache / this |", "|---|---:|---:|"]
    for name, times in taken.items():
        median, least, most = spread(times)
        ratio = statistics.median(one / two for one, two in zip(taken["diskcache"], times, strict=True))
        lines.append(f"| {name} | {median:.1f} ({least:.1f}–{most:.1f}) | {ratio:.1f}× |")
    for cache in (facade, theirs, limited, compressed):
        cache.close()
    return "\n".join(lines)


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run that shows it works")
    parser.add_argument("--ways", action="store_true", help="what a set costs on the ways that were tried")
    parser.add_argument("--rounds", type=int, help="so many rounds")
    parser.add_argument("--write", action="store_true", help="write the table into docs/COMPARE.md")
    options = parser.parse_args()
    if options.write and (options.quick or options.ways):
        parser.error("--write needs the full run")
    scale = QUICK if options.quick else FULL
    if options.rounds:
        scale = Scale(options.rounds, scale.operations)
    before = machine.load()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        result = ways(directory) if options.ways else told(run(scale, directory))
        where = machine.described(directory)
    text = (
        f"{scale.rounds} rounds by turns. {where}; the load average was {before} before and {machine.load()} after. "
        f"diskcache {metadata.version('diskcache')}.\n\n{result}\n"
    )
    print(text)
    if options.write:
        page.write("python/diskcache_facade", text)


if __name__ == "__main__":
    main()
