//! How much of the disk the store takes, and how that is divided: what the log may have, and how much a fold may change
//! at once.
//!
//! A fold writes a copy of each page that it changes, and what it frees can be used again by the fold after the next. So
//! the file is larger than its records by what two folds change, and folds are kept small beside it.

use std::sync::atomic::Ordering;

use super::control::Control;
use super::segment::Change;
use super::shared_lock::SharedGuard;
use super::{Access, Lmdb, reserve, segment_file};
use crate::error::{Error, Result};
use crate::store::backend::Room;
use crate::store::format::layout::kind;

/// The largest segment there is.
const LARGEST_SEGMENT: u32 = 16 << 20;
/// The largest one while a store is small, and in one with the least limit.
const SMALL_SEGMENT: u64 = 1 << 20;
const LEAST_SEGMENT: u64 = 64 << 10;
/// Bytes that the log may have in a store without a limit, however small that is, and however large.
const BACKLOG: std::ops::RangeInclusive<u64> = (32 << 20)..=(128 << 20);

/// Of a full disk.
pub(super) const DISK: u32 = 1;
/// Of a full map.
pub(super) const MAP: u32 = 2;

/// A part of a page: what a change costs is counted in eighths.
pub(super) const PAGE: u64 = 8;

/// What it costs about to fold a change. Entries are all over the tree, each on a page of its own; the other records of
/// one time are beside each other.
pub(super) fn cost_of(change: &Change<'_>, page_size: u64) -> u64 {
    let value = change.value.map_or(0, <[u8]>::len) as u64;
    let own_pages = if value > page_size / 2 { (value + 16).div_ceil(page_size) } else { 0 };
    match change.key.first() {
        Some(&kind::ENTRY) => PAGE * (1 + own_pages),
        _ => 1 + PAGE * own_pages,
    }
}

impl Lmdb {
    /// The limit that is in force, if one is: that in bytes, or that of a small map.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit.get().copied().filter(|limit| *limit != 0)
    }

    /// Whether what the records take is counted as they are written.
    pub(super) fn is_counted(&self) -> bool {
        self.measure().is_some()
    }

    /// Bytes that the records take in LMDB as of the last fold.
    fn tree_bytes(&self, control: &Control) -> u64 {
        control.tree_pages().load(Ordering::Relaxed).saturating_mul(self.page_size)
    }

    /// What a part of the store is measured by: its limit, or that of its map if that is small.
    pub(super) fn measure(&self) -> Option<u64> {
        self.measure.get().copied().filter(|measure| *measure != 0)
    }

    /// Tells of the limit in bytes that is in force. To be called once, before anything is written.
    pub(in crate::store::backend) fn set_limit(&self, max_bytes: Option<u64>) -> Result<()> {
        let limit = self.limit.get_or_init(|| max_bytes.unwrap_or(0));
        let map = Some(self.map_size).filter(|map| *map < SMALL_MAP).unwrap_or(0);
        self.measure.get_or_init(|| match (*limit, map) {
            (0, only) | (only, 0) => only,
            (limit, map) => limit.min(map),
        });
        let Access::Shared(shared) = &self.access else { return Ok(()) };
        if self.is_first && self.is_counted() {
            // By what was found in the log. Nobody else has the store open yet.
            let snapshot = self.snapshot()?;
            let grown = self.growth_of(snapshot.segments().view(snapshot.tail()))?;
            shared.control.grown().store(grown as u64, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The size that segments grow to.
    pub(super) fn largest_segment(&self) -> u32 {
        let size = match (self.measure(), &self.access) {
            (Some(limit), _) => (limit / 64).max(LEAST_SEGMENT),
            (None, Access::Shared(shared)) => {
                let control = &shared.control;
                ((self.tree_bytes(control) + backlog(control)) / 4).max(SMALL_SEGMENT)
            }
            (None, Access::Detached(_)) => SMALL_SEGMENT,
        };
        // A power of two, and no more.
        1 << size.min(LARGEST_SEGMENT.into()).ilog2()
    }

    /// Bytes of the log from which writers wait for the folds.
    pub(super) fn most_backlog(&self, control: &Control) -> u64 {
        match self.measure() {
            Some(limit) => limit / 32,
            None => self.tree_bytes(control).clamp(*BACKLOG.start(), *BACKLOG.end()),
        }
    }

    /// What one fold may cost, but for a transaction that alone costs more.
    pub(super) fn most_folded(&self, control: &Control) -> u64 {
        let pages = match self.measure() {
            Some(limit) => (limit / 64 / self.page_size).clamp(16, 2048),
            None => {
                let tree = self.tree_bytes(control) / self.page_size;
                (tree / 8).max(tree.min(4 << 10)).clamp(512, 16 << 10)
            }
        };
        pages * PAGE
    }

    /// Whether room has to be made under the limit before so many bytes are written.
    pub(super) fn is_large(&self, bytes: u64) -> bool {
        self.limit().is_some_and(|limit| bytes > limit / 128)
    }

    /// To be held by who writes so many bytes, from before room is made for them until they are written: else another one
    /// would take it.
    pub(in crate::store::backend) fn room_lock(&self, bytes: u64) -> Result<Option<SharedGuard<'_>>> {
        match &self.access {
            Access::Shared(shared) if self.is_large(bytes) => shared.room.lock(&shared.control).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether the limit leaves room for small writes in a log that cannot be folded for now. Of a long log most is counted
    /// twice: when it is folded, it takes room in the data file before that in the log is free.
    pub(super) fn has_room_unfolded(&self, control: &Control, limit: u64) -> Result<bool> {
        let again = backlog(control).saturating_sub(limit / 16);
        Ok(self.file_bytes()?.saturating_add(again).saturating_add(limit / 32) <= limit)
    }

    /// Bytes on the disk: the data file and the log.
    pub(in crate::store::backend) fn file_bytes(&self) -> Result<u64> {
        Ok(self.data_bytes()? + segment_file::total_bytes(&self.dir)? + reserve::bytes(&self.dir))
    }

    /// Bytes that the data file takes on the disk.
    pub(super) fn data_bytes(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let data = self.env.data()?.metadata().map_err(|e| Error::io("looking at the data file", e))?;
        Ok(data.blocks() * 512)
    }

    /// What is where.
    pub(in crate::store::backend) fn room(&self) -> Result<Room> {
        let records = {
            let snapshot = self.snapshot()?;
            snapshot.view().used_pages()?.saturating_mul(self.page_size)
        };
        let log = segment_file::total_bytes(&self.dir)?;
        Ok(Room { records, log, free: self.data_bytes()?.saturating_sub(records) })
    }
}

/// A map that is smaller than this limits what is written before it is full.
const SMALL_MAP: u64 = 4 << 30;

/// Bytes of the log that are not folded.
pub(super) fn backlog(control: &Control) -> u64 {
    let (logged, folded) = (control.logged(), control.folded_logged());
    logged.load(Ordering::Relaxed).saturating_sub(folded.load(Ordering::Relaxed))
}
