//! What keeps the records of a store: one ordered map from bytes to bytes, with snapshots and atomic commits.
//!
//! This is the seam at which a store can be of another engine. Above it are entries, indexes, limits and sweeping, all
//! made of records; below it are files, locks between processes and what makes commits durable.

pub(crate) mod lmdb;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocks;

use std::ops::Bound;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heed::types::Bytes;
use heed::{RoRange, RoRevRange, RoTxn, RwTxn};

pub(crate) use self::lmdb::Lmdb;
use self::lmdb::env::{Tree, lmdb_error};
#[cfg(feature = "rocksdb")]
pub(crate) use self::rocks::Rocks;
use crate::error::{Error, Result};

/// The engine that keeps a store's records. Chosen when the store is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum BackendKind {
    /// LMDB: many processes write at once, and reads are the fastest.
    #[default]
    Lmdb,
    /// RocksDB: one process writes, and others that open the store read-only follow it. For stores that are written in
    /// bulk, or are much larger than memory. Needs the feature `rocksdb`.
    ///
    /// What is different: there is no limit in bytes ([`max_bytes`](crate::Builder::max_bytes) is refused, and
    /// [`map_size`](crate::Builder::map_size) has no meaning), [`reencrypt`](crate::Cache::reencrypt) is refused,
    /// [`compact`](crate::Cache::compact) works while other processes read, and the handles of a forked child can only
    /// read, after it has opened the store anew.
    RocksDb,
}

impl BackendKind {
    /// What the store in a directory was made with; `None` if there is no store.
    pub(crate) fn found(dir: &Path) -> Option<BackendKind> {
        if lmdb::data_path(dir).exists() {
            return Some(BackendKind::Lmdb);
        }
        rocks_path(dir).exists().then_some(BackendKind::RocksDb)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            BackendKind::Lmdb => "LMDB",
            BackendKind::RocksDb => "RocksDB",
        }
    }
}

/// The directory of a RocksDB database in that of its store. Known also without the feature, to tell such a store.
pub(crate) fn rocks_path(dir: &Path) -> PathBuf {
    dir.join("rocksdb")
}

/// What the background thread does next about checkpoints.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Due {
    Nothing,
    /// This process has not written since its last checkpoint: its pin only keeps pages from being reused.
    Leave,
    Checkpoint,
}

pub(crate) enum Backend {
    Lmdb(Lmdb),
    #[cfg(feature = "rocksdb")]
    Rocks(Rocks),
}

