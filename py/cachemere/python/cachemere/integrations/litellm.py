"""A disk cache for LiteLLM: :func:`enable_cache` switches it on, :class:`CachemereCache` is its backend.

It needs `litellm`: `pip install 'cachemere[litellm]'`. What LiteLLM keeps is plain data (the JSON of an answer, and
when it came), and nothing else comes out of an entry.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from .._core.checks import count, function, is_number, seconds, shown
from .._core.installing import install_extra
from .._core.quantities import Seconds
from ..cache import Cache
from ..errors import DecodeError, InvalidOptionError, NotInstalledError, ValueFormError
from ._finished import is_finished
from ._host import Host
from ._part import Part, Troubles

_HOST = Host(module="litellm", extra="litellm", distribution="litellm", supported=">=1.85,<2")

try:
    import litellm
    from litellm.caching.base_cache import BaseCache
    from litellm.caching.caching import Cache as LiteLLMCache
except ImportError as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["CachemereCache", "enable_cache"]


class CachemereCache(BaseCache):
    """The backend of a `litellm.Cache`: what :func:`enable_cache` puts there.

    It is no `litellm.Cache` itself: for one of your own, `own = litellm.Cache(); own.cache = CachemereCache(...)`.

    Lifetimes are those that LiteLLM hands over (`litellm.Cache(ttl=...)`, or `cache={"ttl": ...}` of a call); where it
    has none, that of this adapter, or else of the cache. Errors of deleting and flushing are always raised: nobody
    should believe that entries are gone who still has them.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it.
        namespace: Which part of the store. The adapter has it for itself; LiteLLM's own namespaces are in its keys.
        ttl: Seconds an entry lives for which LiteLLM has no lifetime. `None`: as the cache says.
        cache_if: Called with the JSON of each answer; if false, it is not kept. `None`: one cut off by its length
            or by a filter is not kept, nor is an empty one.
        on_error: `"bypass"`: what goes wrong is logged (logger `cachemere`), once for each message, and the model is
            asked as if there were no cache. `"raise"`: it is raised; but LiteLLM itself catches most errors of caches.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> from cachemere.integrations.litellm import CachemereCache
        >>> backend = CachemereCache(cachemere.Cache(tempfile.mkdtemp() + "/store"))
        >>> backend.set_cache("key", {"timestamp": 1.5, "response": "{}"}, ttl=60)
        >>> backend.get_cache("key")
        {'timestamp': 1.5, 'response': '{}'}
        >>> backend.increment_cache("count", 2), backend.increment_cache("count", 2)
        (2, 4)
        >>> backend.close()
    """

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str = "litellm",
        ttl: Seconds | None = None,
        cache_if: Callable[[Any], bool] | None = None,
        on_error: str = "bypass",
    ) -> None:
        super().__init__()
        function("cache_if", cache_if)
        self._is_wanted = is_finished if cache_if is None else cache_if
        self._ttl = seconds("ttl", ttl)
        self._troubles = Troubles("LiteLLM", on_error)
        self._part = Part.of(cache, namespace)

    # --- reading ------------------------------------------------------------------------------------------------------

    def get_cache(self, key: str, **_: Any) -> Any:
        """What is kept by a key, `None` if there is nothing."""
        try:
            return _restored(self._part.get(key))
        except Exception as error:
            self._troubles.meet(error)
            return None

    async def async_get_cache(self, key: str, **_: Any) -> Any:
        """As :meth:`get_cache`. Only what is in memory and current is given out without a thread."""
        try:
            return _restored(await self._part.aget(key))
        except Exception as error:
            self._troubles.meet(error)
            return None

    def batch_get_cache(self, keys: Iterable[str], **_: Any) -> list[Any]:
        """What is kept by each of some keys, `None` if there is nothing, all from one snapshot."""
        wanted = list(keys)
        try:
            found = self._part.get_many(wanted)
            return [_restored(found.get(key)) for key in wanted]
        except Exception as error:
            self._troubles.meet(error)
            # One entry that cannot be read does not take the others with it.
            return [self.get_cache(key) for key in wanted]

    async def async_batch_get_cache(self, keys: Iterable[str], **_: Any) -> list[Any]:
        """As :meth:`batch_get_cache`, in a thread."""
        return await asyncio.to_thread(self.batch_get_cache, keys)

    async def async_get_ttl(self, key: str) -> int | None:
        """How many whole seconds an entry still lives, `None` if it is not there or lives for ever."""
        try:
            info = await self._part.ainfo(key)
        except Exception as error:
            self._troubles.meet(error)
            return None
        return None if info is None or info.expires_at is None else int(info.expires_at - time.time())

    # --- writing ------------------------------------------------------------------------------------------------------

    def get_ttl(self, **options: Any) -> Any:
        """The lifetime that LiteLLM hands over, or that of this adapter; the base class would say a minute."""
        ttl = options.get("ttl")
        return self._ttl if ttl is None else float(ttl)

    def set_cache(self, key: str, value: Any, **options: Any) -> None:
        """Keeps a value for `ttl` seconds. A write that failed changes nothing."""
        self._write([(key, value)], options)

    async def async_set_cache(self, key: str, value: Any, **options: Any) -> None:
        """As :meth:`set_cache`, in a thread."""
        await asyncio.to_thread(self._write, [(key, value)], options)

    async def async_set_cache_pipeline(self, cache_list: Sequence[tuple[str, Any]], **options: Any) -> None:
        """Keeps some values: all of them or, on an error, none. In a thread."""
        await asyncio.to_thread(self._write, list(cache_list), options)

    async def batch_cache_write(self, key: str, value: Any, **options: Any) -> None:
        """As :meth:`async_set_cache`: nothing is held back that a crash could take."""
        await self.async_set_cache(key, value, **options)

    def _write(self, pairs: list[tuple[str, Any]], options: Mapping[str, Any]) -> None:
        try:
            ttl = self.get_ttl(**options)
            if ttl is not None and ttl <= 0:
                # They have expired, and so has what was there before.
                self._part.delete_many(key for key, _ in pairs)
            else:
                wanted = [(key, _stored(value)) for key, value in pairs if self._is_wanted(_said(value))]
                self._part.set_many(wanted, ttl)
        except Exception as error:
            self._troubles.meet(error)

    # --- counting -----------------------------------------------------------------------------------------------------

    def increment_cache(self, key: str, value: float, **options: Any) -> float:
        """Adds to a number, which begins at 0, and gives out the sum: atomic among threads and processes.

        A number that is there expires when it would have, so that it counts in a window of time, unless `refresh_ttl`
        is given. With a `ttl` of 0 or less nothing is kept.
        """
        try:
            ttl = self.get_ttl(**options)
            if ttl is not None and ttl <= 0:
                before = self._part.pop(key, 0)
                return value + (before if is_number(before) else 0)
            return self._add(key, value, ttl, bool(options.get("refresh_ttl")))
        except Exception as error:
            self._troubles.meet(error)
            return value

    def _add(self, key: str, value: float, ttl: float | None, refreshes: bool) -> float:
        store = self._part.native
        while True:
            found, times = store.fetch(key), store.times(key)
            if found is None or times is None:
                if store.put(key, value, ttl, expect="absent"):
                    return value
                continue
            if not is_number(found[0]):
                raise ValueFormError(f"the value of {key!r} is {shown(found[0])}, not a number to add to")
            left = ttl if refreshes or times[3] is None else times[3] - time.time()
            # One that expires at this moment is looked up again, and is gone.
            if (left is None or left > 0) and store.put(key, found[0] + value, left, expect=found[1]):
                return found[0] + value  # type: ignore[no-any-return]

    async def async_increment_pipeline(
        self, increment_list: Iterable[Mapping[str, Any]], **options: Any
    ) -> list[float] | None:
        """As :meth:`increment_cache`, for some keys, one after the other. In a thread."""

        def add() -> list[float]:
            return [
                self.increment_cache(each["key"], each["increment_value"], **{**options, "ttl": each.get("ttl")})
                for each in increment_list
            ]

        return await asyncio.to_thread(add)

    async def async_increment(self, key: str, value: float, **options: Any) -> float:
        """As :meth:`increment_cache`, in a thread."""
        return await asyncio.to_thread(lambda: self.increment_cache(key, value, **options))

    # --- removing, and the store --------------------------------------------------------------------------------------

    def delete_cache(self, key: str) -> None:
        """Removes an entry."""
        self._part.delete(key)

    async def async_delete_cache(self, key: str) -> None:
        """As :meth:`delete_cache`, in a thread."""
        await asyncio.to_thread(self.delete_cache, key)

    async def delete_cache_keys(self, keys: Iterable[str]) -> int:
        """Removes entries, in a thread; how many were there."""
        return await self._part.adelete_many(keys)

    def flush_cache(self) -> None:
        """Removes all entries of this adapter, for everybody."""
        self._part.clear()

    async def async_flush_cache(self) -> None:
        """As :meth:`flush_cache`, in a thread."""
        await asyncio.to_thread(self.flush_cache)

    async def ping(self) -> bool:
        """Opens the store, if it is not open.

        Raises:
            CacheError: It cannot be opened.
        """
        await asyncio.to_thread(self._part.native.open_now)
        return True

    async def test_connection(self) -> dict[str, Any]:
        """Whether the store can be opened, as LiteLLM's proxy wants to be told."""
        try:
            await self.ping()
        except Exception as error:
            return {"status": "failed", "message": str(error), "error": str(error)}
        return {"status": "success", "message": f"the store at {self._part.path} can be used"}

    async def disconnect(self) -> None:
        """As :meth:`close`, in a thread."""
        await self._part.aclose()

    def close(self) -> None:
        """Closes this adapter's handle of the store; that of the cache stays open."""
        self._part.close()


