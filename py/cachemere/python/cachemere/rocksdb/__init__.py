"""Mappings in RocksDB: for hundreds of millions of pairs, loaded once and read as a dict.

Needs the distribution `cachemere-rocksdb`, which compiles RocksDB.
"""

from __future__ import annotations

from .._core.which_engine import WHY_NO_ROCKSDB, require_rocksdb

if WHY_NO_ROCKSDB is not None:
    require_rocksdb("cachemere.rocksdb")

from .._core.load import LoadSummary
from ..mappings import CacheDict, ChainedMapping, HugeMapping, HugeMutableMapping, SqliteDict
from ._load import rocksdb_build_sst_file, rocksdb_ingest_sst_files, rocksdb_load
from ._options import PrefixExtractor, RocksDBCompressionOptions, RocksDBOptions, fixed_prefix, fixed_prefix_alike
from ._rocksdb_dict import RocksDBDict
from ._views import RangeItems, RangeKeys, RangeValues

__all__ = [
    "CacheDict",
    "ChainedMapping",
    "HugeMapping",
    "HugeMutableMapping",
    "LoadSummary",
    "PrefixExtractor",
    "RangeItems",
    "RangeKeys",
    "RangeValues",
    "RocksDBCompressionOptions",
    "RocksDBDict",
    "RocksDBOptions",
    "SqliteDict",
    "fixed_prefix",
    "fixed_prefix_alike",
    "rocksdb_build_sst_file",
    "rocksdb_ingest_sst_files",
    "rocksdb_load",
]
