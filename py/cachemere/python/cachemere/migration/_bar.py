"""A bar on the standard error that shows how far an import is: entries, rate, and what remains."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from .._core.load_bar import _bar, _time

#: Seconds between two drawings.
_INTERVAL = 0.1


class Bar:
    """To be used in a `with` statement, at whose end its line is ended."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._shown = 0

    def __enter__(self) -> Bar:
        return self

    def show(self, entries: int, *, is_last: bool = False) -> None:
        """Draws it anew, if it is time."""
        now = time.monotonic()
        if not is_last and now - self._drawn < _INTERVAL:
            return
        self._drawn = now
        rate = entries / max(now - self._begun, 1e-3)
        if self._total is None or entries > self._total:
            line = f"importing {entries:,} entries, {rate:,.0f}/s"
        else:
            remaining = (self._total - entries) / rate if rate else 0
            line = (
                f"importing {_bar(entries, self._total)} {entries:,} of {self._total:,} entries, "
                f"{rate:,.0f}/s, {_time(remaining)} left"
            )
        sys.stderr.write("\r" + line.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\n")
            sys.stderr.flush()
