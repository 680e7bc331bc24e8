"""Importing: arguments, checked by name, and the work in its order."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

from .._core import checks
from .._core.options import NOT_GIVEN, NotGiven, given_secret, remember, resolve
from .._core.secrets import Secret
from ..errors import InvalidOptionError
from ._bar import Bar
from ._kinds import KINDS
from ._source import KeyForm, Kind, Reading, ValueForm
from ._summary import ImportSummary, Skipped
from ._transfer import Transfer
from .diskcache import DiskcacheSource

_DAY = 86_400.0

StrPath = str | os.PathLike[str]


def import_store(
    kind: Kind,
    source: StrPath,
    target: StrPath,
    *,
    namespace: str = "default",
    existing: Literal["keep", "replace", "error"] = "keep",
    on_error: Literal["skip", "raise"] = "skip",
    allow_pickle: bool = False,
    pickle_values: bool = False,
    expiration_days: float = 0,
    encryption_key: Secret | NotGiven = NOT_GIVEN,
    compression: bool | None = None,
    backend: str | None = None,
    types: Iterable[type] = (),
    table: str | None = None,
    keys: KeyForm | None = None,
    values: ValueForm | None = None,
    on_skip: Callable[[Skipped], object] | None = None,
    verbose: bool = False,
) -> ImportSummary:
    """Copies what another package stored into a store, which a `Cache` or a `PersistDict` then opens.

    Keys, values and, where the source has them, the times of creation, of the last access and of expiry, and tags, are
    kept. The source is only read: none of its bytes changes, and no file appears beside it; one that another process
    writes meanwhile is copied first, or refused with :class:`~cachemere.errors.BusyError`. What is in memory does not
    grow with the source.

    Entries are written in transactions of a thousand. An import that was interrupted is done again, with the same
    arguments: what is there is kept, and the rest follows.

    Args:
        kind: What wrote the source: `"diskcache"`, `"persistdict"`, `"sqlitedict"`, `"shelve"` or `"hugedict"`.
        source: Its directory or file.
        target: The store's directory, which is made if it is missing, as soon as there is something to write.
        namespace: Which of the mappings in the store.
        existing: Keys that are in the target already keep what they have there, are replaced, or are an error, before
            anything is imported.
        on_error: Whether an entry that cannot be imported is left out and counted, or ends the import. What was
            written before stays.
        allow_pickle: Whether to load pickles of the source, which can run any code: only if you trust all who could
            write it. Otherwise they are left out, and counted.
        pickle_values: Whether what comes out of a pickle and has no safe form is pickled again. A `PersistDict` can
            read it then, a `Cache` only with `allow_pickle=True`. Otherwise it is left out, and counted.
        expiration_days: Entries are gone when they were not read or written for so many days, beginning with their age
            in the source. 0: never.
        encryption_key: 32 random bytes, or a passphrase, of the target.
        compression: Whether to compress values in the target. `None`: as the namespace was made; no for a new one.
        backend: As for :class:`~cachemere.Cache`.
        types: Classes of values to be stored without pickle, as for :class:`~cachemere.Cache`.
        table: Of sqlitedict and `SqliteDict` of hugedict: which table.
        keys, values: Of sqlitedict and hugedict, whose keys are of `"text"`, `"bytes"`, `"int"` or `"pickle"`, and
            values of `"text"`, `"bytes"`, `"json"` or `"pickle"`, if not as by default; of persistdict, the values; of
            diskcache, `"json"` for a `JSONDisk` and `"pickle"` for a `Disk`, if it is not seen by itself.
        on_skip: Called with each entry that is left out, and with each cache inside a `FanoutCache`, which is imported
            by itself. The summary has only some of them.
        verbose: Whether to show a bar on the standard error.

    Raises:
        InvalidOptionError: An argument makes no sense.
        InputFileError: The source is missing, or cannot be read.
        IncompatibleError: It is of another kind. The message says which, if that can be seen.
        DamagedError: It is damaged as a whole. Where only a part is, the rest is imported.
        BusyError: Another process writes it, or this program has it open.
        NotInstalledError: A package that reads it is missing. The message has the line that installs it.
        DuplicateKeyError: A key is there already, with `existing="error"`.
        UnsafeValueError, DecodeError, KeyFormError, ValueFormError: Of an entry, with `on_error="raise"`.
        CacheError: What writing to the target can raise.

    Example:
        >>> import shelve, tempfile, cachemere
        >>> from cachemere.migration import import_store
        >>> home = tempfile.mkdtemp()
        >>> with shelve.open(home + "/old") as shelf:
        ...     shelf["answer"] = 42
        >>> summary = import_store("shelve", home + "/old", home + "/new", allow_pickle=True)
        >>> summary.imported, summary.is_complete
        (1, True)
        >>> with cachemere.Cache(home + "/new") as cache:
        ...     cache["answer"]
        42
    """
    checks.choice("kind", kind, tuple(KINDS))
    checks.choice("existing", existing, ("keep", "replace", "error"))
    checks.choice("on_error", on_error, ("skip", "raise"))
    for name, given in (("allow_pickle", allow_pickle), ("pickle_values", pickle_values), ("verbose", verbose)):
        checks.flag(name, given)
    checks.function("on_skip", on_skip)
    if pickle_values and not allow_pickle:
        raise InvalidOptionError("pickle_values is for what comes out of pickles: give allow_pickle, too")
    reading = Reading(table, keys, values)
    secret = given_secret(encryption_key)
    origin, place = resolve(source), resolve(target)
    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(origin)):
        raise InvalidOptionError(f"the target {place} is in the source, which stays as it is: choose another directory")
    idle = None if expiration_days == 0 else checks.duration("expiration_days", expiration_days, "days", _DAY)
    options = {
        "path": place,
        "namespace": namespace,
        "backend": backend,
        "idle": idle,
        "compression": compression,
        "memory_bytes": 0,
        "allow_pickle": pickle_values,
        "pickle_keys": pickle_values,
        "types": checks.items("types", types, "classes"),
    }
    opening = remember(options, secret)
    begun = time.monotonic()
    with ExitStack() as opened:
        store = opened.enter_context(closing(opening.open(secret)))
        is_there = is_store(place)
        if is_there:
            # What is wrong with the secret or the pipeline is told before anything is read.
            store.open_now()
        reader = opened.enter_context(closing(KINDS[kind](origin, reading)))
        transfer = Transfer(
            store=store,
            target=place,
            existing=existing,
            is_raising=on_error == "raise",
            allow_pickle=allow_pickle,
            pickle_values=pickle_values,
            idle=idle,
            on_skip=on_skip,
            is_store_there=is_there,
        )
        bar = opened.enter_context(Bar(reader.count())) if verbose else None
        transfer.run(reader, (lambda entries: None) if bar is None else bar.show)
        if isinstance(reader, DiskcacheSource):
            for part in reader.parts():
                command = f"--from {kind} {_typed(reader.path / part)} {_typed(place / part)}"
                transfer.leave_out_part(reader.path / part, f"import it by itself: cachemere import {command}")
        if bar is not None:
            bar.show(transfer.tally.entries, is_last=True)
    return transfer.tally.summary(kind, origin, place, namespace, time.monotonic() - begun)


def _typed(path: Path) -> str:
    return shlex.quote(str(path))


def is_store(path: Path) -> bool:
    """Whether there is something that can be a store, or is in the way of one."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))
