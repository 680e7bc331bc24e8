"""A directory that is open as diskcache opens one: its settings, its transactions, closing and pickling."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .._core import checks
from .._core.options import NotGiven, Options, given_secret, remember, resolve
from .._core.secrets import Secret
from .._engine import Store
from ..errors import ClosedError, InvalidOptionError
from . import settings as _settings
from .constants import ENOVAL
from .disk import Disk, JSONDisk, check_disk
from .gate import Gate
from .installed import filled_in
from .transaction import Transaction

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

T = TypeVar("T")

_handles: weakref.WeakSet[Handle] = weakref.WeakSet()

#: Where the ends of the queues are; see `queues`.
QUEUES = "diskcache.queues"


class Handle:
    """What :class:`~cachemere.diskcache.Cache` and :class:`~cachemere.diskcache.FanoutCache` are made of."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        timeout: float,
        disk: type,
        options: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        options = filled_in(options)
        self._timeout = _patience(timeout)
        self._disk_class = check_disk(disk)
        self._settings = _settings.check_settings(settings)
        compresses = _settings.check_compress_level(self._settings, self._disk_class is JSONDisk)
        if options["compression"] is None:
            options["compression"] = compresses
        secret = given_secret(options.pop("encryption_key"))
        types = checks.items("types", options.pop("types"), "classes")
        path = _located(directory)
        made = {"path": path, "types": types, "max_bytes": self._max_bytes(), **options}
        self._attach(remember({**made, "pickle_keys": options["allow_pickle"]}, secret))

    def _attach(self, options: Options) -> None:
        assert options.path is not None
        self._options = options
        self._disk = self._disk_class(str(options.path))
        self._gate = Gate(options.path)
        self._transaction: Transaction | None = None
        self._hits = self._misses = 0
        self._make_locks()
        _handles.add(self)
        self._is_special = bool(self._settings["statistics"])
        self._queue_store: Store | None = None
        self._store = options.open(None)
        # diskcache makes its files now, and programs count on hearing now that they cannot be made.
        self._store.open_now()

    def _make_locks(self) -> None:
        self._counting = threading.Lock()
        self._swapping = threading.Lock()

    # --- attributes ---------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> str:
        """The directory of the store, as an absolute path."""
        return str(self._options.path)

    @property
    def timeout(self) -> float:
        """Seconds that a write waits for somebody else's transaction, unless it has `retry=True`."""
        return self._timeout

    @property
    def disk(self) -> Disk:
        """An object of the class given as `disk=`, which does nothing."""
        return self._disk

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("_settings", {})
        if name in settings:
            return settings[name]
        if _settings.not_carried_over(name):
            raise AttributeError(f"the setting {name} of diskcache is not carried over")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        """The setting `key`, after it was set to `value` if one is given. Settings are those of this handle.

        `count`, `size`, `hits` and `misses` can be read.

        Raises:
            NotCarriedOverError: A setting that has no meaning here.
            InvalidOptionError: There is none of that name, or it cannot have that value.
            IncompatibleError: Another handle has the store open with another `size_limit`.
        """
        measured: dict[str, Callable[[], int]] = {
            "count": lambda: len(self),
            "size": lambda: self.volume(),
            "hits": lambda: self._hits,
            "misses": lambda: self._misses,
        }
        if key in measured:
            if value is not ENOVAL:
                raise InvalidOptionError(f"{key} is measured and cannot be set")
            return measured[key]()
        if value is ENOVAL:
            if key not in self._settings:
                _settings.check_settings({key: ENOVAL})
                raise InvalidOptionError(f"{key} was not set")
            return self._settings[key]
        self._change({key: value})
        return self._settings.get(key, value)

    def _change(self, given: dict[str, Any]) -> None:
        before, limit = self._settings, self._options.max_bytes
        self._settings = _settings.check_settings({**before, **given})
        try:
            _settings.check_compress_level(self._settings, self._disk_class is JSONDisk)
            if self._max_bytes() not in (limit, None):
                self._reopen(max_bytes=self._max_bytes())
        except BaseException:
            self._settings = before
            self._reopen(max_bytes=limit)
            raise
        self._is_special = bool(self._settings["statistics"]) or self._transaction is not None

    def _max_bytes(self) -> int | None:
        return self._settings["size_limit"] if _settings.is_kept(self._settings) else None

    # --- transactions -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transact(self, retry: bool = False) -> Iterator[None]:
        """Lets nobody else write, and writes what is written within at its end, at once: all of it, or none.

        Reads within see what was written within; reads of others see it at the end. An exception that leaves the block
        undoes all. Blocks can be in each other: the outermost is the transaction. It belongs to the thread, and is not
        to be held across an `await`. A process that is killed within has written nothing, and lets others go on.

        Values are kept in memory until the end. Taking part costs other writers about a microsecond each.

        Raises:
            Timeout: Somebody else's transaction took longer than `timeout`, and not `retry`.

        Example:
            >>> import tempfile
            >>> from cachemere import diskcache
            >>> cache = diskcache.Cache(tempfile.mkdtemp())
            >>> with cache.transact():
            ...     _ = cache.incr("total", 123.4)
            ...     _ = cache.incr("count", 1)
            >>> cache["total"] / cache["count"]
            123.4
        """
        with self._transact(retry):
            yield

    def _transact(self, retry: bool) -> _Block:
        return _Block(self, None if retry else self._timeout)

    @property
    def _mine(self) -> Transaction | None:
        """The transaction the caller is in."""
        transaction = self._transaction
        return transaction if transaction is not None and transaction.is_mine else None

    def _write(self, retry: bool, work: Callable[[Store], T]) -> T:
        """What `work` gives, while no transaction goes on. Not for those who are in one."""
        held = self._gate.enter(None if retry else self._timeout)
        try:
            return self._unless_closed(work)
        finally:
            self._gate.leave(held)

    # --- opening and closing ------------------------------------------------------------------------------------------

    def _unless_closed(self, work: Callable[[Store], T]) -> T:
        """What `work` gives; once more if another thread closed the store meanwhile."""
        while True:
            store = self._store
            try:
                return work(store)
            except ClosedError:
                if store is self._store:
                    raise

    def _queues(self, work: Callable[[Store], T]) -> T:
        """What `work` gives with the part of the store that has the ends of the queues."""
        while True:
            with self._swapping:
                store = self._queue_store
                if store is None:
                    store = self._queue_store = dataclasses.replace(self._options, namespace=QUEUES).open(
                        None, self._store
                    )
            try:
                return work(store)
            except ClosedError:
                if store is self._queue_store:
                    raise

    def _reopen(self, **other: Any) -> None:
        with self._swapping:
            self._options = dataclasses.replace(self._options, **other)
            stores = self._queue_store, self._store
            self._queue_store, self._store = None, self._options.open(None, self._store)
        for store in stores:
            if store is not None:
                store.close()
        if other:
            self._store.open_now()

    def close(self) -> None:
        """Closes the files. They are opened again when the cache is used again."""
        self._reopen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> Any:
        return self._options, self._timeout, self._disk_class, self._settings

    def __setstate__(self, state: Any) -> None:
        options, self._timeout, self._disk_class, self._settings = state
        self._attach(options)

    if TYPE_CHECKING:

        def __len__(self) -> int: ...

        def __iter__(self) -> Iterator[Any]: ...

        def __contains__(self, key: object) -> bool: ...

        def volume(self) -> int: ...


