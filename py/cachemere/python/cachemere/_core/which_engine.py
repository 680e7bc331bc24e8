"""Which engine this process has: that of the distribution `cachemere-rocksdb`, if it is there, or the package's own.

Both are built from the same sources, one with RocksDB. There is one of them in a process, chosen when this module is
imported, which must be before anything that uses the engine.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from .._version import __version__

_logger = logging.getLogger(__name__)


def _choose(version: str) -> str | None:
    """Makes the engine with RocksDB `cachemere._engine`; why not, if it does not."""
    if "cachemere._engine" in sys.modules:
        # Of an import of this package that failed later on.
        return None if "cachemere._rocks" in sys.modules else "another engine was loaded before"
    try:
        distribution = import_module("cachemere_rocksdb")
    except ModuleNotFoundError as error:
        if error.name != "cachemere_rocksdb":
            raise
        return "it is not installed"
    theirs = getattr(distribution, "__version__", "unknown")
    if theirs != version:
        return _ignored(f"its version is {theirs}, and that of cachemere is {version}")
    try:
        engine: ModuleType = import_module("cachemere_rocksdb._engine")
    except ImportError as error:
        return _ignored(f"its engine cannot be loaded: {error}")
    package = sys.modules["cachemere"]
    for name, module in (("_engine", engine), ("_rocks", engine._rocks)):
        sys.modules[f"cachemere.{name}"] = module
        setattr(package, name, module)
    return None


def _ignored(why: str) -> str:
    _logger.warning("cachemere-rocksdb is ignored: %s", why)
    return why


def _check_there(version: str) -> None:
    """Raises what helps more than the loader's own words if there is no engine, or one that does not fit."""
    place = Path(__file__).parents[1]
    try:
        engine = import_module("cachemere._engine")
    except ModuleNotFoundError as error:
        if error.name != "cachemere._engine":
            raise
        others = ", ".join(sorted(found.name for found in place.glob("_engine.*.so"))) or "none"
        raise _unusable(
            f"cachemere has no engine for {sys.implementation.cache_tag} in {place} (there: {others}): "
            "the installation is not complete, or is that of another Python"
        ) from None
    except ImportError as error:
        raise _unusable(
            f"the engine of cachemere cannot be loaded ({error}): it is damaged, or was built for another system, "
            "such as one with a later libc"
        ) from error
    found = getattr(engine, "__version__", "unknown")
    if found != version:
        raise _unusable(
            f"the engine of cachemere in {place} is of version {found}, and its Python files are of version {version}: "
            "an installation was interrupted, or two were mixed"
        )


def _unusable(why: str) -> ImportError:
    from .installing import install_again

    return ImportError(f"{why}. Install it anew: {install_again()}")


#: Why there is no RocksDB; `None` if there is.
WHY_NO_ROCKSDB = _choose(__version__)

_check_there(__version__)


def require_rocksdb(what: str) -> None:
    """Raises with the line to type if `what` cannot be had."""
    if WHY_NO_ROCKSDB is not None:
        from ..errors import NotInstalledError
        from .installing import install_rocksdb

        raise NotInstalledError(
            f"{what} needs the distribution cachemere-rocksdb ({WHY_NO_ROCKSDB}): {install_rocksdb()}"
        )
