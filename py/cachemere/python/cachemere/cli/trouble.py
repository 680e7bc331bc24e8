"""Tells of what went wrong with single entries, while the rest goes on."""

from __future__ import annotations

import sys

from . import status
from .shown import one_line, quoted


class Troubles:
    """Counts and prints. At the end, the process ends with 1 if there were any."""

    def __init__(self) -> None:
        #: Entries that could not be read or shown.
        self.entries = 0
        self._any = False

    def tell(self, namespace: str, error: Exception, what: str = "an entry") -> None:
        """Prints what is wrong with an entry."""
        self.entries += 1
        self._print(f"{what} in {quoted(namespace)}: {error}")

    def tell_of_namespace(self, error: Exception) -> None:
        """Prints why a whole namespace is left out."""
        self._print(str(error))

    def _print(self, text: str) -> None:
        self._any = True
        print(f"cachemere: {one_line(text)}", file=sys.stderr)

    @property
    def status(self) -> int:
        """What to end with."""
        return status.PROBLEM if self._any else status.OK
