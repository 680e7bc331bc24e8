//! Single flight: of all threads and processes that miss a key at once, one runs the function.
//!
//! Among threads a table decides, among processes a lock on a byte of a file at an offset that derives from the key's
//! hash. The kernel frees the lock when its holder dies, so there is no lease to tune. Who waits for it tries again and
//! again: so it hears of signals, and finds circles.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::circles::{Led, Waiting};
use super::fork;
use super::layout::KeyHash;
use super::locks::LockFile;
use super::sync::{lock, wait_timeout};
use crate::error::Result;

/// How often a thread that waits asks whether to give up.
const ASKING_INTERVAL: Duration = Duration::from_millis(100);

/// Between two tries to get the lock of another process, at first and at last.
const NAPS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(5)];

pub(crate) struct Flights {
    table: Mutex<Table>,
    /// Between processes; `None` where this process cannot write.
    locks: Option<Arc<LockFile>>,
}

#[derive(Default)]
struct Table {
    flights: HashMap<KeyHash, Arc<Flight>>,
    /// Which flight each waiting thread waits for.
    waiting: HashMap<ThreadId, KeyHash>,
}

struct Flight {
    /// `None`: a task, which is bound to no thread.
    leader: Option<ThreadId>,
    landed: Mutex<bool>,
    landing: Condvar,
}

impl Flight {
    fn of(leader: Option<ThreadId>) -> Flight {
        Flight { leader, landed: Mutex::new(false), landing: Condvar::new() }
    }

    /// Waits until it has landed.
    fn wait(&self, mut waiting: Option<Waiting>, gives_up: &dyn Fn() -> bool) -> Waited {
        let mut landed = lock(&self.landed);
        while !*landed {
            landed = wait_timeout(&self.landing, landed, ASKING_INTERVAL);
            if !*landed {
                // Not under the lock, which the leader needs to land.
                drop(landed);
                if gives_up() {
                    return Waited::GivenUp;
                }
                if waiting.as_mut().is_some_and(Waiting::is_circular) {
                    return Waited::InCircle;
                }
                landed = lock(&self.landed);
            }
        }
        Waited::Landed
    }
}

enum Waited {
    Landed,
    GivenUp,
    /// Over other processes or stores; those within one table are found before.
    InCircle,
}

pub(crate) enum Turn {
    /// This thread is to look once more and then run the function.
    Lead(Lead),
    /// Another thread of this process has finished: look whether it succeeded.
    Waited,
    /// The caller did not want to wait any longer.
    GivenUp,
}

/// The right to run the function for one key, until dropped.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    hash: KeyHash,
    /// `None` for a lead inside another lead of the same thread, which holds no lock of its own.
    flight: Option<Arc<Flight>>,
    locked: bool,
    /// So that this thread is seen to have the lead while it waits for another.
    _led: Option<Arc<Led>>,
    forks: u64,
}

impl Flights {
    pub(crate) fn shared(locks: Arc<LockFile>) -> Arc<Flights> {
        Arc::new(Flights { table: Mutex::default(), locks: Some(locks) })
    }

    pub(crate) fn local() -> Arc<Flights> {
        Arc::new(Flights { table: Mutex::default(), locks: None })
    }

    pub(super) fn locks(&self) -> Option<&Arc<LockFile>> {
        self.locks.as_ref()
    }

    pub(super) fn uses(&self, locks: Option<&Arc<LockFile>>) -> bool {
        match (&self.locks, locks) {
            (Some(own), Some(locks)) => Arc::ptr_eq(own, locks),
            (own, locks) => own.is_none() && locks.is_none(),
        }
    }

