"""The names of diskcache's serializers: which of them mean what is done here anyway."""

from __future__ import annotations

from typing import Any

from .._core.checks import shown
from ..errors import InvalidOptionError, NotCarriedOverError


class Disk:
    """Stands for the one way in which values are stored, for programs that name it. It does nothing by itself."""

    def __init__(self, directory: str, min_file_size: int = 0, pickle_protocol: int = 0, **_: Any) -> None:
        self._directory = directory
        self.min_file_size = min_file_size
        self.pickle_protocol = pickle_protocol


class JSONDisk(Disk):
    """As :class:`Disk`: what JSON can hold is stored as plain data, and tuples stay tuples."""


def check_disk(disk: object) -> type[Disk]:
    """The class given as `disk=`, if it means no other way of storing than there is.

    Raises:
        InvalidOptionError: It is not a class of a disk.
        NotCarriedOverError: It is a subclass with code of its own, which would not be called.
    """
    if disk is Disk or disk is JSONDisk:
        return disk
    if not isinstance(disk, type):
        raise InvalidOptionError(f"disk must subclass diskcache.Disk, not be {shown(disk)}")
    # Those of diskcache itself, given by a program that is half migrated.
    if disk.__module__ == "diskcache.core" and disk.__name__ in ("Disk", "JSONDisk"):
        return JSONDisk if disk.__name__ == "JSONDisk" else Disk
    if issubclass(disk, Disk) or any(base.__module__ == "diskcache.core" for base in disk.__mro__):
        raise NotCarriedOverError(
            f"disk={disk.__name__}: classes of Disk with code of their own are not carried over. Values are stored in "
            f"a safe form that runs no code: leave disk= out, name the classes of your values with types=[...], and "
            f"compress with compression=True"
        )
    raise InvalidOptionError(f"disk must subclass diskcache.Disk, {disk.__name__} does not")
