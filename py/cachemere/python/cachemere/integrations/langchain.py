"""Caches for LangChain: :class:`CachemereCache` for answers of models, :class:`CachemereByteStore` for embeddings.

They need `langchain-core`: `pip install 'cachemere[langchain]'`. Neither calls LangChain's `loads`, which looks up
classes by names it reads: entries are in the safe form of :class:`~cachemere.Cache`, and the classes that can come out
of one are those of :data:`RESTORED` and of `types=` of the cache.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from .._core.checks import function, seconds, shown
from .._core.quantities import Seconds
from .._leads.failures import Failure
from ..cache import Cache
from ..errors import CacheError, DecodeError, InvalidOptionError, ValueFormError
from ._finished import is_cut_off
from ._host import Host
from ._part import Part, Troubles
from ._turns import Turns

_HOST = Host(module="langchain", extra="langchain", distribution="langchain-core", supported=">=1,<2")

try:
    from langchain_core.caches import BaseCache
    from langchain_core.messages import (
        AIMessage,
        AIMessageChunk,
        BaseMessage,
        ChatMessage,
        ChatMessageChunk,
        FunctionMessage,
        FunctionMessageChunk,
        HumanMessage,
        HumanMessageChunk,
        RemoveMessage,
        SystemMessage,
        SystemMessageChunk,
        ToolMessage,
        ToolMessageChunk,
    )
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
    from langchain_core.stores import ByteStore
except ImportError as _cause:
    raise _HOST.import_problem(_cause) from _cause

__all__ = ["MESSAGES", "RESTORED", "CachemereByteStore", "CachemereCache"]

#: The messages that an entry can hold.
MESSAGES: tuple[type[BaseMessage], ...] = (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

_GENERATIONS: tuple[type[Generation], ...] = (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)

#: All classes of LangChain that an entry can hold. A subclass of one is another class: it is not stored as its base.
RESTORED: tuple[type, ...] = (*_GENERATIONS, *MESSAGES)


class CachemereCache(BaseCache):
    """Keeps the answers of models: for `set_llm_cache`, or the argument `cache=` of a model.

    An answer is found again by the prompt and all parameters of the model. What is given out is built anew each time.
    Objects that are not plain data in an answer (a parsed pydantic object, for example) need their class in `types=` of
    the cache; an answer that cannot be stored is not, and the log says why.

    Args:
        cache: Whose store to use, with its options: encryption, compression, limits. Pickle is not used even if the
            cache allows it.
        namespace: Which part of the store. The adapter has it for itself.
        ttl: Seconds an answer lives. `None`: as the cache says.
        cache_if: Called with each answer, a list of generations; if false, it is not kept. `None`: one that was cut off
            by its length or by a filter is not kept, nor is an empty one.
        on_error: `"bypass"`: what goes wrong in a lookup or update is logged (logger `cachemere`), once for each
            message, and the model is asked as if there were no cache. `"raise"`: it is raised.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> from cachemere.integrations.langchain import CachemereCache
        >>> from langchain_core.globals import set_llm_cache
        >>> from langchain_core.language_models import FakeListChatModel
        >>> answers = CachemereCache(cachemere.Cache(tempfile.mkdtemp() + "/store"))
        >>> set_llm_cache(answers)
        >>> model = FakeListChatModel(responses=["first", "second"])
        >>> model.invoke("Why?").content, model.invoke("Why?").content
        ('first', 'first')
        >>> set_llm_cache(None)
        >>> answers.close()
    """

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str = "langchain",
        ttl: Seconds | None = None,
        cache_if: Callable[[Sequence[Generation]], bool] | None = None,
        on_error: str = "bypass",
    ) -> None:
        self._ttl = seconds("ttl", ttl)
        function("cache_if", cache_if)
        self._is_wanted = _is_finished if cache_if is None else cache_if
        self._troubles = Troubles("LangChain", on_error)
        self._part = Part.of(cache, namespace, RESTORED)
        self._turns = Turns(self._part)

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """The answer to a prompt, `None` if there is none and the model is to be asked.

        Of all threads, tasks and processes whose models are to be asked the same at once, one asks and the others wait.
        """
        key = _key(prompt, llm_string)
        try:
            found = self._find(key)
            if found is not None or self._part.disabled:
                return found
            return self._turns.take(key, self._find, sys._getframe(1))
        except Exception as error:
            self._troubles.meet(error)
            return None

    def _find(self, key: tuple[str, str]) -> list[Generation] | None:
        return _generations(self._part.get(key))

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """As :meth:`lookup`. Only what is in memory and current is given out without a thread.

        If the task fails that asks, so do those that wait for it.
        """
        key, call = _key(prompt, llm_string), sys._getframe(1)
        try:
            found = await self._afind(key)
            if found is not None or self._part.disabled:
                return found
            turn = await self._turns.atake(key, self._peek, self._afind, call)
        except Exception as error:
            self._troubles.meet(error)
            return None
        if isinstance(turn, Failure):
            raise turn.again()
        return turn

    async def _afind(self, key: tuple[str, str]) -> list[Generation] | None:
        return _generations(await self._part.aget(key))

    def _peek(self, key: tuple[str, str]) -> list[Generation] | None:
        return _generations(self._part.native.peek(key, None))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keeps an answer. A write that failed changes nothing."""
        key = _key(prompt, llm_string)
        try:
            self._keep(key, return_val)
        finally:
            self._turns.give_back(key)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """As :meth:`update`, in a thread."""
        key = _key(prompt, llm_string)
        try:
            await asyncio.to_thread(self._keep, key, return_val)
        finally:
            self._turns.agive_back(key)

    def _keep(self, key: tuple[str, str], answer: Sequence[Generation]) -> None:
        try:
            if self._is_wanted(answer):
                self._part.set(key, [_storable(generation) for generation in answer], self._ttl)
        except Exception as error:
            self._troubles.meet(error)

    def clear(self, **kwargs: Any) -> None:
        """Removes all answers of this namespace, for everybody. Its errors are always raised: nobody should believe
        they are gone who still has them.

        Raises:
            InvalidOptionError: There are arguments. There is no clearing of some answers only.
        """
        if kwargs:
            raise InvalidOptionError(f"clear takes no arguments, not {', '.join(map(repr, kwargs))}")
        self._part.clear()

    async def aclear(self, **kwargs: Any) -> None:
        """As :meth:`clear`, in a thread."""
        await asyncio.to_thread(self.clear, **kwargs)

    def close(self) -> None:
        """Closes this adapter's handle of the store; that of the cache stays open."""
        self._part.close()


