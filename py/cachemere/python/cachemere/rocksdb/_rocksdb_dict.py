"""A dict in RocksDB."""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import tempfile
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from .._core import checks
from .._core.options import resolve
from .._forms.forms import Forms
from .._rocks import MappingBase
from ..errors import CacheError, InvalidOptionError, MissingKeyError
from ..mappings import CacheDict, HugeMutableMapping
from ._options import RocksDBOptions
from ._views import Bound, KeyRange, RangeItems, RangeKeys, RangeValues

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

StrPath = str | os.PathLike[str]
KeyEncoding = Literal["ordered", "raw", "hugedict"]

_ENCODINGS = ("ordered", "raw", "hugedict")
_MISSING: Any = object()

#: By their identity, since a mapping has no hash.
_opened: weakref.WeakValueDictionary[int, RocksDBDict[Any, Any]] = weakref.WeakValueDictionary()


class RocksDBDict(MappingBase, HugeMutableMapping[K, V]):
    """A dict in a directory of RocksDB, in the order of its keys, for more entries than fit into the memory.

    One process writes it, through one object; others open it with `readonly` or `secondary_mode`. For many writing
    processes, see :class:`~cachemere.Cache`. A write that has returned survives a kill of the process; see
    :meth:`sync` and :meth:`flush` for a power loss.

    Args:
        path: The database's directory.
        options: How RocksDB works with it. By default, it is made if it is missing.
        deser_key, ser_key: Functions from the memoryview of an encoded key to the key, and from a key to bytes. The
            view is valid while the function runs. With `deser_key` alone, keys are bytes, or str, as UTF-8.
        deser_value, ser_value: Functions from the memoryview of a stored value to the value, and from a value to bytes.
            Without them values are stored in a safe form: plain data, and types that are registered.
        readonly: Reads what is there now; any number of processes may.
        secondary_mode: Reads, and sees later writes of the primary after :meth:`try_catch_up_with_primary`.
        secondary_path: A directory for the notes of the secondary, one for each. By default a temporary one.
        key_encoding: "ordered": str, bytes, int of any size, float, None and tuples of these, where keys that are
            equal are one key (`1`, `1.0` and `True`, read as `1`), and others are not (`"a"` and `b"a"`); None comes
            first, then numbers, bytes, str, and tuples, each in Python's order. "raw": what the functions make of it.
            "hugedict": as the package of that name does it: str in UTF-8, bytes, int of 64 bits (not in their order),
            None. By default "raw" if there is a function for keys, "ordered" otherwise.
        types: Types of values to register, as for :class:`~cachemere.Cache`.
        allow_pickle: Whether to pickle values that nothing safer can hold, and to load such. Loading a pickle can run
            any code, so only where nobody else can write.

    The database notes how it is encoded. One of another program does not, and is opened with `key_encoding` given, or
    functions for its keys, and functions for its values.

    A walk reads some entries at a time: what is there all the time is met once, what others write meanwhile is met or
    not.

    An object is pickled as its path, options and functions. A forked child opens one that only reads by itself; one
    that writes stays its parent's, and is an error in the child.

    Raises:
        BusyError: Another process has it open for writing.
        IncompatibleError: It was made with another encoding, comparator or prefix extractor. Nothing was changed.
        DamagedError: A file is damaged.
        InvalidOptionError: An argument makes no sense.
        StoreIOError: There is none, and it was not to be made; or the system refused.

    >>> import tempfile
    >>> from cachemere.rocksdb import RocksDBDict
    >>> with tempfile.TemporaryDirectory() as home, RocksDBDict(f"{home}/db") as d:
    ...     d.update({"P17": "country", "P19": "place of birth", "Q1": "universe"})
    ...     list(d.seek_items("P")), list(d.keys(start="P19", reverse=True)), len(d)
    ([('P17', 'country'), ('P19', 'place of birth')], ['Q1', 'P19'], 3)
    """

    def __init__(
        self,
        path: StrPath,
        options: RocksDBOptions | None = None,
        deser_key: Callable[[memoryview], K] | None = None,
        deser_value: Callable[[memoryview], V] | None = None,
        ser_value: Callable[[V], bytes] | None = None,
        readonly: bool = False,
        secondary_mode: bool = False,
        secondary_path: StrPath | None = None,
        *,
        ser_key: Callable[[K], bytes] | None = None,
        key_encoding: KeyEncoding | None = None,
        types: Iterable[type] = (),
        allow_pickle: bool = False,
    ) -> None:
        self._path = resolve(path)
        self._given: dict[str, Any] = {
            "options": options,
            "deser_key": deser_key,
            "deser_value": deser_value,
            "ser_value": ser_value,
            "readonly": readonly,
            "secondary_mode": secondary_mode,
            "secondary_path": None if secondary_path is None else str(resolve(secondary_path)),
            "ser_key": ser_key,
            "key_encoding": key_encoding,
            "types": checks.items("types", types, "types"),
            "allow_pickle": allow_pickle,
        }
        for name in ("deser_key", "deser_value", "ser_value", "ser_key"):
            checks.function(name, self._given[name])
        for name in ("readonly", "secondary_mode", "allow_pickle"):
            checks.flag(name, self._given[name])
        if options is not None and not isinstance(options, RocksDBOptions):
            raise InvalidOptionError(f"options must be RocksDBOptions, not {checks.shown(options)}")
        if readonly and secondary_mode:
            raise InvalidOptionError("readonly and secondary_mode exclude each other: choose one")
        if secondary_path is not None and not secondary_mode:
            raise InvalidOptionError("secondary_path is for secondary_mode=True")
        # The caller's object can be changed later on.
        self._options = RocksDBOptions(create_if_missing=True) if options is None else replace(options)
        self._encoding = self._choose_encoding()
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._open_database()
        _opened[id(self)] = self

    def _choose_encoding(self) -> str:
        given, has_functions = self._given, self.deser_key is not None or self._given["ser_key"] is not None
        encoding = given["key_encoding"]
        if encoding is None:
            return "raw" if has_functions else "ordered"
        checks.choice("key_encoding", encoding, _ENCODINGS)
        if encoding == "ordered" and has_functions:
            raise InvalidOptionError("key_encoding='ordered' has functions of its own: leave deser_key and ser_key out")
        if encoding == "hugedict" and given["ser_key"] is not None:
            raise InvalidOptionError("key_encoding='hugedict' encodes by itself: leave ser_key out, or use 'raw'")
        return str(encoding)

    def _open_database(self) -> None:
        given, encoding = self._given, self._encoding
        own_values = self.deser_value is not None or self.ser_value is not None or encoding == "hugedict"
        extractor = self._options.prefix_extractor
        prefix: tuple[int | None, Bound] = (None, ()) if extractor is None else (extractor.size, extractor.prefix)
        forms = Forms(given["types"])
        secondary = given["secondary_path"]
        if given["secondary_mode"] and secondary is None:
            self._home = tempfile.TemporaryDirectory(prefix="cachemere-secondary-")
            secondary = self._home.name
        try:
            self._open(
                self._path,
                options=self._options,
                prefix=prefix,
                readonly=given["readonly"],
                secondary_path=None if secondary is None else Path(secondary),
                key_encoding=encoding,
                takes_unmarked=given["key_encoding"] is not None or (encoding == "raw" and own_values),
                deser_key=self.deser_key,
                ser_key=given["ser_key"],
                own_values=own_values,
                deser_value=self.deser_value,
                ser_value=self.ser_value,
                pack=forms.pack,
                unpack=forms.unpack,
                canonical=forms.canonical,
                pickle=(_dumps, pickle.loads) if given["allow_pickle"] else None,
            )
        except BaseException:
            if self._home is not None:
                self._home.cleanup()
            raise

    @property
    def path(self) -> str:
        """The database's directory."""
        return str(self._path)

    @property
    def options(self) -> RocksDBOptions:
        """How it was opened: a copy."""
        return replace(self._options)

    @property
    def deser_key(self) -> Callable[[memoryview], K] | None:
        """As it was given."""
        return cast("Callable[[memoryview], K] | None", self._given["deser_key"])

    @property
    def deser_value(self) -> Callable[[memoryview], V] | None:
        """As it was given."""
        return cast("Callable[[memoryview], V] | None", self._given["deser_value"])

    @property
    def ser_value(self) -> Callable[[V], bytes] | None:
        """As it was given."""
        return cast("Callable[[V], bytes] | None", self._given["ser_value"])

    if TYPE_CHECKING:
        # What the native half does, with the types of this mapping.
        def __getitem__(self, key: K, /) -> V: ...
        def __setitem__(self, key: K, value: V, /) -> None: ...
        def __delitem__(self, key: K, /) -> None: ...
        def __iter__(self) -> Iterator[K]: ...
        @overload
        def get(self, key: K, default: None = None, /) -> V | None: ...
        @overload
        def get(self, key: K, default: V | T, /) -> V | T: ...
        def get(self, key: K, default: Any = None, /) -> Any: ...

    # --- reading --------------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of the keys that are there, with their values. Faster than one after the other."""
        wanted = list(keys)
        found = self._find_many(wanted, _MISSING)
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not _MISSING}

    def seek_keys(self, prefix: Any, *, reverse: bool = False) -> Iterator[K]:
        """The keys that begin with a prefix, in their order. A tuple is a prefix of those that begin with its items."""
        return self._seek("keys", prefix, reverse)

    def seek_items(self, prefix: Any, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        """As :meth:`seek_keys`, with the values."""
        return self._seek("items", prefix, reverse)

    def keys(self, *, start: Any = _MISSING, stop: Any = _MISSING, reverse: bool = False) -> RangeKeys[K]:
        """The keys from `start` up to, but not including, `stop`, in their order or back; a live view."""
        return RangeKeys(self, _range(start, stop, reverse))

    def values(self, *, start: Any = _MISSING, stop: Any = _MISSING, reverse: bool = False) -> RangeValues[V]:
        """The values of the keys of a range, in their order or back; a live view."""
        return RangeValues(self, _range(start, stop, reverse))

    def items(self, *, start: Any = _MISSING, stop: Any = _MISSING, reverse: bool = False) -> RangeItems[K, V]:
        """The pairs of key and value of a range, in the order of the keys or back; a live view."""
        return RangeItems(self, _range(start, stop, reverse))

    def __reversed__(self) -> Iterator[K]:
        return self._scan("keys", (), (), True)

    def __eq__(self, other: object) -> bool:
        """Whether it has the entries of another mapping. Reads all of them, one after the other."""
        if not isinstance(other, Mapping):
            return NotImplemented
        met = 0
        for key, value in self.items():
            try:
                present = other[key]
            except (KeyError, TypeError):
                return False
            if not (present is value or present == value):
                return False
            met += 1
        return met == len(other)

    __hash__ = None  # type: ignore[assignment]

    # --- writing --------------------------------------------------------------------------------------------------

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Writes all pairs in one batch: all of them, or on an error none. The batch is held in memory."""
        self._put_many(chain(_pairs(other), more.items()) if more else _pairs(other))

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V | T, /) -> V | T: ...
    def pop(self, key: K, default: Any = _MISSING, /) -> Any:
        """Removes a key; its value, or `default`. A value that cannot be decoded is not removed."""
        taken = self._take(key)
        if taken:
            return taken[0]
        if default is _MISSING:
            raise MissingKeyError(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Removes the greatest key; it and its value."""
        taken = self._take_last()
        if not taken:
            raise MissingKeyError("popitem(): the mapping is empty")
        return cast("tuple[K, V]", taken)

    @overload
    def setdefault(self: RocksDBDict[K, T | None], key: K, default: None = None, /) -> T | None: ...
    @overload
    def setdefault(self, key: K, default: V, /) -> V: ...
    def setdefault(self, key: K, default: Any = None, /) -> Any:
        """The value of a key, which gets `default` first if it has none."""
        return self._put_if_absent(key, default)

    def clear(self) -> None:
        """Removes all entries, at once however many there are; :meth:`compact` gives their space back."""
        MappingBase.clear(self)

    # --- a cache in memory ----------------------------------------------------------------------------------------

    def cache(self) -> CacheDict[K, V]:
        """The same mapping, in whose memory values stay that were read once."""
        return CacheDict(self)

    def update_cache(self, o: Mapping[K, V] | Iterable[tuple[K, V]]) -> CacheDict[K, V]:
        """As :meth:`cache`, and with pairs in its memory that are not written."""
        return CacheDict(self).update_cache(o)

    # --- the database ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes it, when what other threads do with it is done. Closing twice is fine."""
        self._close()
        if self._home is not None:
            self._home.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _unpickle, (type(self), self.path, self._given)

    def __repr__(self) -> str:
        if self.closed:
            return f"<closed {type(self).__name__} {self.path!r}>"
        try:
            return f"<{type(self).__name__} {self.path!r}, about {self.estimated_len()} entries>"
        except CacheError:
            return f"<{type(self).__name__} {self.path!r}>"


def _range(start: Hashable, stop: Hashable, reverse: bool) -> KeyRange:
    checks.flag("reverse", reverse)
    return KeyRange(() if start is _MISSING else (start,), () if stop is _MISSING else (stop,), reverse)


def _pairs(given: Any) -> Iterable[Any]:
    """Pairs of key and value, in all the ways that `dict` takes them."""
    if isinstance(given, dict):
        return given.items()
    if hasattr(given, "keys"):
        return ((key, given[key]) for key in given.keys())
    return cast("Iterable[Any]", given)


def _dumps(value: Any, protocol: int = 5) -> bytes:
    return pickle.dumps(value, protocol)


def _unpickle(kind: type[RocksDBDict[Any, Any]], path: str, given: dict[str, Any]) -> RocksDBDict[Any, Any]:
    return kind(path, **given)


@atexit.register
def _close_all() -> None:
    """RocksDB's threads are ended before those of the interpreter are."""
    for opened in list(_opened.values()):
        try:
            opened.close()
        except Exception:  # Nobody is left to hear of it, and nothing is lost by it.
            pass
