"""Measuring by turns: in each round, each operation of all peers one after the other, beginning with another."""

from __future__ import annotations

import gc
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import values
from peers import Peer

OPERATIONS = ("set", "bulk", "fresh", "hot")


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    #: Entries of a store.
    entries: int
    #: Entries of a store of a slow peer.
    slow_entries: int
    #: Keys that are read again and again.
    hot: int
    #: Entries of the stores for hot strings and for opening.
    many: int
    #: Seconds that processes work, and how often.
    seconds: float
    process_rounds: int


FULL = Scale(rounds=7, entries=10_000, slow_entries=500, hot=100, many=100_000, seconds=4.0, process_rounds=3)
QUICK = Scale(rounds=2, entries=500, slow_entries=20, hot=20, many=2_000, seconds=0.3, process_rounds=1)


@dataclass
class Measured:
    """Microseconds an item, a number for each round, of each operation; or why there are none."""

    peer: type[Peer]
    times: dict[str, list[float]] = field(default_factory=lambda: {operation: [] for operation in OPERATIONS})
    failure: str | None = None


def spread(numbers: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return statistics.median(numbers), min(numbers), max(numbers)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def microseconds(work: Callable[[], object], count: int) -> float:
    """Microseconds an item that `work` takes for `count` of them. The garbage collector stays on."""
    gc.collect()
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e6 / count


class _Turn:
    """One peer in one round: its store is written one by one, read by a new handle, then read hot."""

    def __init__(self, peer: type[Peer], scale: Scale, directory: Path, seed: int) -> None:
        self.peer = peer
        count = scale.slow_entries if peer.is_slow else scale.entries
        self.items = values.documents(count)
        self.keys = [key for key, _ in self.items]
        random.Random(seed).shuffle(self.keys)
        self.hot = self.keys[: scale.hot] * max(count // scale.hot, 1)
        self.one_by_one, self.at_once = directory / "one-by-one", directory / "at-once"
        self.handle: Peer | None = None

    def measure(self, operation: str) -> float:
        if operation == "bulk":
            self.at_once.mkdir(parents=True)
            store = self.peer(self.at_once)
            taken = microseconds(lambda: store.write_all(self.items), len(self.items))
            store.close()
            return taken
        if operation == "set":
            self.one_by_one.mkdir(parents=True)
            self.handle = self.peer(self.one_by_one)
        elif operation == "fresh" and self.peer.persists:
            self.handle = self.peer(self.one_by_one)
        elif operation == "hot" and self.peer.persists:
            self.handle = self.peer(self.one_by_one)
        assert self.handle is not None
        handle = self.handle
        if operation == "set":
            taken = microseconds(lambda: handle.write(self.items), len(self.items))
        elif operation == "fresh":
            taken = microseconds(lambda: handle.read(self.keys), len(self.keys))
        else:
            handle.read(self.hot)
            taken = microseconds(lambda: handle.read(self.hot), len(self.hot))
        if self.peer.persists:
            handle.close()
            self.handle = None
        return taken


def run(peers: Sequence[type[Peer]], scale: Scale, directory: Path) -> list[Measured]:
    """All operations of all peers."""
    measured = [Measured(peer, failure=peer.missing()) for peer in peers]
    for number in range(scale.rounds):
        print(f"round {number + 1} of {scale.rounds}", file=sys.stderr, flush=True)
        turns: dict[type[Peer], _Turn] = {}
        for operation in OPERATIONS:
            first = number % len(measured)
            for entry in measured[first:] + measured[:first]:
                if entry.failure is not None:
                    continue
                peer = entry.peer
                try:
                    if peer not in turns:
                        turns[peer] = _Turn(peer, scale, directory / f"{number}-{peer.__name__}", number)
                    entry.times[operation].append(turns[peer].measure(operation))
                except Exception as error:
                    entry.failure = f"{operation} failed: {type(error).__name__}: {error}"
        shutil.rmtree(directory, ignore_errors=True)
    return measured
