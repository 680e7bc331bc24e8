"""The engine of Cachemere, built with RocksDB. Import :mod:`cachemere.rocksdb`, which this package makes work."""

__version__ = "0.1.0"