    /// Waits for the flight of this key to land, or takes the lead, or gives up.
    pub(crate) fn enter(self: &Arc<Self>, hash: KeyHash, gives_up: &dyn Fn() -> bool) -> Result<Turn> {
        let me = std::thread::current().id();
        let mut table = lock(&self.table);
        if let Some(flight) = table.flights.get(&hash).cloned() {
            if table.would_deadlock(&flight, me) {
                return Ok(Turn::Lead(self.lead(hash, None)));
            }
            table.waiting.insert(me, hash);
            drop(table);
            let waiting = self.locks.as_ref().and_then(|locks| Waiting::start(locks, hash));
            let waited = flight.wait(waiting, gives_up);
            lock(&self.table).waiting.remove(&me);
            return Ok(match waited {
                Waited::Landed => Turn::Waited,
                Waited::GivenUp => Turn::GivenUp,
                Waited::InCircle => Turn::Lead(self.lead(hash, None)),
            });
        }
        let flight = Arc::new(Flight::of(Some(me)));
        table.flights.insert(hash, flight.clone());
        drop(table);
        let mut lead = self.lead(hash, Some(flight));
        match self.lock_process(hash, gives_up)? {
            Some(locked) => {
                lead.locked = locked;
                lead._led = self.locks.as_ref().map(|locks| Led::note(locks, hash));
            }
            // Dropping the lead lands the flight: those who wait for it look again, and one of them leads.
            None => return Ok(Turn::GivenUp),
        }
        Ok(Turn::Lead(lead))
    }

    /// Takes the lead for a task, which is bound to no thread, unless somebody has it. Never waits.
    pub(crate) fn try_enter(self: &Arc<Self>, hash: KeyHash) -> Result<Option<Lead>> {
        let mut table = lock(&self.table);
        if table.flights.contains_key(&hash) {
            return Ok(None);
        }
        let flight = Arc::new(Flight::of(None));
        table.flights.insert(hash, flight.clone());
        drop(table);
        let mut lead = self.lead(hash, Some(flight));
        if let Some(locks) = &self.locks {
            lead.locked = locks.try_lock(offset(hash))?;
            // If another process has it, dropping the lead lands the flight.
            return Ok(lead.locked.then_some(lead));
        }
        Ok(Some(lead))
    }

    fn lead(self: &Arc<Self>, hash: KeyHash, flight: Option<Arc<Flight>>) -> Lead {
        Lead { flights: self.clone(), hash, flight, locked: false, _led: None, forks: fork::epoch() }
    }

    /// Whether the lock was taken, and not left to others that wait for this thread; `None` if that was given up.
    fn lock_process(&self, hash: KeyHash, gives_up: &dyn Fn() -> bool) -> Result<Option<bool>> {
        let Some(locks) = &self.locks else { return Ok(Some(false)) };
        if locks.try_lock(offset(hash))? {
            return Ok(Some(true));
        }
        let mut waiting = Waiting::start(locks, hash);
        let ([mut nap, longest], mut asked) = (NAPS, Instant::now());
        loop {
            std::thread::sleep(nap);
            nap = (nap * 2).min(longest);
            if locks.try_lock(offset(hash))? {
                return Ok(Some(true));
            }
            if waiting.as_mut().is_some_and(Waiting::is_circular) {
                // The function runs twice rather than never.
                return Ok(Some(false));
            }
            if asked.elapsed() >= ASKING_INTERVAL {
                asked = Instant::now();
                if gives_up() {
                    return Ok(None);
                }
            }
        }
    }
}

impl Table {
    /// Whether waiting for `flight` would, over any number of leaders, be waiting for oneself.
    fn would_deadlock(&self, flight: &Flight, me: ThreadId) -> bool {
        let mut leader = flight.leader;
        // Each step goes to another thread, so there are at most so many.
        for _ in 0..=self.waiting.len() {
            if leader == Some(me) {
                return true;
            }
            let Some(next) =
                leader.and_then(|thread| self.waiting.get(&thread)).and_then(|hash| self.flights.get(hash))
            else {
                return false;
            };
            leader = next.leader;
        }
        false
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.forks != fork::epoch() {
            // Inherited over a fork: the flight and its lock are the parent's.
            return;
        }
        if self.locked
            && let Some(locks) = &self.flights.locks
        {
            locks.unlock(offset(self.hash));
        }
        if let Some(flight) = &self.flight {
            lock(&self.flights.table).flights.remove(&self.hash);
            *lock(&flight.landed) = true;
            flight.landing.notify_all();
        }
    }
}