def _key(prompt: str, llm_string: str) -> tuple[str, str]:
    return prompt, llm_string


def _storable(generation: Generation) -> Generation:
    if type(generation) not in _GENERATIONS:
        raise ValueFormError(
            f"an answer of type '{type(generation).__name__}' is not stored: it could not be built again as what it is"
        )
    if type(generation.text) is str:
        return generation
    # The text of a message is of a subclass of str, which has a method but nothing more to keep.
    return generation.model_copy(update={"text": str.__str__(generation.text)})


def _generations(found: Any) -> list[Generation] | None:
    if found is None:
        return None
    # Nothing is validated where objects are built from their fields, so what the host relies on is looked at here.
    if not isinstance(found, list) or not all(map(_is_generation, found)):
        raise DecodeError(f"the entry is not an answer but {shown(found)}: give each adapter a namespace of its own")
    return found


def _is_generation(it: Any) -> bool:
    if type(it) not in _GENERATIONS or not isinstance(it.text, str):
        return False
    return not isinstance(it, ChatGeneration) or type(it.message) in MESSAGES


def _is_finished(answer: Sequence[Generation]) -> bool:
    """Whether an answer is one to keep, unless the program says otherwise."""
    for generation in answer:
        message = getattr(generation, "message", None)
        told = (generation.generation_info, getattr(message, "response_metadata", None))
        names = ("finish_reason", "stop_reason", "done_reason")
        if any(is_cut_off(each.get(name)) for each in told if isinstance(each, dict) for name in names):
            return False
        says = getattr(message, "content", None), getattr(message, "tool_calls", None)
        if not (generation.text or any(says) or getattr(message, "additional_kwargs", None)):
            return False
    return bool(answer)