impl Backend {
    /// The last committed transaction, of any process.
    pub(crate) fn last_txn(&self) -> u64 {
        match self {
            Backend::Lmdb(lmdb) => lmdb.last_txn(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.last_txn(),
        }
    }

    /// Opens a snapshot for `look`. A thread can have one only.
    pub(crate) fn read<T>(&self, dir: &Path, look: impl FnOnce(ReadTxn<'_>) -> Result<T>) -> Result<T> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.read(dir, look),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.read(look),
        }
    }

    pub(crate) fn write_txn(&self) -> Result<WriteTxn<'_>> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.write_txn(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.write_txn(),
        }
    }

    /// Tells what an error of a write transaction is really about.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self {
            Backend::Lmdb(lmdb) => lmdb.explain(error),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => error,
        }
    }

    /// Whether this process was let in for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        match self {
            Backend::Lmdb(lmdb) => lmdb.is_read_only(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.is_read_only(),
        }
    }

    /// To be called before each write transaction. Returns whether maintenance is needed from now on that was not.
    pub(crate) fn join(&self) -> Result<bool> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.join(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => Ok(rocks.join()),
        }
    }

    /// To be called after each commit, with an estimate of how many pages it dirtied; returns how many are not safe yet.
    pub(crate) fn committed(&self, pages: u64) -> u64 {
        match self {
            Backend::Lmdb(lmdb) => lmdb.committed(pages),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => {
                rocks.committed();
                0
            }
        }
    }

    /// Returns when a committed transaction is safe from a power loss.
    pub(crate) fn wait_durable(&self, txn: u64) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.wait_durable(txn),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.sync(),
        }
    }

    /// Makes all that is committed safe from a power loss. Returns as [`join`](Self::join) does.
    pub(crate) fn checkpoint(&self) -> Result<bool> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.checkpoint(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.sync().map(|()| false),
        }
    }

    pub(crate) fn checkpoint_due(&self, interval: Duration, pressed: bool) -> Due {
        match self {
            Backend::Lmdb(lmdb) => lmdb.checkpoint_due(interval, pressed),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.sync_due(interval),
        }
    }

    /// Ends what [`join`](Self::join) began, if nothing was written since. The caller holds the write gate.
    pub(crate) fn leave(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.leave(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(()),
        }
    }

    /// Estimated pages dirtied by this process since its last checkpoint began.
    pub(crate) fn volume(&self) -> u64 {
        match self {
            Backend::Lmdb(lmdb) => lmdb.volume(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => 0,
        }
    }

    /// Whether checkpoints are to be made from time to time.
    pub(crate) fn is_joined(&self) -> bool {
        match self {
            Backend::Lmdb(lmdb) => lmdb.is_joined(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.has_unsynced_writes(),
        }
    }

    /// Whether this process committed anything that no checkpoint has.
    pub(crate) fn has_unrecorded_writes(&self) -> bool {
        match self {
            Backend::Lmdb(lmdb) => lmdb.has_unrecorded_writes(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.has_unsynced_writes(),
        }
    }

    /// Records that the store was closed. The caller is the only process that has it open.
    pub(crate) fn mark_clean(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.mark_clean(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(()),
        }
    }

    /// Bytes on the disk.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.file_bytes(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.file_bytes(),
        }
    }

    /// The regular look at what killed processes left behind.
    pub(crate) fn tidy(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.clear_stale_readers(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(()),
        }
    }

    /// Whether an entry whose time to live is over can vanish before the sweeper finds it.
    pub(crate) fn removes_expired(&self) -> bool {
        self.kind() == BackendKind::RocksDb
    }

    pub(crate) fn kind(&self) -> BackendKind {
        match self {
            Backend::Lmdb(_) => BackendKind::Lmdb,
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => BackendKind::RocksDb,
        }
    }

    /// For what only LMDB can do.
    pub(crate) fn only_lmdb(&self) -> Result<&Lmdb> {
        self.lmdb().ok_or_else(not_in_rocks)
    }

    pub(crate) fn lmdb(&self) -> Option<&Lmdb> {
        match self {
            Backend::Lmdb(lmdb) => Some(lmdb),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => None,
        }
    }

    /// Takes what was inherited over a fork out of use; the descriptors that are to be closed.
    ///
    /// # Safety
    ///
    /// The backend is of the parent process, and nobody uses or will use it in this one.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn abandon(&self) -> Vec<RawFd> {
        match self {
            // SAFETY: passed on to the caller.
            Backend::Lmdb(lmdb) => unsafe { lmdb.abandon() },
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.abandon(),
        }
    }
}

/// A snapshot of the records.
#[derive(Clone, Copy)]
pub(crate) enum ReadTxn<'t> {
    Lmdb {
        txn: &'t RoTxn<'t>,
        tree: Tree,
    },
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::View<'t>),
}

impl<'t> ReadTxn<'t> {
    /// The last transaction that the snapshot contains.
    pub(crate) fn id(&self) -> u64 {
        match self {
            ReadTxn::Lmdb { txn, .. } => txn.id() as u64,
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.id(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        match self {
            ReadTxn::Lmdb { txn, tree } => tree.get(txn, key).map_err(|e| lmdb_error(e, "reading")),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.get(key),
        }
    }

    /// Records from `from` on upwards, up to but without `to`.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> Result<Records<'t>> {
        match self {
            ReadTxn::Lmdb { txn, tree } => {
                let bounds = (Bound::Included(from), Bound::Excluded(to));
                let records = tree.range(txn, &bounds).map_err(|e| lmdb_error(e, "reading"))?;
                Ok(Records::Lmdb(records))
            }
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => Ok(Records::Rocks(view.range(from, to, rocks::Direction::Up))),
        }
    }

    /// Records from just below `to` on downwards, down to and with `from`.
    pub(crate) fn range_back(&self, from: &[u8], to: &[u8]) -> Result<Records<'t>> {
        match self {
            ReadTxn::Lmdb { txn, tree } => {
                let bounds = (Bound::Included(from), Bound::Excluded(to));
                let records = tree.rev_range(txn, &bounds).map_err(|e| lmdb_error(e, "reading"))?;
                Ok(Records::LmdbBack(records))
            }
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => Ok(Records::Rocks(view.range(from, to, rocks::Direction::Down))),
        }
    }

