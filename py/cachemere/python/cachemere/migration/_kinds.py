"""The kinds of sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import diskcache, hugedict, persistdict, shelve, sqlitedict
from ._source import Reading, Source

#: What opens each kind.
KINDS: dict[str, Callable[[Path, Reading], Source]] = {
    "diskcache": diskcache.DiskcacheSource,
    "persistdict": persistdict.PersistDictSource,
    "sqlitedict": sqlitedict.SqlitedictSource,
    "shelve": shelve.ShelveSource,
    "hugedict": hugedict.open_source,
}
