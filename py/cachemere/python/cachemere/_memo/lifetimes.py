"""How long the results of a memoized function live, and are served while they are made anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .._core import checks
from .._core.quantities import Seconds
from .._engine import Store
from ..errors import InvalidOptionError

#: Seconds, or how many of them a result is to live.
TimeToLive = Seconds | None | Callable[[Any], Seconds | None]


class Lifetime(NamedTuple):
    """Of the results of one function."""

    #: Seconds; `None`: as the cache says.
    ttl: float | None
    #: What says it of a result.
    of_result: Callable[[Any], Seconds | None] | None
    #: Seconds for which a result is served beyond its lifetime, while it is made anew. `None`: it is not.
    stale: float | None

    @classmethod
    def given(cls, ttl: TimeToLive, stale: Seconds | None) -> Lifetime:
        """That of the options of a function.

        Raises:
            InvalidOptionError: They make no sense.
        """
        if callable(ttl):
            return cls(None, ttl, checks.seconds("memoize: stale_while_revalidate", stale))
        lifetime = checks.seconds("memoize: ttl", ttl)
        beyond = checks.seconds("memoize: stale_while_revalidate", stale)
        if beyond is not None and lifetime is None:
            raise InvalidOptionError(
                "memoize: stale_while_revalidate= is the time after ttl= in which a result is served while it is made "
                "anew: give ttl=, too"
            )
        return cls(lifetime, None, beyond)

    def of(self, result: Any) -> float | None:
        """Seconds for which a result is stored."""
        ttl = self.ttl if self.of_result is None else checks.seconds("the ttl of a result", self.of_result(result))
        return ttl if ttl is None or self.stale is None else ttl + self.stale

    def is_over(self, store: Store, key: Any) -> bool:
        """Whether a stored result is served beyond its lifetime."""
        if self.stale is None:
            return False
        times = store.times(key)
        return times is not None and times[3] is not None and times[3] - self.stale <= time.time()