    /// The same snapshot for `look`. What is read by it need not be kept any longer than it runs, which matters where
    /// all of a store is read: RocksDB's values are copies.
    pub(crate) fn nested<T>(&self, look: impl FnOnce(ReadTxn<'_>) -> T) -> T {
        match self {
            ReadTxn::Lmdb { .. } => look(*self),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.nested(|view| look(ReadTxn::Rocks(view))),
        }
    }

    /// Pages the records take, not counting free ones; 0 where that is not limited.
    pub(crate) fn used_pages(&self) -> Result<u64> {
        match self {
            ReadTxn::Lmdb { txn, tree } => {
                let stat = tree.stat(txn).map_err(|e| lmdb_error(e, "reading"))?;
                Ok((stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64)
            }
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(_) => Ok(0),
        }
    }
}

/// Records on the way through a range.
pub(crate) enum Records<'t> {
    Lmdb(RoRange<'t, Bytes, Bytes>),
    LmdbBack(RoRevRange<'t, Bytes, Bytes>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::Records<'t>),
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self {
            Records::Lmdb(records) => records.next(),
            Records::LmdbBack(records) => records.next(),
            #[cfg(feature = "rocksdb")]
            Records::Rocks(records) => return records.next(),
        };
        record.map(|record| record.map_err(|e| lmdb_error(e, "reading")))
    }
}

/// A transaction that sees what it has written itself. Dropped without a commit, it changes nothing.
pub(crate) enum WriteTxn<'a> {
    Lmdb {
        txn: RwTxn<'a>,
        tree: Tree,
    },
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::Batch<'a>),
}

impl WriteTxn<'_> {
    /// A number that no committed transaction has, and none before did.
    pub(crate) fn id(&self) -> u64 {
        match self {
            WriteTxn::Lmdb { txn, .. } => txn.id() as u64,
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.base().saturating_add(1),
        }
    }

    /// The last committed transaction before this one.
    pub(crate) fn base(&self) -> u64 {
        match self {
            WriteTxn::Lmdb { txn, .. } => (txn.id() as u64).saturating_sub(1),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.base(),
        }
    }

    pub(crate) fn view(&self) -> ReadTxn<'_> {
        match self {
            WriteTxn::Lmdb { txn, tree } => ReadTxn::Lmdb { txn, tree: *tree },
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => ReadTxn::Rocks(batch.view()),
        }
    }

    /// Writes a record whose value is `head` and `body`, one behind the other.
    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        match self {
            WriteTxn::Lmdb { txn, tree } => {
                let put = match body {
                    [] => tree.put(txn, key, head),
                    body => tree.put_reserved(txn, key, head.len() + body.len(), |space| {
                        std::io::Write::write_all(space, head)?;
                        std::io::Write::write_all(space, body)
                    }),
                };
                put.map_err(|e| lmdb_error(e, "writing"))
            }
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => {
                batch.put(key, head, body);
                Ok(())
            }
        }
    }

    /// Removes all records.
    #[cfg(feature = "load")]
    pub(crate) fn clear(&mut self) -> Result<()> {
        match self {
            WriteTxn::Lmdb { txn, tree } => tree.clear(txn).map_err(|e| lmdb_error(e, "writing")),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(_) => Err(not_in_rocks()),
        }
    }

    /// Writes a record that sorts behind all others, without searching for its place.
    #[cfg(feature = "load")]
    #[inline]
    pub(crate) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            WriteTxn::Lmdb { txn, tree } => {
                let put = tree.put_with_flags(txn, heed::PutFlags::APPEND, key, value);
                put.map_err(|e| lmdb_error(e, "writing"))
            }
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(_) => Err(not_in_rocks()),
        }
    }

    /// Removes a record; whether it was there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        match self {
            WriteTxn::Lmdb { txn, tree } => tree.delete(txn, key).map_err(|e| lmdb_error(e, "writing")),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.delete(key),
        }
    }

    /// Commits; returns what [`Backend::last_txn`] is from now on.
    pub(crate) fn commit(self) -> Result<u64> {
        match self {
            WriteTxn::Lmdb { txn, .. } => {
                let id = txn.id() as u64;
                txn.commit().map_err(|e| lmdb_error(e, "committing"))?;
                Ok(id)
            }
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.commit(),
        }
    }
}

/// What is told where only LMDB can do something.
fn not_in_rocks() -> Error {
    Error::invalid("backend", "only a store in LMDB can do this, and this one is in RocksDB")
}
