//! Single flight: of all threads and processes that miss a key at once, one runs the function.
//!
//! Among threads a table decides, among processes a lock on a byte of a file at an offset that derives from the key's
//! hash. The kernel frees the lock when its holder dies, so there is no lease to tune.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::fork;
use super::layout::KeyHash;
use super::process_lock::{Locked, ProcessLock};
use super::sync::{lock, wait_timeout};
use crate::error::Result;

/// How long a lead waits for the lock after the kernel saw a deadlock that can be one. The kernel's search is by process,
/// so between processes with several threads it can be wrong; after this time it is taken to be right, and the function
/// runs twice rather than never.
const DEADLOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often a thread that waits for another one asks whether to give up.
const ASKING_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) struct Flights {
    table: Mutex<Table>,
    /// Between processes; `None` where this process cannot write.
    lock: Option<ProcessLock>,
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

    /// Waits until it has landed; `false` if that was given up.
    fn wait(&self, gives_up: &dyn Fn() -> bool) -> bool {
        let mut landed = lock(&self.landed);
        while !*landed {
            landed = wait_timeout(&self.landing, landed, ASKING_INTERVAL);
            if !*landed {
                // Not under the lock, which the leader needs to land.
                drop(landed);
                if gives_up() {
                    return false;
                }
                landed = lock(&self.landed);
            }
        }
        true
    }
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
    forks: u64,
}

impl Flights {
    pub(crate) fn shared(lock: ProcessLock) -> Arc<Flights> {
        Arc::new(Flights { table: Mutex::default(), lock: Some(lock) })
    }

    pub(crate) fn local() -> Arc<Flights> {
        Arc::new(Flights { table: Mutex::default(), lock: None })
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
            let has_landed = flight.wait(gives_up);
            lock(&self.table).waiting.remove(&me);
            return Ok(if has_landed { Turn::Waited } else { Turn::GivenUp });
        }
        let flight = Arc::new(Flight::of(Some(me)));
        table.flights.insert(hash, flight.clone());
        drop(table);
        let mut lead = self.lead(hash, Some(flight));
        match self.lock_process(hash, gives_up)? {
            Some(locked) => lead.locked = locked,
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
        if let Some(process) = &self.lock {
            lead.locked = process.try_lock(offset(hash))?;
            // If another process has it, dropping the lead lands the flight.
            return Ok(lead.locked.then_some(lead));
        }
        Ok(Some(lead))
    }

    fn lead(self: &Arc<Self>, hash: KeyHash, flight: Option<Arc<Flight>>) -> Lead {
        Lead { flights: self.clone(), hash, flight, locked: false, forks: fork::epoch() }
    }

    /// Whether the lock was taken; `None` if that was given up.
    fn lock_process(&self, hash: KeyHash, gives_up: &dyn Fn() -> bool) -> Result<Option<bool>> {
        let Some(lock) = &self.lock else { return Ok(Some(false)) };
        match lock.lock(offset(hash), gives_up)? {
            Locked::Yes => return Ok(Some(true)),
            Locked::GivenUp => return Ok(None),
            Locked::Deadlock => {}
        }
        let mut suspicious: Option<Instant> = None;
        while !lock.try_lock(offset(hash))? {
            match self.can_be_waited_for(hash) {
                true if suspicious.get_or_insert_with(Instant::now).elapsed() > DEADLOCK_PATIENCE => {
                    return Ok(Some(false));
                }
                true => {}
                // The kernel saw other threads of this process; the function may take as long as it likes.
                false => suspicious = None,
            }
            if gives_up() {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(true))
    }

    /// Whether another process can be waiting, however indirectly, for the flight that this thread is about to lead: if
    /// this thread, or one that waits for it, leads another one. What a task waits for is not known here, so it counts.
    fn can_be_waited_for(&self, hash: KeyHash) -> bool {
        let me = std::thread::current().id();
        let table = lock(&self.table);
        let waits = |thread: &ThreadId| *thread == me || table.waiting.get(thread) == Some(&hash);
        table.flights.iter().any(|(other, flight)| *other != hash && flight.leader.as_ref().is_none_or(waits))
    }

    pub(crate) fn as_raw_fd(&self) -> Option<RawFd> {
        self.lock.as_ref().map(|lock| lock.file.as_raw_fd())
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
            && let Some(lock) = &self.flights.lock
        {
            lock.unlock(offset(self.hash));
        }
        if let Some(flight) = &self.flight {
            lock(&self.flights.table).flights.remove(&self.hash);
            *lock(&flight.landed) = true;
            flight.landing.notify_all();
        }
    }
}

/// Locks reach up to the largest file offset, which is signed.
fn offset(hash: KeyHash) -> u64 {
    hash.prefix() >> 2
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
    fn only_a_thread_inside_a_lead_or_waited_for_by_one_can_be_in_a_deadlock_between_processes() {
        const C: KeyHash = KeyHash([3; 16]);
        let flights = Flights::local();
        let lead = |hash| match flights.enter(hash, &|| false).unwrap() {
            Turn::Lead(lead) => lead,
            Turn::Waited | Turn::GivenUp => panic!("nobody else is there"),
        };
        let a = lead(A);
        assert!(!flights.can_be_waited_for(A));
        std::thread::scope(|scope| {
            let inner = flights.clone();
            scope.spawn(move || {
                let _b = inner.enter(B, &|| false).unwrap();
                assert!(matches!(inner.enter(A, &|| false).unwrap(), Turn::Waited));
            });
            // The other thread leads B and waits for A.
            while !lock(&flights.table).waiting.values().any(|hash| *hash == A) {
                std::thread::yield_now();
            }
            assert!(flights.can_be_waited_for(A));
            drop(a);
        });
        let _a = lead(A);
        let _c = lead(C);
        assert!(flights.can_be_waited_for(C));
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
