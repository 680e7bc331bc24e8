//! Writing a data file anew, for a copy of a store or in its place.

use std::path::Path;

use heed::{PutFlags, RwTxn};

use super::Lmdb;
use super::env::{EnvSlot, Tree, Use};
use crate::error::Result;
use crate::store::backend::ReadTxn;
use crate::store::format::layout::FOLD_KEY;

const CONTEXT: &str = "writing a copy of the store";
/// Bytes of records that are written in one transaction, which keeps its pages in memory.
const AT_ONCE: usize = 16 << 20;

/// A new data file, which nobody else knows of.
pub(crate) struct Rewrite {
    tree: Tree,
    env: EnvSlot,
}

/// Records on their way into a new data file. Dropped before the end, what was written stays in part.
pub(crate) struct Batch<'a> {
    env: &'a EnvSlot,
    tree: Tree,
    txn: Option<RwTxn<'a>>,
    bytes: usize,
}

impl Rewrite {
    /// Makes a data file in a directory, with as large a map as another one has.
    pub(crate) fn new(like: &Lmdb, dir: &Path) -> Result<Rewrite> {
        Rewrite::with_map_size(dir, like.map_size as usize)
    }

    pub(crate) fn with_map_size(dir: &Path, map_size: usize) -> Result<Rewrite> {
        let (env, tree) = EnvSlot::open(dir, map_size, Use::Copy)?;
        Ok(Rewrite { tree, env })
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { env: &self.env, tree: self.tree, txn: None, bytes: 0 }
    }

    /// Goes through the records from `from` up to but without `to`, as they were committed.
    pub(crate) fn for_each(
        &self,
        from: &[u8],
        to: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let failed = |e| self.env.failed(e, "reading a copy of the store");
        let txn = self.env.read_txn().map_err(failed)?;
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
        for record in self.tree.range(&txn, &bounds).map_err(failed)? {
            let (key, value) = record.map_err(failed)?;
            each(key, value)?;
        }
        Ok(())
    }

    /// Returns when all is on the disk.
    pub(crate) fn sync(self) -> Result<()> {
        self.env.force_sync().map_err(|e| self.env.failed(e, "syncing the copy"))
    }
}

impl<'a> Batch<'a> {
    /// Writes a record that sorts behind all others that were written.
    pub(crate) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(key, value, PutFlags::APPEND)
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(key, value, PutFlags::empty())
    }

    fn write(&mut self, key: &[u8], value: &[u8], flags: PutFlags) -> Result<()> {
        if self.bytes > AT_ONCE {
            self.commit()?;
        }
        self.bytes += key.len() + value.len();
        super::fault::point("a record is copied");
        let (tree, env) = (self.tree, self.env);
        tree.put_with_flags(self.txn()?, flags, key, value).map_err(|e| env.failed(e, CONTEXT))
    }

    /// What was written under a key.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>> {
        let (tree, env) = (self.tree, self.env);
        tree.get(self.txn()?, key).map_err(|e| env.failed(e, CONTEXT))
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<()> {
        let (tree, env) = (self.tree, self.env);
        tree.delete(self.txn()?, key).map(drop).map_err(|e| env.failed(e, CONTEXT))
    }

    fn txn(&mut self) -> Result<&mut RwTxn<'a>> {
        Ok(match &mut self.txn {
            Some(txn) => txn,
            none => none.insert(self.env.write_txn().map_err(|e| self.env.failed(e, CONTEXT))?),
        })
    }

    /// Ends what is only looked at again, without saying where a log begins.
    pub(crate) fn end(mut self) -> Result<()> {
        self.commit()
    }

    fn commit(&mut self) -> Result<()> {
        self.bytes = 0;
        match self.txn.take() {
            Some(txn) => txn.commit().map_err(|e| self.env.failed(e, CONTEXT)),
            None => Ok(()),
        }
    }

    /// Commits. The records are those of a snapshot, and have the log up to where that has it.
    pub(crate) fn finish_as_of(self, snapshot: &ReadTxn<'_>) -> Result<()> {
        self.finish(&snapshot.lmdb()?.log_end()?)
    }

    /// Writes up to where the records have the log, and commits.
    pub(crate) fn finish(mut self, log_end: &[u8]) -> Result<()> {
        self.put(FOLD_KEY, log_end)?;
        self.commit()
    }
}
