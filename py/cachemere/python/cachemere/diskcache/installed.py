"""Being found under the name of diskcache by libraries that import it by themselves."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import Any

from .._core import checks
from .._core.options import NOT_GIVEN, NotGiven
from .._core.secrets import Secret
from ..errors import InvalidOptionError

_PACKAGE = __name__.rpartition(".")[0]
_PARTS = ("core", "fanout", "persistent", "recipes")
_DEFAULTS: dict[str, Any] = {
    "allow_pickle": False,
    "encryption_key": NOT_GIVEN,
    "compression": None,
    "types": (),
    "durability": "checkpoint",
}

_chosen: dict[str, Any] = dict(_DEFAULTS)


def install(
    *,
    allow_pickle: bool = False,
    encryption_key: Secret | NotGiven = NOT_GIVEN,
    compression: bool | None = None,
    types: Iterable[type] = (),
    durability: str = "checkpoint",
) -> None:
    """Lets `import diskcache` find this package, in this process, from now on.

    For libraries that import diskcache by themselves. The arguments are what caches are made with that give none of
    them: those libraries know of no `types`. To be called before they are imported; again, to change the arguments.

    Raises:
        InvalidOptionError: diskcache itself was imported already.

    ::

        import cachemere.diskcache

        cachemere.diskcache.install(types=[Answer])
        import a_library_that_imports_diskcache
    """
    found = sys.modules.get("diskcache")
    ours = sys.modules[_PACKAGE]
    if found is not None and found is not ours:
        raise InvalidOptionError(
            "diskcache was imported already: call cachemere.diskcache.install() before what imports it"
        )
    sys.modules["diskcache"] = ours
    for part in _PARTS:
        sys.modules[f"diskcache.{part}"] = importlib.import_module(f"{_PACKAGE}.{part}")
    _chosen.update(
        allow_pickle=allow_pickle,
        encryption_key=encryption_key,
        compression=compression,
        types=checks.items("types", types, "classes"),
        durability=durability,
    )


def uninstall() -> None:
    """Undoes :func:`install`, for what is imported from now on."""
    for name in ("diskcache", *(f"diskcache.{part}" for part in _PARTS)):
        found = sys.modules.get(name)
        if found is not None and found.__name__.startswith(_PACKAGE):
            del sys.modules[name]
    _chosen.update(_DEFAULTS)


def filled_in(options: dict[str, Any]) -> dict[str, Any]:
    """Options, those that are not given as they were chosen for all."""
    left_out = {"encryption_key": NOT_GIVEN}
    return {name: _chosen[name] if value is left_out.get(name) else value for name, value in options.items()}
