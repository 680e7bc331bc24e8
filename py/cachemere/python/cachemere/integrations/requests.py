"""Storage for `requests-cache`: :class:`CachemereCache`, for `CachedSession(backend=...)`.

It needs `requests-cache`: `pip install 'cachemere[requests]'`. Its serializers are not used, of which the default one
unpickles: a response is taken to plain data, and made of it again, by requests-cache's own rules for its one class, and
is stored in the safe form of :class:`~cachemere.Cache`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .._core.checks import duration, shown
from .._core.signals import is_of_handler
from ..cache import Cache
from ..errors import CacheError, DecodeError, MissingKeyError, ValueFormError
from ._host import Host
from ._part import Part, Troubles

_HOST = Host(module="requests", extra="requests", distribution="requests-cache", supported=">=1.2,<2")

try:
    from requests_cache.backends.base import BaseCache, BaseStorage
    from requests_cache.models.response import CachedResponse
    from requests_cache.serializers import CattrStage

    _stage = CattrStage()
except ImportError as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["CachemereCache", "CachemereStorage"]

_MARK = "requests response 1"
_MISSING: Any = object()

#: Seconds an expired response is kept, to be revalidated or given out when the server fails.
KEEP_STALE = 3600


class CachemereStorage(BaseStorage[str, Any]):
    """A mapping of names to responses, or to texts: a part of :class:`CachemereCache`.

    Like every storage of requests-cache it has a length, and is false when it is empty.

    Args:
        cache: Whose store to use.
        namespace: Which part of the store.
        kinds: Classes of the values: `CachedResponse`, `str`, or both.
        keep_stale: Seconds a response is kept after it has expired.
        on_error: As of :class:`CachemereCache`.
    """

    def __init__(
        self,
        cache: Cache,
        namespace: str,
        *,
        kinds: tuple[type, ...] = (CachedResponse, str),
        keep_stale: float = KEEP_STALE,
        on_error: str = "bypass",
    ) -> None:
        super().__init__(serializer=None)
        self._kinds = kinds
        self._keep_stale = _not_negative(keep_stale)
        self._troubles = Troubles("requests-cache", on_error)
        self._part = Part.of(cache, namespace)

    def __getitem__(self, key: str) -> Any:
        try:
            found = self._part.get(key, _MISSING)
            if found is not _MISSING:
                return self._restored(key, found)
        except Exception as error:
            self._troubles.meet(error)
        raise MissingKeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            stored, ttl = self._stored(value)
            if ttl is not None and ttl <= 0:
                # It has expired, and so has what was there before.
                self._part.delete(key)
            else:
                self._part.set(key, stored, ttl)
        except Exception as error:
            self._troubles.meet(error)

    def __delitem__(self, key: str) -> None:
        if not self._part.delete(key):
            raise MissingKeyError(key)

    def __contains__(self, key: object) -> bool:
        try:
            return key in self._part
        except Exception as error:
            self._troubles.meet(error)
            return False

    def __iter__(self) -> Iterator[str]:
        try:
            for key in self._part:
                if isinstance(key, str):
                    yield key
        except CacheError as error:
            self._troubles.meet(error)

    def __len__(self) -> int:
        try:
            return len(self._part)
        except CacheError as error:
            self._troubles.meet(error)
            return 0

    def bulk_delete(self, keys: Iterable[str]) -> None:
        """Removes keys, those that are there. Its errors are always raised."""
        self._part.delete_many(keys)

    def clear(self) -> None:
        """Removes all, at once for everybody. Its errors are always raised: nobody should believe they are gone who
        still has them."""
        self._part.clear()

    def close(self) -> None:
        """Closes this handle of the store; that of the cache stays open. The next use opens it again."""
        closed, self._part = self._part, self._part.again()
        closed.close()

    def _stored(self, value: Any) -> tuple[Any, float | None]:
        """Plain data, and the seconds it lives."""
        if not isinstance(value, self._kinds):
            raise ValueFormError(f"a {_names(self._kinds)} is stored here, not {shown(value)}")
        if not isinstance(value, CachedResponse):
            return value, None
        left = value.expires_delta
        return (_MARK, _stage.dumps(value)), None if left is None else max(0, left) + self._keep_stale

    def _restored(self, key: str, found: Any) -> Any:
        match found:
            case str() if str in self._kinds:
                return found
            case (mark, dict(fields)) if mark == _MARK and CachedResponse in self._kinds:
                try:
                    response = _stage.loads(fields)
                    response.cache_key = key
                except Exception as cause:
                    if is_of_handler(cause):
                        raise
                    # Whatever the rules for the fields raise: several classes of errors, and groups of them.
                    raise DecodeError(f"the entry is not a response that can be made again: {cause}") from cause
                return response
        raise DecodeError(
            f"the entry is no {_names(self._kinds)} but {shown(found)}: give each adapter a namespace of its own"
        )


class CachemereCache(BaseCache):
    """Keeps responses: for `CachedSession(backend=CachemereCache(cache))`.

    What is cached, for how long, and under which keys is said to the session, as with every backend. An entry lives
    until its response has expired, and `keep_stale` seconds more.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it.
        namespace: Which part of the store. The adapter has it for itself, and `namespace-redirects` too.
        keep_stale: Seconds a response is kept after it has expired, for `stale_if_error`, `stale_while_revalidate` and
            conditional requests. `session.cache.delete(expired=True)` removes such.
        on_error: `"bypass"`: what goes wrong when a response is looked up or stored is logged (logger `cachemere`),
            once for each message, and the session asks the server as if there were no cache. `"raise"`: it is raised.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> from cachemere.integrations.requests import CachemereCache
        >>> from requests_cache import CachedSession
        >>> cache = cachemere.Cache(tempfile.mkdtemp() + "/store")
        >>> session = CachedSession(backend=CachemereCache(cache), expire_after=3600)
        >>> len(session.cache.responses)
        0
        >>> session.close(); cache.close()
    """

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str = "requests",
        keep_stale: float = KEEP_STALE,
        on_error: str = "bypass",
    ) -> None:
        # A session that is given a name would change it, and warns of it.
        super().__init__(cache_name=namespace)
        self.responses: CachemereStorage = CachemereStorage(
            cache, namespace, kinds=(CachedResponse,), keep_stale=keep_stale, on_error=on_error
        )
        self.redirects: CachemereStorage = CachemereStorage(
            cache, f"{namespace}-redirects", kinds=(str,), keep_stale=keep_stale, on_error=on_error
        )


def _not_negative(seconds: Any) -> float:
    return 0.0 if seconds == 0 and type(seconds) is not bool else duration("keep_stale", seconds)


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


for _adapter in (CachemereCache, CachemereStorage):
    _HOST.check_complete(_adapter)
