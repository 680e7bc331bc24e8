"""Mappings in RocksDB: for hundreds of millions of pairs, loaded once and read as a dict.

Needs the distribution `cachemere-rocksdb`, which compiles RocksDB.
"""

from __future__ import annotations

import sys

import cachemere

from ..errors import NotInstalledError

if "cachemere._rocks" not in sys.modules:
    raise NotInstalledError(
        f"cachemere.rocksdb needs the distribution cachemere-rocksdb ({cachemere._why_no_rocksdb}): "
        f"pip install cachemere-rocksdb=={cachemere.__version__}"
    )

from ..mappings import CacheDict, ChainedMapping, HugeMapping, HugeMutableMapping, SqliteDict
from ._options import PrefixExtractor, RocksDBCompressionOptions, RocksDBOptions, fixed_prefix, fixed_prefix_alike
from ._rocksdb_dict import RocksDBDict
from ._views import RangeItems, RangeKeys, RangeValues

__all__ = [
    "CacheDict",
    "ChainedMapping",
    "HugeMapping",
    "HugeMutableMapping",
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
]
