//! What a store asks of LMDB, beside transactions.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fold::Folded;
use super::position::Position;
use super::{Access, Lmdb, Rewrite, SharedGuard, data_path, fault, file, segment_file};
use crate::error::{Error, Result};
use crate::store::backend::{Engine, ReadTxn, Room};
use crate::store::directory::place::Place;
use crate::store::format::layout::{STATE_KEY, STORE_KEY};
use crate::store::format::records::StoreRecord;

impl Engine for Lmdb {
    fn place(&self) -> &Place {
        &self.place
    }

    fn check_place(&self) -> Result<()> {
        self.place.check_in(&*self.dir)
    }

    fn is_read_only(&self) -> bool {
        matches!(self.access, Access::Detached(_))
    }

    /// Whether LMDB refuses everything in this process: it could not write a meta page.
    fn has_failed(&self) -> bool {
        matches!(self.env.read_txn(), Err(heed::Error::Mdb(heed::MdbError::Panic)))
    }

    fn check_poison(&self) -> Result<()> {
        self.shared()?.control.check_poison()
    }

    /// The caller holds the lock under which stores are opened.
    fn create(&self, record: &StoreRecord, state: Vec<u8>) -> Result<()> {
        let control = &self.shared()?.control;
        fault::point("a new store is to be written");
        self.commit_alone(control, &[(STORE_KEY, record.encode()), (STATE_KEY, state)])?;
        fault::point("a new store is written");
        self.set_id(Some(record.id));
        Ok(())
    }

    fn set_limit(&self, max_bytes: Option<u64>) -> Result<()> {
        Lmdb::set_limit(self, max_bytes)
    }

    /// Bytes of the data file that writers may fill.
    fn most_bytes(&self) -> u64 {
        self.map_size
    }

    fn pace(&self) -> Result<()> {
        Lmdb::pace(self)
    }

    fn room_lock(&self, bytes: u64) -> Result<Option<SharedGuard<'_>>> {
        Lmdb::room_lock(self, bytes)
    }

    fn make_room(&self) -> Result<()> {
        Lmdb::make_room(self)
    }

    fn committed(&self) -> bool {
        let is_half_full =
            self.is_half_full.load(Ordering::Relaxed) && self.is_half_full.swap(false, Ordering::Relaxed);
        !self.awake.swap(true, Ordering::AcqRel) || is_half_full
    }

    fn wait_durable(&self, txn: u64) -> Result<()> {
        self.sync_up_to(Position::from_word(txn))
    }

    fn checkpoint(&self) -> Result<()> {
        match &self.access {
            Access::Shared(_) => self.sync(),
            Access::Detached(_) => Ok(()),
        }
    }

    fn has_unsynced_writes(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    fn upkeep(&self, interval: Duration) -> Result<()> {
        Lmdb::upkeep(self, interval)
    }

    fn rest(&self, interval: Duration) -> Option<Duration> {
        Lmdb::rest(self, interval)
    }

    fn file_bytes(&self) -> Result<u64> {
        Lmdb::file_bytes(self)
    }

    fn room(&self) -> Result<Room> {
        Lmdb::room(self)
    }

    /// Looks at all that a snapshot can reach: the pages, before LMDB is trusted with them, and the records of the log.
    fn check(&self, snapshot: &ReadTxn<'_>) -> Result<()> {
        let view = snapshot.lmdb()?;
        let data = self.env.data()?;
        if let Some(meta) = file::meta_of(&data, view.lmdb_txn())? {
            file::check_trees(&data, &meta)?;
        }
        // Else there were two commits since the snapshot was opened: its meta page is gone, its pages are not.
        view.check_log()
    }

    #[cfg(feature = "load")]
    fn check_whole(&self) -> Result<()> {
        Ok(())
    }

    fn copy_to(&self, dir: &Path) -> Result<()> {
        self.read(|txn| {
            let copy = Rewrite::new(self, dir)?;
            let mut batch = copy.batch();
            for record in txn.range(&[0], &[u8::MAX])? {
                let (key, value) = record?;
                batch.append(key, value)?;
            }
            batch.finish_as_of(&txn)?;
            copy.sync()
        })
    }

    fn new_data(&self, dir: &Path) -> Result<Rewrite> {
        Rewrite::new(self, dir)
    }

    /// Like the present data file, the new one says up to where it has the log, so whichever of the two is found after a
    /// power loss is complete.
    fn put_in_place(&self, dir: &Path) -> Result<()> {
        fault::point("a compacted file is to be put in place");
        let moved = fs::rename(data_path(dir), data_path(self.dir.path()));
        moved.map_err(|e| Error::io("putting the new file in place", e))
    }

    /// Moves the whole log into LMDB, so that nothing else has to be looked at. The caller holds the lock under which stores
    /// are opened.
    fn close_alone(&self) -> Result<()> {
        let shared = self.shared()?;
        fault::point("the last to close begins");
        let folded = shared.gate.lock(&shared.control).and_then(|gate| self.fold_all(shared, &gate));
        match folded {
            Ok(Folded::PutOff) => return self.sync(),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, store = %self.dir.path().display(), "the log stays beside the data file");
                return self.sync();
            }
        }
        let control = &shared.control;
        if control.tail().to_word() <= control.folded().load(Ordering::SeqCst) {
            control.open_segment().store(0, Ordering::SeqCst);
            fault::point("the last to close has folded");
            for number in segment_file::list(&self.dir)? {
                segment_file::remove(&self.dir, number)?;
            }
        }
        self.keep_reserve(control)?;
        self.written.store(false, Ordering::Release);
        Ok(())
    }

    /// What was locked was closed when the process was forked.
    #[allow(unsafe_code)]
    unsafe fn abandon(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.env.abandon() };
    }
}
