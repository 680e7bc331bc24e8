//! Payloads that a caller keeps in memory, decoded in whatever way, and whether they may still be given out.
//!
//! The rules are those of [`crate::front`], but the values stay with the caller. For each it has a [`Held`]; a commit of
//! the same handle kills those it wrote, so that a confirmation that comes late cannot bring one back.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::clock::{Span, Time};
use crate::front::Chain;
use crate::store::{Access, Header, KeyHash, Prefix, Stamp, due, fork_epoch};

/// The tag of a payload that is not good in any snapshot yet.
const UNTAGGED: u64 = 0;
/// The tag of a payload that was overwritten or removed by this handle, for good.
const DEAD: u64 = u64::MAX;

/// The caller's claim to have one payload in memory, from [`ByteCache::hold`](crate::ByteCache::hold).
///
/// Dropping it ends the claim.
pub struct Held {
    pub(crate) mark: Arc<Mark>,
    ledger: Arc<Ledger>,
}

pub(crate) struct Mark {
    pub(crate) hash: KeyHash,
    pub(crate) stamp: Stamp,
    /// The last snapshot in which the payload was seen to be the key's.
    tag: AtomicU64,
    expires: Time,
    pub(crate) idle: Span,
    accessed: AtomicU64,
    pub(crate) access: Arc<Access>,
    pub(crate) stored_size: usize,
}

impl Mark {
    pub(crate) fn accessed(&self) -> Time {
        Time(self.accessed.load(Ordering::Relaxed)).max(self.access.at())
    }

    pub(crate) fn due(&self) -> Option<Time> {
        match (self.expires, self.idle) {
            (Time::ZERO, Span(0)) => None,
            (expires, idle) => due(expires, idle, self.accessed()),
        }
    }

    /// Notes that the key still has this payload in a later snapshot.
    pub(crate) fn confirm(&self, snapshot: u64, header: &Header) {
        self.accessed.fetch_max(header.accessed.0, Ordering::Relaxed);
        let _ = self
            .tag
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |tag| (tag != DEAD).then_some(snapshot));
    }

    fn kill(&self) {
        self.tag.store(DEAD, Ordering::Release);
    }
}

/// All that is held of one opened environment by one handle and its clones.
pub(crate) struct Ledger {
    marks: Mutex<HashMap<KeyHash, Arc<Mark>, Prefix>>,
    chain: Chain,
    /// Which environment the tags are of.
    pub(crate) of: u64,
    pub(crate) forks: u64,
}

impl Ledger {
    pub(crate) fn new(of: u64) -> Ledger {
        Ledger { marks: Mutex::default(), chain: Chain::default(), of, forks: fork_epoch() }
    }

    /// To be asked before the snapshot is opened in which a payload to be held is read.
    pub(crate) fn drops(&self) -> u64 {
        self.chain.drops()
    }

    /// Holds a payload read in `snapshot`, in place of an older claim to the same key.
    pub(crate) fn hold(self: &Arc<Self>, drops: u64, read: (KeyHash, &Header, u64, usize)) -> Held {
        let (hash, header, snapshot, stored_size) = read;
        let mark = Arc::new(Mark {
            hash,
            stamp: header.stamp,
            tag: AtomicU64::new(UNTAGGED),
            expires: header.expires,
            idle: header.idle,
            accessed: AtomicU64::new(header.accessed.0),
            access: Arc::default(),
            stored_size,
        });
        if let Some(old) = self.marks().insert(hash, mark.clone()) {
            old.kill();
        }
        if self.drops() == drops {
            let _ = mark.tag.compare_exchange(UNTAGGED, snapshot, Ordering::AcqRel, Ordering::Acquire);
        }
        Held { mark, ledger: self.clone() }
    }

    /// Kills what a commit of this handle wrote. To be called before any other writer of this process goes on.
    pub(crate) fn committed(&self, token: u64, written: &[KeyHash]) {
        self.chain.begin();
        let mut marks = self.marks();
        for hash in written {
            if let Some(mark) = marks.remove(hash) {
                mark.kill();
            }
        }
        self.chain.extend(token);
    }

