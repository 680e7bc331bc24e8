"""A store written by the first version is read for ever after."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cachemere
import fixture_contents
import numpy
import pytest
from fixture_contents import KEYS, PASSPHRASE, TYPES, VALUES

STORES = Path(__file__).parent / "fixtures" / "python-v1"


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    """A copy, since opening a store writes lock files beside it."""
    return Path(shutil.copytree(STORES, tmp_path / "stores"))


def test_keys_of_all_kinds_are_found_and_listed_in_order(stores: Path) -> None:
    with cachemere.Cache(stores / "plain", types=TYPES) as cache:
        assert list(cache) == [*KEYS, "tagged"]
        for key in KEYS:
            (found,) = cache[key]
            assert found == key and type(found) is type(key)
        assert cache.evict("two") == 1
        assert cache.verify().is_clean


@pytest.mark.parametrize("place", range(len(VALUES)))
def test_values_of_all_kinds_are_what_they_were(stores: Path, place: int) -> None:
    with cachemere.Cache(stores / "plain", namespace="values", types=TYPES) as cache:
        assert same(cache[place], VALUES[place])


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, numpy.ndarray):
        return (
            found.dtype == wanted.dtype
            and found.flags.f_contiguous == wanted.flags.f_contiguous
            and bool((found == wanted).all())
        )
    return type(found) is type(wanted) and bool(found == wanted) and repr(found) == repr(wanted)


def test_compressed_pickled_and_encrypted_values_are_read(stores: Path) -> None:
    with cachemere.Cache(stores / "plain", namespace="compressed") as cache:
        assert cache["long"] == "a" * 10_000
    with cachemere.PersistDict(stores / "plain", namespace="dict") as d:
        assert d == {"class": int}
    with cachemere.Cache(stores / "encrypted", encryption_key=PASSPHRASE) as cache:
        assert cache["secret"] == {"plan": (1, 2)}


def test_the_fixture_is_what_this_version_would_write(tmp_path: Path) -> None:
    """A change of the form of anything in it must come with a new name of the serializer, and a fixture of its own."""
    fixture_contents.write(str(tmp_path))
    with (
        cachemere.Cache(tmp_path / "plain", types=TYPES) as new,
        cachemere.Cache(shutil.copytree(STORES / "plain", tmp_path / "old"), types=TYPES) as old,
    ):
        for key in KEYS:
            assert new._store.key_bytes(key) == old._store.key_bytes(key)
            assert new.info(key).size == old.info(key).size  # type: ignore[union-attr]
