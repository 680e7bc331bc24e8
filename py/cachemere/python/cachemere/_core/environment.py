"""What the environment says about all caches, at a price that a hit in memory can pay."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

_DISABLE = "CACHEMERE_DISABLE"

# Where `os.environ` keeps its variables. It encodes the name and decodes the value at each look, which takes six times
# as long as all the rest of a hit.
_variables: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_disable: Any = os.environ.encodekey(_DISABLE) if hasattr(os.environ, "encodekey") else _DISABLE


def is_disabled() -> bool:
    """Whether every cache is to act as if it were empty (`CACHEMERE_DISABLE`)."""
    return _disable in _variables and os.environ.get(_DISABLE, "") not in ("", "0")
