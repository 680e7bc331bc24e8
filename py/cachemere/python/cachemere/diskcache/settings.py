"""The settings of a cache: those that are carried over, those that are not, and what each may be."""

from __future__ import annotations

import difflib
import math
import pickle
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .._core import checks
from .._core.options import LEAST_MAX_BYTES, Options
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

#: Of `JSONDisk`, where it says whether to compress.
COMPRESS_LEVEL = "disk_compress_level"

#: What other faces of this package take. Whoever gives it here means that, and would not be heard.
_NOT_TAKEN = frozenset(each.name for each in fields(Options))

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
    """All settings, those given and the others. Those that mean nothing are kept, as diskcache does.

    Raises:
        NotCarriedOverError: One of them has no meaning here, and is not what diskcache has it by default.
        InvalidOptionError: One of them is of other faces or looks like a slip, or cannot be what it is given as.
    """
    settings = dict(DEFAULT_SETTINGS)
    for name, value in given.items():
        if name not in DEFAULT_SETTINGS and name != COMPRESS_LEVEL:
            if _is_kept_by_name(name, value):
                settings[name] = value
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
    if name == COMPRESS_LEVEL and value > 9:
        raise InvalidOptionError(f"{name} must be 0 to 9, not {value}")
    return value


def is_kept(settings: Mapping[str, Any]) -> bool:
    """Whether the store itself is to keep the limit of its size, by evicting."""
    return bool(settings["size_limit"] is not None and settings["cull_limit"]) and settings["eviction_policy"] != "none"


def _is_kept_by_name(name: str, value: Any) -> bool:
    if name in _NOT_CARRIED_OVER:
        if value == _NOT_CARRIED_OVER[name]:
            return False
        raise NotCarriedOverError(f"{name}={checks.shown(value)} is not carried over: {_why(name)}. Leave it out")
    if name.startswith(("sqlite_", "disk_")):
        raise NotCarriedOverError(f"{name} is not carried over: {_why(name)}. Leave it out")
    similar = difflib.get_close_matches(name, DEFAULT_SETTINGS, n=1, cutoff=0.8)
    if similar or name in _NOT_TAKEN:
        known = ", ".join(DEFAULT_SETTINGS)
        meant = f"did you mean {similar[0]}? All are" if similar else "those are"
        raise InvalidOptionError(f"{name} is not a setting of a cache; {meant} {known}")
    return True


def _why(name: str) -> str:
    if name.startswith("sqlite_"):
        return "there is no SQLite beneath; see durability= for what a power loss may take"
    if name == "disk_min_file_size":
        return "values of every size are in one file"
    if name == "disk_pickle_protocol":
        return "values are stored in a safe form, and pickled only with allow_pickle=True"
    return "there are no classes of Disk; compression=True compresses"


def check_compress_level(settings: Mapping[str, Any], is_json: bool) -> bool | None:
    """Whether the store compresses, as `disk_compress_level` says; `None` if nothing does.

    Raises:
        NotCarriedOverError: It is given to another disk.
    """
    if COMPRESS_LEVEL not in settings:
        return None
    if not is_json:
        raise NotCarriedOverError(f"{COMPRESS_LEVEL} is of JSONDisk: {_why(COMPRESS_LEVEL)}. Leave it out")
    return bool(settings[COMPRESS_LEVEL]) or None


def not_carried_over(name: str) -> bool:
    """Whether diskcache has such a setting, and this does not."""
    return name in _NOT_CARRIED_OVER
