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

import machine
import plot
import processes
import promises
import table
import timing
import values
from peers import PEERS, Cachemere, DiskCache, Lmdb, PersistDictPeer

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- benches/python: begin -->", "<!-- benches/python: end -->"
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
        write(told, drawn)


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
    rows = promises.of_columns(columns)
    if "strings" in wanted:
        (directory / "strings").mkdir()
        rows += promises.hot_strings(scale, directory / "strings")
    if "memoized" in wanted:
        (directory / "memoized").mkdir()
        rows += promises.memoized(scale, directory / "memoized")
    if "opening" in wanted:
        rows += promises.opening(scale, directory / "opening")
    rates = []
    if "processes" in wanted:
        rates = processes.run((Cachemere, Lmdb, DiskCache, PersistDictPeer), scale, directory / "processes")
        rows += promises.of_processes(rates)
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
        parts.append(table.promises(rows))
    if rates:
        parts.append(table.processes(rates, scale))
    caption = (
        f"Cost of an operation on a {values.pickled_size() / 1000:.1f} KB nested dict (logarithmic, less is better)"
    )
    return "\n\n".join(parts) + "\n", plot.svg(columns, caption) if columns else ""


def write(told: str, drawn: str) -> None:
    """Puts the text between the marks in docs/COMPARE.md, and the plot beside it."""
    page = DOCS / "COMPARE.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page.name} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{told}{END}{after}")
    (DOCS / "costs.svg").write_text(drawn)


if __name__ == "__main__":
    main()
