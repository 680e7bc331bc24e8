//! Giving pages that LMDB does not use back to the file system: holes are punched where they are in the data file.
//!
//! A page is free once no snapshot that can be opened again needs it. Under the gate, with the newest transaction on the
//! disk and nobody who reads an older one, that is what the newest one lists as free: no power loss goes back behind it.
//! LMDB never looks at a free page before it has written it, so it does not matter that a hole reads as zeros; and a hole
//! is filled when LMDB uses the page again, or that fails as on any full disk.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::SeekFrom;

use super::control::Control;
use super::file;
use super::fold::wait_for_readers;
use super::shared_lock::SharedGuard;
use super::{Lmdb, reserve};
use crate::error::{Error, Result};

/// How long it waits for readers of an older transaction: it can be done at any other time as well.
const FOR_READERS: Duration = Duration::from_millis(5);
/// Less than that is not worth it while nobody needs it.
const WORTH: u64 = 1 << 20;

impl Lmdb {
    /// Gives back what the data file has too much of, at a quiet moment.
    pub(super) fn reclaim_if_worth(&self, control: &Control, _gate: &SharedGuard<'_>) -> Result<()> {
        let used = control.tree_pages().load(Ordering::Relaxed).saturating_mul(self.page_size);
        let free = self.data_bytes()?.saturating_sub(used);
        if free > WORTH && free > used / 4 {
            self.reclaim(control, u64::MAX)?;
        }
        Ok(())
    }

    /// After a fold: gives back what is over the limit, since LMDB may not find use for the pages that are free (a large
    /// value takes pages in a row).
    pub(super) fn keep_within_limit(&self, control: &Control) -> Result<()> {
        let Some(limit) = self.limit() else { return Ok(()) };
        let bytes = self.file_bytes()?;
        // Of a small limit a write of a large entry is a larger part. Above, it would cost a tenth of the writes.
        let most = limit / 100 * if limit <= 16 << 20 { 101 } else { 104 };
        if bytes > most {
            self.reclaim(control, bytes - most + limit / 50)?;
        }
        Ok(())
    }

    /// Gives back about so many bytes, the longest stretches first: they take the fewest calls, and LMDB, which looks for
    /// single pages most of the time, fills them last. The caller holds the gate.
    pub(super) fn reclaim(&self, control: &Control, wanted: u64) -> Result<()> {
        let newest = self.settle(control)?;
        if self.no_holes.load(Ordering::Relaxed) || !wait_for_readers(control, newest, FOR_READERS)? {
            return Ok(());
        }
        self.punch_free(newest, wanted)
    }

    /// Makes holes of what a transaction lists as free.
    pub(super) fn punch_free(&self, newest: u64, wanted: u64) -> Result<()> {
        let data = self.env.data()?;
        let Some(meta) = file::meta_of(&data, newest)? else { return Ok(()) };
        let mut free = file::free_pages(&data, &meta)?;
        free.sort_unstable_by(|a, b| b.cmp(a));
        let before = self.data_bytes()?;
        let is_enough = || Ok(before.saturating_sub(self.data_bytes()?) >= wanted);
        // What a commit that failed has left behind the last page.
        let end = meta.last_page().saturating_add(1);
        let len = data.metadata().map_err(|e| Error::io("looking at the data file", e))?.len();
        let behind = (len / self.page_size).saturating_sub(end);
        let mut stretches: Vec<_> = runs(&free).collect();
        stretches.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (first, count) in std::iter::once((end, behind)).chain(stretches) {
            if count == 0 || self.is_hole(&data, first, count) {
                continue;
            }
            if !self.punch(&data, first, count)? || is_enough()? {
                break;
            }
        }
        Ok(())
    }

    /// Whether some pages are one already, as far as the file system tells. This moves LMDB's place in the file, which it
    /// sets before it writes, under the gate as this is.
    fn is_hole(&self, data: &File, first: u64, count: u64) -> bool {
        match rustix::fs::seek(data, SeekFrom::Data(first * self.page_size)) {
            Ok(data) => data >= (first + count) * self.page_size,
            // There is nothing behind.
            Err(error) => error == rustix::io::Errno::NXIO,
        }
    }

    /// Makes a hole of some pages. Returns `false` if the file system cannot.
    fn punch(&self, data: &File, first: u64, count: u64) -> Result<bool> {
        match punch_hole(data, first * self.page_size, count * self.page_size) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.no_holes.store(true, Ordering::Relaxed);
                Ok(false)
            }
            // To free room can take room, in what the file system keeps of the file.
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Ok(false),
            Err(error) => Err(Error::io("giving free pages back", std::io::Error::from(error))),
        }
    }

    pub(super) fn reserve_size(&self) -> u32 {
        self.limit().map_or(u64::MAX, |limit| limit / 32).clamp(128 << 10, 256 << 10) as u32
    }

    /// Sees to it that something can be removed from a full disk.
    pub(super) fn keep_reserve(&self, control: &Control) -> Result<()> {
        let size = u64::from(self.reserve_size());
        // A store that is not much larger than that has nothing that were worth it.
        let is_worth = self.data_bytes()? >= size * 4 && self.dir.free_bytes() >= size * 2;
        if control.full().load(Ordering::Relaxed) != 0 || !is_worth {
            return Ok(());
        }
        reserve::keep(&self.dir, self.reserve_size())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn punch_hole(data: &File, at: u64, len: u64) -> rustix::io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(data, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, len)
}

/// What is free in the data file is used again, but not given back.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn punch_hole(_data: &File, _at: u64, _len: u64) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOSYS)
}

/// Pages in falling order as runs: the first page and how many.
fn runs(pages: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    pages.chunk_by(|a, b| *a == *b + 1).filter_map(|run| Some((*run.last()?, run.len() as u64)))
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn pages_in_a_row_are_one_run() {
        let found: Vec<_> = runs(&[9, 8, 7, 5, 3, 2]).collect();
        assert_eq!(found, [(7, 3), (5, 1), (2, 2)]);
        assert_eq!(runs(&[]).count(), 0);
    }
}
