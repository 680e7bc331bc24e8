//! What keeps the records of a store: one ordered map from bytes to bytes, with snapshots and atomic commits.
//!
//! This is the seam at which a store can be of another engine. Above it are entries, indexes, limits and sweeping, all
//! made of records; below it are files, locks between processes and what makes commits durable.

mod changes;
pub(crate) mod lmdb;
mod merged;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocks;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use self::lmdb::Lmdb;
use self::merged::Direction;
#[cfg(feature = "rocksdb")]
pub(crate) use self::rocks::Rocks;
use super::layout::STATE_KEY;
#[cfg(feature = "rocksdb")]
use super::layout::STORE_KEY;
use super::place::{Identity, Place};
use super::records::StoreRecord;
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
        // Also what is only a link, which is refused later: it is not to be taken for nothing.
        let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
        if is_there(lmdb::data_path(dir)) {
            return Some(BackendKind::Lmdb);
        }
        is_there(rocks_path(dir)).then_some(BackendKind::RocksDb)
    }

    /// What tells the store in a directory from all others; `None` if there is none.
    pub(crate) fn identity_at(dir: &Path) -> Option<Identity> {
        let rocks = || {
            #[cfg(feature = "rocksdb")]
            return Identity::at(&rocks::token_path(dir));
            #[cfg(not(feature = "rocksdb"))]
            None
        };
        Identity::at(&lmdb::data_path(dir)).or_else(rocks)
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

/// How much a write transaction is going to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// What fits into memory.
    Small,
    /// Most of a store: LMDB is written directly, and everybody else waits until that is on the disk.
    #[cfg_attr(not(feature = "load"), expect(dead_code, reason = "only loads are that large"))]
    Whole,
}

#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each opened environment, and it is never moved"
)]
pub(crate) enum Backend {
    Lmdb(Lmdb),
    #[cfg(feature = "rocksdb")]
    Rocks(Rocks),
}

impl Backend {
    /// Where the store was found.
    pub(crate) fn place(&self) -> &Place {
        match self {
            Backend::Lmdb(lmdb) => lmdb.place(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.place(),
        }
    }

    /// Fails if the store is not what lies at its path any more.
    pub(crate) fn check_place(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.check_place(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.place().check(),
        }
    }

    /// The last committed transaction, of any process.
    pub(crate) fn last_txn(&self) -> u64 {
        match self {
            Backend::Lmdb(lmdb) => lmdb.last_txn(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.last_txn(),
        }
    }

    /// Opens a snapshot for `look`.
    pub(crate) fn read<T>(&self, look: impl FnOnce(ReadTxn<'_>) -> Result<T>) -> Result<T> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.read(look),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.read(look),
        }
    }

    pub(crate) fn write_txn(&self, size: Size) -> Result<WriteTxn<'_>> {
        match self {
            Backend::Lmdb(lmdb) => match size {
                Size::Small => lmdb.begin_append().map(WriteTxn::Append),
                Size::Whole => lmdb.begin_whole().map(WriteTxn::Whole),
            },
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.write_txn(),
        }
    }

    /// Whether this process was let in for reading only.
    /// Whether it refuses everything until it is opened anew.
    pub(crate) fn has_failed(&self) -> bool {
        self.lmdb().is_some_and(Lmdb::has_failed)
    }

    /// Refuses a store whose disk has failed to keep what it was told to.
    pub(crate) fn check_poison(&self) -> Result<()> {
        self.lmdb().map_or(Ok(()), Lmdb::check_poison)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        match self {
            Backend::Lmdb(lmdb) => lmdb.is_read_only(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.is_read_only(),
        }
    }

    /// Writes the first records of a new store. The caller is the only process that has it open.
    pub(crate) fn create(&self, record: &StoreRecord, state: Vec<u8>) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.create(record, &[(STATE_KEY, state)]),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => {
                let mut txn = rocks.write_txn()?;
                txn.put(STORE_KEY, &record.encode(), &[])?;
                txn.put(STATE_KEY, &state, &[])?;
                txn.commit()?;
                rocks.sync()
            }
        }
    }

