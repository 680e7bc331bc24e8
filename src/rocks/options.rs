//! What a database is opened with.

use rocksdb::{DBCompactionStyle, DBCompressionType, SliceTransform};

/// Options of RocksDB, of which `None` is RocksDB's own choice. They are of this opening, not of the database, but for
/// `prefix_length`.
///
/// ```
/// use cachemere::rocks::{Compression, Options};
///
/// let options = Options { create_if_missing: Some(true), compression: Some(Compression::Zstd), ..Options::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether to make the database if there is none. Off.
    pub create_if_missing: Option<bool>,
    /// Files kept open; -1: all.
    pub max_open_files: Option<i32>,
    /// `fsync` in place of `fdatasync`.
    pub use_fsync: Option<bool>,
    /// Sends files to the disk each so many bytes while they are written. 0: when they are whole.
    pub bytes_per_sync: Option<u64>,
    /// For single keys rather than ranges: a hash index, bloom filters, and a block cache of so many MiB.
    pub optimize_for_point_lookup: Option<u64>,
    /// The table cache has 2 to this power parts with a lock each.
    pub table_cache_num_shard_bits: Option<i32>,
    /// Write buffers in memory at once.
    pub max_write_buffer_number: Option<i32>,
    /// Bytes of a write buffer, after which it becomes a file.
    pub write_buffer_size: Option<usize>,
    /// Bytes of a file of the first level.
    pub target_file_size_base: Option<u64>,
    /// Write buffers that become a file together.
    pub min_write_buffer_number_to_merge: Option<i32>,
    /// Files of level 0 at which writes wait.
    pub level_zero_stop_writes_trigger: Option<i32>,
    /// Files of level 0 at which writes slow down.
    pub level_zero_slowdown_writes_trigger: Option<i32>,
    /// How files are merged.
    pub compaction: Option<Compaction>,
    /// No merging by itself.
    pub disable_auto_compactions: Option<bool>,
    /// Threads that merge and flush.
    pub max_background_jobs: Option<i32>,
    /// Threads of one merge.
    pub max_subcompactions: Option<u32>,
    /// Of all levels.
    pub compression: Option<Compression>,
    /// Of the last level.
    pub bottommost_compression: Option<Compression>,
    /// The first so many bytes of a key are its prefix, which filters and indexes can be by. Other than the others it
    /// belongs to the database: `None` takes that which it was made with.
    pub prefix_length: Option<usize>,
    /// Of `compression`.
    pub compression_options: Option<CompressionOptions>,
    /// Of `bottommost_compression`.
    pub bottommost_compression_options: Option<CompressionOptions>,
    /// Bytes of samples that Zstandard makes its dictionary of; 100 times the dictionary's is a good size.
    pub zstd_max_train_bytes: Option<i32>,
    /// The same for the last level.
    pub bottommost_zstd_max_train_bytes: Option<i32>,
}

/// How files are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// In levels: least space, fast reads.
    Level,
    /// In runs: fewest writes.
    Universal,
    /// Not at all: the oldest files are deleted when there are too many. For data that may be lost.
    Fifo,
}

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compression {
    None,
    Snappy,
    Zlib,
    Bz2,
    Lz4,
    Lz4hc,
    Zstd,
}

/// The knobs of a compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionOptions {
    /// Of zlib: -14 is RocksDB's choice.
    pub window_bits: i32,
    /// How hard it tries; 32767: the compression's own choice.
    pub level: i32,
    /// Of zlib.
    pub strategy: i32,
    /// Bytes of the dictionary of a file. 0: none.
    pub max_dict_bytes: i32,
}

/// Logs of RocksDB's own, of which it would keep a thousand.
const KEPT_LOGS: usize = 10;

impl Options {
    /// As RocksDB takes them.
    pub(super) fn to_rocksdb(&self) -> rocksdb::Options {
        let mut made = rocksdb::Options::default();
        made.set_keep_log_file_num(KEPT_LOGS);
        // First, since it sets what others set too.
        self.optimize_for_point_lookup.inspect(|size| made.optimize_for_point_lookup(*size));
        self.create_if_missing.inspect(|create| made.create_if_missing(*create));
        self.max_open_files.inspect(|files| made.set_max_open_files(*files));
        self.use_fsync.inspect(|fsync| made.set_use_fsync(*fsync));
        self.bytes_per_sync.inspect(|bytes| made.set_bytes_per_sync(*bytes));
        self.table_cache_num_shard_bits.inspect(|bits| made.set_table_cache_num_shard_bits(*bits));
        self.max_write_buffer_number.inspect(|number| made.set_max_write_buffer_number(*number));
        self.write_buffer_size.inspect(|size| made.set_write_buffer_size(*size));
        self.target_file_size_base.inspect(|size| made.set_target_file_size_base(*size));
        self.min_write_buffer_number_to_merge.inspect(|n| made.set_min_write_buffer_number_to_merge(*n));
        self.level_zero_stop_writes_trigger.inspect(|n| made.set_level_zero_stop_writes_trigger(*n));
        self.level_zero_slowdown_writes_trigger.inspect(|n| made.set_level_zero_slowdown_writes_trigger(*n));
        self.compaction.inspect(|style| made.set_compaction_style(style.to_rocksdb()));
        self.disable_auto_compactions.inspect(|off| made.set_disable_auto_compactions(*off));
        self.max_background_jobs.inspect(|jobs| made.set_max_background_jobs(*jobs));
        self.max_subcompactions.inspect(|number| made.set_max_subcompactions(*number));
        self.compression.inspect(|kind| made.set_compression_type(kind.to_rocksdb()));
        self.bottommost_compression.inspect(|kind| made.set_bottommost_compression_type(kind.to_rocksdb()));
        self.prefix_length
            .inspect(|length| made.set_prefix_extractor(SliceTransform::create_fixed_prefix(*length)));
        self.compression_options.inspect(|knobs| {
            made.set_compression_options(
                knobs.window_bits,
                knobs.level,
                knobs.strategy,
                knobs.max_dict_bytes,
            );
        });
        self.bottommost_compression_options.inspect(|knobs| {
            let CompressionOptions { window_bits, level, strategy, max_dict_bytes } = *knobs;
            made.set_bottommost_compression_options(window_bits, level, strategy, max_dict_bytes, true);
        });
        self.zstd_max_train_bytes.inspect(|bytes| made.set_zstd_max_train_bytes(*bytes));
        self.bottommost_zstd_max_train_bytes
            .inspect(|bytes| made.set_bottommost_zstd_max_train_bytes(*bytes, true));
        made
    }
}

impl Compaction {
    fn to_rocksdb(self) -> DBCompactionStyle {
        match self {
            Compaction::Level => DBCompactionStyle::Level,
            Compaction::Universal => DBCompactionStyle::Universal,
            Compaction::Fifo => DBCompactionStyle::Fifo,
        }
    }
}

impl Compression {
    fn to_rocksdb(self) -> DBCompressionType {
        match self {
            Compression::None => DBCompressionType::None,
            Compression::Snappy => DBCompressionType::Snappy,
            Compression::Zlib => DBCompressionType::Zlib,
            Compression::Bz2 => DBCompressionType::Bz2,
            Compression::Lz4 => DBCompressionType::Lz4,
            Compression::Lz4hc => DBCompressionType::Lz4hc,
            Compression::Zstd => DBCompressionType::Zstd,
        }
    }
}
