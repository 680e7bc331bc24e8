//! Making the log safe from a power loss.

use std::sync::atomic::Ordering;

use super::Lmdb;
use super::position::Position;
use crate::error::{Error, Result};

impl Lmdb {
    /// Returns when all that is committed is on the disk. Threads that wait at the same time share one sync.
    pub(super) fn sync(&self) -> Result<()> {
        let token = self.shared()?.control.tail();
        self.sync_up_to(token)
    }

    /// Returns when the log is on the disk up to a place.
    pub(super) fn sync_up_to(&self, place: Position) -> Result<()> {
        let control = &self.shared()?.control;
        let is_synced = || {
            control.newest_synced().load(Ordering::SeqCst) != 0
                && control.synced().load(Ordering::SeqCst) >= place.to_word()
        };
        if is_synced() {
            return Ok(());
        }
        let _syncing = self.syncing.take(self.dir.path())?;
        if is_synced() {
            return Ok(());
        }
        control.check_poison()?;
        // Before the tail is looked at: what is written after that counts as not synced.
        self.written.store(false, Ordering::SeqCst);
        let (segments, tail) = {
            // Not kept open over the sync, since folds would have to wait for it.
            let snapshot = self.snapshot()?;
            (snapshot.segments().clone(), snapshot.tail())
        };
        // Of what LMDB had when the store was opened it is not known whether it is on the disk.
        if control.newest_synced().load(Ordering::SeqCst) == 0 {
            self.sync_newest(control, control.newest().load(Ordering::SeqCst))?;
        }
        if super::fault::breaks("sync, then return") {
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(2));
                segments.view(tail).parts().for_each(|(segment, _, end)| drop(segment.sync(end)));
            });
            return Ok(());
        }
        let synced = control.synced().load(Ordering::SeqCst);
        super::fault::point("the log is to be synced");
        for (segment, _, end) in segments.view(tail).parts() {
            let end_at = Position { segment: segment.number, offset: end };
            if end_at.to_word() <= synced
                || (super::fault::breaks("all segments are synced") && segment.number != tail.segment)
            {
                continue;
            }
            if let Err(error) = segment.sync(end) {
                // What the system could not write it may have dropped: a second try would say that all is well.
                control.poison();
                return Err(Error::io("syncing the log", error));
            }
        }
        super::fault::point("the log is synced");
        control.synced().fetch_max(tail.to_word(), Ordering::SeqCst);
        Ok(())
    }
}
