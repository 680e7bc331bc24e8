"""The part of a store that an adapter has for itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .._cache.cache_argument import check_cache
from .._core import checks
from .._core.signals import is_of_handler
from .._core.warned import Warned
from .._engine import Store
from .._forms.advice import advise
from ..cache import Cache, over
from ..errors import ValueFormError

_log = logging.getLogger("cachemere")


class Part(Cache):
    """A handle of a namespace in a cache's store that knows the types of an adapter, and never pickles.

    Its errors are all raised, so that the adapter alone says what becomes of them.
    """

    @classmethod
    def of(cls, cache: Cache, namespace: str, types: Iterable[type] = ()) -> Part:
        """The part of an adapter in what it was given.

        Raises:
            InvalidOptionError: That is no cache.
        """
        check_cache("cache", cache)
        # What an adapter restores is the list in its source, and not what those classes name.
        exact_types = tuple(types)
        return over(
            cls,
            cache._guarded.beside(
                "raise",
                namespace=namespace,
                exact_types=exact_types,
                allow_pickle=False,
                pickle_keys=False,
                read_only_if_unwritable=True,
            ),
        )

    @property
    def ttl(self) -> float | None:
        """Seconds an entry lives, if nothing else is said of it."""
        return self._options.ttl

    @property
    def native(self) -> Store:
        """The native store."""
        return self._store

    def again(self) -> Part:
        """Another handle of the same, for when this one is closed."""
        return over(type(self), self._guarded.beside())


#: How many different troubles an adapter warns of: messages can name keys, of which there is no end.
_WARNINGS = 16


class Troubles:
    """What becomes of errors in a call of the host: raised, or logged and passed over."""

    def __init__(self, who: str, on_error: str) -> None:
        checks.choice("on_error", on_error, ("bypass", "raise"))
        self._who = who
        self._on_error = on_error
        self._warned = Warned(_WARNINGS)

    def meet(self, error: Exception) -> None:
        """Returns if the host is to go on as if the cache had no entry."""
        if self._on_error == "raise" or is_of_handler(error):
            raise error
        said = _said(error)
        level = self._warned.level((type(error), said))
        _log.log(level, "%s goes on without this entry: %s", self._who, said)


def _said(error: Exception) -> str:
    """The message of an error, with what helps in an adapter: none of them pickles, whatever the cache may do."""
    text = str(error)
    if not isinstance(error, ValueFormError):
        return text
    advised = advise(error, "Cache(path, types=[{}])")
    if advised is None and "allow_pickle" in text:
        return f"{text.partition(':')[0]}: adapters use no pickle"
    return advised or text
