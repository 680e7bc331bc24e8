//! Who waits for whom among processes, to find circles: one computes `x` and needs `y`, another the reverse.
//!
//! A thread or task that has the lead of some keys, and waits for another one, says so by locks on bytes beside those of its leads:
//! where they lie tells from which lead to which it waits. So what is said ends with its process, and can be read without
//! trust in anything but the kernel. It is put into the file of the store that the lead is of, where those look who wait for
//! it; and since they may not have the store open that it goes on to, who waits also says what it has found behind that. So
//! a circle over any number of stores comes round.
//!
//! Keys are identified by 40 bits of a hash of the store and the key. Two that are taken for one can make a circle of what is
//! none, and then a function runs twice.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::store::directory::byte_lock;
use crate::store::directory::locks::LockFile;
use crate::store::format::layout::KeyHash;
use crate::store::process::fork;

/// The first byte of what is said about waiting: behind all but the locks of the leads themselves.
const WAITS: u64 = 1 << 61;
const ID_BITS: u32 = 40;
/// Of the id of the lead that waits, so that all fits into an offset.
const FROM_BITS: u32 = 61 - ID_BITS;
/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(100);
/// A circle stays. What was put together while others went on does not.
const LOOKS: u32 = 5;
/// One of a circle is enough to go on; should it not, all do.
const LOOKS_FOR_ALL: u32 = 20;
/// What is looked at, and said, at most.
const MOST: usize = 64;

/// A key of a store, for whom it concerns in all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::store) struct KeyId(u64);

/// A lead, as those see it that it waits for.
#[derive(Debug)]
pub(in crate::store) struct Led {
    number: LeadNumber,
    /// `None`: no other process can wait for it.
    among: Option<Among>,
    forks: u64,
}

/// Tells a lead from all others of this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::store) struct LeadNumber(u64);

/// A lead among processes, and the file in which it is had.
#[derive(Clone, Debug)]
struct Among {
    id: KeyId,
    locks: Arc<LockFile>,
}

thread_local! {
    /// The leads on whose behalf this thread runs, in whatever store, and some that are over: those that it took, and of the
    /// task that it polls.
    static LEADS: RefCell<Vec<Weak<Led>>> = const { RefCell::new(Vec::new()) };
}

impl LeadNumber {
    pub(in crate::store) fn new() -> LeadNumber {
        static LEADS: AtomicU64 = AtomicU64::new(0);
        LeadNumber(LEADS.fetch_add(1, Ordering::Relaxed))
    }

    /// Of the leads on whose behalf this thread runs.
    pub(in crate::store) fn here() -> Vec<LeadNumber> {
        Led::here().map(|led| led.number).collect()
    }
}

impl KeyId {
    pub(in crate::store) fn of(locks: &LockFile, hash: KeyHash) -> KeyId {
        let store = locks.file().metadata().map_or(0, |file| file.ino() ^ file.dev().rotate_left(32));
        let mixed =
            (hash.prefix() ^ store.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        KeyId(mixed >> (64 - ID_BITS))
    }

    /// Where it is said for what the leader of this key waits.
    fn waits(self) -> std::ops::Range<u64> {
        let first = WAITS + ((self.0 >> (ID_BITS - FROM_BITS)) << ID_BITS);
        first..first + (1 << ID_BITS)
    }

    fn waits_for(self, other: KeyId) -> u64 {
        self.waits().start + other.0
    }
}

impl Led {
    pub(in crate::store) fn new(
        number: LeadNumber,
        locks: Option<&Arc<LockFile>>,
        hash: KeyHash,
    ) -> Arc<Led> {
        let among = locks.map(|locks| Among { id: KeyId::of(locks, hash), locks: locks.clone() });
        Arc::new(Led { number, among, forks: fork::epoch() })
    }

    /// Notes that this thread has it, for as long as it lives.
    pub(in crate::store) fn note(self: &Arc<Self>) {
        LEADS.with_borrow_mut(|leads| {
            leads.retain(|lead| lead.strong_count() > 0);
            leads.push(Arc::downgrade(self));
        });
    }

