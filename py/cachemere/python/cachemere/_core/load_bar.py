"""A bar on the standard error that shows how far a load is: bytes, rate, and what remains."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_WIDTH = 24


class Bar:
    """To be used in a `with` statement, at whose end its line is ended."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._shown = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\n")
            sys.stderr.flush()

    def show(self, is_reading: bool, bytes_read: int, bytes_total: int, records: int, written: int) -> None:
        """Draws it anew."""
        if is_reading:
            seconds = max(time.monotonic() - self._begun, 1e-3)
            rate = bytes_read / seconds
            remaining = (bytes_total - bytes_read) / rate if rate else 0
            line = (
                f"reading {_bar(bytes_read, bytes_total)} {_size(bytes_read)} of {_size(bytes_total)}, "
                f"{_size(rate)}/s, {_time(remaining)} left, {records:,} records"
            )
        else:
            line = f"writing {_bar(written, records)} {written:,} of {records:,} records"
        sys.stderr.write("\r" + line.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(line)


def _bar(done: int, total: int) -> str:
    part = min(done / total, 1.0) if total else 1.0
    full = round(part * _WIDTH)
    return f"[{'#' * full}{' ' * (_WIDTH - full)}] {part:4.0%}"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
