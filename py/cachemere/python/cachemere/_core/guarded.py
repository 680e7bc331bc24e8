"""The store of a cache, with what its `on_error` says done to every use of it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import pathlib
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

import platformdirs

from .._engine import Store
from ..errors import (
    BusyError,
    CacheError,
    DamagedError,
    DiskFullError,
    InvalidOptionError,
    ReadOnlyError,
    StoreFullError,
    StoreGoneError,
    StoreIOError,
    TamperedError,
    UnsupportedFileSystemError,
)
from .environment import is_disabled
from .options import Options, note_secret, resolve
from .secrets import Secret
from .unkept import Unkept
from .walk import Entry, met
from .warned import Warned

T = TypeVar("T")

_log = logging.getLogger("cachemere")

#: What `on_error="bypass"` lets pass: what the machine is to blame for and not the program.
_BYPASSED = (
    BusyError,
    DamagedError,
    DiskFullError,
    ReadOnlyError,
    StoreFullError,
    StoreGoneError,
    StoreIOError,
    TamperedError,
    UnsupportedFileSystemError,
)


#: Of these, another directory is free.
_OF_PLACE = (DiskFullError, ReadOnlyError, StoreIOError, UnsupportedFileSystemError)


class GuardedStore:
    """See the module. The files are opened at the first use.

    While the environment says so (`CACHEMERE_DISABLE`), :meth:`ask` and the walks act as if there were no entries.
    """

    def __init__(
        self,
        options: Options,
        on_error: str,
        *,
        secret: Secret | None = None,
        origin: Store | None = None,
        is_default: bool = False,
    ) -> None:
        self.options = options
        #: Whether it is where it is because nothing else was said.
        self.is_default = is_default or options.path is None
        self.on_error = on_error
        #: For the default store, until it is found.
        self._secret = secret if options.path is None else None
        #: How it tells objects from bytes.
        self.forms = options.forms()
        self._warned = Warned()
        self._unkept = Unkept("a value made for get_or_set")
        #: The native store, for those to whom :attr:`native` is too slow; `None`: it is in the default directory, which
        #: is found at first use. Made here where the path is known, so that wrong options are told at once.
        self.made: Store | None = None if options.path is None else options.open(secret, origin, self.forms)

    @property
    def native(self) -> Store:
        """The native store. What may be bypassed goes by :meth:`ask`, or asks :meth:`bypasses` about its errors."""
        if self.made is None:
            path = default_path()
            options = dataclasses.replace(self.options, path=path, secret_of_environment=self._secret is None)
            # Threads that come here at once all take what one has found. No lock, which a fork could copy while it
            # is held.
            if self._secret is not None:
                note_secret(path, self._secret)
            self.options, self.made = self.__dict__.setdefault(
                "_found", (options, options.open(self._secret, None, self.forms))
            )
        return self.made

    def beside(self, on_error: str | None = None, **changed: Any) -> GuardedStore:
        """One of other options. In the same directory it needs no secret while this one is open."""
        options = dataclasses.replace(self.options, **changed)
        return GuardedStore(
            options,
            on_error or self.on_error,
            secret=self._secret if self.made is None else None,
            origin=self.made,
            is_default=self.is_default,
        )

    @property
    def path(self) -> pathlib.Path:
        """The store's directory."""
        return self.options.path or default_path()

    @property
    def disabled(self) -> bool:
        """Whether the environment says to act as if the cache were empty (`CACHEMERE_DISABLE`)."""
        return is_disabled()

    @property
    def mode(self) -> str:
        """What memoized functions do: `"normal"`, `"replay"` or `"refresh"` (`CACHEMERE_MODE`)."""
        mode = os.environ.get("CACHEMERE_MODE", "") or "normal"
        if mode not in ("normal", "replay", "refresh"):
            raise InvalidOptionError(f"CACHEMERE_MODE must be 'replay' or 'refresh', not {mode!r}")
        return mode

    def bypasses(self, error: BaseException) -> bool:
        """Whether to go on as if the cache were empty. Logs what is passed over."""
        if self.on_error != "bypass" or not isinstance(error, _BYPASSED):
            return False
        if isinstance(error, (DamagedError, TamperedError)) and self._set_aside(error):
            return True
        where = "the default cache" if self.options.path is None else f"the cache at {self.options.path}"
        message = "%s is bypassed: %s"
        if isinstance(error, ReadOnlyError) and self.made is not None and self.made.is_open:
            message = "%s is read, and nothing is kept in it: %s"
        _log.log(self._warned.level(type(error)), message, where, self.told(error))
        return True

    def told(self, error: BaseException) -> str:
        """What an error says, and how to have another default store if it is of that."""
        text = str(error)
        if not self.is_default or not isinstance(error, _OF_PLACE) or "CACHEMERE_DIR" in text:
            return text
        return f"{text}; or set CACHEMERE_DIR to a directory that this process can write to"

    def _set_aside(self, error: CacheError) -> bool:
        """Puts a new store in the place of the default one that cannot be opened for damage; whether it did.

        Never of one that somebody has named. Entries that are damaged in a store that is open are passed over alone.
        """
        if not self.is_default or os.environ.get("CACHEMERE_DIR") or self.made is None or self.made.is_open:
            return False
        try:
            kept = self.made.set_aside()
        except CacheError as trouble:
            # Another process has it open, perhaps, or nothing can be written there.
            _log.debug("the damaged store at %s stays where it is: %s", self.options.path, trouble)
            return False
        if kept is not None:
            _log.warning(
                "the cache at %s is damaged and begins anew: %s; its files are kept in %s, of which 'python -m "
                "cachemere repair %s --to NEW_DIRECTORY' saves what can be read",
                self.options.path,
                error,
                kept,
                kept,
            )
        return True

    def ask(self, default: T, work: Callable[[Store], T]) -> T:
        """What `work` gives; `default` if the cache is disabled or, for a trouble of the machine, bypassed."""
        if is_disabled():
            return default
        try:
            return work(self.native)
        except CacheError as error:
            if self.bypasses(error):
                return default
            raise

    def get(self, key: Hashable, default: Any) -> Any:
        """The key's value."""
        return self.ask(default, lambda store: store.get(key, default))

    def keep(self, key: Hashable, value: Any, ttl: float | None, tags: tuple[str, ...] | None, strict: bool) -> None:
        """Stores a value that was made because the key had none.

        Raises:
            CacheError: It cannot be stored, and that is to be an error or the store's fault. It has the value.
        """
        with self._unkept.passed(value, strict=strict):
            self.ask(True, lambda store: store.put(key, value, ttl=ttl, tags=tags))

    def peek(self, key: Hashable, missing: Any) -> Any:
        """The key's value if it is in memory and current, else `missing`. Never waits."""
        return self.ask(missing, lambda store: store.peek(key, missing))

    def walk(self, *, reverse: bool, keys_only: bool) -> Iterator[Entry]:
        """All entries in the order of insertion, without those that cannot be read if that is bypassed."""
        if is_disabled():
            return
        try:
            yield from self._readable(met(self.native, reverse, keys_only))
        except CacheError as error:
            if not self.bypasses(error):
                raise

    async def awalk(self, *, keys_only: bool) -> AsyncIterator[Entry]:
        """As :meth:`walk`, reading in threads."""
        if is_disabled():
            return
        try:
            scanner = self.native.scanner(False, keys_only)
            while chunk := await asyncio.to_thread(scanner.chunk):
                for entry in self._readable(chunk):
                    yield entry
        except CacheError as error:
            if not self.bypasses(error):
                raise

    def _readable(self, entries: Iterable[Entry | Exception]) -> Iterator[Entry]:
        for entry in entries:
            if not isinstance(entry, Exception):
                yield entry
            elif not self.bypasses(entry):
                raise entry


def default_path() -> pathlib.Path:
    """`$CACHEMERE_DIR`, or a directory in the platform's place for caches.

    Raises:
        StoreIOError: The user has no home.
    """
    chosen = os.environ.get("CACHEMERE_DIR")
    if chosen:
        return resolve(chosen)
    try:
        found = platformdirs.user_cache_path("cachemere", appauthor=False) / "default"
    except RuntimeError as cause:
        raise _homeless() from cause
    if not found.is_absolute():
        # Of older versions, which leave `~` as it is: a directory of that name, wherever the program runs.
        raise _homeless()
    return found


def _homeless() -> StoreIOError:
    return StoreIOError(
        f"the default store has no place: HOME is not set, and the system knows no user {os.getuid()}; set "
        f"CACHEMERE_DIR to a directory that this process can write to, or give a path"
    )