def enable_cache(
    cache: Cache,
    *,
    namespace: str = "litellm",
    ttl: Seconds | None = None,
    cache_if: Callable[[Any], bool] | None = None,
    on_error: str = "bypass",
    **options: Any,
) -> LiteLLMCache:
    """Lets LiteLLM keep its answers in a cache: sets `litellm.cache`, and returns it.

    `litellm.disable_cache()` ends it.

    Args:
        cache, namespace, ttl, cache_if, on_error: As for :class:`CachemereCache`.
        **options: Of `litellm.Cache`, by name, `mode` or `supported_call_types` for example. `max_messages` is `None`
            unless given: LiteLLM alone keeps no answer to more than four messages, and does not say so.

    Parameters that LiteLLM alone leaves out of its keys are in them: `api_base`, `base_url`, `api_version` and
    `custom_llm_provider`, except in calls of a router, and all that a provider alone knows, `extra_body` for example
    (this sets `litellm.enable_caching_on_provider_specific_optional_params`).

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.
        NotInstalledError: LiteLLM lacks what it needs for any cache.

    Example:
        >>> import tempfile, cachemere, litellm
        >>> from cachemere.integrations.litellm import enable_cache
        >>> made = enable_cache(cachemere.Cache(tempfile.mkdtemp() + "/store"), ttl=86_400)
        >>> litellm.cache is made
        True
        >>> litellm.disable_cache()
        >>> made.cache.close()
    """
    backend = CachemereCache(cache, namespace=namespace, ttl=ttl, cache_if=cache_if, on_error=on_error)
    _check_hits()
    if "max_messages" in _check_options(options):
        options.setdefault("max_messages", None)
    made = _SafeCache(backend, **options)
    litellm.enable_caching_on_provider_specific_optional_params = True
    litellm.cache = made
    return made


