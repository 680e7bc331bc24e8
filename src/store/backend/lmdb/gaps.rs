//! Stretches of the order of keys in which nothing is left, until the next fold makes that so in LMDB, too.
//!
//! Who takes the first record again and again, to remove it, would otherwise pass by all that was removed before each time:
//! LMDB still has it, and the log says of each that it is gone.

use std::sync::Mutex;

use super::position::Position;
use super::segments::LogView;
use crate::store::backend::merged::Direction;
use crate::sync::lock;

/// Removed records that are passed by before it is remembered. Few in builds for tests, so that it happens there.
pub(super) const WORTH_NOTING: usize = if cfg!(debug_assertions) { 2 } else { 32 };
/// What is remembered at once.
const MOST: usize = 16;

#[derive(Default)]
pub(super) struct Gaps(Mutex<Vec<Gap>>);

struct Gap {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Up to where the log was looked through for records written into it.
    seen: Position,
    /// The last transaction that was committed to LMDB directly by then.
    barrier: u64,
}

impl Gap {
    /// Whether nothing is there for this reader, either. Looks at what was appended since.
    fn holds(&mut self, log: LogView<'_>) -> bool {
        if self.barrier != log.barrier() || self.seen < log.start() || self.seen > log.end() {
            return false;
        }
        let seen = self.seen;
        let parts = log.parts().filter(|(segment, ..)| segment.number >= seen.segment);
        for (segment, start, end) in parts {
            let start = if segment.number == seen.segment { start.max(seen.offset) } else { start };
            let is_into = |key: &[u8]| (self.from.as_slice()..self.to.as_slice()).contains(&key);
            let mut changes = segment.changes(start, end).map(|listed| listed.change);
            if changes.any(|change| change.value.is_some() && is_into(change.key)) {
                return false;
            }
        }
        self.seen = log.end();
        true
    }
}

impl Gaps {
    /// Leaves out of a range what is known to be empty where a reader would begin.
    pub(super) fn narrow(
        &self,
        log: LogView<'_>,
        from: &mut Vec<u8>,
        to: &mut Vec<u8>,
        direction: Direction,
    ) {
        let mut gaps = lock(&self.0);
        let begins_in = |gap: &Gap| match direction {
            Direction::Up => gap.from <= *from && *from < gap.to,
            Direction::Down => gap.from < *to && *to <= gap.to,
        };
        let Some(index) = gaps.iter().position(begins_in) else { return };
        let Some(gap) = gaps.get_mut(index) else { return };
        if gap.holds(log) {
            match direction {
                Direction::Up => from.clone_from(&gap.to),
                Direction::Down => to.clone_from(&gap.from),
            }
        } else if gap.seen <= log.end() {
            // Else it is newer than this reader, and others may have use for it.
            gaps.swap_remove(index);
        }
    }

    /// Remembers that a reader has found nothing from `from` up to but without `to`.
    pub(super) fn note(&self, log: LogView<'_>, mut from: Vec<u8>, mut to: Vec<u8>) {
        let mut gaps = lock(&self.0);
        gaps.retain(|gap| {
            // What the reader left out on its way here is known to be empty for it, too.
            if gap.seen == log.end() && gap.barrier == log.barrier() {
                if gap.to == from {
                    from.clone_from(&gap.from);
                    return false;
                }
                if gap.from == to {
                    to.clone_from(&gap.to);
                    return false;
                }
            }
            gap.to <= from || to <= gap.from || gap.seen > log.end()
        });
        if gaps.len() == MOST {
            gaps.remove(0);
        }
        gaps.push(Gap { from, to, seen: log.end(), barrier: log.barrier() });
    }
}