/// The upper half of all offsets, which are signed.
fn offset(hash: KeyHash) -> u64 {
    (1 << 62) + (hash.prefix() >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const A: KeyHash = KeyHash([1; 16]);
    const B: KeyHash = KeyHash([2; 16]);

    #[test]
    fn one_thread_leads_and_the_others_wait() {
        let flights = Flights::local();
        let led = AtomicUsize::new(0);
        let Turn::Lead(first) = flights.enter(A, &|| false).unwrap() else { panic!("nobody else is there") };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if let Turn::Lead(_) = flights.enter(A, &|| false).unwrap() {
                        led.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            drop(first);
        });
        assert_eq!(led.load(Ordering::SeqCst), 0);
        assert!(lock(&flights.table).waiting.is_empty());
    }

    #[test]
    fn a_lead_inside_its_own_lead_does_not_wait_for_itself() {
        let flights = Flights::local();
        let outer = flights.enter(A, &|| false).unwrap();
        let inner = flights.enter(A, &|| false).unwrap();
        assert!(matches!((&outer, &inner), (Turn::Lead(_), Turn::Lead(_))));
        drop(inner);
        assert!(lock(&flights.table).flights.contains_key(&A));
        drop(outer);
        assert!(lock(&flights.table).flights.is_empty());
    }

    #[test]
    fn two_threads_that_need_each_others_keys_both_go_on() {
        let flights = Flights::local();
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for (mine, other) in [(A, B), (B, A)] {
                let (flights, barrier) = (&flights, &barrier);
                scope.spawn(move || {
                    let lead = flights.enter(mine, &|| false).unwrap();
                    assert!(matches!(lead, Turn::Lead(_)));
                    barrier.wait();
                    drop(flights.enter(other, &|| false).unwrap());
                });
            }
        });
        assert!(lock(&flights.table).flights.is_empty());
    }

    #[test]
    fn a_task_takes_a_free_lead_without_waiting_and_is_bound_to_no_thread() {
        let flights = Flights::local();
        let lead = flights.try_enter(A).unwrap().expect("nobody else is there");
        assert!(flights.try_enter(A).unwrap().is_none(), "not even in the thread that leads");
        assert!(flights.try_enter(B).unwrap().is_some());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| matches!(flights.enter(A, &|| false).unwrap(), Turn::Waited));
            while lock(&flights.table).waiting.is_empty() {
                std::thread::yield_now();
            }
            scope.spawn(|| drop(lead)).join().unwrap();
            assert!(waiter.join().unwrap());
        });
        assert!(lock(&flights.table).flights.is_empty());
        let thread = flights.enter(A, &|| false).unwrap();
        assert!(flights.try_enter(A).unwrap().is_none());
        drop(thread);
        assert!(flights.try_enter(A).unwrap().is_some());
    }

    #[test]
    fn a_panic_in_the_lead_frees_the_key() {
        let flights = Flights::local();
        let inner = flights.clone();
        let thread = std::thread::spawn(move || {
            let _lead = inner.enter(A, &|| false).unwrap();
            panic!("as a loader might");
        });
        assert!(thread.join().is_err());
        assert!(matches!(flights.enter(A, &|| false).unwrap(), Turn::Lead(_)));
    }

    #[test]
    fn who_waits_can_give_up_and_is_not_counted_as_waiting_then() {
        let flights = Flights::local();
        let Turn::Lead(_lead) = flights.enter(A, &|| false).unwrap() else { panic!("nobody else is there") };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let asked = AtomicUsize::new(0);
                let gives_up = || asked.fetch_add(1, Ordering::SeqCst) == 1;
                assert!(matches!(flights.enter(A, &gives_up).unwrap(), Turn::GivenUp));
                asked.into_inner()
            });
            assert_eq!(other.join().unwrap(), 2);
        });
        assert!(lock(&flights.table).waiting.is_empty());
        assert!(lock(&flights.table).flights.contains_key(&A));
    }
}
