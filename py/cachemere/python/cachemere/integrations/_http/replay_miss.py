"""The error of a miss in replay mode."""

from __future__ import annotations

from ...errors import CacheError, ReplayMissError
from .handed_on import handed_on


def replay_miss(url: str) -> CacheError:
    """The error for a request that is not stored."""
    return handed_on(
        ReplayMissError,
        f"the answer to this POST to {url} is not in the cache, and in replay mode nothing is asked: leave that mode "
        f"(mode= of the transport, CACHEMERE_MODE), or record the answer first",
    )