    /// Notes that this thread runs on its behalf, until what is returned is dropped.
    pub(in crate::store) fn enter(self: &Arc<Self>) -> Entered {
        LEADS.with_borrow_mut(|leads| leads.push(Arc::downgrade(self)));
        Entered(Arc::downgrade(self))
    }

    fn here() -> impl Iterator<Item = Arc<Led>> {
        // What the thread that forked had is its own.
        let is_own = |led: &Arc<Led>| led.forks == fork::epoch();
        let leads: Vec<_> =
            LEADS.with_borrow(|leads| leads.iter().filter_map(Weak::upgrade).filter(is_own).collect());
        leads.into_iter()
    }
}

pub(in crate::store) struct Entered(Weak<Led>);

impl Drop for Entered {
    fn drop(&mut self) {
        LEADS.with_borrow_mut(|leads| {
            if let Some(at) = leads.iter().rposition(|led| led.ptr_eq(&self.0)) {
                leads.remove(at);
            }
        });
    }
}

/// A thread or task that waits for a key, and says so to other processes while this lives.
pub(in crate::store) struct Waiting {
    leads: Vec<Among>,
    locks: Arc<LockFile>,
    wanted: KeyId,
    said: Vec<KeyId>,
    looked: Instant,
    circles: u32,
}

impl Waiting {
    /// `None` for who has no lead that anybody can be waiting for.
    pub(in crate::store) fn start(locks: &Arc<LockFile>, hash: KeyHash) -> Option<Waiting> {
        let leads: Vec<Among> = Led::here().filter_map(|led| led.among.clone()).collect();
        let wanted = KeyId::of(locks, hash);
        if leads.is_empty() {
            return None;
        }
        let mut waiting = Waiting {
            leads,
            locks: locks.clone(),
            wanted,
            said: Vec::new(),
            looked: Instant::now(),
            circles: 0,
        };
        waiting.say(wanted);
        Some(waiting)
    }

    /// Whether it has to go on without what it waits for, because that waits for it, however indirectly. To be asked again and
    /// again.
    pub(in crate::store) fn is_circular(&mut self) -> bool {
        if self.looked.elapsed() < INTERVAL {
            return false;
        }
        self.looked = Instant::now();
        let reached = self.reached();
        let own = self.leads.iter().map(|led| led.id).filter(|id| reached.contains(id)).min();
        self.circles = if own.is_some() { self.circles + 1 } else { 0 };
        let is_the_one = own == reached.iter().min().copied();
        for id in reached {
            self.say(id);
        }
        self.circles >= if is_the_one { LOOKS } else { LOOKS_FOR_ALL }
    }

    /// The keys for which is waited, from one to the next, as far as the stores tell that it knows.
    fn reached(&self) -> Vec<KeyId> {
        let files: Vec<File> = self.files();
        let mut reached = vec![self.wanted];
        let mut next = 0;
        while let Some(from) = reached.get(next).copied() {
            next += 1;
            for file in &files {
                for to in waited_for(file, from) {
                    if !reached.contains(&to) && reached.len() < MOST {
                        reached.push(to);
                    }
                }
            }
        }
        reached
    }

    /// Openings of their own: in that of this process its own locks cannot be seen.
    fn files(&self) -> Vec<File> {
        let mut known: Vec<&Arc<LockFile>> = vec![&self.locks];
        for led in &self.leads {
            if !known.iter().any(|locks| Arc::ptr_eq(locks, &led.locks)) {
                known.push(&led.locks);
            }
        }
        let open = |locks: &&Arc<LockFile>| {
            locks.dir().open_own(LockFile::NAME, OFlags::RDONLY, "looking for a circle")
        };
        known.iter().filter_map(|locks| open(locks).ok()).collect()
    }

