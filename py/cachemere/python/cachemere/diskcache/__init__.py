"""The interface of diskcache 5.6 over a store of Cachemere: `import cachemere.diskcache as diskcache`.

All of its classes and recipes are here under their names, for any number of threads and processes. Values are stored in
the safe form of :class:`cachemere.Cache`, and pickled only with `allow_pickle=True`. What has no meaning here (settings
of SQLite, classes of `Disk` with code of their own, `DjangoCache`) is refused by name. What differs, and how to bring
entries over, is on the page `docs/from-diskcache.md`.

For libraries that import diskcache by themselves there is :func:`install`.
"""

from __future__ import annotations

from typing import Any

from ..errors import NotCarriedOverError
from . import core, fanout, persistent, recipes  # noqa: F401  # As diskcache has them without being asked.
from .averager import Averager
from .cache import Cache
from .constants import ENOVAL, UNKNOWN
from .deque import Deque
from .disk import Disk, JSONDisk
from .fanout import FanoutCache
from .index import Index
from .installed import install, uninstall
from .locks import BoundedSemaphore, Lock, RLock
from .settings import DEFAULT_SETTINGS, EVICTION_POLICY
from .stampede import memoize_stampede
from .throttled import barrier, throttle
from .troubles import EmptyDirWarning, Timeout, UnknownFileWarning

__all__ = [
    "DEFAULT_SETTINGS",
    "ENOVAL",
    "EVICTION_POLICY",
    "UNKNOWN",
    "Averager",
    "BoundedSemaphore",
    "Cache",
    "Deque",
    "Disk",
    "EmptyDirWarning",
    "FanoutCache",
    "Index",
    "JSONDisk",
    "Lock",
    "RLock",
    "Timeout",
    "UnknownFileWarning",
    "barrier",
    "install",
    "memoize_stampede",
    "throttle",
    "uninstall",
]

#: Programs ask for these: the version is that of diskcache whose interface this is.
__title__ = "diskcache"
__version__ = "5.6.3"
__build__ = 0x050603


def __getattr__(name: str) -> Any:
    if name == "DjangoCache":
        raise NotCarriedOverError("DjangoCache is not carried over: keep diskcache for Django's caches")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
