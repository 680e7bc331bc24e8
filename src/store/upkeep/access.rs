//! When entries were last read: kept in memory, written in batches.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};

use crate::clock::{Span, Time};
use crate::error::Result;
use crate::store::format::layout::{KeyHash, Prefix};
use crate::sync::{SlowGuard, SlowMutex, lock};

/// Beyond so many entries waiting, new accesses are not remembered until the next flush: about 20 MB.
const CAPACITY: usize = 1 << 18;
const SHARDS: usize = 16;

/// The last access of one entry, shared between the log and whoever keeps the entry in memory.
#[derive(Default)]
pub(crate) struct Access {
    at: AtomicU64,
    logged: AtomicBool,
    /// Nothing to the log, but to whoever keeps the entry, see `entries::Mark`. It is here because each hit looks at both.
    pub(crate) tag: AtomicU64,
}

impl Access {
    pub(crate) fn at(&self) -> Time {
        Time(self.at.load(Ordering::Relaxed))
    }
}

/// Accesses of this process that are not written yet, or not seen by every reader to be.
#[derive(Default)]
pub(crate) struct AccessLog {
    shards: [Mutex<Shard>; SHARDS],
    len: AtomicUsize,
    /// Whether any were ever taken: from then on shards have some that were.
    has_taken: AtomicBool,
    flush: SlowMutex,
}

#[derive(Default)]
struct Shard {
    waiting: HashMap<KeyHash, Arc<Access>, Prefix>,
    /// What was taken last. It counts until the next are taken: it may not be committed yet, and a reader can have a
    /// snapshot from before the commit.
    taken: HashMap<KeyHash, Time, Prefix>,
}

impl AccessLog {
    /// Notes an access. Only the first one since the last flush takes a lock.
    pub(crate) fn note(&self, hash: KeyHash, access: &Arc<Access>, now: Time) {
        if access.at.load(Ordering::Relaxed) == now.0 {
            // Whoever came first at this moment has noted it.
            return;
        }
        access.at.store(now.0, Ordering::Relaxed);
        // `take` clears the flag before it reads the time. Of the two one has to see the other, so that either the new
        // time is taken or it is logged again.
        fence(Ordering::SeqCst);
        if !access.logged.load(Ordering::Relaxed)
            && self.len.load(Ordering::Relaxed) < CAPACITY
            && !access.logged.swap(true, Ordering::AcqRel)
        {
            let mut shard = lock(self.shard(hash));
            match shard.waiting.insert(hash, access.clone()) {
                None => drop(self.len.fetch_add(1, Ordering::Relaxed)),
                // Of another handle's memory, which has to log its next access anew.
                Some(other) if !Arc::ptr_eq(&other, access) => {
                    access.at.fetch_max(other.at().0, Ordering::Relaxed);
                    other.logged.store(false, Ordering::Release);
                }
                Some(_) => {}
            }
        }
    }

