"""The settings of a cache: those that are carried over, those that are not, and what each may be."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from typing import Any

from .._core import checks
from .._core.options import LEAST_MAX_BYTES
from ..errors import InvalidOptionError, NotCarriedOverError

#: The settings there are, as they are unless given. In place of diskcache's limit of 1 GiB there is none.
DEFAULT_SETTINGS: dict[str, Any] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "least-recently-stored",
    "size_limit": None,
    "cull_limit": 10,
}

#: What is removed first where `size_limit` leaves no room.
EVICTION_POLICY: dict[str, str | None] = {
    "none": None,
    "least-recently-stored": "by the time of the last read or write",
    "least-recently-used": "by the time of the last read or write",
}

#: Settings of what is not there, with diskcache's own values for them, which say nothing.
_NOT_CARRIED_OVER: dict[str, Any] = {
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 2**26,
    "sqlite_synchronous": 1,
    "disk_min_file_size": 2**15,
    "disk_pickle_protocol": pickle.HIGHEST_PROTOCOL,
}


def check_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings, those given and the others.

    Raises:
        NotCarriedOverError: One of them has no meaning here, and is not what diskcache has it by default.
        InvalidOptionError: One of them is unknown, or cannot be what it is given as.
    """
    settings = dict(DEFAULT_SETTINGS)
    for name, value in given.items():
        if name not in DEFAULT_SETTINGS:
            _refuse(name, value)
        else:
            settings[name] = check_setting(name, value)
    if is_kept(settings) and settings["size_limit"] < LEAST_MAX_BYTES:
        raise InvalidOptionError(
            f"size_limit must be at least {LEAST_MAX_BYTES} bytes, not {settings['size_limit']}, unless cull_limit=0 "
            f"leaves it to cull()"
        )
    return settings


def check_setting(name: str, value: Any) -> Any:
    """A setting as it is kept."""
    if name in ("statistics", "tag_index"):
        if value not in (0, 1):
            raise InvalidOptionError(f"{name} must be True or False, not {checks.shown(value)}")
        return int(value)
    if name == "eviction_policy":
        if value == "least-frequently-used":
            raise NotCarriedOverError(
                "eviction_policy='least-frequently-used' is not carried over: use 'least-recently-used'"
            )
        checks.choice(name, value, tuple(EVICTION_POLICY))
        return value
    if name == "size_limit":
        if value is None or value == math.inf:
            return None
        if not checks.is_number(value) or not 0 <= value < 2**63:
            raise InvalidOptionError(f"size_limit must be a number of bytes, not {checks.shown(value)}")
        return int(value)
    checks.count(name, value, 0)
    return value


def is_kept(settings: Mapping[str, Any]) -> bool:
    """Whether the store itself is to keep the limit of its size, by evicting."""
    return bool(settings["size_limit"] is not None and settings["cull_limit"]) and settings["eviction_policy"] != "none"


def _refuse(name: str, value: Any) -> None:
    if name in _NOT_CARRIED_OVER:
        if value == _NOT_CARRIED_OVER[name]:
            return
        raise NotCarriedOverError(f"{name}={checks.shown(value)} is not carried over: {_why(name)}. Leave it out")
    if name.startswith(("sqlite_", "disk_")):
        raise NotCarriedOverError(f"{name} is not carried over: {_why(name)}. Leave it out")
    known = ", ".join(DEFAULT_SETTINGS)
    raise InvalidOptionError(f"{name} is not a setting of a cache; those are {known}")


def _why(name: str) -> str:
    if name.startswith("sqlite_"):
        return "there is no SQLite beneath; see durability= for what a power loss may take"
    if name == "disk_min_file_size":
        return "values of every size are in one file"
    if name == "disk_pickle_protocol":
        return "values are stored in a safe form, and pickled only with allow_pickle=True"
    return "there are no classes of Disk; compression=True compresses"


def not_carried_over(name: str) -> bool:
    """Whether diskcache has such a setting, and this does not."""
    return name in _NOT_CARRIED_OVER
