"""Migration: what other packages stored, imported into a store.

:func:`import_store` does what `python -m cachemere import` does. Nothing of the other packages is imported, and no
pickle is loaded unless that is allowed.
"""

from __future__ import annotations

from ._import import import_store
from ._source import Kind
from ._summary import ImportSummary, Skipped

__all__ = ["ImportSummary", "Kind", "Skipped", "import_store"]
