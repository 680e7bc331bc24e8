"""The part of a store that an adapter has for itself."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from .. import _checks
from ..cache import Cache, _reopen
from ..errors import InvalidOptionError

_log = logging.getLogger("cachemere")


def own_part(cache: Cache, namespace: str, types: Iterable[type] = ()) -> Cache:
    """A handle of a namespace in a cache's store that knows these types too, and never pickles whatever `cache` does.

    Its errors are all raised, so that the adapter alone says what becomes of them.
    """
    if not isinstance(cache, Cache):
        raise InvalidOptionError(f"cache must be a cachemere.Cache, not {_checks.shown(cache)}")
    options = dataclasses.replace(
        cache._options,
        namespace=namespace,
        types=tuple(dict.fromkeys((*types, *cache._options.types))),
        allow_pickle=False,
        pickle_keys=False,
    )
    return _reopen(Cache, options, "raise")


class Troubles:
    """What becomes of errors in a call of the host: raised, or logged and passed over."""

    def __init__(self, who: str, on_error: str) -> None:
        _checks.choice("on_error", on_error, ("bypass", "raise"))
        self._who = who
        self._on_error = on_error
        self._met: set[type[BaseException]] = set()

    def meet(self, error: Exception) -> None:
        """Returns if the host is to go on as if the cache were empty."""
        if self._on_error == "raise":
            raise error
        # Once for each kind of trouble, since every use of the cache comes here while it lasts.
        level = logging.DEBUG if type(error) in self._met else logging.WARNING
        self._met.add(type(error))
        _log.log(level, "%s goes on without the cache: %s", self._who, error)
