"""The errors of a transport under a client that it is not for, which without them would be empty or misleading."""

from __future__ import annotations

from typing import Any

from ...errors import CacheError, InvalidOptionError
from .handed_on import handed_on

#: The libraries that have transports here, each in the module of its name.
_LIBRARIES = ("httpx", "httpx2")


def of_another_library(transport: object, request: Any, library: str) -> CacheError:
    """That a request is of another library than the transport is for."""
    theirs = type(request).__module__.partition(".")[0]
    name = type(transport).__name__
    said = f"the client is of {theirs}, and this {name} is for {library}: "
    if theirs in _LIBRARIES:
        return handed_on(InvalidOptionError, f"{said}import {name} from cachemere.integrations.{theirs}")
    return handed_on(InvalidOptionError, f"{said}make the client with {library}")


def for_threads(library: str) -> CacheError:
    """That a client for tasks was given the transport for threads."""
    return handed_on(
        InvalidOptionError,
        f"CachemereTransport is for {library}.Client: an AsyncClient takes an AsyncCachemereTransport",
    )


def for_tasks(library: str) -> CacheError:
    """That a client for threads was given the transport for tasks."""
    return handed_on(
        InvalidOptionError,
        f"AsyncCachemereTransport is for {library}.AsyncClient: a Client takes a CachemereTransport",
    )
