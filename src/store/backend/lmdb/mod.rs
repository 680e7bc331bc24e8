//! LMDB as the backend: many processes write, and checkpoints make them safe from a power loss.

pub(in crate::store) mod boot;
pub(in crate::store) mod checkpoint;
pub(in crate::store) mod env;
pub(in crate::store) mod file;
mod keeper;
pub(in crate::store) mod leaving;
pub(in crate::store) mod record;
pub(in crate::store) mod recovery;

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use heed::{RoTxn, WithTls};

use self::checkpoint::{Checkpoints, Target};
use self::env::{EnvSlot, LmdbSync, Tree, explain_short_write, lmdb_error, snapshot};
use super::{Due, ReadTxn, WriteTxn};
use crate::error::{Error, Result};

pub(crate) struct Lmdb {
    // Dropped in this order: the pins, then the environment they are of.
    checkpoints: Option<Checkpoints>,
    env: EnvSlot,
    tree: Tree,
    data: File,
    /// Set when this process cannot write to the directory: then LMDB's lock file is not used, and any commit of
    /// another process since the open makes reading unsafe.
    lock_free: Option<u64>,
    page_size: u64,
}

impl Lmdb {
    /// Opens the environment in `dir`, whose data file was checked before.
    pub(crate) fn open(dir: &Path, map_size: usize, sync: LmdbSync, lock_free: bool) -> Result<Lmdb> {
        let (env, tree) = EnvSlot::open(dir, map_size, sync, lock_free)?;
        let data = File::open(data_path(dir)).map_err(|e| Error::io("opening the data file", e))?;
        let checkpoints = match lock_free {
            true => None,
            false => Some(Checkpoints::open(dir)?),
        };
        Ok(Lmdb {
            checkpoints,
            lock_free: lock_free.then(|| env.info().last_txn_id as u64),
            page_size: u64::from(env.unnamed_database_stat().page_size).max(1),
            env,
            tree,
            data,
        })
    }

    pub(crate) fn env(&self) -> &EnvSlot {
        &self.env
    }

    pub(crate) fn tree(&self) -> Tree {
        self.tree
    }

    pub(crate) fn last_txn(&self) -> u64 {
        self.env.info().last_txn_id as u64
    }

    pub(super) fn read<T>(&self, dir: &Path, look: impl FnOnce(ReadTxn<'_>) -> Result<T>) -> Result<T> {
        let txn: RoTxn<'_, WithTls> =
            snapshot(&self.env).map_err(|e| lmdb_error(e, "opening a read transaction"))?;
        let result = look(ReadTxn::Lmdb { txn: &txn, tree: self.tree });
        drop(txn);
        match self.lock_free {
            Some(opened_at) if opened_at != self.last_txn() => Err(Error::Busy {
                path: dir.to_owned(),
                detail: "it was written to while read without locks, from a directory this process cannot write to; \
                         open it again when the writers have closed it"
                    .into(),
            }),
            _ => result,
        }
    }

    pub(super) fn write_txn(&self) -> Result<WriteTxn<'_>> {
        let txn = self.env.write_txn().map_err(|e| lmdb_error(e, "opening a write transaction"))?;
        Ok(WriteTxn::Lmdb { txn, tree: self.tree })
    }

    pub(super) fn explain(&self, error: Error) -> Error {
        explain_short_write(error, &self.data)
    }

