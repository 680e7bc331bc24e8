"""What the Python package costs, against the peers, in one run.

`make bench-python` makes an environment with all of them and runs this. It prints Markdown.

    python run.py            the full run, some minutes
    python run.py --quick    a small run that shows it works
    python run.py --write    the full run; writes the tables into docs/COMPARE.md, and docs/costs.svg
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from pathlib import Path

import comparisons
import machine
import page
import plot
import processes
import table
import timing
import values
from peers import PEERS, Cachemere, DiskCache, Lmdb, PersistDictPeer

SECTIONS = ("columns", "strings", "memoized", "opening", "processes")


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run that shows it works")
    parser.add_argument("--write", action="store_true", help="write the tables and the plot into docs/")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="only these parts")
    parser.add_argument("--peer", action="append", help="only peers whose name contains this")
    parser.add_argument("--rounds", type=int, help="so many rounds")
    parser.add_argument("--directory", type=Path, help="where to make the stores; default: the temporary directory")
    options = parser.parse_args()
    if options.write and (options.quick or options.only or options.peer):
        parser.error("--write needs the full run")
    missing = Cachemere.missing()
    if missing is not None:
        sys.exit(f"cachemere {missing}")
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        told, drawn = measure(options, Path(directory))
    print(told)
    if options.write:
        page.write("python", told)
        (page.DOCS / "costs.svg").write_text(drawn)


def measure(options: argparse.Namespace, directory: Path) -> tuple[str, str]:
    """The text with the tables, and the plot."""
    scale = timing.QUICK if options.quick else timing.FULL
    if options.rounds:
        scale = timing.Scale(**{**vars(scale), "rounds": options.rounds})
    wanted = options.only or SECTIONS
    peers = [peer for peer in PEERS if not options.peer or any(part in peer.name for part in options.peer)]
    gc.collect()
    gc.freeze()
    load = machine.load()
    columns = timing.run(peers, scale, directory / "columns") if "columns" in wanted else []
    rows = comparisons.of_columns(columns)
    if "strings" in wanted:
        (directory / "strings").mkdir()
        rows += comparisons.hot_strings(scale, directory / "strings")
    if "memoized" in wanted:
        (directory / "memoized").mkdir()
        rows += comparisons.memoized(scale, directory / "memoized")
    if "opening" in wanted:
        rows += comparisons.opening(scale, directory / "opening")
    rates = []
    if "processes" in wanted:
        rates = processes.run((Cachemere, Lmdb, DiskCache, PersistDictPeer), scale, directory / "processes")
        rows += comparisons.of_processes(rates)
    quick = " A small run: its numbers mean nothing." if options.quick else ""
    parts = [
        f"Measured by `make bench-python` in one run, by turns.{quick} {machine.described(directory)}; the load "
        f"average was {load} before and {machine.load()} after. Versions: {machine.versions(peers)}."
    ]
    if columns:
        parts += [
            f"{scale.entries:,} entries, keys of {len(values.key(0))} characters, values of "
            f"{values.pickled_size() / 1000:.1f} KB (pickled): dicts with lists, dicts, strings and numbers in them; "
            f"{scale.rounds} rounds. *Fresh*: a new handle reads each key once, in random order. *Hot*: it reads "
            f"{scale.hot} keys again and again.",
            table.columns(columns, scale),
        ]
    if rows:
        parts.append(table.comparisons(rows))
    if rates:
        parts.append(table.processes(rates, scale))
    caption = (
        f"Cost of an operation on a {values.pickled_size() / 1000:.1f} KB nested dict (logarithmic, less is better)"
    )
    return "\n\n".join(parts) + "\n", plot.svg(columns, caption) if columns else ""


if __name__ == "__main__":
    main()
