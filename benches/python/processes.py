"""Several processes on one store, 90 % reads and 10 % writes: how much they get done, how long each waits, and whether
what they read is stale.

Each key is written by one of the processes, with a number that grows. When a write has returned, the number is
published in shared memory; a read that starts after that and finds a smaller number is stale.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import statistics
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import values
from peers import Peer
from timing import Scale

PROCESSES = 4
KEYS = 1_000
WRITES = 0.1


@dataclass
class Rates:
    """What the processes of one peer did, a number for each round."""

    peer: type[Peer]
    #: Operations a second, of all together.
    rate: list[float] = field(default_factory=list)
    #: Microseconds: of half of the operations, of 99 of 100, and of the longest.
    half: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    p99_reads: list[float] = field(default_factory=list)
    p99_writes: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    reads: int = 0
    stale: int = 0
    errors: int = 0
    failure: str | None = None


def run(peers: Sequence[type[Peer]], scale: Scale, directory: Path) -> list[Rates]:
    """By turns."""
    rates = [Rates(peer, failure=peer.missing()) for peer in peers]
    for number in range(scale.process_rounds):
        for entry in rates:
            if entry.failure is None:
                try:
                    _measure(entry, scale.seconds, directory / f"{number}-{entry.peer.__name__}")
                except Exception as error:
                    entry.failure = f"failed: {type(error).__name__}: {error}"
        shutil.rmtree(directory, ignore_errors=True)
    return rates


def _measure(entry: Rates, seconds: float, directory: Path) -> None:
    directory.mkdir(parents=True)
    store = entry.peer(directory)
    store.write_all([(values.key(number), _value(number, 0)) for number in range(KEYS)])
    store.close()
    del store
    context = multiprocessing.get_context("spawn")
    published = context.RawArray("Q", KEYS)
    ready = context.Barrier(PROCESSES)
    pipes, children = [], []
    for place in range(PROCESSES):
        receive, send = context.Pipe(duplex=False)
        arguments = (entry.peer, directory, place, seconds, published, ready, send)
        children.append(context.Process(target=_work, args=arguments))
        children[-1].start()
        send.close()
        pipes.append(receive)
    reads, writes = array("Q"), array("Q")
    elapsed = []
    for pipe in pipes:
        of_reads, of_writes, took, stale, errors = pipe.recv()
        reads.extend(of_reads)
        writes.extend(of_writes)
        elapsed.append(took)
        entry.stale += stale
        entry.errors += errors
    for child in children:
        child.join()
    both = array("Q", sorted([*reads, *writes]))
    entry.reads += len(reads)
    entry.rate.append(len(both) / statistics.mean(elapsed))
    entry.half.append(both[len(both) // 2] / 1e3)
    entry.longest.append(both[-1] / 1e3)
    for numbers, of in ((both, entry.p99), (sorted(reads), entry.p99_reads), (sorted(writes), entry.p99_writes)):
        of.append(numbers[len(numbers) * 99 // 100] / 1e3 if numbers else 0.0)


def _value(number: int, count: int) -> dict[str, Any]:
    return {**values.document(number), "n": count}


def _work(
    peer: type[Peer], directory: Path, place: int, seconds: float, published: Any, ready: Any, send: Connection
) -> None:
    """One of the processes."""
    store = peer(directory)
    keys = [values.key(number) for number in range(KEYS)]
    documents = [values.document(number) for number in range(KEYS)]
    own = range(place, KEYS, PROCESSES)
    draw = random.Random(place)
    reads, writes = array("Q"), array("Q")
    stale = errors = 0
    clock = time.perf_counter_ns
    store.get(keys[0])
    ready.wait()
    start = clock()
    end = start + int(seconds * 1e9)
    while (now := clock()) < end:
        try:
            if draw.random() < WRITES:
                number = own[int(draw.random() * len(own))]
                count = published[number] + 1
                value = {**documents[number], "n": count}
                now = clock()
                store.set(keys[number], value)
                writes.append(clock() - now)
                published[number] = count
            else:
                number = int(draw.random() * KEYS)
                least = published[number]
                now = clock()
                value = store.get(keys[number])
                reads.append(clock() - now)
                stale += value["n"] < least
        except Exception:
            errors += 1
    send.send((reads, writes, (clock() - start) / 1e9, stale, errors))
    store.close()
