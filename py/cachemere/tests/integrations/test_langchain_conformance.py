"""LangChain's own suites for caches and stores, as they are published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cachemere import Cache
from cachemere.integrations.langchain import CachemereByteStore, CachemereCache
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    SyncCacheTestSuite,
)


class OfCaches:
    @pytest.fixture
    def cache(self, path: Path) -> Iterator[CachemereCache]:
        made = CachemereCache(Cache(path), on_error="raise")
        yield made
        made.close()


class TestCache(OfCaches, SyncCacheTestSuite):
    pass


class TestCacheOfCoroutines(OfCaches, AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, path: Path) -> CachemereCache:
        return CachemereCache(Cache(path), on_error="raise")


class OfStores:
    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"", b"\x00\xff", b"three"


class TestStore(OfStores, BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, path: Path) -> CachemereByteStore:
        return CachemereByteStore(Cache(path), on_error="raise")


class TestStoreOfCoroutines(OfStores, BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    async def kv_store(self, path: Path) -> CachemereByteStore:
        return CachemereByteStore(Cache(path), on_error="raise")
