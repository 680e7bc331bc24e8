//! A write transaction: changes are kept in memory, where the transaction sees them, and written as one batch.

use bumpalo::Bump;
use rocksdb::{Snapshot, WriteBatch};

use super::records::View;
use super::{Rocks, rocks_error};
use crate::error::Result;
use crate::store::backend::changes::Changes;
#[cfg(feature = "load")]
use crate::store::backend::not_in_rocks;

pub(crate) struct Batch<'a> {
    rocks: &'a Rocks,
    snapshot: Snapshot<'a>,
    changes: Changes,
    arena: Bump,
}

impl<'a> Batch<'a> {
    /// Begins a transaction. The caller sees to it that there is only one.
    pub(super) fn new(rocks: &'a Rocks) -> Batch<'a> {
        let snapshot = Snapshot::new(&rocks.db);
        Batch { rocks, snapshot, changes: Changes::default(), arena: Bump::new() }
    }

    /// The last commit before this one.
    pub(crate) fn base(&self) -> u64 {
        self.snapshot.sequence_number()
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.rocks.db, Some(&self.snapshot), Some(&self.changes), &self.arena, self.base())
    }

    /// Not counted.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        Ok(0)
    }

    /// There is no limit in bytes.
    pub(crate) fn has_room_for(&self, _bytes: u64) -> Result<bool> {
        Ok(true)
    }

    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        self.changes.put(key, head, body);
        Ok(())
    }

    #[cfg(feature = "load")]
    pub(crate) fn clear(&mut self) -> Result<()> {
        Err(not_in_rocks())
    }

    #[cfg(feature = "load")]
    pub(crate) fn append(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Err(not_in_rocks())
    }

    pub(crate) fn delete_if(&mut self, key: &[u8], is_it: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        let was_there = self.view().get(key)?.is_some_and(is_it);
        if was_there {
            self.changes.delete(key);
        }
        Ok(was_there)
    }

    /// Appends the changes to the log and makes them seen. A killed process loses nothing of it from then on.
    pub(crate) fn commit(self) -> Result<u64> {
        let mut batch = WriteBatch::default();
        for (key, value) in self.changes.iter() {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.rocks.db.write(batch).map_err(|e| rocks_error(e, "committing"))?;
        let committed = self.rocks.db.latest_sequence_number();
        // The commit stands whether or not this can be written: on a full disk those eight bytes have their room.
        self.rocks.token.write(committed)?;
        Ok(committed)
    }
}
