"""What was paid for and cannot be kept: given out all the same, and told of once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import CacheError, DiskFullError, ReadOnlyError, StoreFullError, TooLargeError, ValueFormError
from .warned import Warned

_log = logging.getLogger("cachemere")

#: Why something is not kept that was made, where nothing is wrong with the store.
UNKEPT = (ValueFormError, TooLargeError, StoreFullError, DiskFullError, ReadOnlyError)

#: How many are told of by one that makes things of many kinds.
_MOST = 16


class Unkept:
    """What somebody makes and cannot keep.

    Args:
        what: What it is, for the log: "a result of ask".
        once: Whether one line is all that is told, and not one for each reason.
    """

    def __init__(self, what: str, *, once: bool = False) -> None:
        self._what = what
        self._warned = Warned(1 if once else _MOST)

    def passes(self, error: CacheError) -> bool:
        """Whether the error is why something is not kept, and no fault of the store; if so it is logged."""
        if not isinstance(error, UNKEPT):
            return False
        level = self._warned.level((type(error), getattr(error, "unsafe_type", None)))
        _log.log(level, "%s is returned but not kept, and the next call computes it again: %s", self._what, error)
        return True

    @contextmanager
    def passed(self, made: Any, *, strict: bool = False) -> Iterator[None]:
        """A context in which it is kept, and goes on without if it cannot be.

        Raises:
            CacheError: That is to be an error, or is the store's fault. It has what was made.
        """
        try:
            yield
        except CacheError as error:
            error.result = made
            if strict or not self.passes(error):
                raise
