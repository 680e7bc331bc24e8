//! What a load came to.

use std::time::Duration;

/// What a load came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Records found in the files, without those that were skipped.
    pub records: u64,
    /// Records written.
    pub written: u64,
    /// Records left out because another one of the same key counts.
    pub duplicates: u64,
    /// Records left out because their key was there before.
    pub kept: u64,
    /// Bad records left out.
    pub skipped: u64,
    /// Some of the bad records: file, place and reason of ten at most.
    pub bad: Vec<String>,
    /// Bytes of the files, as they are on the disk.
    pub bytes_read: u64,
    /// Bytes written to the temporary directory, because the records did not fit into the memory budget.
    pub bytes_spilled: u64,
    /// How long reading and sorting took.
    pub reading: Duration,
    /// How long merging and writing took.
    pub writing: Duration,
}
