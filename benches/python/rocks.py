"""RocksDBDict beside rocksdict and hugedict, by turns in one run, for bytes and for str.

Run with the Python of an environment that has both packages and the peers (`make bench-rocks`). Each round makes new
databases; the peers take turns in being first. What is told of a peer is its time over ours, of each round.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from load_report import keep

OPERATIONS = ("set", "bulk", "get", "miss", "get_many", "items")
#: Keys that are asked for at once.
AT_ONCE = 1000


class Ours:
    """`cachemere.rocksdb.RocksDBDict`."""

    name = "cachemere"

    def __init__(self, path: Path, kind: type) -> None:
        rocksdb = importlib.import_module("cachemere.rocksdb")
        options = rocksdb.RocksDBOptions(create_if_missing=True)
        functions = [bytes, bytes, bytes] if kind is bytes else [partial(str, encoding="utf-8")] * 2 + [str.encode]
        self.db: Any = rocksdb.RocksDBDict(str(path), options, *functions)

    def bulk(self, pairs: list[tuple[Any, Any]]) -> None:
        self.db.update(pairs)

    def get_many(self, keys: list[Any]) -> object:
        return self.db.get_many(keys)

    def items(self) -> Iterable[object]:
        items: Iterable[object] = self.db.items()
        return items

    def close(self) -> None:
        self.db.close()


class Rocksdict:
    """`rocksdict.Rdict`: in its raw mode for bytes, with its own form of str otherwise."""

    name = "rocksdict"

    def __init__(self, path: Path, kind: type) -> None:
        self.module: Any = importlib.import_module("rocksdict")
        options = self.module.Options(raw_mode=kind is bytes)
        options.create_if_missing(True)
        options.set_compression_type(self.module.DBCompressionType.lz4())
        self.raw = kind is bytes
        self.db: Any = self.module.Rdict(str(path), options)

    def bulk(self, pairs: list[tuple[Any, Any]]) -> None:
        batch = self.module.WriteBatch(raw_mode=self.raw)
        for key, value in pairs:
            batch.put(key, value)
        self.db.write(batch)

    def get_many(self, keys: list[Any]) -> object:
        return self.db[keys]

    def items(self) -> Iterable[object]:
        items: Iterable[object] = self.db.items()
        return items

    def close(self) -> None:
        self.db.close()


class Hugedict:
    """`hugedict.prelude.RocksDBDict`."""

    name = "hugedict"

    def __init__(self, path: Path, kind: type) -> None:
        prelude = importlib.import_module("hugedict.prelude")
        options = prelude.RocksDBOptions(create_if_missing=True)
        functions = [bytes, bytes, bytes] if kind is bytes else [partial(str, encoding="utf-8")] * 2 + [str.encode]
        self.db: Any = prelude.RocksDBDict(str(path), options, *functions)

    def bulk(self, pairs: list[tuple[Any, Any]]) -> None:
        for key, value in pairs:
            self.db[key] = value

    def get_many(self, keys: list[Any]) -> object:
        return [self.db[key] for key in keys]

    def items(self) -> Iterable[object]:
        items: Iterable[object] = self.db.items()
        return items

    def close(self) -> None:
        # It closes when it is collected.
        self.db = None


def present(peers: Iterable[type]) -> Iterator[type]:
    """Those that are installed."""
    modules = {"cachemere": "cachemere.rocksdb", "rocksdict": "rocksdict", "hugedict": "hugedict.prelude"}
    for peer in peers:
        try:
            importlib.import_module(modules[peer.name])  # type: ignore[attr-defined]
        except ImportError as error:
            print(f"{peer.name} is not there: {error}")  # type: ignore[attr-defined]
        else:
            yield peer


def entries(kind: type, count: int) -> list[tuple[Any, Any]]:
    """Keys of 16 letters and values of 100, not in order."""
    generator = random.Random(1)
    made = [(f"{generator.getrandbits(64):016x}", f"{generator.getrandbits(400):0100x}") for _ in range(count)]
    return made if kind is str else [(key.encode(), value.encode()) for key, value in made]


def microseconds(work: Callable[[], object], count: int) -> float:
    """Microseconds an item."""
    gc.collect()
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e6 / count


def turn(peer: Any, kind: type, pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """One peer in one round."""
    times: dict[str, float] = {}
    keys = [key for key, _ in pairs]
    random.Random(2).shuffle(keys)
    missing = [key[:-1] + (b"x" if kind is bytes else "x") for key in keys]
    with tempfile.TemporaryDirectory() as home:
        at_once = peer(Path(home) / "bulk", kind)
        times["bulk"] = microseconds(lambda: at_once.bulk(pairs), len(pairs))
        at_once.close()
        one = peer(Path(home) / "one", kind)

        def fill() -> None:
            for key, value in pairs:
                one.db[key] = value

        def read() -> None:
            for key in keys:
                one.db[key]

        def miss() -> None:
            for key in missing:
                assert key not in one.db

        def many() -> None:
            for start in range(0, len(keys), AT_ONCE):
                one.get_many(keys[start : start + AT_ONCE])

        def walk() -> None:
            assert sum(1 for _ in one.items()) == len(pairs)

        works = {"set": fill, "get": read, "miss": miss, "get_many": many, "items": walk}
        for name, work in works.items():
            times[name] = microseconds(work, len(pairs))
        one.close()
    return times


def main() -> None:
    """Prints a table for each kind of entries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small run that shows it works")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--results", type=Path, help="a file to add the times to, for plot_bars.py")
    given = parser.parse_args()
    rounds, count = (2, 2_000) if given.quick else (given.rounds, given.entries)
    peers = list(present([Ours, Rocksdict, Hugedict]))
    for kind in (bytes, str):
        pairs = entries(kind, count)
        times: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}  # type: ignore[attr-defined]
        for number in range(rounds):
            for place in range(len(peers)):
                peer: Any = peers[(place + number) % len(peers)]
                times[peer.name].append(turn(peer, kind, pairs))
        print(
            f"\n{kind.__name__}: {count} entries, {rounds} rounds; "
            "µs an item (median), and over cachemere's (least–most)"
        )
        print(f"{'':12}" + "".join(f"{operation:>24}" for operation in OPERATIONS))
        for name, measured in times.items():
            cells = []
            for operation in OPERATIONS:
                own = [each[operation] for each in measured]
                base = [each[operation] for each in times["cachemere"]]
                ratio = [mine / other for mine, other in zip(own, base, strict=True)]
                spread = f"{statistics.median(ratio):.2f} ({min(ratio):.2f}–{max(ratio):.2f})"
                cells.append(f"{statistics.median(own):.2f} {spread if name != 'cachemere' else ''}")
            print(f"{name:12}" + "".join(f"{cell:>24}" for cell in cells))
        for operation in OPERATIONS:
            bars = {name: [each[operation] for each in measured] for name, measured in times.items()}
            keep(given.results, f"RocksDBDict of {kind.__name__}: {operation}", "µs", bars)


if __name__ == "__main__":
    main()
