"""The results in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons import Row
from peers import PEERS, Cachemere, Peer
from processes import KEYS, PROCESSES, Rates
from timing import OPERATIONS, Measured, Scale, spread


def number(value: float) -> str:
    """Three figures."""
    if value == 0:
        return "0"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _range(numbers: Sequence[float]) -> str:
    median, least, most = spread(numbers)
    return f"{number(median)} ({number(least)}–{number(most)})"


def _name(peer: type[Peer]) -> str:
    return f"**{peer.name}**" if issubclass(peer, Cachemere) else peer.name


def columns(measured: Sequence[Measured], scale: Scale) -> str:
    """Costs of the operations of all peers."""
    lines = [
        "| µs an item, median (least–most) | set | bulk | get, fresh | get, hot | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for entry in measured:
        if entry.failure is not None:
            lines.append(f"| {_name(entry.peer)} | – | – | – | – | {entry.failure} |")
            continue
        cells = [_range(entry.times[operation]) for operation in OPERATIONS]
        note = entry.peer.note + (f"; {scale.slow_entries} entries" if entry.peer.is_slow else "")
        lines.append(f"| {_name(entry.peer)} | {' | '.join(cells)} | {note} |")
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    if row.failure:
        return [row.what, row.versus, "–", "–", row.failure]
    sides = [f"{number(spread(side)[0])} {row.unit}" if side else "–" for side in (row.theirs, row.ours)]
    ratio = ""
    if row.ratio is not None:
        median, least, most = row.ratio
        ratio = f"{median:.2f}× ({least:.2f}–{most:.2f})"
    return [row.what, row.versus, *sides, ratio]


def comparisons(rows: Sequence[Row]) -> str:
    """What is compared with one peer each."""
    lines = [
        "| | against | theirs | cachemere | ratio, median (least–most) |",
        "|---|---|---:|---:|---|",
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines)


def processes(rates: Sequence[Rates], scale: Scale) -> str:
    """What several processes on one store got done."""
    lines = [
        f"| {PROCESSES} processes, {KEYS:,} keys, {scale.seconds:g} s | operations/s | half within | 99 % within | "
        "99 % of reads | 99 % of writes | longest | stale reads | errors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in rates:
        if entry.failure is not None:
            lines.append(f"| {_name(entry.peer)} | – | – | – | – | – | – | – | {entry.failure} |")
            continue
        cells = [f"{spread(entry.rate)[0]:,.0f}"]
        for times in (entry.half, entry.p99, entry.p99_reads, entry.p99_writes):
            cells.append(f"{number(spread(times)[0])} µs")
        cells += [f"{max(entry.longest) / 1e3:,.0f} ms", f"{entry.stale:,} of {entry.reads:,}", f"{entry.errors:,}"]
        lines.append(f"| {_name(entry.peer)} | {' | '.join(cells)} |")
    lines.append("")
    single = ", ".join(peer.name for peer in PEERS if "one process" in peer.note)
    lines.append(f"A store of these can be written by one process alone: {single}.")
    return "\n".join(lines)
