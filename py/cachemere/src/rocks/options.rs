//! From `cachemere.rocksdb.RocksDBOptions`, which has checked them, to the engine's options.

use cachemere::rocks::{Compaction, Compression, CompressionOptions, Options};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[derive(FromPyObject)]
struct Given {
    create_if_missing: Option<bool>,
    max_open_files: Option<i32>,
    use_fsync: Option<bool>,
    bytes_per_sync: Option<u64>,
    optimize_for_point_lookup: Option<u64>,
    table_cache_numshardbits: Option<i32>,
    max_write_buffer_number: Option<i32>,
    write_buffer_size: Option<usize>,
    target_file_size_base: Option<u64>,
    min_write_buffer_number_to_merge: Option<i32>,
    level_zero_stop_writes_trigger: Option<i32>,
    level_zero_slowdown_writes_trigger: Option<i32>,
    compaction_style: Option<String>,
    disable_auto_compactions: Option<bool>,
    max_background_jobs: Option<i32>,
    max_subcompactions: Option<u32>,
    compression_type: Option<String>,
    bottommost_compression_type: Option<String>,
    compression_opts: Option<GivenCompression>,
    bottommost_compression_opts: Option<GivenCompression>,
    zstd_max_train_bytes: Option<i32>,
    bottommost_zstd_max_train_bytes: Option<i32>,
}

#[derive(FromPyObject)]
struct GivenCompression {
    window_bits: i32,
    level: i32,
    strategy: i32,
    max_dict_bytes: i32,
}

/// The options, and the length of the prefix, which is a matter of how keys are encoded.
pub(crate) fn extract(given: &Bound<'_, PyAny>, prefix_length: Option<usize>) -> PyResult<Options> {
    let given: Given = given.extract()?;
    let knobs = |given: GivenCompression| CompressionOptions {
        window_bits: given.window_bits,
        level: given.level,
        strategy: given.strategy,
        max_dict_bytes: given.max_dict_bytes,
    };
    Ok(Options {
        create_if_missing: given.create_if_missing,
        max_open_files: given.max_open_files,
        use_fsync: given.use_fsync,
        bytes_per_sync: given.bytes_per_sync,
        optimize_for_point_lookup: given.optimize_for_point_lookup,
        table_cache_num_shard_bits: given.table_cache_numshardbits,
        max_write_buffer_number: given.max_write_buffer_number,
        write_buffer_size: given.write_buffer_size,
        target_file_size_base: given.target_file_size_base,
        min_write_buffer_number_to_merge: given.min_write_buffer_number_to_merge,
        level_zero_stop_writes_trigger: given.level_zero_stop_writes_trigger,
        level_zero_slowdown_writes_trigger: given.level_zero_slowdown_writes_trigger,
        compaction: given.compaction_style.as_deref().map(compaction).transpose()?,
        disable_auto_compactions: given.disable_auto_compactions,
        max_background_jobs: given.max_background_jobs,
        max_subcompactions: given.max_subcompactions,
        compression: given.compression_type.as_deref().map(compression).transpose()?,
        bottommost_compression: given.bottommost_compression_type.as_deref().map(compression).transpose()?,
        prefix_length,
        compression_options: given.compression_opts.map(knobs),
        bottommost_compression_options: given.bottommost_compression_opts.map(knobs),
        zstd_max_train_bytes: given.zstd_max_train_bytes,
        bottommost_zstd_max_train_bytes: given.bottommost_zstd_max_train_bytes,
    })
}

fn compaction(name: &str) -> PyResult<Compaction> {
    Ok(match name {
        "level" => Compaction::Level,
        "universal" => Compaction::Universal,
        "fifo" => Compaction::Fifo,
        _ => return Err(PyValueError::new_err(format!("compaction_style: {name:?}"))),
    })
}

fn compression(name: &str) -> PyResult<Compression> {
    Ok(match name {
        "none" => Compression::None,
        "snappy" => Compression::Snappy,
        "zlib" => Compression::Zlib,
        "bz2" => Compression::Bz2,
        "lz4" => Compression::Lz4,
        "lz4hc" => Compression::Lz4hc,
        "zstd" => Compression::Zstd,
        _ => return Err(PyValueError::new_err(format!("compression: {name:?}"))),
    })
}
