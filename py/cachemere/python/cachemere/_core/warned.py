"""Warning of a trouble once: what is used all the time meets it again each time, for as long as it lasts."""

from __future__ import annotations

import logging


class Warned:
    """Of which troubles somebody has warned.

    Args:
        most: Of how many different ones to warn at most. `None`: of all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._troubles: set[object] = set()

    def level(self, trouble: object) -> int:
        """At which level to log a trouble, which has a hash, now: it is a warning once, and then for debugging."""
        if trouble in self._troubles or (self._most is not None and len(self._troubles) >= self._most):
            return logging.DEBUG
        self._troubles.add(trouble)
        return logging.WARNING
