"""Options of RocksDB, checked where they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .._core import checks
from ..errors import InvalidOptionError

DBCompactionStyle = Literal["level", "universal", "fifo"]
DBCompressionStyle = Literal["none", "snappy", "zlib", "bz2", "lz4", "lz4hc", "zstd"]

_COMPACTIONS = ("level", "universal", "fifo")
_COMPRESSIONS = ("none", "snappy", "zlib", "bz2", "lz4", "lz4hc", "zstd")

_INT = 2**31 - 1
_LONG = 2**63 - 1

#: The least and the greatest that numbers may be: what RocksDB takes, and what its types hold.
_NUMBERS = {
    "max_open_files": (-1, _INT),
    "bytes_per_sync": (0, _LONG),
    "optimize_for_point_lookup": (1, 2**32),
    "table_cache_numshardbits": (0, 19),
    "max_write_buffer_number": (1, _INT),
    "write_buffer_size": (1, _LONG),
    "target_file_size_base": (1, _LONG),
    "min_write_buffer_number_to_merge": (1, _INT),
    "level_zero_stop_writes_trigger": (0, _INT),
    "level_zero_slowdown_writes_trigger": (0, _INT),
    "max_background_jobs": (1, 1024),
    "max_subcompactions": (1, 1024),
    "zstd_max_train_bytes": (0, _INT),
    "bottommost_zstd_max_train_bytes": (0, _INT),
}
_FLAGS = ("create_if_missing", "use_fsync", "disable_auto_compactions")
_CHOICES = {
    "compaction_style": _COMPACTIONS,
    "compression_type": _COMPRESSIONS,
    "bottommost_compression_type": _COMPRESSIONS,
}


@dataclass(frozen=True)
class PrefixExtractor:
    """Says which first bytes of a key RocksDB takes for its prefix; made by :func:`fixed_prefix` and its like."""

    type: Literal["fixed_prefix", "fixed_prefix_alike"]
    #: In bytes, or
    size: int | None = None
    #: as long as this one is once it is encoded as a key: a tuple of it, or of nothing.
    prefix: tuple[()] | tuple[Any] = ()


def fixed_prefix(*, size: int, type: Literal["fixed_prefix"] = "fixed_prefix") -> PrefixExtractor:
    """Prefixes of so many bytes of the encoded key. In the ordered encoding a str or bytes has one byte before it."""
    checks.choice("type", type, ("fixed_prefix",))
    _number("size", size, 1, 65536)
    return PrefixExtractor("fixed_prefix", size)


def fixed_prefix_alike(*, prefix: Any, type: Literal["fixed_prefix_alike"] = "fixed_prefix_alike") -> PrefixExtractor:
    """Prefixes as long as this one, which can be any key."""
    checks.choice("type", type, ("fixed_prefix_alike",))
    return PrefixExtractor("fixed_prefix_alike", None, (prefix,))


@dataclass
class RocksDBCompressionOptions:
    """The knobs of a compression.

    Args:
        window_bits: Of zlib; -14 is RocksDB's choice.
        level: How hard it tries; 32767 is the compression's own choice.
        strategy: Of zlib.
        max_dict_bytes: The size of a file's dictionary; 0: none.
    """

    window_bits: int
    level: int
    strategy: int
    max_dict_bytes: int

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 0 if field.name == "max_dict_bytes" else -_INT - 1
            _number(field.name, getattr(self, field.name), least, _INT)

    def to_dict(self) -> dict[str, int]:
        """The fields by their names."""
        return asdict(self)


@dataclass(kw_only=True)
class RocksDBOptions:
    """How RocksDB works with a database, each time it is opened. `None` leaves it to RocksDB.

    `prefix_extractor` belongs to the database: `None` takes the one it was made with, another one is an error.
    Of `compaction_style`, "fifo" deletes the oldest files when there are too many.

    Args:
        create_if_missing: Whether to make the database if there is none. Off.
        max_open_files: Files kept open; -1: all.
        use_fsync: `fsync` in place of `fdatasync`.
        bytes_per_sync: Sends files to the disk each so many bytes while they are written.
        optimize_for_point_lookup: For single keys rather than ranges; the size of the block cache in MiB.
        table_cache_numshardbits: The table cache has 2 to this power locks.
        max_write_buffer_number: Write buffers in memory at once.
        write_buffer_size: Bytes of a write buffer, after which it becomes a file.
        target_file_size_base: Bytes of a file of the first level.
        min_write_buffer_number_to_merge: Write buffers that become one file.
        level_zero_stop_writes_trigger: Files of level 0 at which writes wait.
        level_zero_slowdown_writes_trigger: Files of level 0 at which writes slow down.
        compaction_style: "level", "universal" or "fifo".
        disable_auto_compactions: No merging by itself.
        max_background_jobs: Threads that merge and flush.
        max_subcompactions: Threads of one merge.
        compression_type: "none", "snappy", "zlib", "bz2", "lz4", "lz4hc" or "zstd".
        bottommost_compression_type: The same for the last level.
        prefix_extractor: Which bytes of a key are its prefix.
        compression_opts: Knobs of the compression.
        bottommost_compression_opts: Knobs of that of the last level.
        zstd_max_train_bytes: Bytes of samples for Zstandard's dictionary; 100 times its size is good.
        bottommost_zstd_max_train_bytes: The same for the last level.

    Raises:
        InvalidOptionError: A field has a value or type it cannot have; it is named.
    """

    create_if_missing: bool | None = None
    max_open_files: int | None = None
    use_fsync: bool | None = None
    bytes_per_sync: int | None = None
    optimize_for_point_lookup: int | None = None
    table_cache_numshardbits: int | None = None
    max_write_buffer_number: int | None = None
    write_buffer_size: int | None = None
    target_file_size_base: int | None = None
    min_write_buffer_number_to_merge: int | None = None
    level_zero_stop_writes_trigger: int | None = None
    level_zero_slowdown_writes_trigger: int | None = None
    compaction_style: DBCompactionStyle | None = None
    disable_auto_compactions: bool | None = None
    max_background_jobs: int | None = None
    max_subcompactions: int | None = None
    compression_type: DBCompressionStyle | None = "lz4"
    bottommost_compression_type: DBCompressionStyle | None = None
    prefix_extractor: PrefixExtractor | None = None
    compression_opts: RocksDBCompressionOptions | None = None
    bottommost_compression_opts: RocksDBCompressionOptions | None = None
    zstd_max_train_bytes: int | None = None
    bottommost_zstd_max_train_bytes: int | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Checked at each change, and an unknown name is no new field.
        if name not in _FIELDS:
            raise InvalidOptionError(f"RocksDBOptions has no field {name!r}: it has {', '.join(_FIELDS)}")
        if value is not None:
            _check(name, value)
        object.__setattr__(self, name, value)


_FIELDS = tuple(field.name for field in fields(RocksDBOptions))


def _check(name: str, value: object) -> None:
    if name in _FLAGS:
        checks.flag(name, value)
    elif name in _NUMBERS:
        _number(name, value, *_NUMBERS[name])
    elif name in _CHOICES:
        checks.choice(name, value, _CHOICES[name])
    elif name == "prefix_extractor":
        if not isinstance(value, PrefixExtractor):
            raise InvalidOptionError(f"{name} must be made by fixed_prefix(), not be {checks.shown(value)}")
    elif not isinstance(value, RocksDBCompressionOptions):
        raise InvalidOptionError(f"{name} must be RocksDBCompressionOptions, not {checks.shown(value)}")


def _number(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise InvalidOptionError(f"{name} must be an int from {least} to {most}, not {checks.shown(value)}")