class CachemereByteStore(ByteStore):
    """Keeps bytes by names: the store for `CacheBackedEmbeddings.from_bytes_store`.

    Args:
        cache: Whose store to use, with its options.
        namespace: Which part of the store. The adapter has it for itself.
        ttl: Seconds an entry lives. `None`: as the cache says.
        on_error: `"bypass"`: what goes wrong when entries are read or written is logged (logger `cachemere`), once for
            each kind, and the host goes on as if they were not there. `"raise"`: it is raised.

    Raises:
        InvalidOptionError: At once, for arguments that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> from cachemere.integrations.langchain import CachemereByteStore
        >>> store = CachemereByteStore(cachemere.Cache(tempfile.mkdtemp() + "/store"))
        >>> store.mset([("a", b"1"), ("b", b"2")])
        >>> store.mget(["b", "c"])
        [b'2', None]
        >>> store.close()
    """

    def __init__(
        self,
        cache: Cache,
        *,
        namespace: str = "langchain-bytes",
        ttl: Seconds | None = None,
        on_error: str = "bypass",
    ) -> None:
        self._ttl = seconds("ttl", ttl)
        self._troubles = Troubles("LangChain", on_error)
        self._part = Part.of(cache, namespace)

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys, each `None` if there is none, all from one snapshot."""
        wanted = list(keys)
        try:
            found = self._part.get_many(wanted)
            return [_bytes(found.get(key)) for key in wanted]
        except Exception as error:
            self._troubles.meet(error)
            # One entry that cannot be read does not take the others with it.
            return [self._get(key) for key in wanted]

    def _get(self, key: str) -> bytes | None:
        try:
            return _bytes(self._part.get(key))
        except Exception as error:
            self._troubles.meet(error)
            return None

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """As :meth:`mget`. One value alone that is in memory and current is given out without a thread."""
        if len(keys) != 1:
            return await asyncio.to_thread(self.mget, keys)
        try:
            return [_bytes(await self._part.aget(keys[0]))]
        except Exception as error:
            self._troubles.meet(error)
            return [None]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Writes all pairs, or on an error none."""
        try:
            pairs = list(key_value_pairs)
            for key, value in pairs:
                if type(key) is not str or type(value) is not bytes:
                    raise ValueFormError(f"a str and its bytes are stored here, not {shown((key, value))}")
            self._part.set_many(pairs, self._ttl)
        except Exception as error:
            self._troubles.meet(error)

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """As :meth:`mset`, in a thread."""
        await asyncio.to_thread(self.mset, key_value_pairs)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Removes keys. Its errors are always raised: nobody should believe they are gone who still has them."""
        self._part.delete_many(keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """As :meth:`mdelete`, in a thread."""
        await asyncio.to_thread(self.mdelete, keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys that begin with `prefix`, in the order of insertion. It reads all of them."""
        try:
            for key in self._part:
                if isinstance(key, str) and key.startswith(prefix or ""):
                    yield key
        except CacheError as error:
            self._troubles.meet(error)

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """As :meth:`yield_keys`."""
        try:
            async for key in self._part.akeys():
                if isinstance(key, str) and key.startswith(prefix or ""):
                    yield key
        except CacheError as error:
            self._troubles.meet(error)

    def close(self) -> None:
        """Closes this adapter's handle of the store; that of the cache stays open."""
        self._part.close()


def _bytes(found: Any) -> bytes | None:
    if found is not None and type(found) is not bytes:
        raise DecodeError(f"the entry is not bytes but {shown(found)}: give each adapter a namespace of its own")
    return found


for _adapter in (CachemereCache, CachemereByteStore):
    _HOST.check_complete(_adapter)
