"""A dict that persists."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Hashable, ItemsView, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import GeneratorType, MemberDescriptorType
from typing import Any, Literal, TypeVar, overload

from ._core import checks
from ._core.dict_views import DictItems, DictKeys, DictValues, Viewed
from ._core.handed_out import Warned, WrittenBack, watch
from ._core.handle import Handle, Path
from ._core.info import EntryInfo, entry_info
from ._core.options import (
    MEMORY_BYTES,
    NOT_GIVEN,
    NotGiven,
    Options,
    given_secret,
    remember,
    resolve,
    serializers,
)
from ._core.placeholder import PLACEHOLDER
from ._core.secrets import Secret, SecretSource
from ._core.walk import entries, met, pairs_of
from ._engine import Store
from .errors import CacheError, ClosedError, InvalidOptionError, MissingKeyError

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_MISSING: Any = object()
_DAY = 86_400.0

#: The stores that `repr` is at work on.
_being_shown: ContextVar[frozenset[Any]] = ContextVar("_being_shown", default=frozenset())

#: So many entries are shown by `repr`, so that printing a dict of millions does not fill the memory.
SHOWN = 1000


class PersistDict(Handle, Viewed[K, V]):
    """A `dict` whose entries are in a directory, shared by all threads and processes that open it.

    Everything a dict does works, in the order of insertion: other processes' writes are seen by the next read, a write
    that has returned survives a kill. Values are copies: to change one, assign it again, or say `writeback=True`. Keys
    that are equal (`1`, `1.0` and `True`) are one key, shown as it was last written, where a dict shows the first.

    The entries are not in the memory of the `dict` this is a subclass of. Code in Python and `json.dumps(d)` do not
    notice. Other code in C that looks into dicts without asking them (orjson, pydantic, methods called on `dict`
    itself, as `dict.__len__(d)`) meets one entry there that nothing can write, whose name says what to do:
    `d.to_dict()`.

    A subclass can have attributes, which are pickled with it, and `__missing__`.

    Args:
        database_path: The store's directory; made if it is missing, with its parents.
        expiration_days: Entries that were not read or written for so many days are gone. 0: never.
        key_serializer: Makes `str` or `bytes` of a key. By default every hashable key with a canonical form is taken:
            str, bytes, numbers, None, tuples, frozensets, enums, datetimes, UUID, Decimal, paths; others are pickled,
            if they define what equal means: a copy must be equal.
        key_unserializer: Makes the key of that.
        key_size_limit: Kept for compatibility: keys of any size fit.
        value_serializer: Makes plain data (bytes, say) of a value. By default plain data is stored in a safe form, and
            only what has none is pickled.
        value_unserializer: Makes the value of that.
        caching: Whether to keep decoded values in memory. They are never stale.
        verbose: Whether to log operations at level INFO, to the logger `cachemere` (or `cachemere.<name>`).
        background_thread: `True`: expired entries are removed by a thread; `False`: in the calling thread, now and
            then; `"disabled"`: only by :meth:`sweep`. None of them is ever returned.
        background_timeout: Kept for compatibility: seconds a round of the thread may take. It works in batches of
            milliseconds, so that there is nothing to be cut off.
        name: Name of the logger.
        ttl: Seconds that an entry lives from its last write, however often it is read.
        encryption_key: 32 random bytes, or a passphrase.
        compression: Whether to compress values with Zstandard. `None`: as the store was made; no for a new one.
        max_bytes: A limit of the files' size, 4 MiB or more; what was read least recently is evicted to keep it. No
            limit by default.
        max_entries: A limit of the number of entries.
        durability: `"checkpoint"`: a power loss can take the last second; `"sync"`: nothing.
        namespace: Which of the mappings in the store.
        allow_foreign_owner: Whether to open a store of another user; see :class:`~cachemere.Cache`.
        allow_unsupported_file_system: Whether to open a store on a network file system; see :class:`~cachemere.Cache`.
        allow_pickle: Whether values without a safe form may be pickled, and pickled ones loaded. Loading a pickle can
            run any code: say `False` where others can write to the directory.
        types: Dataclasses, enums, named tuples and pydantic models to be stored without pickle, and those their fields
            name; see :class:`~cachemere.Cache`.
        memory_bytes: How much to keep in memory, roughly.
        read_only: Whether nothing may be written; see :class:`~cachemere.Cache`.
        writeback: `True`: values that were handed out and changed are written by :meth:`flush`, :meth:`close`, whatever
            looks at all entries, and the end of the program; a kill before loses the changes. They stay in memory until
            then, and each read costs several times as much. `"warn"`, for tests: they are not written, and an
            `UnwrittenChangeWarning` tells of each.

    Raises:
        InvalidOptionError: For options that make no sense.
        WrongSecretError, IncompatibleError, DamagedError, UnsupportedFileSystemError, StoreIOError: The store cannot
            be opened.

    Example:
        >>> import tempfile, cachemere
        >>> d = cachemere.PersistDict(tempfile.mkdtemp() + "/store", expiration_days=30)
        >>> d["a"] = [1, 2]
        >>> d |= {"b": None}
        >>> d
        {'a': [1, 2], 'b': None}
        >>> d.close()
    """

    # Beside the attributes of subclasses and users, which are pickled.
    __slots__ = ("_log", "_options", "_store", "_verbose", "_watch")

    #: Templates of Django call what can be called, unless they are told that it is not meant for them.
    do_not_call_in_templates = True

    _options: Options
    _store: Store
    _log: logging.Logger
    _verbose: bool
    _watch: WrittenBack | Warned | None

    def __new__(cls, /, *args: Any, **options: Any) -> Self:
        if len(args) == 1 and not options and type(args[0]) is GeneratorType:
            # This is how `dataclasses.asdict` copies a field that is a dict. As `copy()`, it gets a plain one.
            return dict(args[0])  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        database_path: str | os.PathLike[str],
        expiration_days: float = 0,
        key_serializer: Callable[[Any], str | bytes] | None = None,
        key_unserializer: Callable[[Any], Any] | None = None,
        key_size_limit: int = 511,
        value_serializer: Callable[[Any], Any] | None = None,
        value_unserializer: Callable[[Any], Any] | None = None,
        caching: bool = True,
        verbose: bool = False,
        background_thread: bool | str = True,
        background_timeout: float = 30,
        name: str | None = None,
        *,
        ttl: float | None = None,
        encryption_key: SecretSource | NotGiven = NOT_GIVEN,
        compression: bool | None = None,
        max_bytes: int | None = None,
        max_entries: int | None = None,
        durability: str = "checkpoint",
        namespace: str = "default",
        allow_foreign_owner: bool = False,
        allow_unsupported_file_system: bool = False,
        allow_pickle: bool = True,
        types: Iterable[type] = (),
        memory_bytes: int = MEMORY_BYTES,
        read_only: bool = False,
        writeback: bool | Literal["warn"] = False,
    ) -> None:
        checks.count("key_size_limit", key_size_limit)
        checks.duration("background_timeout", background_timeout)
        if name is not None and not isinstance(name, str):
            raise InvalidOptionError(f"name must be a str, not {checks.shown(name)}")
        secret = given_secret(encryption_key)
        options = {
            "path": resolve(database_path),
            "namespace": namespace,
            "ttl": ttl,
            "idle": _idle(expiration_days),
            "max_bytes": max_bytes,
            "max_entries": max_entries,
            "compression": compression,
            "durability": durability,
            "allow_foreign_owner": allow_foreign_owner,
            "allow_unsupported_file_system": allow_unsupported_file_system,
            "maintenance": _maintenance(background_thread),
            "memory_bytes": memory_bytes if caching else 0,
            "allow_pickle": allow_pickle,
            "pickle_keys": allow_pickle,
            "value_serializers": serializers("value", value_serializer, value_unserializer),
            "key_serializers": serializers("key", key_serializer, key_unserializer),
            "types": checks.items("types", types, "classes"),
            "read_only": read_only,
        }
        if read_only and writeback:
            raise InvalidOptionError("writeback and read_only cannot go together: nothing may be written back")
        self._open(remember(options, secret), secret, bool(verbose), name, writeback)
        # What is wrong with the path, the secret or the pipeline is told here and not by a later read.
        self._store.open_now()

    def _open(
        self, options: Options, secret: Secret | None, verbose: bool, name: str | None, writeback: bool | str
    ) -> None:
        store = options.open(secret)
        watching = watch(store, writeback)
        if not self._attach(store, PLACEHOLDER, watching):
            raise CacheError("PersistDict.__init__ was called twice: make a new one instead")
        self._options = options
        self._store = store
        self._watch = watching
        if watching is not None:
            # At the end of the interpreter it is done while stores are open yet.
            weakref.finalize(self, watching.end).atexit = False
        self._verbose = verbose
        self._log = logging.getLogger("cachemere" if name is None else f"cachemere.{name}")
        self._note("opened %s", options.path)

    def _note(self, message: str, *arguments: object) -> None:
        if self._verbose:
            self._log.info(message, *arguments)

    def __call__(self, /, *args: Any, **kwargs: V) -> Self:
        """Fills the dict as the constructor of a dict does: `d = d(a=1)`. Allowed once, and again while it is empty.

        Code that calls whatever can be called does no harm: without arguments nothing is written, and what is neither a
        mapping nor pairs is refused.

        Raises:
            CacheError: It was done before, by whichever process. Use :meth:`update`.
        """
        if len(args) > 1:
            raise TypeError(f"expected at most 1 argument, got {len(args)}")
        if not args and not kwargs:
            return self
        pairs = list(_filling(args[0])) if args else []
        marks = Options(
            path=self._options.path, namespace=f"{self._options.namespace}/cachemere", encrypted=self._options.encrypted
        )
        store = marks.open(None)
        try:
            if not self._may_be_filled(store):
                raise CacheError("this store was filled by a call before, which is allowed once: use update() instead")
            try:
                self.update(pairs, **kwargs)
            except BaseException:
                store.remove("called")
                raise
        finally:
            store.close()
        return self

    def _may_be_filled(self, marks: Store) -> bool:
        if marks.put("called", True, expect="absent"):
            return True
        # Of several that find it empty one is the first.
        found = marks.fetch("called")
        return found is not None and not self and marks.put("called", True, expect=found[1])

    # --- reading ------------------------------------------------------------------------------------------------------

    def walk(self, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        """Pairs of key and value in the order of insertion, some hundred read at a time.

        Weakly consistent: what is changed meanwhile is met or not, what is new is not. Not an access.

        Raises:
            DamagedError, TamperedError: For an entry that is damaged; :meth:`to_dict` can skip those.
        """
        if self._watch is None:
            yield from self._pairs(reverse=reverse)
            return
        self._watch.settle()
        for key, value, version, _ in entries(self._store, reverse, keys_only=False):
            yield key, self._watch.handed(key, value, version)

    def _pairs(self, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        """As :meth:`walk`, for those who hand no value out."""
        self._settle()
        for key, value, _, _ in entries(self._store, reverse, keys_only=False):
            yield key, value

    def _settle(self) -> None:
        if self._watch is not None:
            self._watch.settle()

    def __iter__(self) -> Iterator[K]:
        return (key for key, _, _, _ in entries(self._store, reverse=False, keys_only=True))

    def __reversed__(self) -> Iterator[K]:
        return (key for key, _, _, _ in entries(self._store, reverse=True, keys_only=True))

    def keys(self) -> DictKeys[K]:  # type: ignore[override]
        """A live view of the keys."""
        return DictKeys(self)

    def values(self) -> DictValues[V]:  # type: ignore[override]
        """A live view of the values."""
        return DictValues(self)

    def items(self) -> DictItems[K, V]:  # type: ignore[override]
        """A live view of the pairs."""
        return DictItems(self)

    def to_dict(self, *, skip_damaged: bool = False) -> dict[K, V]:
        """A plain dict of all entries, for code that looks into dicts without asking them (`json.dumps`, say)."""
        checks.flag("skip_damaged", skip_damaged)
        self._settle()
        found: dict[K, V] = {}
        for entry in met(self._store, reverse=False, keys_only=False):
            if not isinstance(entry, Exception):
                found[entry[0]] = entry[1]
            elif skip_damaged and isinstance(entry, CacheError):
                self._log.warning("an entry of %s was skipped: %s", self._options.path, entry)
            else:
                raise entry
        return found

    def copy(self) -> dict[K, V]:
        """A plain dict of all entries, as a copy of the store itself would not be in memory. See :meth:`backup`."""
        return self.to_dict()

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[K, V]:
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        if self is other:
            return True
        if isinstance(other, PersistDict):
            other = other.to_dict()
        self._settle()
        if len(self) != len(other):
            return False
        return all(other.get(key, _MISSING) == value for key, value in self._pairs())

    def __ne__(self, other: object) -> bool:
        # That of a dict would compare the hidden one.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return len(self) != 0

    def shown(self, form: Callable[[Any, Any], str], before: str, after: str) -> str:
        """The first entries in words, and how many there are besides."""
        # A store can contain a handle of itself, which is another object each time it is read.
        outer, store = _being_shown.get(), (self._options.path, self._options.namespace)
        if store in outer:
            return f"{before}...{after}"
        token = _being_shown.set(outer | {store})
        try:
            parts: list[str] = []
            for key, value in self._pairs():
                if len(parts) == SHOWN:
                    parts.append(f"... {len(self)} in all")
                    break
                parts.append(form(key, value))
            return before + ", ".join(parts) + after
        except ClosedError:
            return f"<closed {type(self).__name__} {self.path!r}>"
        finally:
            _being_shown.reset(token)

    def __repr__(self) -> str:
        return self.shown(lambda key, value: f"{key!r}: {value!r}", "{", "}")

    # --- writing ------------------------------------------------------------------------------------------------------

    def set(self, key: K, value: V, ttl: float | None = None) -> None:
        """As `d[key] = value`, for an entry that expires `ttl` seconds from now."""
        self._store.put(key, value, ttl=checks.seconds("ttl", ttl))
        if self._watch is not None:
            self._watch.assigned(key, value)

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]
        """The key's value; if it has none, `default`, which is then its value. Atomic among processes."""
        while True:
            found: V = self.get(key, _MISSING)
            if found is not _MISSING:
                return found
            # What is watched is what is handed out, which `default` is not.
            if self._store.put(key, default, expect="absent") and self._watch is None:
                return default

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: T, /) -> V | T: ...
    def pop(self, key: K, default: Any = _MISSING, /) -> Any:
        """Removes a key and returns its value. Of several that pop one key, one gets it."""
        self._settle()
        while True:
            found = self._store.fetch(key)
            if found is None:
                if default is _MISSING:
                    raise MissingKeyError(key)
                return default
            value, version, _, _ = found
            if self._store.remove(key, version):
                if self._watch is not None:
                    self._watch.removed(key)
                return value

    def popitem(self) -> tuple[K, V]:
        """Removes the entry that was inserted last and returns it. One that cannot be read stays."""
        self._settle()
        popped = self._store.pop_newest()
        if popped is None:
            raise MissingKeyError("popitem(): dictionary is empty")
        if self._watch is not None:
            self._watch.removed(popped[0])
        return popped

    def update(self, /, *args: Any, **kwargs: V) -> None:
        """Adds all pairs in one transaction: all of them, or on an error none."""
        if len(args) > 1:
            raise TypeError(f"update expected at most 1 argument, got {len(args)}")
        pairs: list[tuple[Any, Any]] = []
        if args:
            pairs += args[0]._pairs() if isinstance(args[0], PersistDict) else pairs_of(args[0])
        pairs += kwargs.items()
        if pairs:
            self._store.put_many(pairs)
            if self._watch is not None:
                for key, value in pairs:
                    self._watch.assigned(key, value)
            self._note("updated %d entries", len(pairs))

    def clear(self) -> None:
        """Removes all entries, at once for everybody."""
        self._store.clear()
        if self._watch is not None:
            self._watch.cleared()
        self._note("cleared %s", self._options.path)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, dict):
            return NotImplemented
        return self.to_dict() | (other.to_dict() if isinstance(other, PersistDict) else other)

    def __ror__(self, other: Any) -> Any:
        if not isinstance(other, dict):
            return NotImplemented
        return other | self.to_dict()

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        self.update(other)
        return self

    @classmethod
    def fromkeys(cls, iterable: Iterable[T], value: Any = None) -> dict[T, Any]:
        """A plain dict: there is no store to put the keys in."""
        return dict.fromkeys(iterable, value)

    # --- the store ----------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The store's directory."""
        return str(self._options.path)

    def info(self, key: Hashable) -> EntryInfo | None:
        """When the entry was made, read, written, when it expires, and its size; `None` if there is none."""
        return entry_info(self._store, key)

    def sweep(self) -> int:
        """Removes all expired entries now; how many."""
        count = super().sweep()
        self._note("swept %d entries", count)
        return count

    def flush(self) -> None:
        """Makes everything written so far safe from a power loss, after what `writeback` has to write.

        Raises:
            ChangedMeanwhileError: With `writeback=True`: somebody else has written values that were changed here.
        """
        if self._watch is not None:
            self._watch.flush()
        super().flush()

    def backup(self, path: Path) -> None:
        """Copies the store, while it is in use, into a directory that must not exist."""
        self._settle()
        super().backup(path)

    def close(self) -> None:
        """Writes what is in memory (changed values with `writeback`, access times) and closes this handle.

        Raises:
            ChangedMeanwhileError: With `writeback=True`: somebody else has written values that were changed here. It is
                closed all the same.
        """
        watching, self._watch = self._watch, None
        try:
            if watching is not None:
                watching.flush()
        finally:
            super().close()
        self._note("closed %s", self._options.path)

    # --- pickling -----------------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._settle()
        name = self._log.name.partition(".")[2] or None
        writeback = "warn" if isinstance(self._watch, Warned) else self._watch is not None
        return _reopen, (type(self), self._options, self._verbose, name, writeback), self.__getstate__()

    def __getstate__(self) -> Any:
        """The attributes that a subclass or a user has given it, those of slots too, as `pickle` has them."""
        slots = {
            name: member.__get__(self)
            for kind in type(self).__mro__
            if kind is not PersistDict and issubclass(kind, PersistDict)
            for name, member in vars(kind).items()
            if isinstance(member, MemberDescriptorType) and hasattr(self, name)
        }
        attributes = vars(self) or None
        return (attributes, slots) if slots else attributes


