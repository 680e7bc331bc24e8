//! Transactions of whichever engine: an enum, since each read of each entry goes through it.

use super::lmdb;
use super::merged::Direction;
#[cfg(feature = "rocksdb")]
use super::rocks;
use crate::error::Result;

/// How much a write transaction is going to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// What fits into memory.
    Small,
    /// Most of a store: LMDB is written directly, and everybody else waits until that is on the disk.
    #[cfg_attr(not(feature = "load"), expect(dead_code, reason = "only loads are that large"))]
    Whole,
}

/// A snapshot of the records.
#[derive(Clone, Copy)]
pub(crate) enum ReadTxn<'t> {
    Lmdb(lmdb::View<'t>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::View<'t>),
}

/// Records on the way through a range.
pub(crate) enum Records<'t> {
    Lmdb(lmdb::Records<'t>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::Records<'t>),
}

/// A transaction that sees what it has written itself. Dropped without a commit, it changes nothing.
pub(crate) enum WriteTxn<'a> {
    Lmdb(lmdb::Transaction<'a>),
    #[cfg(feature = "rocksdb")]
    Rocks(rocks::Batch<'a>),
}

/// Does the same with each engine's.
macro_rules! either {
    ($of:ident, $txn:expr, $it:ident => $work:expr) => {
        match $txn {
            $of::Lmdb($it) => $work,
            #[cfg(feature = "rocksdb")]
            $of::Rocks($it) => $work,
        }
    };
}

impl<'t> ReadTxn<'t> {
    /// The last transaction that the snapshot contains.
    pub(crate) fn id(&self) -> u64 {
        either!(ReadTxn, self, view => view.id())
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        either!(ReadTxn, self, view => view.get(key))
    }

    /// A number that is equal in snapshots which have the same records of the state and of namespaces; `None` where that is
    /// not known.
    #[inline]
    pub(crate) fn settings(&self) -> Option<u64> {
        either!(ReadTxn, self, view => view.settings())
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

    /// For LMDB, of its own.
    pub(super) fn lmdb(&self) -> Result<&lmdb::View<'t>> {
        match self {
            ReadTxn::Lmdb(view) => Ok(view),
            #[cfg(feature = "rocksdb")]
            ReadTxn::Rocks(_) => Err(super::not_in_rocks()),
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
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        either!(Records, self, records => records.next())
    }
}

impl WriteTxn<'_> {
    /// A number that no committed transaction has, and none before did.
    pub(crate) fn id(&self) -> u64 {
        self.base().saturating_add(1)
    }

    /// The last committed transaction before this one.
    pub(crate) fn base(&self) -> u64 {
        either!(WriteTxn, self, txn => txn.base())
    }

    #[inline]
    pub(crate) fn view(&self) -> ReadTxn<'_> {
        match self {
            WriteTxn::Lmdb(txn) => ReadTxn::Lmdb(txn.view()),
            #[cfg(feature = "rocksdb")]
            WriteTxn::Rocks(batch) => ReadTxn::Rocks(batch.view()),
        }
    }

    /// Bytes of the tree that the records take, over all, if that is counted.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        either!(WriteTxn, self, txn => txn.used_bytes())
    }

    /// Whether the limit leaves room for an entry of so many bytes.
    pub(crate) fn has_room_for(&self, bytes: u64) -> Result<bool> {
        either!(WriteTxn, self, txn => txn.has_room_for(bytes))
    }

    /// Writes a record whose value is `head` and `body`, one behind the other.
    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        either!(WriteTxn, self, txn => txn.put(key, head, body))
    }

    /// Removes all records. In a transaction for a whole store only.
    #[cfg(feature = "load")]
    pub(crate) fn clear(&mut self) -> Result<()> {
        either!(WriteTxn, self, txn => txn.clear())
    }

    /// Writes a record that sorts behind all others, without searching for its place. In a transaction for a whole store
    /// only.
    #[cfg(feature = "load")]
    #[inline]
    pub(crate) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        either!(WriteTxn, self, txn => txn.append(key, value))
    }

    /// Removes a record. Returns `true` if it was there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.delete_if(key, |_| true)
    }

    /// Removes a record if `is_it` holds for its value. Returns `true` if it was removed.
    pub(crate) fn delete_if(&mut self, key: &[u8], is_it: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        either!(WriteTxn, self, txn => txn.delete_if(key, is_it))
    }

    /// Commits; returns what [`Backend::last_txn`](super::Backend::last_txn) is from now on.
    pub(crate) fn commit(self) -> Result<u64> {
        either!(WriteTxn, self, txn => txn.commit())
    }
}
