"""What it costs to keep embeddings item by item, against one file with all of them (`numpy.save`, `numpy.load`).

    python benches/python/embeddings.py [--items 10000] [--size 768] [--rounds 7] [--directory DIR]

Each round writes a new store and a new file and reads both; they take turns. The function that makes the embeddings
takes no time. Other ways to keep the same are measured beside it: rows as objects of their own, blocks of 64 rows in an
entry, rows with compression.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cachemere
import numpy

BLOCK = 64
FILE = "numpy.save, numpy.load"


def milliseconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e3


def allocated(path: Path) -> int:
    """Bytes on the disk."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_blocks * 512 for each in files)


class Way:
    """One way to keep a matrix. Each has a store of its own, which is opened before the time is taken."""

    def __init__(self, name: str, write: Callable[..., object], read: Callable[..., object], **options: bool) -> None:
        self.name, self.write, self.read, self.options = name, write, read, options
        self.times: list[tuple[float, float, float]] = []

    def measure(self, directory: Path, texts: list[str], matrix: numpy.ndarray) -> None:
        path = directory / str(len(self.times)) / self.name.replace(" ", "-").replace(",", "")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.name == FILE:
            path = path.with_suffix(".npy")
            written = milliseconds(lambda: numpy.save(path, matrix))
            read = milliseconds(lambda: self.check(numpy.load(path), matrix))
        else:
            with cachemere.Cache(path, **self.options) as cache:
                self.prepare(cache, matrix)
                written = milliseconds(lambda: self.write(cache, texts, matrix))
            # Another handle, whose memory has nothing.
            with cachemere.Cache(path) as cache:
                self.prepare(cache, matrix)
                read = milliseconds(lambda: self.check(self.read(cache, texts, matrix), matrix))
        self.times.append((written, read, allocated(path) / matrix.nbytes))

    def prepare(self, cache: cachemere.Cache, matrix: numpy.ndarray) -> None:
        _memoized.clear()
        len(cache)
        if self.write is embed:
            memoized(cache, matrix)

    @staticmethod
    def check(found: object, matrix: numpy.ndarray) -> None:
        assert isinstance(found, numpy.ndarray) and found.shape == matrix.shape

    def told(self, of_rounds: Callable[[tuple[float, ...]], float]) -> list[float]:
        return [of_rounds(column) for column in zip(*self.times, strict=True)]


def embed(cache: cachemere.Cache, texts: list[str], matrix: numpy.ndarray) -> object:
    return memoized(cache, matrix)(texts)


def memoized(cache: cachemere.Cache, matrix: numpy.ndarray) -> Callable[..., object]:
    """A function that has been called once, as those of a program are."""
    if id(cache) not in _memoized:

        def embed(texts: list[str]) -> numpy.ndarray:
            return matrix[: len(texts)]

        made = cache.memoize(batch="texts", stack=True, name="embed", version="1", ignore=("matrix",))(embed)
        made(["warm"])
        _memoized[id(cache)] = made
    return _memoized[id(cache)]


_memoized: dict[int, Callable[..., object]] = {}


def stacked(cache: cachemere.Cache, texts: list[str], _: numpy.ndarray) -> object:
    found = cache.get_many(texts)
    return numpy.stack([found[text] for text in texts])


def blocks(cache: cachemere.Cache, texts: list[str], matrix: numpy.ndarray) -> None:
    cache.set_many({start: matrix[start : start + BLOCK] for start in range(0, len(texts), BLOCK)})


def of_blocks(cache: cachemere.Cache, texts: list[str], _: numpy.ndarray) -> object:
    return numpy.concatenate(list(cache.get_many(range(0, len(texts), BLOCK)).values()))


def rows(cache: cachemere.Cache, texts: list[str], matrix: numpy.ndarray) -> None:
    cache.set_many(zip(texts, matrix, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, default=None, help="where the stores are made")
    given = parser.parse_args()
    matrix = numpy.random.default_rng(0).standard_normal((given.items, given.size), dtype=numpy.float32)
    texts = [f"The text number {number} of those that are embedded." for number in range(given.items)]
    ways = [
        Way(FILE, numpy.save, numpy.load),
        Way("memoize(batch=, stack=True)", embed, embed),
        Way("set_many, get_many, stack", rows, stacked),
        Way("the same, compressed", rows, stacked, compression=True),
        Way(f"blocks of {BLOCK} rows", blocks, of_blocks),
    ]
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.directory) as directory:
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                way.measure(Path(directory), texts, matrix)
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
    print(f"{given.items:,} x {given.size} float32, {matrix.nbytes / 1e6:.1f} MB, {given.rounds} rounds")
    for title, of_rounds in (("medians", statistics.median), ("least", min)):
        file = ways[0].told(of_rounds)
        print(f"{title:32}{'written':>12}{'':8}{'read':>12}{'':8}{'on the disk':>12}")
        for way in ways:
            written, read, disk = way.told(of_rounds)
            print(
                f"{way.name:32}{written:9.1f} ms{written / file[0]:6.2f} x{read:10.1f} ms{read / file[1]:6.2f} x"
                f"{disk:10.2f} x"
            )


if __name__ == "__main__":
    main()
