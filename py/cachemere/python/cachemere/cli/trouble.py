"""Tells of what went wrong with single entries, while the rest goes on."""

from __future__ import annotations

import sys

from . import status
from .shown import one_line, quoted


class Troubles:
    """Counts and prints. At the end, the process ends with 1 if there were any."""

    def __init__(self) -> None:
        self.count = 0

    def tell(self, namespace: str, error: Exception, what: str = "an entry") -> None:
        """Prints what is wrong with an entry."""
        self.count += 1
        print(f"cachemere: {what} in {quoted(namespace)}: {one_line(str(error))}", file=sys.stderr)

    @property
    def status(self) -> int:
        """What to end with."""
        return status.PROBLEM if self.count else status.OK
