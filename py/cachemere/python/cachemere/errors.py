"""The exceptions of this package, all under :class:`CacheError`.

Where Python users expect a built-in exception (`KeyError` for a missing key, `TypeError` for a value of an unsuitable
type), the class is that too. Each message says what to do next. A write that failed has changed nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadRecordError",
    "BatchLengthError",
    "BusyError",
    "CacheError",
    "ChangedMeanwhileError",
    "ClosedError",
    "DamagedError",
    "DecodeError",
    "DiskFullError",
    "DuplicateKeyError",
    "HostVersionError",
    "IncompatibleError",
    "InputFileError",
    "InvalidOptionError",
    "KeyFormError",
    "LoadError",
    "MissingKeyError",
    "NotCarriedOverError",
    "NotInstalledError",
    "ParallelError",
    "ReadOnlyError",
    "ReplayMissError",
    "StoreFullError",
    "StoreGoneError",
    "StoreIOError",
    "TamperedError",
    "TooLargeError",
    "UnsafeValueError",
    "UnsupportedFileSystemError",
    "UnwrittenChangeWarning",
    "ValueFormError",
    "WorkerDiedError",
    "WrongSecretError",
]


class CacheError(Exception):
    """Root of all errors of this package."""

    #: What a memoized function or the function of `get_or_set` returned, if the error is that it could not be stored:
    #: it may have cost much.
    result: Any = None


class MissingKeyError(CacheError, KeyError):
    """The key has no entry, or only an expired one."""


class KeyFormError(CacheError, TypeError):
    """The key is not hashable, or has no canonical form."""

    #: The qualified name of the class that has none, if that is why.
    unsafe_type: str | None = None

    def __str__(self) -> str:
        # Python's own words, which do not say what to do.
        text = super().__str__()
        if not text.startswith("unhashable type: ") or text.count(":") > 1:
            return text
        instead = {"list": "a tuple of its items", "dict": "a tuple of its items", "set": "a frozenset"}
        kind = text.split("'")[1] if "'" in text else ""
        return f"{text}: give {instead.get(kind, 'a str, int, tuple or another key that a dict takes')}"


class ValueFormError(CacheError, TypeError):
    """The value can be stored in none of the ways that are allowed."""

    #: The qualified name of the class of which an object has no safe form, if that is why.
    unsafe_type: str | None = None


class UnsafeValueError(ValueFormError):
    """Storing or loading the value needs pickle, or a type that is not registered."""


class DecodeError(CacheError, ValueError):
    """The stored bytes are not a value this handle can read: another serializer, type or version wrote them."""


class InvalidOptionError(CacheError, ValueError):
    """An option or argument has a value or type it cannot have. The message names it. Nothing was done."""


class TooLargeError(InvalidOptionError):
    """Key and value together are larger than an entry may be, which is 1 GiB. Nothing was written."""


class NotCarriedOverError(InvalidOptionError, NotImplementedError):
    """Something of diskcache's that :mod:`cachemere.diskcache` lacks. The message names it. Nothing was done."""


class WrongSecretError(CacheError):
    """The encryption key or passphrase is missing, wrong, or given for a store that is not encrypted."""


class TamperedError(CacheError):
    """An entry of an encrypted store, or a record that says what its entries are, is not what was written."""


class IncompatibleError(CacheError):
    """The store was made with other settings, by a newer version, or by another program. Nothing was touched."""


class DamagedError(CacheError):
    """The store, or one of its entries, is damaged. Other entries can still be read."""


class StoreFullError(CacheError):
    """The store's size limit leaves no room."""


class DiskFullError(CacheError, OSError):
    """The disk is full. Everything written before is safe, and writing works again once there is room."""


class ClosedError(CacheError, ValueError):
    """The handle was closed."""


class StoreGoneError(CacheError, OSError):
    """What was opened was removed, renamed or replaced since, and is not at its path any more. Open it again."""


class ReadOnlyError(CacheError, PermissionError):
    """The store can only be read: by request, or because its directory is not writable."""


class UnsupportedFileSystemError(CacheError, OSError):
    """The file system cannot hold a store, a network file system for example."""


class BusyError(CacheError):
    """Another process has the store open, and the operation needs it alone."""


class ChangedMeanwhileError(CacheError):
    """Values that a `PersistDict` with `writeback=True` handed out were changed, and written by others as well.

    The others' values are kept. Read them, change them again and flush.
    """

    #: The keys.
    keys: list[Any]

    def __init__(self, keys: list[Any]) -> None:
        self.keys = keys
        shown = ", ".join(map(repr, keys[:5])) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        super().__init__(
            f"not written back, as they were written or removed by others after they were read: the values of {shown}; "
            "read them again and change those"
        )

    def __reduce__(self) -> Any:
        return type(self), (self.keys,)


class UnwrittenChangeWarning(UserWarning):
    """A value that a `PersistDict` with `writeback="warn"` handed out was changed, and not assigned again."""


class StoreIOError(CacheError, OSError):
    """The operating system refused to read or write."""


class NotInstalledError(CacheError, ImportError):
    """What is asked for is in another distribution. The message has the line that installs it."""


class HostVersionError(CacheError, ImportError):
    """A library that an adapter is for has another interface. The message names the versions that are supported."""


class BatchLengthError(CacheError, ValueError):
    """A function from a list to a list returned something else than one result for each item."""


class ReplayMissError(CacheError, LookupError):
    """In replay mode nothing is computed, and this call's result is not in the cache."""


class LoadError(CacheError, ValueError):
    """What was to be loaded cannot be. Nothing was changed."""


class InputFileError(LoadError):
    """A file is missing or cannot be read, or its compression is truncated or broken."""


class BadRecordError(LoadError):
    """A record is not in the format that was said. The message has its file and line."""


class DuplicateKeyError(LoadError):
    """A key is there twice, in the files or in the cache, which was to be an error. The message has both places."""


class ParallelError(CacheError):
    """Where parallel work failed: the cause (`__cause__`) of what the function itself raised.

    Its text names the input and has the traceback of the process that failed. It is raised in place of an exception
    that cannot be sent between processes, and where workers cannot load the function.
    """

    #: The place of the input, counted from 0; `None` if there was none yet.
    position: int | None = None
    #: The input's `repr`, shortened.
    input: str | None = None


class WorkerDiedError(ParallelError):
    """A worker process was killed, or ended by itself, while it was at an input or starting."""

    #: As `multiprocessing.Process.exitcode`: the signal's number, negative, if it was killed by one. `None`: it still
    #: ran, but had closed its pipe.
    exit_code: int | None = None
