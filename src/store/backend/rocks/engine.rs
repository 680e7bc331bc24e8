//! What a store asks of RocksDB, beside transactions.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Rocks, Role, Token, rocks_error};
use crate::error::{Error, Result};
use crate::store::backend::{Engine, rocks_path};
use crate::store::directory::place::Place;
use crate::store::directory::store_dir::StoreDir;
use crate::store::format::layout::{STATE_KEY, STORE_KEY};
use crate::store::format::records::StoreRecord;
use crate::sync::lock;

impl Engine for Rocks {
    fn place(&self) -> &Place {
        self.token.place()
    }

    fn is_read_only(&self) -> bool {
        matches!(self.role, Role::Secondary { .. })
    }

    /// Of a handle that may write, in a forked child.
    fn refusal(&self, dir: &Path) -> Error {
        Error::Busy {
            path: dir.to_owned(),
            detail: "another process has it open for writing, and a store in RocksDB has one writer; this one can \
                     read until that has closed it and it is opened here again"
                .into(),
        }
    }

    fn create(&self, record: &StoreRecord, state: Vec<u8>) -> Result<()> {
        let mut txn = self.write_txn()?;
        txn.put(STORE_KEY, &record.encode(), &[])?;
        txn.put(STATE_KEY, &state, &[])?;
        txn.commit()?;
        self.checkpoint()
    }

    /// Returns whether there is something to sync from now on that was not before.
    fn committed(&self) -> bool {
        match &self.role {
            Role::Primary { written, .. } => !written.swap(true, Ordering::AcqRel),
            Role::Secondary { .. } => false,
        }
    }

    /// Syncs the log. Writers that wait for it at the same time share one sync.
    fn checkpoint(&self) -> Result<()> {
        let Role::Primary { written, synced, .. } = &self.role else { return Ok(()) };
        let had_written = written.swap(false, Ordering::AcqRel);
        match self.db.flush_wal(true) {
            Ok(()) => {
                *lock(synced) = Instant::now();
                Ok(())
            }
            Err(error) => {
                written.fetch_or(had_written, Ordering::AcqRel);
                Err(rocks_error(error, "syncing the store"))
            }
        }
    }

    fn has_unsynced_writes(&self) -> bool {
        match &self.role {
            Role::Primary { written, .. } => written.load(Ordering::Acquire),
            Role::Secondary { .. } => false,
        }
    }

    /// Syncs the log if that was long enough ago.
    fn upkeep(&self, interval: Duration) -> Result<()> {
        match &self.role {
            Role::Primary { synced, .. }
                if self.has_unsynced_writes() && lock(synced).elapsed() >= interval =>
            {
                self.checkpoint()
            }
            _ => Ok(()),
        }
    }

    fn rest(&self, interval: Duration) -> Option<Duration> {
        self.has_unsynced_writes().then_some(interval / 4)
    }

    fn removes_expired(&self) -> bool {
        true
    }

    /// The tables and the log, as far as they are on the disk.
    fn file_bytes(&self) -> Result<u64> {
        let path = rocks_path(&self.dir);
        let files = std::fs::read_dir(&path).map_err(|e| Error::io("looking at the store's files", e))?;
        // A file that a compaction removes meanwhile takes no room any more.
        Ok(files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
    }

    /// Copies the database as it is now; tables, which never change, are linked where they can be.
    fn copy_to(&self, dir: &Path) -> Result<()> {
        let token = self.last_txn();
        let copied = rocksdb::checkpoint::Checkpoint::new(&self.db)
            .and_then(|copy| copy.create_checkpoint(rocks_path(dir)));
        copied.map_err(|e| rocks_error(e, "copying the store"))?;
        Token::open(&StoreDir::open(dir)?, true)?.write(token)
    }

    /// Rewrites all tables into the lowest level, without what was overwritten, removed or has expired.
    fn compact_in_use(&self) -> Result<bool> {
        self.db.flush().map_err(|e| rocks_error(e, "writing a table"))?;
        let mut options = rocksdb::CompactOptions::default();
        // Without this the lowest level stays as it is, and the filter does not see it.
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        self.db.compact_range_opt::<&[u8], &[u8]>(None, None, &options);
        Ok(true)
    }

    /// Leaks it: without its threads it cannot be closed.
    #[allow(unsafe_code)]
    unsafe fn abandon(&self) {}
}
