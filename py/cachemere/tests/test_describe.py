"""What stores and entries say of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, NamespaceInfo, PersistDict
from cachemere._core.info import EntryInfo
from cachemere._core.options import Options
from cachemere._engine import Store
from cachemere.errors import CacheError, WrongSecretError
from plain_data import Number


def test_a_store_says_what_it_was_made_with(path: Path) -> None:
    before = time.time()
    with Cache(path, max_bytes=16 << 20, max_entries=500, compression=True) as cache:
        cache["k"] = 1
        store = cache.describe()
    assert (store.backend, store.format_version, store.cipher, store.max_bytes) == ("lmdb", 2, None, 16 << 20)
    assert before - 0.001 <= store.created <= time.time() and len(bytes.fromhex(store.id)) == 16
    assert store.namespaces == (NamespaceInfo("default", 1, "python", "python", "zstd", 500),)
    with PersistDict[str, Any](path, namespace="own", value_serializer=repr, value_unserializer=eval) as d:
        assert len(d.describe().namespaces) == 2
        assert d.describe().namespaces[1] == NamespaceInfo(
            "own", 0, "python+own values", "python+own values", None, None
        )
        assert d.describe().id == store.id


def test_an_encrypted_store_says_by_what(path: Path) -> None:
    with Cache(path, encryption_key=b"k" * 32) as cache:
        assert cache.describe().cipher == "xchacha20poly1305"
    with Cache(path, encryption_key=b"k" * 32, read_only=True, namespace="none") as cache:
        assert [it.name for it in cache.describe().namespaces] == ["default"], "and none is made"


def test_how_idle_an_entry_may_be_is_known(path: Path) -> None:
    with Cache(path, idle=0.25) as cache:
        cache["k"] = 1
        info = cache.info("k")
        assert info is not None and info.idle == 0.25 and info.expires_at == pytest.approx(info.atime + 0.25)
    with Cache(path, namespace="other", ttl=60) as cache:
        cache["k"] = 1
        info = cache.info("k")
        assert info is not None and info.idle is None


@pytest.mark.parametrize("keys_only", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_walk_gives_what_a_look_at_each_entry_gives(path: Path, reverse: bool, keys_only: bool) -> None:
    def costly() -> int:
        time.sleep(0.01)
        return 1

    with Cache(path, idle=3600) as cache:
        cache.set("tagged", "x" * 1000, ttl=60, tags=("a", "b"))
        # Found by 1, and by itself where its class is.
        cache[Number.ONE] = None
        cache.memoize(costly)()
        store = cache._store
        with_info = store.scanner(reverse, keys_only, with_info=True).chunk()
        without = store.scanner(reverse, keys_only).chunk()
        assert len(with_info) == len(without) == 3
        for (key, value, version, tags, times, cost), plain in zip(with_info, without, strict=True):
            assert (key, value, tags) == (plain[0], plain[1], plain[3]) and type(version) is type(plain[2])
            # Before fetching, which is an access.
            assert EntryInfo(*times) == cache.info(key) or not isinstance(key, (str, tuple))
            fetched = store.fetch(key) if isinstance(key, (str, tuple)) else store.fetch(1)
            assert fetched is not None and fetched[2:] == (tags, cost)
        assert sum(met[5] is not None for met in with_info) == 1


def options(path: Path, **more: Any) -> Options:
    return Options(path=path, **more)


def test_a_handle_beside_an_open_one_needs_no_secret(path: Path) -> None:
    with Cache(path, encryption_key=b"k" * 32) as cache:
        cache["k"] = 1
        alone = options(path).open(None)
        with pytest.raises(WrongSecretError):
            alone.open_now()
        beside = options(path).open(None)
        beside.open_now(cache._store)
        assert beside["k"] == 1
        other = options(path, namespace="other").open(None)
        other.open_now(beside)
        other.put("k", 2)
        late = options(path).open(None)
        beside.close()
        # It was closed, which is said.
        with pytest.raises(CacheError):
            late.open_now(beside)
        other.close()
    with Cache(path, encryption_key=b"k" * 32, namespace="other") as cache:
        assert cache["k"] == 2


def another(path: Path) -> Store:
    return options(path.parent / "another").open(None)


def unopened(path: Path) -> Store:
    return options(path).open(None)


@pytest.mark.parametrize("make", [another, unopened])
def test_a_handle_that_is_not_of_the_same_open_store_is_of_no_use(path: Path, make: Callable[[Path], Store]) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    beside = make(path)
    if make is another:
        beside.open_now()
    store = options(path).open(None)
    store.open_now(beside)
    assert store["k"] == 1
    store.close()
    beside.close()
