//! Reading records: a snapshot of the database, under what a transaction has written itself.

use bumpalo::Bump;
use rocksdb::{DB, DBRawIterator, FlushOptions, ReadOptions, Snapshot, perf, properties};

use super::rocks_error;
use crate::error::Result;
use crate::store::backend::changes::{Changed, Changes};
use crate::store::backend::merged::{Direction, Merged};

/// A walk that passes over so many removed records has RocksDB get rid of them. Each costs a walk about 0.3 µs; a flush and
/// the compaction that follows it take some milliseconds.
const MOST_PASSED_OVER: u64 = 1000;

/// What a transaction sees.
///
/// RocksDB lends values for a moment only, so they are copied into an arena that lives as long as the transaction.
#[derive(Clone, Copy)]
pub(crate) struct View<'t> {
    db: &'t DB,
    /// `None` for a secondary, which stands still while it is read.
    snapshot: Option<&'t Snapshot<'t>>,
    changes: Option<&'t Changes>,
    arena: &'t Bump,
    id: u64,
}

impl<'t> View<'t> {
    pub(super) fn new(
        db: &'t DB,
        snapshot: Option<&'t Snapshot<'t>>,
        changes: Option<&'t Changes>,
        arena: &'t Bump,
        id: u64,
    ) -> View<'t> {
        View { db, snapshot, changes, arena, id }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// A number that is equal in views with the same settings; `None` where that is not known.
    pub(crate) fn settings(&self) -> Option<u64> {
        self.changes.is_none().then_some(self.id)
    }

    /// The same, with what it reads kept no longer than `look` runs.
    pub(crate) fn nested<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        let arena = Bump::new();
        look(View { arena: &arena, ..*self })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        if let Some(changed) = self.changes.and_then(|changes| changes.get(key)) {
            return Ok(changed);
        }
        let found = match self.snapshot {
            Some(snapshot) => snapshot.get_pinned(key),
            None => self.db.get_pinned(key),
        };
        let found = found.map_err(|e| rocks_error(e, "reading"))?;
        Ok(found.map(|value| &*self.arena.alloc_slice_copy(&value)))
    }

    /// Records from `from` up to but without `to`, upwards or downwards.
    pub(crate) fn range(&self, from: &[u8], to: &[u8], direction: Direction) -> Records<'t> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let passed_over_before = passed_over();
        let mut stored = match self.snapshot {
            Some(snapshot) => snapshot.raw_iterator_opt(options),
            None => self.db.raw_iterator_opt(options),
        };
        match direction {
            Direction::Up => stored.seek_to_first(),
            Direction::Down => stored.seek_to_last(),
        }
        let changed = Changes::range(self.changes, from, to, direction);
        // Whoever only follows has nothing to flush.
        let primary = self.snapshot.map(|_| self.db);
        let stored =
            Stored { stored, direction, arena: self.arena, failed: false, primary, passed_over_before };
        Records(Merged::new(stored, changed, direction))
    }
}

/// Records on the way through a range: those of the database and those changed since, merged.
pub(crate) struct Records<'t>(Merged<'t, Stored<'t>, Changed<'t>>);

impl<'t> Iterator for Records<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

struct Stored<'t> {
    stored: DBRawIterator<'t>,
    direction: Direction,
    arena: &'t Bump,
    failed: bool,
    primary: Option<&'t DB>,
    passed_over_before: u64,
}

impl Drop for Stored<'_> {
    /// RocksDB keeps what marks a record as removed beside it until the table in memory is written out, and walks over both:
    /// who takes the first or last entry again and again would take longer each time. Its own option for this
    /// (`memtable_op_scan_flush_trigger`) looks at walks upwards only.
    fn drop(&mut self) {
        let Some(db) = self.primary else { return };
        if passed_over().wrapping_sub(self.passed_over_before) < MOST_PASSED_OVER {
            return;
        }
        let removed = db.property_int_value(properties::NUM_DELETES_ACTIVE_MEM_TABLE);
        if removed.is_ok_and(|removed| removed.is_some_and(|removed| removed >= MOST_PASSED_OVER)) {
            let mut flush = FlushOptions::default();
            flush.set_wait(false);
            // It is not needed for what was asked; where it fails, the next write says so.
            let _ = db.flush_opt(&flush);
        }
    }
}

/// How many removed records this thread has passed over so far. RocksDB counts it in every thread from the start.
fn passed_over() -> u64 {
    perf::PerfContext::default().metric(perf::PerfMetric::InternalDeleteSkippedCount)
}

impl<'t> Iterator for Stored<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((key, value)) = self.stored.item() else {
            return match self.stored.status() {
                Err(error) if !self.failed => {
                    self.failed = true;
                    Some(Err(rocks_error(error, "reading")))
                }
                _ => None,
            };
        };
        let record = (&*self.arena.alloc_slice_copy(key), &*self.arena.alloc_slice_copy(value));
        match self.direction {
            Direction::Up => self.stored.next(),
            Direction::Down => self.stored.prev(),
        }
        Some(Ok(record))
    }
}
