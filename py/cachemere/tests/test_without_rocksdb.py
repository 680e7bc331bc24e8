"""What is told where RocksDB is asked for and not installed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import cachemere
import pytest
from cachemere._core.installing import install_rocksdb
from cachemere.errors import IncompatibleError, NotInstalledError


def test_the_line_to_type_is_told(path: Path) -> None:
    line = re.escape(install_rocksdb())
    with pytest.raises(NotInstalledError, match=line):
        cachemere.Cache(path, backend="rocksdb")
    with pytest.raises(ImportError, match=line):
        importlib.import_module("cachemere.rocksdb")
    assert not path.exists()


def test_a_store_in_rocksdb_is_recognised(path: Path) -> None:
    (path / "rocksdb").mkdir(parents=True)
    with pytest.raises(IncompatibleError, match="RocksDB.*the distribution cachemere-rocksdb"):
        cachemere.Cache(path)["a"] = 1
    assert [entry.name for entry in path.iterdir()] == ["rocksdb"]