    /// Notes an access to an entry that is not kept in memory.
    pub(crate) fn note_cold(&self, hash: KeyHash, now: Time) {
        let mut shard = lock(self.shard(hash));
        if let Some(access) = shard.waiting.get(&hash) {
            access.at.fetch_max(now.0, Ordering::Relaxed);
        } else if self.len.load(Ordering::Relaxed) < CAPACITY {
            let (at, logged) = (AtomicU64::new(now.0), AtomicBool::new(true));
            shard.waiting.insert(hash, Arc::new(Access { at, logged, ..Access::default() }));
            self.len.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The last access that a snapshot's header need not have.
    pub(crate) fn pending(&self, hash: KeyHash) -> Option<Time> {
        if self.holds_nothing() {
            return None;
        }
        let shard = lock(self.shard(hash));
        let waiting = shard.waiting.get(&hash).map(|access| access.at());
        waiting.max(shard.taken.get(&hash).copied())
    }

    /// To be called when the entry is written or removed: what was noted was of its earlier life.
    pub(crate) fn forget(&self, hash: KeyHash) {
        if self.holds_nothing() {
            return;
        }
        let mut shard = lock(self.shard(hash));
        shard.taken.remove(&hash);
        if let Some(access) = shard.waiting.remove(&hash) {
            access.logged.store(false, Ordering::Release);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// To be held from [`take`](Self::take) until what was taken is committed, so that another take does not end its
    /// being pending.
    pub(crate) fn begin_flush(&self, store: &Path) -> Result<SlowGuard<'_>> {
        self.flush.take(store)
    }

    /// Takes what is to be written now. Give back with [`restore`](Self::restore) what cannot be written.
    pub(crate) fn take(&self) -> Vec<(KeyHash, Time)> {
        let mut all = Vec::with_capacity(self.len());
        if self.is_empty() {
            return all;
        }
        // Before any of them stops to wait, so that nobody finds none that wait and none that were taken.
        self.has_taken.store(true, Ordering::SeqCst);
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { waiting, taken } = &mut *shard;
            taken.clear();
            for (hash, access) in waiting.drain() {
                // First the flag, then the time: an access in between is logged again and not lost.
                access.logged.store(false, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                let at = Time(access.at.load(Ordering::SeqCst));
                taken.insert(hash, at);
                all.push((hash, at));
            }
            self.len.fetch_sub(taken.len(), Ordering::SeqCst);
        }
        all
    }

    pub(crate) fn restore(&self, accesses: &[(KeyHash, Time)]) {
        for (hash, at) in accesses {
            self.note_cold(*hash, *at);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn holds_nothing(&self) -> bool {
        self.is_empty() && !self.has_taken.load(Ordering::SeqCst)
    }

    /// So full that a flush should not wait for its time.
    pub(crate) fn is_pressing(&self) -> bool {
        self.len() > CAPACITY / 2
    }

    fn shard(&self, hash: KeyHash) -> &Mutex<Shard> {
        let [first, rest @ ..] = &self.shards;
        match (hash.prefix() as usize) % SHARDS {
            0 => first,
            n => rest.get(n - 1).unwrap_or(first),
        }
    }
}

/// An access that moved the time by less than this is not written: each write of a time rewrites its entry. A second,
/// less for entries that expire when idle for less, more for those larger than 1 MiB, nothing where eviction goes by
/// the order of accesses.
pub(crate) fn granularity(idle: Span, entry_bytes: usize, tracks_recency: bool) -> Span {
    const SECOND: u64 = 1_000_000;
    let by_size = (entry_bytes as u64 >> 20) * SECOND;
    if tracks_recency {
        return Span(by_size);
    }
    match idle.0 {
        0 => Span(SECOND.max(by_size)),
        idle => Span((idle / 16).min(SECOND.max(by_size))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: KeyHash = KeyHash([3; 16]);

    #[test]
    fn an_access_is_pending_until_the_next_are_taken_and_can_be_noted_again() {
        let log = AccessLog::default();
        let access = Arc::new(Access::default());
        log.note(HASH, &access, Time(5));
        log.note(HASH, &access, Time(6));
        assert_eq!(log.pending(HASH), Some(Time(6)));
        assert_eq!(log.take(), vec![(HASH, Time(6))]);
        // It is not committed yet, and then there can be readers with earlier snapshots.
        assert!(log.is_empty());
        assert_eq!(log.take(), vec![]);
        assert_eq!(log.pending(HASH), Some(Time(6)));
        log.note(HASH, &access, Time(7));
        assert_eq!(log.pending(HASH), Some(Time(7)));
        assert_eq!(log.take(), vec![(HASH, Time(7))]);
        const OTHER: KeyHash = KeyHash([4; 16]);
        log.note_cold(OTHER, Time(8));
        assert_eq!(log.take(), vec![(OTHER, Time(8))]);
        assert_eq!((log.pending(HASH), log.pending(OTHER)), (None, Some(Time(8))));
        log.forget(OTHER);
        assert_eq!(log.pending(OTHER), None);
    }

    #[test]
    fn an_access_is_not_lost_to_a_take_at_the_same_moment() {
        const ROUNDS: u64 = 100_000;
        let (log, access, mut lost) = (AccessLog::default(), Arc::new(Access::default()), 0);
        let [begun, done] = [(); 2].map(|()| AtomicU64::new(0));
        let wait_for = |count: &AtomicU64, round| {
            let mut spins = 0;
            while count.load(Ordering::SeqCst) < round {
                spins += 1;
                if spins > 1000 { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_for(&begun, round);
                    log.take();
                    done.store(round, Ordering::SeqCst);
                }
            });
            for round in 1..=ROUNDS {
                // Surely one that waits, and then one beside the take.
                log.note(HASH, &access, Time(2 * round));
                begun.store(round, Ordering::SeqCst);
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                log.note(HASH, &access, Time(2 * round + 1));
                wait_for(&done, round);
                lost += u64::from(log.pending(HASH) != Some(Time(2 * round + 1)));
            }
        });
        assert_eq!(lost, 0);
    }

    #[test]
    fn accesses_through_several_fronts_all_count() {
        let log = AccessLog::default();
        let (one, other) = (Arc::new(Access::default()), Arc::new(Access::default()));
        log.note(HASH, &one, Time(5));
        log.note(HASH, &other, Time(6));
        log.note(HASH, &one, Time(7));
        assert_eq!(log.pending(HASH), Some(Time(7)));
        assert_eq!(log.len(), 1);
        log.note(HASH, &other, Time(8));
        assert_eq!(log.take(), vec![(HASH, Time(8))]);
        log.note(HASH, &one, Time(9));
        assert_eq!(log.take(), vec![(HASH, Time(9))]);
    }

    #[test]
    fn a_forgotten_entry_is_not_flushed() {
        let log = AccessLog::default();
        log.note_cold(HASH, Time(5));
        log.forget(HASH);
        assert_eq!(log.take(), vec![]);
        log.restore(&[(HASH, Time(4))]);
        log.note_cold(HASH, Time(3));
        assert_eq!(log.take(), vec![(HASH, Time(4))]);
    }

    #[test]
    fn the_log_does_not_grow_without_bound() {
        let log = AccessLog::default();
        for n in 0..CAPACITY as u128 + 100 {
            log.note_cold(KeyHash(n.to_le_bytes()), Time(1));
        }
        assert_eq!(log.len(), CAPACITY);
    }
}
