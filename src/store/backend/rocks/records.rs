//! Reading records: a snapshot of the database, under what a transaction has written itself.

use bumpalo::Bump;
use rocksdb::{DB, DBRawIterator, ReadOptions, Snapshot};

use super::batch::Changes;
use super::rocks_error;
use crate::error::Result;

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

    /// The same, with what it reads kept no longer than `look` runs.
    pub(crate) fn nested<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        let arena = Bump::new();
        look(View { arena: &arena, ..*self })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        if let Some(changed) = self.changes.and_then(|changes| changes.get(key)) {
            return Ok(changed.as_deref());
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
        let mut stored = match self.snapshot {
            Some(snapshot) => snapshot.raw_iterator_opt(options),
            None => self.db.raw_iterator_opt(options),
        };
        match direction {
            Direction::Up => stored.seek_to_first(),
            Direction::Down => stored.seek_to_last(),
        }
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
        let changed = match self.changes {
            // An empty range, or one that is none, is an error to a map.
            Some(changes) if from < to => Some(changes.range::<[u8], _>(bounds)),
            _ => None,
        };
        Records { stored, changed, next_change: None, direction, arena: self.arena, failed: false }.primed()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// Records on the way through a range: those of the database and those changed since, merged.
pub(crate) struct Records<'t> {
    stored: DBRawIterator<'t>,
    changed: Option<std::collections::btree_map::Range<'t, Vec<u8>, Option<Vec<u8>>>>,
    next_change: Option<(&'t [u8], Option<&'t [u8]>)>,
    direction: Direction,
    arena: &'t Bump,
    failed: bool,
}

impl<'t> Records<'t> {
    fn primed(mut self) -> Records<'t> {
        self.next_change = self.pull_change();
        self
    }

    fn pull_change(&mut self) -> Option<(&'t [u8], Option<&'t [u8]>)> {
        let changed = self.changed.as_mut()?;
        let next = match self.direction {
            Direction::Up => changed.next(),
            Direction::Down => changed.next_back(),
        };
        next.map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    fn step(&mut self) {
        match self.direction {
            Direction::Up => self.stored.next(),
            Direction::Down => self.stored.prev(),
        }
    }
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let stored = self.stored.key();
            let (stored_first, same) = match (stored, self.next_change) {
                (None, None) => {
                    let ended = self.stored.status();
                    return match ended {
                        Err(error) if !self.failed => {
                            self.failed = true;
                            Some(Err(rocks_error(error, "reading")))
                        }
                        _ => None,
                    };
                }
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, false),
                (Some(stored), Some((changed, _))) => {
                    let before = match self.direction {
                        Direction::Up => stored < changed,
                        Direction::Down => stored > changed,
                    };
                    (before, stored == changed)
                }
            };
            if stored_first {
                let key = &*self.arena.alloc_slice_copy(stored.unwrap_or_default());
                let value = &*self.arena.alloc_slice_copy(self.stored.value().unwrap_or_default());
                self.step();
                return Some(Ok((key, value)));
            }
            // A change stands in the place of the record it is of.
            if same {
                self.step();
            }
            let change = self.next_change.take();
            self.next_change = self.pull_change();
            if let Some((key, Some(value))) = change {
                return Some(Ok((key, value)));
            }
        }
    }
}