    /// Tells of the limit in bytes that is in force. To be called once, before anything is written.
    pub(crate) fn set_limit(&self, max_bytes: Option<u64>) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.set_limit(max_bytes),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(()),
        }
    }

    /// Holds up a writer that is ahead of what can be done behind it. To be called before each write transaction.
    pub(crate) fn pace(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.pace(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(()),
        }
    }

    /// To be called after each commit. Returns whether there is something to be done behind the writers at once.
    pub(crate) fn committed(&self) -> bool {
        match self {
            Backend::Lmdb(lmdb) => lmdb.committed(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.committed(),
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

    /// Makes all that is committed safe from a power loss.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.checkpoint(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.sync(),
        }
    }

    /// Does what is due behind the writers, a checkpoint if the last one is so long ago.
    pub(crate) fn upkeep(&self, interval: Duration) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.upkeep(interval),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.upkeep(interval),
        }
    }

    /// How soon something may be due; `None` if nothing will be before the next commit.
    pub(crate) fn rest(&self, interval: Duration) -> Option<Duration> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.rest(interval),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.has_unsynced_writes().then_some(interval / 4),
        }
    }

    /// To be held by who writes so many bytes, from before room is made for them until they are written.
    pub(crate) fn room_lock(&self, bytes: u64) -> Result<Option<lmdb::SharedGuard<'_>>> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.room_lock(bytes),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(None),
        }
    }

    /// Moves what is behind the writers to where it takes the least room, and gives back what is free.
    pub(crate) fn make_room(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.make_room(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(()),
        }
    }

    /// Whether this process committed anything that may not be safe from a power loss.
    pub(crate) fn has_unsynced_writes(&self) -> bool {
        match self {
            Backend::Lmdb(lmdb) => lmdb.has_unsynced_writes(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.has_unsynced_writes(),
        }
    }

    /// Leaves the files as they are best kept. The caller is the only process that has the store open.
    pub(crate) fn close_alone(&self) -> Result<()> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.close_alone(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.sync(),
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

    /// How they are divided, where that can be told.
    pub(crate) fn room(&self) -> Result<lmdb::Room> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.room(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Ok(lmdb::Room::default()),
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

    /// Takes what was inherited over a fork out of use.
    ///
    /// # Safety
    ///
    /// The backend is of the parent process, and nobody uses or will use it in this one.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn abandon(&self) {
        match self {
            // SAFETY: passed on to the caller.
            Backend::Lmdb(lmdb) => unsafe { lmdb.abandon() },
            // Leaked: without its threads it cannot be closed.
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => {}
        }
    }
}

/// A snapshot of the records.
#[derive(Clone, Copy)]
pub(crate) enum ReadTxn<'t> {
    Lmdb(lmdb::View<'t>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::View<'t>),
}

impl<'t> ReadTxn<'t> {
    /// The last transaction that the snapshot contains.
    pub(crate) fn id(&self) -> u64 {
        match self {
            ReadTxn::Lmdb(view) => view.id(),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.id(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        match self {
            ReadTxn::Lmdb(view) => view.get(key),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.get(key),
        }
    }

    /// A number that is equal in snapshots which have the same records of the state and of namespaces; `None` where that is
    /// not known.
    #[inline]
    pub(crate) fn settings(&self) -> Option<u64> {
        match self {
            ReadTxn::Lmdb(view) => view.settings(),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.settings(),
        }
    }

    /// Records from `from` on upwards, up to but without `to`.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> Result<Records<'t>> {
        self.records(from, to, Direction::Up)
    }

    /// Records from just below `to` on downwards, down to and with `from`.
    pub(crate) fn range_back(&self, from: &[u8], to: &[u8]) -> Result<Records<'t>> {
        self.records(from, to, Direction::Down)
    }

