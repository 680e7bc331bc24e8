"""What it costs to load pairs from files into RocksDB: `rocksdb_load` of cachemere against hugedict's.

    python benches/python/rocks_load.py [--pairs 5000000] [--rounds 5] [--files 4] [--compact] [--results FILE]

Run with the Python of an environment that has both packages and the peers (`make bench-rocks`). Both get the same files
and options at their defaults. Each load is a process of its own and makes a new database; who is first changes from
round to round. Times are those of the call alone, and the peak of memory is the process's when it returns. Then every
database is read with the package that made it: all its keys are counted, and some values compared with the files'.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from load_input import pair, write_files
from load_report import Load, keep, tell

#: Both have one interface. What was loaded is opened as hugedict's documentation does.
PROGRAM = """
import importlib, sys, time
from functools import partial
module, store, compact, *files = sys.argv[1:]
rocks = importlib.import_module(module)
options = rocks.RocksDBOptions(create_if_missing=True)
format = {"record_type": {"type": "tabsep", "key": None, "value": None}, "is_sorted": False}
begun = time.perf_counter()
rocks.rocksdb_load(store, options, files, format, False, compact == "compact")
seconds = time.perf_counter() - begun
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")).split()[1]
text = partial(str, encoding="utf-8")
database = rocks.RocksDBDict(store, rocks.RocksDBOptions(), text, text, str.encode, readonly=True)
print(seconds, int(peak) // 1024, sum(1 for _ in database.keys()))
for line in sys.stdin:
    key, value = line.rstrip("\\n").split("\\t")
    assert database[key] == value, key
"""

PEERS = {"cachemere": "cachemere.rocksdb", "hugedict": "hugedict.prelude"}


def sample(pairs: int) -> Iterator[str]:
    """Lines of the files that are looked for: some from everywhere, the first, and the last."""
    for number in {*range(0, pairs, max(pairs // 1000, 1)), pairs - 1}:
        yield "\t".join(pair(number)) + "\n"


def load(module: str, files: list[Path], pairs: int, compact: bool, directory: Path) -> Load:
    """A load that was right."""
    home = Path(tempfile.mkdtemp(dir=directory))
    command = [sys.executable, "-c", PROGRAM, module, home / "db", "compact" if compact else "", *files]
    try:
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, input="".join(sample(pairs)))
    finally:
        shutil.rmtree(home)
        # What is left to be written would be at the cost of the next.
        os.sync()
    seconds, peak, count = told.stdout.split()
    if int(count) != pairs:
        sys.exit(f"{module} has {count} of {pairs} pairs")
    return Load(float(seconds), int(peak))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run that shows it works")
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--compact", action="store_true", help="merge all afterwards, of both")
    parser.add_argument("--directory", type=Path, help="where files and databases are made; files are kept there")
    parser.add_argument("--results", type=Path, help="a file to add the times to, for plot_bars.py")
    options = parser.parse_args()
    pairs, rounds = (100_000, 2) if options.quick else (options.pairs, options.rounds)
    directory = options.directory or Path(tempfile.mkdtemp())
    try:
        files = write_files(directory, pairs, options.files)
        times: dict[str, list[Load]] = {name: [] for name in PEERS}
        for number in range(rounds):
            for name in sorted(PEERS, reverse=number % 2 == 1):
                times[name].append(load(PEERS[name], files, pairs, options.compact, directory))
    finally:
        if options.directory is None:
            shutil.rmtree(directory)
    noun = f"file{'s' * (options.files > 1)}"
    compacted = ", `compact=True`" * options.compact
    tell(f"`rocksdb_load`, {options.files} {noun}{compacted}, against hugedict", times)
    title = f"{options.files} gzip {noun} into RocksDB{', compacted' * options.compact}"
    keep(options.results, title, "s", {name: [load.seconds for load in loads] for name, loads in times.items()})


if __name__ == "__main__":
    main()