    fn target(&self) -> Target<'_> {
        Target { env: &self.env, data: &self.data }
    }

    /// The checkpoints, unless this process can only read.
    fn checkpoints(&self) -> Option<(&Checkpoints, Target<'_>)> {
        Some((self.checkpoints.as_ref()?, self.target()))
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.checkpoints.is_none()
    }

    pub(super) fn join(&self) -> Result<bool> {
        self.checkpoints().map_or(Ok(false), |(all, target)| all.join(target))
    }

    pub(super) fn committed(&self, pages: u64) -> u64 {
        self.checkpoints().map_or(0, |(all, _)| all.committed(pages))
    }

    pub(super) fn wait_durable(&self, txn: u64) -> Result<()> {
        self.checkpoints().map_or(Ok(()), |(all, target)| all.wait_durable(target, txn))
    }

    pub(super) fn checkpoint(&self) -> Result<bool> {
        self.checkpoints().map_or(Ok(false), |(all, target)| all.checkpoint(target))
    }

    pub(super) fn checkpoint_due(&self, interval: Duration, pressed: bool) -> Due {
        self.checkpoints().map_or(Due::Nothing, |(all, target)| all.due(target, interval, pressed))
    }

    pub(super) fn leave(&self) -> Result<()> {
        self.checkpoints().map_or(Ok(()), |(all, _)| all.leave())
    }

    pub(super) fn volume(&self) -> u64 {
        self.checkpoints().map_or(0, |(all, _)| all.volume())
    }

    /// How far behind the newest snapshot this process's pin is, in transactions; 0 without a pin.
    pub(crate) fn lag(&self) -> u64 {
        self.checkpoints().map_or(0, |(all, target)| all.lag(target))
    }

    pub(super) fn is_joined(&self) -> bool {
        self.checkpoints().is_some_and(|(all, _)| all.is_joined())
    }

    pub(super) fn has_unrecorded_writes(&self) -> bool {
        self.checkpoints().is_some_and(|(all, _)| all.has_unrecorded_writes())
    }

    pub(super) fn mark_clean(&self) -> Result<()> {
        self.checkpoints().map_or(Ok(()), |(all, target)| all.mark_clean(target))
    }

    /// As [`mark_clean`](Self::mark_clean), for a data file that is about to be replaced.
    pub(crate) fn mark_replaceable(&self) -> Result<()> {
        self.checkpoints().map_or(Ok(()), |(all, target)| all.mark_replaceable(target))
    }

    pub(super) fn file_bytes(&self) -> Result<u64> {
        Ok(self.data.metadata().map_err(|e| Error::io("looking at the data file", e))?.len())
    }

    /// Gives back the reader slots of killed processes, whose snapshots keep pages from being reused.
    pub(crate) fn clear_stale_readers(&self) -> Result<()> {
        self.env.clear_stale_readers().map(drop).map_err(|e| lmdb_error(e, "checking readers"))
    }

    pub(crate) fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The number of the last page of the file that was ever used.
    pub(crate) fn last_page(&self) -> u64 {
        self.env.info().last_page_number as u64
    }

    pub(crate) fn map_size(&self) -> usize {
        self.env.info().map_size
    }

    pub(crate) fn reader_slots(&self) -> u32 {
        self.env.info().number_of_readers
    }

    /// Looks at all pages that the snapshot can reach, before LMDB is trusted with them.
    pub(crate) fn check_pages(&self, snapshot: u64) -> Result<()> {
        match file::meta_of(&self.data, snapshot)? {
            Some(meta) => file::check_trees(&self.data, &meta),
            // Two commits since the snapshot was opened: its meta page is gone, its pages are not.
            None => Ok(()),
        }
    }

    /// Takes what was inherited over a fork out of use; the descriptors that are to be closed.
    ///
    /// # Safety
    ///
    /// As of [`EnvSlot::abandon`].
    #[allow(unsafe_code)]
    pub(super) unsafe fn abandon(&self) -> Vec<RawFd> {
        let mut inherited = vec![self.data.as_raw_fd()];
        inherited.extend(self.checkpoints.as_ref().map(Checkpoints::abandon).unwrap_or_default());
        // SAFETY: passed on to the caller.
        unsafe { self.env.abandon() };
        inherited
    }
}

/// The path of the data file in a store's directory.
pub(crate) fn data_path(dir: &Path) -> PathBuf {
    dir.join("data.mdb")
}
