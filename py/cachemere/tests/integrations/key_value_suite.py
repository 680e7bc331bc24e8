"""py-key-value's own suite for stores, unmodified, from a checkout of its sources, since it is in no distribution:

    PYTHONPATH=<checkout> python -m pytest tests/integrations/key_value_suite.py

It needs `dirty-equals` too. What of it is about any store is in `test_key_value.py` in this project's own words.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cachemere import Cache
from cachemere.integrations.key_value import CachemereStore
from tests.stores.base import BaseStoreTests, ContextManagerStoreTestMixin  # type: ignore[import-not-found]


class TestStore(ContextManagerStoreTestMixin, BaseStoreTests):  # type: ignore[misc]
    @pytest.fixture
    async def store(self, path: Path) -> CachemereStore:
        # The suite asks for a bound.
        return CachemereStore(Cache(path, max_entries=500), on_error="raise")
