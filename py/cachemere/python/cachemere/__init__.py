"""Cachemere: a dict that persists, a cache to memoize with.

:class:`PersistDict` is a `dict` in a directory. :class:`Cache` is for programs. :func:`memoize` keeps the results of
functions, and :class:`Parallel` computes them in many processes. All of them may be used by any number of threads and
processes at once, and none ever gives out a stale value.
"""

from __future__ import annotations

import atexit

# The first is the first: all others use the engine.
from ._core import which_engine as _which_engine  # noqa: F401

# isort: split
from . import errors
from ._core.info import EntryInfo, NamespaceInfo, Stats, StoreInfo, VerifyReport
from ._core.load import LoadSummary
from ._core.options import close_all, unlock
from ._core.salvage import Salvaged
from ._memo.memoize import memoize
from ._memo.memoized import Memoized
from ._memo.results import CacheInfo, Hit
from ._version import __version__ as __version__
from .cache import Cache, open
from .errors import CacheError
from .parallel import Parallel
from .persist_dict import PersistDict

__all__ = [
    "Cache",
    "CacheError",
    "CacheInfo",
    "EntryInfo",
    "Hit",
    "LoadSummary",
    "Memoized",
    "NamespaceInfo",
    "Parallel",
    "PersistDict",
    "Salvaged",
    "Stats",
    "StoreInfo",
    "VerifyReport",
    "errors",
    "memoize",
    "open",
    "unlock",
]

atexit.register(close_all)