    fn records(&self, from: &[u8], to: &[u8], direction: Direction) -> Result<Records<'t>> {
        match self {
            ReadTxn::Lmdb(view) => view.range(from, to, direction).map(Records::Lmdb),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => Ok(Records::Rocks(view.range(from, to, direction))),
        }
    }

    /// The same snapshot for `look`. What is read by it need not be kept any longer than it runs, which matters where
    /// all of a store is read: RocksDB's values are copies.
    pub(crate) fn nested<T>(&self, look: impl FnOnce(ReadTxn<'_>) -> T) -> T {
        match self {
            ReadTxn::Lmdb(_) => look(*self),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(view) => view.nested(|view| look(ReadTxn::Rocks(view))),
        }
    }

    pub(crate) fn lmdb(&self) -> Option<&lmdb::View<'t>> {
        match self {
            ReadTxn::Lmdb(view) => Some(view),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(_) => None,
        }
    }
}

/// Records on the way through a range.
pub(crate) enum Records<'t> {
    Lmdb(lmdb::Records<'t>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::Records<'t>),
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Records::Lmdb(records) => records.next(),
            #[cfg(feature = "rocksdb")]
            Records::Rocks(records) => records.next(),
        }
    }
}

/// A transaction that sees what it has written itself. Dropped without a commit, it changes nothing.
pub(crate) enum WriteTxn<'a> {
    Append(lmdb::Append<'a>),
    Whole(lmdb::Whole<'a>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::Batch<'a>),
}

impl WriteTxn<'_> {
    /// A number that no committed transaction has, and none before did.
    pub(crate) fn id(&self) -> u64 {
        self.base().saturating_add(1)
    }

    /// The last committed transaction before this one.
    pub(crate) fn base(&self) -> u64 {
        match self {
            WriteTxn::Append(append) => append.base(),
            WriteTxn::Whole(whole) => whole.base(),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.base(),
        }
    }

    #[inline]
    pub(crate) fn view(&self) -> ReadTxn<'_> {
        match self {
            WriteTxn::Append(append) => ReadTxn::Lmdb(append.view()),
            WriteTxn::Whole(whole) => ReadTxn::Lmdb(whole.view()),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => ReadTxn::Rocks(batch.view()),
        }
    }

    /// Bytes of the tree that the records take, over all, if that is counted.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        match self {
            WriteTxn::Append(append) => append.used_bytes(),
            WriteTxn::Whole(whole) => whole.used_bytes(),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(_) => Ok(0),
        }
    }

    /// Whether the limit leaves room for an entry of so many bytes.
    pub(crate) fn has_room_for(&self, bytes: u64) -> Result<bool> {
        match self {
            WriteTxn::Append(append) => append.has_room_for(bytes),
            _ => Ok(true),
        }
    }

    /// Writes a record whose value is `head` and `body`, one behind the other.
    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        match self {
            WriteTxn::Append(append) => append.put(key, head, body),
            WriteTxn::Whole(whole) => whole.put(key, head, body),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => {
                batch.put(key, head, body);
                Ok(())
            }
        }
    }

    /// Removes all records. In a transaction for a whole store only.
    #[cfg(feature = "load")]
    pub(crate) fn clear(&mut self) -> Result<()> {
        match self {
            WriteTxn::Whole(whole) => whole.clear(),
            _ => Err(not_in_rocks()),
        }
    }

    /// Writes a record that sorts behind all others, without searching for its place. In a transaction for a whole store
    /// only.
    #[cfg(feature = "load")]
    #[inline]
    pub(crate) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            WriteTxn::Whole(whole) => whole.append(key, value),
            _ => Err(not_in_rocks()),
        }
    }

    /// Removes a record; whether it was there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.delete_if(key, |_| true)
    }

    /// Removes a record that has such a value; whether it was there.
    pub(crate) fn delete_if(&mut self, key: &[u8], is_it: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        match self {
            WriteTxn::Append(append) => append.delete_if(key, is_it),
            WriteTxn::Whole(whole) => whole.delete_if(key, is_it),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.delete_if(key, is_it),
        }
    }

    /// Commits; returns what [`Backend::last_txn`] is from now on.
    pub(crate) fn commit(self) -> Result<u64> {
        match self {
            WriteTxn::Append(append) => append.commit(),
            WriteTxn::Whole(whole) => whole.commit(),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => batch.commit(),
        }
    }
}

/// What is told where only LMDB can do something.
fn not_in_rocks() -> Error {
    Error::invalid("backend", "only a store in LMDB can do this, and this one is in RocksDB")
}
