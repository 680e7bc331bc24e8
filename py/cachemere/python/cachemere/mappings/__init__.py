"""Mappings around mappings: kept in memory, chained, and one in SQLite."""

from .cache_dict import CacheDict
from .chained_mapping import ChainedMapping
from .huge_mapping import CacheHugeMapping, CacheHugeMutableMapping, HugeMapping, HugeMutableMapping
from .sqlite_dict import SqliteDict, SqliteDictArgs, SqliteDictFieldType

__all__ = [
    "CacheDict",
    "CacheHugeMapping",
    "CacheHugeMutableMapping",
    "ChainedMapping",
    "HugeMapping",
    "HugeMutableMapping",
    "SqliteDict",
    "SqliteDictArgs",
    "SqliteDictFieldType",
]