def _check_options(options: Mapping[str, Any]) -> frozenset[str]:
    """The options that `litellm.Cache` has by name: it takes any others, too, and does not look at them."""
    named = inspect.signature(LiteLLMCache.__init__).parameters.values()
    known = frozenset(it.name for it in named if it.kind is not it.VAR_KEYWORD and not it.name.startswith("_"))
    known -= {"self"}
    for name in options:
        if name not in known:
            raise InvalidOptionError(f"neither enable_cache nor litellm.Cache has an option {name!r}")
    if options.get("max_messages") is not None:
        count("max_messages", options["max_messages"])
    return known


def _check_hits() -> None:
    """Whether LiteLLM can give out what is cached, wherever: later versions import parts of their proxy before."""
    try:
        importlib.import_module("litellm.llms.anthropic.messages.native.response_cache")
    except ModuleNotFoundError as cause:
        if not (cause.name or "").startswith("litellm"):
            raise NotInstalledError(
                f"LiteLLM {metadata.version('litellm')} gives out nothing that is cached, by whatever cache, without "
                f"{cause.name}: {install_extra('litellm')}"
            ) from cause


#: What says who answers, but is in no key of LiteLLM's own.
_WHO_ANSWERS = ("api_base", "base_url", "api_version", "custom_llm_provider")


