"""A way out of a damaged store."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from .options import Options
from .secrets import Secret


@dataclass(frozen=True)
class Salvaged:
    """What was copied of a damaged store by :meth:`Cache.salvage` or :meth:`Cache.repair`, and what was not."""

    #: Entries that were copied, in all namespaces.
    entries: int
    #: Their bytes.
    bytes: int
    #: Entries that are known to have been there and could not be read.
    lost: int
    #: Namespaces and keys of the first thousand of them whose key could be told. A key of another program is bytes.
    lost_keys: tuple[tuple[str, Hashable], ...]
    #: Whether changes are missing, so that some entries may be as they were before they were last written or removed.
    may_be_old: bool
    #: How many places were found damaged.
    problems: int
    #: The first of them, in words.
    described: tuple[str, ...]
    #: The directory where the damaged files are, if the store was repaired.
    kept: Path | None


def salvage(options: Options, secret: Secret | None, to: Path | None) -> Salvaged:
    """Copies what can be read of a store to `to`; `None`: puts it in the place of the store."""
    store = options.open(secret)
    try:
        told = store.salvage(to)
    finally:
        store.close()
    kept = told.pop("kept")
    return Salvaged(
        **told
        | {
            "lost_keys": tuple(told["lost_keys"]),
            "described": tuple(told["described"]),
            "kept": None if kept is None else Path(kept),
        }
    )
