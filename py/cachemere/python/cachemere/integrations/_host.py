"""What is told where a library that an adapter is for is missing, or is not as the adapter knows it."""

from __future__ import annotations

import dataclasses
from importlib import metadata

from .._core.installing import install_extra
from ..errors import CacheError, HostVersionError, NotInstalledError


@dataclasses.dataclass(frozen=True)
class Host:
    """A library that an adapter is for."""

    #: The adapter's module in this package.
    module: str
    #: The name of the extra that installs the library.
    extra: str
    distribution: str
    #: The versions the adapter knows, as the extra has them.
    supported: str

    def import_problem(self, cause: ImportError | AttributeError) -> CacheError:
        """The error in place of a failed import: the line that installs the library, or what versions are supported."""
        try:
            found = metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return NotInstalledError(
                f"cachemere.integrations.{self.module} needs {self.distribution}: {install_extra(self.extra)}"
            )
        return self._other_interface(f"it cannot be imported as it was: {cause}", found)

    def check_complete(self, adapter: type) -> None:
        """Whether an adapter has all that the library's base class asks for.

        Raises:
            HostVersionError: The library asks for methods that this adapter does not know.
        """
        lacking = sorted(getattr(adapter, "__abstractmethods__", ()))
        if lacking:
            why = f"its {adapter.__mro__[1].__name__} asks for {', '.join(lacking)}"
            raise self._other_interface(why, metadata.version(self.distribution))

    def check_has(self, base: type, name: str) -> None:
        """Whether a class of the library has a method that an adapter replaces.

        Raises:
            HostVersionError: It does not, and what the adapter does there would be left out without a word.
        """
        if not hasattr(base, name):
            why = f"its {base.__name__} has no {name}"
            raise self._other_interface(why, metadata.version(self.distribution))

    def _other_interface(self, why: str, found: str) -> HostVersionError:
        return HostVersionError(
            f"cachemere.integrations.{self.module} supports {self.distribution} {self.supported}, not {found} "
            f"({why}): {install_extra(self.extra)}"
        )
