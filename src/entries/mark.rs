//! Whether one value in memory is still what the store has, as the ledger goes by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Span, Time};
use crate::store::{Access, Header, KeyHash, Live, Stamp, Standing, due, granularity};

/// The tag of a value that is not good in any snapshot yet.
const UNTAGGED: u64 = 0;
/// The tag of a value that is never to be given out again.
const DEAD: u64 = u64::MAX;

/// The unbroken run of this handle's own commits that ends with the newest one.
#[derive(Default)]
pub(crate) struct Chain {
    /// Raised before a commit ends what is kept of the keys it wrote.
    drops: AtomicU64,
    /// Values read in this snapshot or later are good at `end`, unless ended.
    start: AtomicU64,
    end: AtomicU64,
}

impl Chain {
    pub(crate) fn covers(&self, tag: u64, at: Standing) -> bool {
        // `start` is raised before `end`, so with the new end comes the new start.
        (at.since..=at.token).contains(&self.end.load(Ordering::SeqCst))
            && tag >= self.start.load(Ordering::SeqCst)
    }

    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// To be called before what is kept of what a commit wrote is ended.
    pub(crate) fn begin(&self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }

    /// To be called after what was kept of what commit `txn` wrote was ended. It found the values of snapshot `found`.
    pub(crate) fn extend(&self, found: u64, txn: u64) {
        if self.end.load(Ordering::SeqCst) < found {
            self.start.store(txn, Ordering::SeqCst);
        }
        self.end.store(txn, Ordering::SeqCst);
    }

    /// To be called after everything was ended.
    pub(crate) fn restart(&self, txn: u64) {
        self.start.store(txn, Ordering::SeqCst);
        self.end.store(txn, Ordering::SeqCst);
    }
}

/// One value in memory: which writing of its key it is, until when it is good, and when it was read.
pub(crate) struct Mark {
    pub(crate) hash: KeyHash,
    pub(crate) stamp: Stamp,
    expires: Time,
    idle: Span,
    /// As written in the header; this process's own later accesses are in `access`.
    accessed: AtomicU64,
    /// With the tag: the last snapshot in which the value was seen to be the key's. The ledger has it, too.
    pub(super) access: Arc<Access>,
    stored_size: usize,
}

/// Says of a value that it is never to be given out again.
pub(super) fn end(access: &Access) {
    access.tag.store(DEAD, Ordering::Release);
}

impl Mark {
    pub(crate) fn new(hash: KeyHash, header: &Header, stored_size: usize) -> Mark {
        Mark {
            hash,
            stamp: header.stamp,
            expires: header.expires,
            idle: header.idle,
            accessed: AtomicU64::new(header.accessed.0),
            access: Arc::default(),
            stored_size,
        }
    }

    /// Tags a value read in `snapshot`, unless the handle has committed since `drops` was asked. To be called once a
    /// commit would find the value to end it.
    pub(crate) fn publish(&self, chain: &Chain, drops: u64, snapshot: u64) {
        if chain.drops() == drops {
            let tag = &self.access.tag;
            let _ = tag.compare_exchange(UNTAGGED, snapshot, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Whether the value is what the store has.
    pub(crate) fn is_current(&self, chain: &Chain, at: Standing) -> bool {
        let tag = self.access.tag.load(Ordering::Acquire);
        tag != UNTAGGED && tag != DEAD && ((at.since..=at.token).contains(&tag) || chain.covers(tag, at))
    }

    /// Notes that the key still has this value in a later snapshot.
    pub(crate) fn confirm(&self, snapshot: u64, header: &Header) {
        self.accessed.fetch_max(header.accessed.0, Ordering::Relaxed);
        let revived = |tag| (tag != DEAD).then_some(snapshot);
        let _ = self.access.tag.fetch_update(Ordering::AcqRel, Ordering::Acquire, revived);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.access.tag.load(Ordering::Acquire) == DEAD
    }

    pub(crate) fn is_expired(&self, live: &Live) -> bool {
        let due = match (self.expires, self.idle) {
            (Time::ZERO, Span(0)) => None,
            (expires, idle) => due(expires, idle, self.accessed()),
        };
        // The exact clock is read only where it matters.
        due.is_some_and(|due| due <= live.config.clock.now())
    }

    /// Notes that the value was given out, unless its access time barely moves by it.
    pub(crate) fn note_access(&self, live: &Live) {
        let (now, accessed) = (live.access_time(), self.accessed());
        let grain = granularity(self.idle, self.stored_size, live.tracks_recency());
        if now > accessed && now.since(accessed) >= grain {
            live.access.note(self.hash, &self.access, now);
        }
    }

    fn accessed(&self) -> Time {
        Time(self.accessed.load(Ordering::Relaxed)).max(self.access.at())
    }
}