    /// Again each time: two leads can share a place, and who ends first takes back what both said.
    fn say(&mut self, id: KeyId) {
        for led in &self.leads {
            if let Err(error) = byte_lock::try_share(led.locks.file(), led.id.waits_for(id)) {
                tracing::debug!(%error, "cannot say for what is waited");
            }
        }
        if !self.said.contains(&id) {
            self.said.push(id);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for led in &self.leads {
            for id in &self.said {
                led.locks.unlock(led.id.waits_for(*id));
            }
        }
    }
}

/// What the leader of a key says that it waits for.
fn waited_for(file: &File, from: KeyId) -> Vec<KeyId> {
    let (mut found, mut unseen) = (Vec::new(), vec![from.waits()]);
    while let Some(range) = unseen.pop() {
        if range.is_empty() || found.len() >= MOST {
            continue;
        }
        // The kernel names any one.
        if let Ok(Some(locked)) = byte_lock::locked(file, range.clone()) {
            found.extend(locked.clone().take(MOST).map(|at| KeyId(at - from.waits().start)));
            unseen.extend([range.start..locked.start, locked.end..range.end]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::directory::store_dir::StoreDir;

    const LONG: Duration = Duration::from_secs(1);

    /// What a process has open of a store.
    fn open(dir: &tempfile::TempDir) -> Arc<LockFile> {
        let dir = Arc::new(StoreDir::open(dir.path()).unwrap());
        LockFile::open(&dir, None, true).unwrap()
    }

    fn key(n: u8) -> KeyHash {
        KeyHash([n; 16])
    }

    /// A thread of a process of its own that has one lead and waits for another key.
    fn waits(lead: (&Arc<LockFile>, u8), wanted: (&Arc<LockFile>, u8)) -> (Arc<Led>, Waiting) {
        let (led, waiting) = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let led = Led::new(LeadNumber::new(), Some(lead.0), key(lead.1));
                led.note();
                (led, Waiting::start(wanted.0, key(wanted.1)).unwrap())
            });
            thread.join().unwrap()
        });
        (led, waiting)
    }

    /// How many of them have to go on after a while.
    fn going_on(waiting: &mut [&mut Waiting]) -> usize {
        let (since, mut going_on) = (Instant::now(), vec![false; waiting.len()]);
        while since.elapsed() < LONG {
            for (waiting, goes_on) in waiting.iter_mut().zip(&mut going_on) {
                *goes_on |= waiting.is_circular();
            }
            std::thread::sleep(INTERVAL / 20);
        }
        going_on.into_iter().filter(|goes_on| *goes_on).count()
    }

    #[test]
    fn two_processes_that_wait_for_each_other_are_a_circle_and_a_row_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = [(); 3].map(|()| open(&dir));
        let (_x, mut first) = waits((&a, 1), (&a, 2));
        let (_y, mut second) = waits((&b, 2), (&b, 3));
        assert_eq!(going_on(&mut [&mut first, &mut second]), 0);
        assert_eq!(first.reached(), [KeyId::of(&a, key(2)), KeyId::of(&a, key(3))]);
        let (_z, mut third) = waits((&c, 3), (&c, 1));
        assert_eq!(going_on(&mut [&mut first, &mut second, &mut third]), 1);
        drop((second, third));
        assert_eq!(first.reached(), [KeyId::of(&a, key(2))]);
        assert_eq!(going_on(&mut [&mut first]), 0);
    }

    #[test]
    fn a_circle_over_three_stores_is_found_by_processes_that_have_two_each() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [s, t, u] = &dirs;
        let (_x, mut first) = waits((&open(s), 1), (&open(t), 1));
        let (_y, mut second) = waits((&open(t), 1), (&open(u), 1));
        assert_eq!(going_on(&mut [&mut first, &mut second]), 0);
        let (_z, mut third) = waits((&open(u), 1), (&open(s), 1));
        assert_eq!(going_on(&mut [&mut first, &mut second, &mut third]), 1);
    }

    #[test]
    fn threads_of_one_process_take_part() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (open(&dir), open(&dir));
        // One leads 1 and waits for 2, which another process leads; that waits for 3, which a second thread leads, which
        // waits for the first one.
        let (_x, mut first) = waits((&own, 1), (&own, 2));
        let (_z, mut second) = waits((&own, 3), (&own, 1));
        assert_eq!(going_on(&mut [&mut first, &mut second]), 0);
        let (_y, mut third) = waits((&other, 2), (&other, 3));
        assert_eq!(going_on(&mut [&mut first, &mut second, &mut third]), 1);
    }

    #[test]
    fn a_thread_without_a_lead_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let locks = open(&dir);
        Led::new(LeadNumber::new(), Some(&locks), key(1)).note();
        assert!(Waiting::start(&locks, key(2)).is_none());
    }
}