def _reopen(
    kind: type[PersistDict[Any, Any]],
    options: Options,
    verbose: bool,
    name: str | None,
    writeback: bool | str = False,
) -> Any:
    made = kind.__new__(kind)
    made._open(options, None, verbose, name, writeback)
    return made


def _filling(given: Any) -> Iterable[tuple[Any, Any]]:
    """The pairs that a dict is to be filled with; of what somebody calls it with who calls everything, an error."""
    if isinstance(given, PersistDict):
        return given._pairs()
    if isinstance(given, Mapping):
        return given.items()
    if isinstance(given, (list, tuple, set, frozenset, Iterator, ItemsView)):
        pairs = list(given)
        if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            return pairs
    raise TypeError(
        f"a PersistDict is called to fill it, with a mapping, pairs or keywords, and not with {checks.shown(given)}: "
        "to look a key up, use d[key] or d.get(key)"
    )


def _idle(expiration_days: float) -> float | None:
    if type(expiration_days) in (int, float) and expiration_days == 0:
        return None
    return checks.duration("expiration_days", expiration_days, "days (or 0: never)", _DAY)


def _maintenance(background_thread: bool | str) -> str | None:
    if background_thread is True:
        return None
    if background_thread is False:
        return "inline"
    if background_thread == "disabled":
        return "manual"
    raise InvalidOptionError(f"background_thread must be True, False or 'disabled', not {background_thread!r}")
