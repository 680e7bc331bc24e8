"""What it costs to load pairs from files, against py-lmdb filled by hand: read, sort, append.

    python benches/python/load.py [--pairs 5000000] [--rounds 5] [--files 4] [--synced]

Each load is a process of its own and gets a new directory; the loaders take turns. Times are those of the load alone,
without starting Python and opening the store. py-lmdb is given what makes it fast: whole files read at once, no garbage
collection, sorted pairs appended in one call, no sync unless `--synced`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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


def pair(number: int) -> tuple[str, str]:
    """A key of some 20 characters, in random order, and a value of 64."""
    noise = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=24).hexdigest()
    return f"{noise[:12]}-{number}", f"value of {number:09} is {noise[12:]} and so on"


def write_files(directory: Path, pairs: int, count: int) -> list[Path]:
    """Files with all pairs, unless the directory has them already."""
    whole = directory / f"input-{pairs}-{count}"
    if not whole.exists():
        begun = Path(tempfile.mkdtemp(dir=directory))
        for part in range(count):
            with gzip.open(begun / f"{part}.tsv.gz", "wt", compresslevel=6) as opened:
                for number in range(part * pairs // count, (part + 1) * pairs // count):
                    opened.write("\t".join(pair(number)) + "\n")
        begun.rename(whole)
    return sorted(whole.iterdir())


def load(program: str, files: list[Path], durability: str, directory: Path) -> tuple[float, int]:
    """Seconds and MiB at most."""
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
    return float(seconds), int(peak)


def main() -> None:
    """Prints a line for each loader, and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--synced", action="store_true")
    parser.add_argument("--directory", type=Path, help="where files and stores are made; files are kept there")
    options = parser.parse_args()
    durability = "sync" if options.synced else "checkpoint"
    directory = options.directory or Path(tempfile.mkdtemp())
    files = write_files(directory, options.pairs, options.files)
    times: dict[str, list[tuple[float, int]]] = {"cachemere": [], "py-lmdb": []}
    for _ in range(options.rounds):
        times["cachemere"].append(load(OURS, files, durability, directory))
        times["py-lmdb"].append(load(LMDB, files, durability, directory))
    for name, measured in times.items():
        seconds = [seconds for seconds, _ in measured]
        print(
            f"{name:10} {statistics.median(seconds):6.2f} s ({min(seconds):.2f}-{max(seconds):.2f}), "
            f"{max(peak for _, peak in measured)} MiB"
        )
    ratios = [theirs / ours for (ours, _), (theirs, _) in zip(times["cachemere"], times["py-lmdb"], strict=True)]
    print(f"ratio      {statistics.median(ratios):6.2f}   ({min(ratios):.2f}-{max(ratios):.2f})")
    if options.directory is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
