//! How RocksDB is set up for a store.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options};

use crate::clock::ClockSource;
use crate::store::Header;
use crate::store::format::layout::kind;

/// Bytes of blocks kept in memory.
const BLOCK_CACHE: usize = 32 << 20;
/// Bits for each key in a table's Bloom filter: one lookup in a hundred of a key that is not there reads a block.
const BLOOM_BITS: f64 = 10.0;
/// RocksDB's own logs that are kept, in the directory of the database.
const LOGS: usize = 2;
/// A table is compacted when so many of so many records in a row mark removed ones, which walks pass over one by one.
const REMOVED: (usize, usize) = (512, 1024);

pub(super) fn primary(clock: ClockSource) -> Options {
    let mut options = common();
    options.create_if_missing(true);
    // Two threads for flushes and compactions, started with the database.
    options.increase_parallelism(2);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.add_compact_on_deletion_collector_factory(REMOVED.1, REMOVED.0, 0.0);
    options.set_compaction_filter("cachemere.expired", move |_level, key, value| {
        match is_expired(&clock, key, value) {
            true => rocksdb::CompactionDecision::Remove,
            false => rocksdb::CompactionDecision::Keep,
        }
    });
    options
}

pub(super) fn secondary() -> Options {
    let mut options = common();
    // Files that the primary removes can be read as long as they are open.
    options.set_max_open_files(-1);
    options
}

fn common() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    blocks.set_bloom_filter(BLOOM_BITS, false);
    blocks.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(LOGS);
    options
}

/// Whether a record is an entry whose time to live is over.
///
/// An entry that also expires when idle is left to the sweeper: an access of it may not be written down yet.
fn is_expired(clock: &ClockSource, key: &[u8], value: &[u8]) -> bool {
    if key.first() != Some(&kind::ENTRY) {
        return false;
    }
    match Header::parse(value) {
        Ok((header, _)) if header.idle.0 == 0 => header.due().is_some_and(|due| due <= clock.now()),
        _ => false,
    }
}
