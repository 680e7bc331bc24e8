"""RocksDBDict beside rocksdict and hugedict, by turns in one run, for bytes and for str.

Run with the Python of an environment that has both packages and the peers (`make bench-rocks`). Each round makes new
databases; the peers take turns in being first. What is told of a peer is its time over ours, of each round. It prints
Markdown; `--write` puts it into docs/COMPARE.md.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import machine
import page
from load_report import keep
from timing import ratios, spread

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


def row(name: str, times: Mapping[str, Sequence[float]]) -> str:
    """A row of the table: how long ours took, and how many times as long the others."""
    ours = times[Ours.name]
    cells = [name, f"{statistics.median(ours):.2f}"]
    for peer, taken in times.items():
        if peer != Ours.name:
            median, least, most = spread(ratios(taken, ours))
            cells.append(f"{median:.2f}× ({least:.2f}–{most:.2f})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run that shows it works")
    parser.add_argument("--write", action="store_true", help="write the table into docs/COMPARE.md")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--results", type=Path, help="a file to add the times to, for plot_bars.py")
    given = parser.parse_args()
    if given.write and given.quick:
        parser.error("--write needs the full run")
    rounds, count = (2, 2_000) if given.quick else (given.rounds, given.entries)
    peers = list(present([Ours, Rocksdict, Hugedict]))
    before = machine.load()
    rows = []
    for kind in (bytes, str):
        pairs = entries(kind, count)
        times: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}  # type: ignore[attr-defined]
        for number in range(rounds):
            for place in range(len(peers)):
                peer: Any = peers[(place + number) % len(peers)]
                times[peer.name].append(turn(peer, kind, pairs))
        for operation in OPERATIONS:
            bars = {name: [each[operation] for each in measured] for name, measured in times.items()}
            rows.append(row(f"{kind.__name__}, {operation}", bars))
            keep(given.results, f"RocksDBDict of {kind.__name__}: {operation}", "µs", bars)
    others = [name for name in times if name != Ours.name]
    text = "\n".join(
        [
            f"{count:,} entries with keys of 16 letters and values of 100; {rounds} rounds by turns. "
            f"{machine.described(Path(tempfile.gettempdir()))}; the load average was {before} before and "
            f"{machine.load()} after. {', '.join(f'{name} {metadata.version(name)}' for name in others)}.",
            "",
            f"| | µs an item, cachemere | over it, median (least–most): {' | '.join(others)} |",
            f"|---|---:|{'---|' * len(others)}",
            *rows,
        ]
    )
    print(text)
    if given.write:
        page.write("python/rocks", text)


if __name__ == "__main__":
    main()