class _Block:
    """A `with` block within which a handle has a transaction: a new one, or that which the caller is in."""

    __slots__ = ("_handle", "_held", "_patience", "_transaction")

    def __init__(self, handle: Handle, patience: float | None) -> None:
        self._handle = handle
        self._patience = patience
        self._held = -1

    def __enter__(self) -> Transaction:
        handle = self._handle
        present = handle._mine
        if present is None:
            self._held = handle._gate.close_for_others(self._patience)
            present = Transaction(lambda: handle._store, handle._options.allow_pickle)
            handle._transaction, handle._is_special = present, True
        self._transaction = present
        return present

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A process that was forked within has a transaction that is its parent's, and locks of its own.
        if self._held < 0 or not self._transaction.is_mine:
            return
        handle = self._handle
        try:
            if kind is None:
                self._transaction.apply()
        finally:
            handle._transaction = None
            handle._is_special = bool(handle._settings["statistics"])
            handle._gate.open_again(self._held)


def _patience(timeout: Any) -> float:
    if not checks.is_number(timeout) or not timeout >= 0:
        raise InvalidOptionError(f"timeout must be a number of seconds, not {checks.shown(timeout)}")
    return float(timeout)


def _located(directory: Any) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="diskcache-"))
    if isinstance(directory, (str, bytes, os.PathLike)):
        expanded = os.path.expandvars(os.path.expanduser(os.fsdecode(directory)))
        directory = Path(expanded) if isinstance(directory, os.PathLike) else expanded
    return resolve(directory)


def own_options(
    allow_pickle: bool | None,
    encryption_key: Secret | NotGiven,
    compression: bool | None,
    types: Iterable[type] | None,
    durability: str | None,
) -> dict[str, Any]:
    """The keywords of ours, as given; `None`: as with `install`, or else as :class:`cachemere.Cache` has them."""
    return {
        "allow_pickle": allow_pickle,
        "encryption_key": encryption_key,
        "compression": compression,
        "types": types,
        "durability": durability,
    }


def _make_locks_anew() -> None:
    # Another thread of the parent can have held them.
    for handle in list(_handles):
        handle._make_locks()


os.register_at_fork(after_in_child=_make_locks_anew)