class _SafeCache(LiteLLMCache):
    """A `litellm.Cache` that takes the answer of one server for that of no other, and gives out nothing but answers."""

    def __init__(self, backend: CachemereCache, **options: Any) -> None:
        super().__init__(**options)
        self.cache = backend
        self._backend = backend

    def _add_namespace_to_cache_key(self, hash_hex: str, **call: Any) -> str:
        # LiteLLM comes here with each key it has made, and with all that it made it of. A router's deployments are one
        # model in many places.
        if not (call.get("metadata") or {}).get("model_group"):
            who = [(name, str(call[name])) for name in _WHO_ANSWERS if call.get(name)]
            if who:
                hash_hex = hashlib.sha256(json.dumps([hash_hex, who]).encode()).hexdigest()
        return super()._add_namespace_to_cache_key(hash_hex, **call)

    def get_cache(self, *arguments: Any, **call: Any) -> Any:
        return self._answer(super().get_cache(*arguments, **call))

    async def async_get_cache(self, *arguments: Any, **call: Any) -> Any:
        return self._answer(await super().async_get_cache(*arguments, **call))

    def _answer(self, found: Any) -> Any:
        # What is no answer would be LiteLLM's error in a call.
        if found is None or _is_answer(found):
            return found
        self._backend._troubles.meet(DecodeError(f"the entry is not an answer but {shown(found)}"))
        return None


def _is_answer(found: Any) -> bool:
    if not isinstance(found, dict) or not found:
        return False
    choices = found.get("choices", [])
    return isinstance(choices, list) and all(
        isinstance(choice, dict) and isinstance(choice.get("message", {}), dict) for choice in choices
    )


#: Beside each value, which tells it from the entries of others. Numbers are alone, since the store counts with them.
_MARK = "litellm"


def _stored(value: Any) -> Any:
    if type(value) in (int, float):
        return value
    if type(value) not in (dict, list, str, bool):
        raise ValueFormError(f"what LiteLLM keeps is plain data, not {shown(value)}")
    return _MARK, value


def _said(value: Any) -> Any:
    """The answer in what LiteLLM keeps, which has it as text."""
    answer = value.get("response") if isinstance(value, dict) else value
    try:
        return json.loads(answer) if isinstance(answer, str) else answer
    except ValueError:
        return answer


def _restored(found: Any) -> Any:
    match found:
        case None | int() | float():
            return found
        case (str(mark), dict() | list() | str() | bool() as value) if mark == _MARK and type(found) is tuple:
            return value
    raise DecodeError(f"the entry is not LiteLLM's but {shown(found)}: give each adapter a namespace of its own")


_HOST.check_complete(CachemereCache)
_HOST.check_has(LiteLLMCache, "_add_namespace_to_cache_key")
