"""What diskcache raises and warns of, by its names."""

from __future__ import annotations

from ..errors import CacheError


class Timeout(CacheError):
    """Somebody else's transaction took longer than the cache's `timeout`. Nothing was done."""


class UnknownFileWarning(UserWarning):
    """Not used: there are no files of single values that could be unknown. Here so that it can be filtered by name."""


class EmptyDirWarning(UserWarning):
    """Not used: there are no directories of values that could be empty. Here so that it can be filtered by name."""
