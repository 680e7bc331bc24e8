//! Payloads that a caller keeps in memory, decoded in whatever way, and whether they may still be given out.
//!
//! The rules are those of [`crate::front`], but the values stay with the caller. For each it has a [`Held`]; a commit of
//! the same handle kills those it wrote, so that a confirmation that comes late cannot bring one back.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mark::{Chain, Mark};
use crate::per_environment::Made;
use crate::store::{KeyHash, Prefix, Standing, lock};

/// The caller's claim to have one payload in memory, from [`ByteCache::hold`](crate::ByteCache::hold).
///
/// Dropping it ends the claim.
#[must_use = "the claim ends when it is dropped"]
pub struct Held {
    pub(crate) mark: Arc<Mark>,
    ledger: Arc<Made<Ledger>>,
}

/// All that is held of one opened environment by one handle and its clones.
#[derive(Default)]
pub(crate) struct Ledger {
    marks: Mutex<HashMap<KeyHash, Arc<Mark>, Prefix>>,
    chain: Chain,
}

impl Made<Ledger> {
    /// Holds a payload read in `snapshot`, in place of an older claim to the same key.
    pub(crate) fn hold(self: &Arc<Self>, drops: u64, mark: Mark, snapshot: u64) -> Held {
        let mark = Arc::new(mark);
        if let Some(old) = self.marks().insert(mark.hash, mark.clone()) {
            old.kill();
        }
        mark.publish(&self.chain, drops, snapshot);
        Held { mark, ledger: self.clone() }
    }
}

impl Ledger {
    /// To be asked before the snapshot is opened in which a payload to be held is read.
    pub(crate) fn drops(&self) -> u64 {
        self.chain.drops()
    }

    /// Kills what a commit of this handle wrote, which found the values of snapshot `found`. To be called before any other writer of this process goes on.
    pub(crate) fn committed(&self, found: u64, token: u64, written: &[KeyHash]) {
        self.chain.begin();
        let mut marks = self.marks();
        for hash in written {
            if let Some(mark) = marks.remove(hash) {
                mark.kill();
            }
        }
        self.chain.extend(found, token);
    }

    /// Kills everything.
    pub(crate) fn clear(&self, token: u64) {
        self.chain.begin();
        for (_, mark) in self.marks().drain() {
            mark.kill();
        }
        self.chain.restart(token);
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<KeyHash, Arc<Mark>, Prefix>> {
        lock(&self.marks)
    }
}

impl Held {
    /// Whether the payload is what the store has, its environment standing `at`.
    pub(crate) fn is_current(&self, environment: u64, at: Standing) -> bool {
        self.ledger.environment == environment && self.mark.is_current(&self.ledger.chain, at)
    }

    /// Whether a confirmation would make it current again.
    pub(crate) fn can_be_confirmed(&self, environment: u64) -> bool {
        self.ledger.environment == environment && !self.mark.is_dead()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.ledger.is_own() {
            return;
        }
        let mut marks = self.ledger.marks();
        if marks.get(&self.mark.hash).is_some_and(|mark| Arc::ptr_eq(mark, &self.mark)) {
            marks.remove(&self.mark.hash);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Header;

    /// The store after transaction `token`, which may have changed anything.
    fn at(token: u64) -> Standing {
        Standing { token, since: token }
    }

    const A: KeyHash = KeyHash([1; 16]);
    const B: KeyHash = KeyHash([2; 16]);

    fn ledger() -> Arc<Made<Ledger>> {
        Arc::new(Made::new(1, Ledger::default()))
    }

    fn hold(ledger: &Arc<Made<Ledger>>, drops: u64, hash: KeyHash, snapshot: u64) -> Held {
        ledger.hold(drops, Mark::new(hash, &Header::of_stamp(snapshot), 1), snapshot)
    }

    #[test]
    fn a_payload_is_current_in_its_snapshot_and_through_own_commits_of_other_keys() {
        let ledger = ledger();
        ledger.committed(6, 7, &[]);
        let a = hold(&ledger, ledger.drops(), A, 7);
        let b = hold(&ledger, ledger.drops(), B, 7);
        assert!(a.is_current(1, at(7)) && !a.is_current(2, at(7)) && !a.is_current(1, at(8)));
        ledger.committed(7, 8, &[B]);
        assert!(a.is_current(1, at(8)) && !b.is_current(1, at(8)));
        // Transaction 9 was somebody else's.
        ledger.committed(9, 10, &[]);
        assert!(!a.is_current(1, at(10)));
    }

    #[test]
    fn what_was_overwritten_is_not_brought_back_by_a_late_confirmation() {
        let ledger = ledger();
        ledger.committed(6, 7, &[]);
        let a = hold(&ledger, ledger.drops(), A, 7);
        ledger.committed(7, 8, &[A]);
        // The reader had looked at snapshot 7 before the commit.
        a.mark.confirm(7, &Header::of_stamp(7));
        assert!((6..12).all(|token| !a.is_current(1, at(token))));
    }

    #[test]
    fn what_is_held_after_a_commit_dropped_its_key_is_not_current_until_confirmed() {
        let ledger = ledger();
        ledger.committed(6, 7, &[]);
        let drops = ledger.drops();
        ledger.committed(7, 8, &[A]);
        let a = hold(&ledger, drops, A, 7);
        assert!((6..12).all(|token| !a.is_current(1, at(token))));
        a.mark.confirm(8, &Header::of_stamp(8));
        assert!(a.is_current(1, at(8)));
    }

    #[test]
    fn the_newest_claim_to_a_key_ends_the_older_one_and_clear_ends_all() {
        let ledger = ledger();
        let first = hold(&ledger, 0, A, 7);
        let second = hold(&ledger, 0, A, 7);
        assert!(!first.is_current(1, at(7)) && second.is_current(1, at(7)));
        drop(first);
        assert_eq!(ledger.marks().len(), 1);
        ledger.clear(8);
        assert!(!second.is_current(1, at(7)) && !second.is_current(1, at(8)));
        drop(second);
        assert_eq!(ledger.marks().len(), 0);
    }
}