    /// Kills everything.
    pub(crate) fn clear(&self, token: u64) {
        self.chain.begin();
        for (_, mark) in self.marks().drain() {
            mark.kill();
        }
        self.chain.restart(token);
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, HashMap<KeyHash, Arc<Mark>, Prefix>> {
        self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Held {
    /// Whether the payload is what the store has, `token` being the last committed transaction of environment `of`.
    pub(crate) fn is_current(&self, of: u64, token: u64) -> bool {
        let tag = self.mark.tag.load(Ordering::Acquire);
        tag != UNTAGGED
            && tag != DEAD
            && self.ledger.of == of
            && (tag == token || self.ledger.chain.covers(tag, token))
    }

    /// Whether a confirmation would make it current again.
    pub(crate) fn can_be_confirmed(&self, environment: u64) -> bool {
        self.ledger.of == environment && self.mark.tag.load(Ordering::Acquire) != DEAD
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.ledger.forks != fork_epoch() {
            // Of the parent process: a thread that does not exist here can hold the lock for ever.
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
    use crate::store::{NamespaceId, Number, STAGE_NONE};

    const A: KeyHash = KeyHash([1; 16]);
    const B: KeyHash = KeyHash([2; 16]);

    fn header(stamp: u64) -> Header {
        Header {
            compressor: STAGE_NONE,
            cipher: STAGE_NONE,
            tag: 0,
            namespace: NamespaceId(1),
            key_len: 1,
            created: Time(1),
            modified: Time(1),
            expires: Time::ZERO,
            idle: Span(0),
            number: Number::FIRST,
            stamp: Stamp(stamp),
            accessed: Time(1),
        }
    }

    fn hold(ledger: &Arc<Ledger>, drops: u64, hash: KeyHash, snapshot: u64) -> Held {
        ledger.hold(drops, (hash, &header(snapshot), snapshot, 1))
    }

    #[test]
    fn a_payload_is_current_in_its_snapshot_and_through_own_commits_of_other_keys() {
        let ledger = Arc::new(Ledger::new(1));
        ledger.committed(7, &[]);
        let a = hold(&ledger, ledger.drops(), A, 7);
        let b = hold(&ledger, ledger.drops(), B, 7);
        assert!(a.is_current(1, 7) && !a.is_current(2, 7) && !a.is_current(1, 8));
        ledger.committed(8, &[B]);
        assert!(a.is_current(1, 8) && !b.is_current(1, 8));
        // Transaction 9 was somebody else's.
        ledger.committed(10, &[]);
        assert!(!a.is_current(1, 10));
    }

    #[test]
    fn what_was_overwritten_is_not_brought_back_by_a_late_confirmation() {
        let ledger = Arc::new(Ledger::new(1));
        ledger.committed(7, &[]);
        let a = hold(&ledger, ledger.drops(), A, 7);
        ledger.committed(8, &[A]);
        // The reader had looked at snapshot 7 before the commit.
        a.mark.confirm(7, &header(7));
        assert!((6..12).all(|token| !a.is_current(1, token)));
    }

    #[test]
    fn what_is_held_after_a_commit_dropped_its_key_is_not_current_until_confirmed() {
        let ledger = Arc::new(Ledger::new(1));
        ledger.committed(7, &[]);
        let drops = ledger.drops();
        ledger.committed(8, &[A]);
        let a = hold(&ledger, drops, A, 7);
        assert!((6..12).all(|token| !a.is_current(1, token)));
        a.mark.confirm(8, &header(8));
        assert!(a.is_current(1, 8));
    }

    #[test]
    fn the_newest_claim_to_a_key_ends_the_older_one_and_clear_ends_all() {
        let ledger = Arc::new(Ledger::new(1));
        let first = hold(&ledger, 0, A, 7);
        let second = hold(&ledger, 0, A, 7);
        assert!(!first.is_current(1, 7) && second.is_current(1, 7));
        drop(first);
        assert_eq!(ledger.marks().len(), 1);
        ledger.clear(8);
        assert!(!second.is_current(1, 7) && !second.is_current(1, 8));
        drop(second);
        assert_eq!(ledger.marks().len(), 0);
    }
}
