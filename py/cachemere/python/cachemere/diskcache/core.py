"""What `diskcache.core` has, under that name."""

from cachemere.diskcache.cache import Cache
from cachemere.diskcache.call_keys import args_to_key, full_name
from cachemere.diskcache.constants import (
    ENOVAL,
    MODE_BINARY,
    MODE_NONE,
    MODE_PICKLE,
    MODE_RAW,
    MODE_TEXT,
    UNKNOWN,
    Constant,
)
from cachemere.diskcache.disk import Disk, JSONDisk
from cachemere.diskcache.settings import DEFAULT_SETTINGS, EVICTION_POLICY
from cachemere.diskcache.troubles import EmptyDirWarning, Timeout, UnknownFileWarning

__all__ = [
    "DEFAULT_SETTINGS",
    "ENOVAL",
    "EVICTION_POLICY",
    "MODE_BINARY",
    "MODE_NONE",
    "MODE_PICKLE",
    "MODE_RAW",
    "MODE_TEXT",
    "UNKNOWN",
    "Cache",
    "Constant",
    "Disk",
    "EmptyDirWarning",
    "JSONDisk",
    "Timeout",
    "UnknownFileWarning",
    "args_to_key",
    "full_name",
]
