"""What it costs to load pairs from files, against py-lmdb filled by hand: read, sort, append.

    python benches/python/load.py [--pairs 5000000] [--rounds 5] [--files 4] [--synced] [--results FILE]

Each load is a process of its own and gets a new directory; the loaders take turns. Times are those of the load alone,
without starting Python and opening the store. py-lmdb is given what makes it fast: whole files read at once, no garbage
collection, sorted pairs appended in one call, no sync unless `--synced`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from load_input import write_files
from load_report import Load, keep, tell

OURS = """
import sys, time, cachemere
store, durability, *files = sys.argv[1:]
cache = cachemere.Cache(store, durability=durability)
len(cache)
begun = time.perf_counter()
summary = cache.load(files, "tabsep")
seconds = time.perf_counter() - begun
print(summary, file=sys.stderr)
assert len(cache) == summary.written
"""

LMDB = """
import gc, gzip, sys, time, lmdb
store, durability, *files = sys.argv[1:]
gc.disable()
env = lmdb.open(store, map_size=64 << 30, sync=durability == "sync")
begun = time.perf_counter()
pairs = []
for file in files:
    with gzip.open(file) as opened:
        pairs += [tuple(line.split(b"\\t", 1)) for line in opened.read().splitlines()]
pairs.sort()
with env.begin(write=True) as transaction:
    transaction.cursor().putmulti(pairs, append=True)
seconds = time.perf_counter() - begun
assert env.stat()["entries"] == len(pairs)
"""

PEAK = """
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")).split()[1]
print(seconds, int(peak) // 1024)
"""


def load(program: str, files: list[Path], durability: str, directory: Path) -> Load:
    store = Path(tempfile.mkdtemp(dir=directory))
    command = [sys.executable, "-c", program + PEAK, store / "store" if program is OURS else store, durability, *files]
    try:
        told = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        shutil.rmtree(store)
        # What is left to be written would be at the cost of the next.
        os.sync()
    print(told.stderr, end="", file=sys.stderr)
    seconds, peak = told.stdout.split()
    return Load(float(seconds), int(peak))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--synced", action="store_true")
    parser.add_argument("--directory", type=Path, help="where files and stores are made; files are kept there")
    parser.add_argument("--results", type=Path, help="a file to add the times to, for plot_bars.py")
    options = parser.parse_args()
    durability = "sync" if options.synced else "checkpoint"
    directory = options.directory or Path(tempfile.mkdtemp())
    files = write_files(directory, options.pairs, options.files)
    times: dict[str, list[Load]] = {"cachemere": [], "py-lmdb": []}
    for _ in range(options.rounds):
        times["cachemere"].append(load(OURS, files, durability, directory))
        times["py-lmdb"].append(load(LMDB, files, durability, directory))
    noun = f"file{'s' * (options.files > 1)}"
    tell(f"`Cache.load`, {options.files} {noun}{', synced' * options.synced}, against py-lmdb", times)
    title = f"{options.files} gzip {noun} into LMDB"
    keep(options.results, title, "s", {name: [load.seconds for load in loads] for name, loads in times.items()})
    if options.directory is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
