"""What is told where a library that an adapter is for is missing, or is not as the adapter knows it."""

from __future__ import annotations

from importlib import metadata

from ..errors import CacheError, HostVersionError, NotInstalledError


def import_problem(cause: ImportError, extra: str, distribution: str, supported: str) -> CacheError:
    """The error in place of a failed import: the line that installs the library, or the versions that are supported."""
    try:
        found = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return NotInstalledError(
            f"cachemere.integrations.{extra} needs {distribution}: pip install 'cachemere[{extra}]'"
        )
    return _other_interface(f"it cannot be imported as it was: {cause}", found, extra, distribution, supported)


def check_complete(adapter: type, extra: str, distribution: str, supported: str) -> None:
    """Whether an adapter has all that the library's base class asks for.

    Raises:
        HostVersionError: The library asks for methods that this adapter does not know.
    """
    lacking = sorted(getattr(adapter, "__abstractmethods__", ()))
    if lacking:
        why = f"its {adapter.__mro__[1].__name__} asks for {', '.join(lacking)}"
        raise _other_interface(why, metadata.version(distribution), extra, distribution, supported)


def _other_interface(why: str, found: str, extra: str, distribution: str, supported: str) -> HostVersionError:
    return HostVersionError(
        f"cachemere.integrations.{extra} supports {distribution} {supported}, not {found} ({why}): "
        f"pip install 'cachemere[{extra}]'"
    )
