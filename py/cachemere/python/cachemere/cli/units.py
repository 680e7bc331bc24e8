"""Numbers for people, with their units."""

from __future__ import annotations

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS = ((86_400 * 365.25, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size(count: int) -> str:
    """Bytes: `17 B`, `1.5 KiB`."""
    value = float(count)
    for unit in _SIZES:
        if value < 1024 or unit == _SIZES[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def span(seconds: float) -> str:
    """A length of time, in one unit: `12 s`, `3 d`."""
    for length, unit in _SPANS:
        # Not before there are two: 90 minutes say more than an hour.
        if seconds >= 2 * length or unit == "s":
            return f"{int(seconds / length)} {unit}"
    raise AssertionError


def length(seconds: float) -> str:
    """A length of time that somebody chose, also if it is less than a second."""
    return span(seconds) if seconds >= 1 else f"{seconds:.3g} s"


def ago(then: float, now: float) -> str:
    """A time in the past, as the clocks of one machine see it."""
    return f"{span(max(0.0, now - then))} ago"


def ahead(then: float | None, now: float) -> str:
    """A time at which something ends."""
    return "never" if then is None else f"in {span(max(0.0, then - now))}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 entry`, `2,000 entries`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
