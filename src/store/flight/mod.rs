//! Single flight: of all threads, tasks and processes that miss a key at once, one runs the function.
//!
//! Within a process a table decides, among processes a lock on a byte of a file at an offset that derives from the key's
//! hash. The kernel frees the lock when its holder dies, so there is no lease to tune. Who waits for it tries again and
//! again: so it hears of signals, and finds circles.
//!
//! Those who wait for a key of this process stand in a line. When a lead lands, all of them look for the value; when it ends
//! without one, the next in line has it, and the others wait on. Whoever leaves the line, as a task that is dropped, passes
//! its turn on.
//!
//! A lead can also end with a failure, whatever that is to those who use it. Who stands in line then gets it; who comes later
//! does not.

mod circles;

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener, Listener};

use self::circles::{LeadNumber, Led, Waiting};
use super::directory::locks::LockFile;
use super::format::layout::KeyHash;
use super::process::fork;
use super::process::naps::{nap, napping};
use crate::error::Result;
use crate::sync::lock;

/// How often who waits asks whether to give up.
const ASKING_INTERVAL: Duration = Duration::from_millis(100);

/// Between two tries to get the lock of another process, at first and at last.
const NAPS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(5)];

/// So much longer a task naps for each that does: thousands that wait for other processes leave the processor to others.
const NAP_IN_A_CROWD: Duration = Duration::from_micros(20);

/// What a load ended with instead of a value, for those of the process who wait for it.
pub type LoadFailure = Arc<dyn Any + Send + Sync>;

type Ending = Arc<OnceLock<LoadFailure>>;

pub(crate) struct Flights {
    table: Mutex<Table>,
    /// Between processes; `None` where this process cannot write.
    locks: Option<Arc<LockFile>>,
}

#[derive(Default)]
struct Table {
    flights: HashMap<KeyHash, Flight>,
    /// For which flights the holder of each lead waits.
    waiting: HashMap<LeadNumber, Vec<KeyHash>>,
}

struct Flight {
    /// `None`: it ended without a value, and is the next one's in line or whoever comes first.
    leader: Option<LeadNumber>,
    line: Arc<Event>,
    /// How many stand in it.
    waiting: usize,
    ending: Ending,
}

/// What somebody finds who wants a key.
enum Found {
    Mine(Lead),
    /// The flight has landed for which it waited.
    Landed,
    /// It has a place in the line.
    Led,
}

pub(crate) enum Turn {
    /// Who asked is to look once more and then run the function.
    Lead(Lead),
    /// Somebody in this process has finished: look whether it succeeded.
    Waited,
    /// Somebody in this process has failed, for all who waited.
    Failed(LoadFailure),
    /// The caller did not want to wait any longer.
    GivenUp,
}

/// What a task finds that does not wait.
pub(crate) enum Tried {
    Lead(Lead),
    Led(Watch),
}

/// How the flight of somebody else goes, if that is one of this process.
pub(crate) struct Watch(Option<Ending>);

impl Watch {
    /// The failure it has ended with.
    pub(crate) fn failure(&self) -> Option<LoadFailure> {
        self.0.as_ref()?.get().cloned()
    }
}

/// The right to run the function for one key, until dropped.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    hash: KeyHash,
    /// Of several keys, if one load makes the values of all.
    number: LeadNumber,
    /// Not a lead inside another lead of the same thread or task, which stands in no table and holds no lock.
    is_flight: bool,
    locked: bool,
    /// So that whoever has the lead is seen to have it while it waits for another.
    led: Option<Arc<Led>>,
    has_landed: bool,
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
        let mut place = None;
        let mut lead = loop {
            match self.look(hash, &mut place) {
                Found::Mine(lead) => break lead,
                Found::Landed => return Ok(Place::landed(place.as_ref())),
                Found::Led => {}
            }
            if let Some(place) = &mut place {
                let was_called = place.wait();
                if !was_called && gives_up() {
                    return Ok(Turn::GivenUp);
                }
                if place.is_circular() {
                    return Ok(Turn::Lead(self.lead_beside(hash)));
                }
            }
        };
        if lead.is_flight {
            if !lead.lock_process(gives_up)? {
                return Ok(Turn::GivenUp);
            }
            lead.tell().note();
        }
        Ok(Turn::Lead(lead))
    }

    /// As [`enter`](Self::enter), for a task: waits without a thread. Whoever does not want to wait any longer drops it.
    pub(crate) async fn enter_as_task(self: &Arc<Self>, hash: KeyHash) -> Result<Turn> {
        let mut place = None;
        let mut lead = loop {
            match self.look(hash, &mut place) {
                Found::Mine(lead) => break lead,
                Found::Landed => return Ok(Place::landed(place.as_ref())),
                Found::Led => {}
            }
            if let Some(place) = &mut place {
                place.wait_as_task().await;
                if place.is_circular() {
                    return Ok(Turn::Lead(self.lead_beside(hash)));
                }
            }
        };
        if lead.is_flight {
            lead.lock_process_as_task().await?;
            lead.tell();
        }
        Ok(Turn::Lead(lead))
    }

    /// Takes the lead unless somebody has it. Never waits. The lead is of no thread.
    pub(crate) fn try_enter(self: &Arc<Self>, hash: KeyHash) -> Result<Tried> {
        let mut table = lock(&self.table);
        if let Some(flight) = table.flights.get(&hash).filter(|flight| flight.leader.is_some()) {
            return Ok(Tried::Led(Watch(Some(flight.ending.clone()))));
        }
        let mut lead = self.lead_in(&mut table, hash, LeadNumber::new());
        drop(table);
        // If another process has it, dropping the lead is its end.
        Ok(if lead.try_lock_process()? { Tried::Lead(lead) } else { Tried::Led(Watch(None)) })
    }

    /// As [`try_enter`](Self::try_enter), for several keys on behalf of one load. If it is one of this thread, what it waits for
    /// meanwhile is seen not to be waited for by itself. Leads that are not had among processes are of this one alone.
    pub(crate) fn try_enter_many(
        self: &Arc<Self>,
        hashes: &[KeyHash],
        among_processes: bool,
        of_thread: bool,
    ) -> Result<Vec<Tried>> {
        let number = LeadNumber::new();
        let (mut tried, mut is_noted) = (Vec::with_capacity(hashes.len()), false);
        for hash in hashes {
            let mut table = lock(&self.table);
            if let Some(flight) = table.flights.get(hash).filter(|flight| flight.leader.is_some()) {
                tried.push(Tried::Led(Watch(Some(flight.ending.clone()))));
                continue;
            }
            let mut lead = self.lead_in(&mut table, *hash, number);
            drop(table);
            if among_processes && !lead.try_lock_process()? {
                tried.push(Tried::Led(Watch(None)));
                continue;
            }
            if of_thread && (among_processes || !is_noted) {
                is_noted = true;
                lead.tell().note();
            }
            tried.push(Tried::Lead(lead));
        }
        Ok(tried)
    }

    /// Takes the lead if nobody has it. Else takes a place in the line, or keeps the one it has.
    fn look(self: &Arc<Self>, hash: KeyHash, place: &mut Option<Place>) -> Found {
        let mut table = lock(&self.table);
        let flight = table.flights.get(&hash);
        let flight = match place {
            Some(place) => match flight.filter(|flight| Arc::ptr_eq(&flight.line, &place.line)) {
                Some(flight) => Some(flight),
                None => return Found::Landed,
            },
            None => flight,
        };
        let leader = flight.and_then(|flight| flight.leader);
        let Some(leader) = leader else {
            return Found::Mine(self.lead_in(&mut table, hash, LeadNumber::new()));
        };
        let leads = place.as_ref().map_or_else(LeadNumber::here, |place| place.leads.clone());
        if table.would_deadlock(leader, &leads) {
            return Found::Mine(self.lead_beside(hash));
        }
        match place {
            Some(place) => place.turn = Some(place.line.listen()),
            None => {
                *place = table.line_up(self, hash, leads);
                drop(table);
                if let (Some(place), Some(locks)) = (place, &self.locks) {
                    place.told = Waiting::start(locks, hash);
                }
            }
        }
        Found::Led
    }

    /// The caller has seen that nobody has the lead.
    fn lead_in(self: &Arc<Self>, table: &mut Table, hash: KeyHash, number: LeadNumber) -> Lead {
        let lead = self.lead(hash, number, true);
        let new = || Flight { leader: None, line: Arc::default(), waiting: 0, ending: Ending::default() };
        table.flights.entry(hash).or_insert_with(new).leader = Some(lead.number);
        lead
    }

    /// For who would have to wait for itself: the function runs twice rather than never.
    fn lead_beside(self: &Arc<Self>, hash: KeyHash) -> Lead {
        self.lead(hash, LeadNumber::new(), false)
    }

    fn lead(self: &Arc<Self>, hash: KeyHash, number: LeadNumber, is_flight: bool) -> Lead {
        Lead {
            flights: self.clone(),
            hash,
            number,
            is_flight,
            locked: false,
            led: None,
            has_landed: false,
            forks: fork::epoch(),
        }
    }
}

impl Table {
    /// Whether waiting for `leader` would, over any number of leads, be waiting for one of `own`.
    fn would_deadlock(&self, leader: LeadNumber, own: &[LeadNumber]) -> bool {
        if own.is_empty() {
            return false;
        }
        let mut reached = vec![leader];
        let mut next = 0;
        while let Some(lead) = reached.get(next).copied() {
            next += 1;
            if own.contains(&lead) {
                return true;
            }
            let waits_for = self.waiting.get(&lead).into_iter().flatten();
            for leader in waits_for.filter_map(|hash| self.flights.get(hash)?.leader) {
                if !reached.contains(&leader) {
                    reached.push(leader);
                }
            }
        }
        false
    }

    fn line_up(&mut self, flights: &Arc<Flights>, hash: KeyHash, leads: Vec<LeadNumber>) -> Option<Place> {
        let flight = self.flights.get_mut(&hash)?;
        flight.waiting += 1;
        let (line, ending) = (flight.line.clone(), flight.ending.clone());
        for lead in &leads {
            self.waiting.entry(*lead).or_default().push(hash);
        }
        let turn = Some(line.listen());
        Some(Place {
            flights: flights.clone(),
            hash,
            line,
            ending,
            turn,
            leads,
            told: None,
            forks: fork::epoch(),
        })
    }
}

/// A place in the line of those who wait for a flight.
struct Place {
    flights: Arc<Flights>,
    hash: KeyHash,
    line: Arc<Event>,
    ending: Ending,
    /// Dropping one that was called calls the next.
    turn: Option<EventListener>,
    /// On whose behalf it waits.
    leads: Vec<LeadNumber>,
    told: Option<Waiting>,
    forks: u64,
}

impl Place {
    /// What became of the flight it stood in line for.
    fn landed(place: Option<&Place>) -> Turn {
        place
            .and_then(|place| place.ending.get())
            .map_or(Turn::Waited, |failure| Turn::Failed(failure.clone()))
    }

    /// Waits until it is called, or for a while. Returns `true` if it was called.
    fn wait(&mut self) -> bool {
        self.turn.take().is_some_and(|turn| turn.wait_timeout(ASKING_INTERVAL).is_some())
    }

    /// Waits until it is called; for a while only where that may be for itself.
    async fn wait_as_task(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        if self.told.is_none() {
            return turn.await;
        }
        let mut nap = pin!(nap(ASKING_INTERVAL));
        let mut turn = pin!(turn);
        let either = |context: &mut std::task::Context<'_>| match turn.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => nap.as_mut().poll(context),
        };
        poll_fn(either).await;
    }

    /// Whether it would have to wait for itself, over other processes or stores. What lies within one table is found before.
    fn is_circular(&mut self) -> bool {
        self.told.as_mut().is_some_and(Waiting::is_circular)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.forks != fork::epoch() {
            // Inherited over a fork: what it stands in can be locked for ever.
            std::mem::forget(self.turn.take());
            std::mem::forget(self.told.take());
            return;
        }
        let mut table = lock(&self.flights.table);
        let table = &mut *table;
        for lead in &self.leads {
            if let Some(flights) = table.waiting.get_mut(lead) {
                if let Some(at) = flights.iter().position(|hash| *hash == self.hash) {
                    flights.swap_remove(at);
                }
                if flights.is_empty() {
                    table.waiting.remove(lead);
                }
            }
        }
        let is_of = |flight: &&mut Flight| Arc::ptr_eq(&flight.line, &self.line);
        if let Some(flight) = table.flights.get_mut(&self.hash).filter(is_of) {
            flight.waiting -= 1;
            if flight.waiting == 0 && flight.leader.is_none() {
                table.flights.remove(&self.hash);
            }
        }
    }
}

impl Lead {
    /// For whoever does not know whether there is a value when it ends: all who wait look then.
    pub(crate) fn landing_anyhow(mut self) -> Lead {
        self.has_landed = true;
        self
    }

    /// Ends it, and lets all who wait for it look for the value.
    pub(crate) fn land(self) {
        drop(self.landing_anyhow());
    }

    /// Ends it with a failure, which all get who wait for it in this process.
    pub(crate) fn fail(self, failure: LoadFailure) {
        // The child of a fork has no part in it, and the table may be locked there for ever.
        if self.is_flight && self.forks == fork::epoch() {
            if let Some(flight) = lock(&self.flights.table).flights.get(&self.hash) {
                // It is the first: with it the flight ends.
                let _ = flight.ending.set(failure);
            }
            self.land();
        }
    }

    /// Whether somebody in this process waits for it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_flight
            && lock(&self.flights.table).flights.get(&self.hash).is_some_and(|flight| flight.waiting > 0)
    }

    /// Runs a future on behalf of this lead: what it waits for meanwhile is seen not to be waited for by itself.
    pub(crate) async fn run<F: Future>(&self, load: impl FnOnce() -> F) -> F::Output {
        let mut load = pin!(async { load().await });
        poll_fn(|context| {
            let _here = self.led.as_ref().map(Led::enter);
            load.as_mut().poll(context)
        })
        .await
    }

    fn try_lock_process(&mut self) -> Result<bool> {
        let Some(locks) = &self.flights.locks else { return Ok(true) };
        self.locked = locks.try_lock(offset(self.hash))?;
        Ok(self.locked)
    }

    /// From now on whoever has it is seen to have it.
    fn tell(&mut self) -> &Arc<Led> {
        let led = || Led::new(self.number, self.flights.locks.as_ref(), self.hash);
        self.led.get_or_insert_with(led)
    }

    /// Waits for the lock among processes; `false` if that was given up. Not taken if it would be a wait for itself.
    fn lock_process(&mut self, gives_up: &dyn Fn() -> bool) -> Result<bool> {
        if self.try_lock_process()? {
            return Ok(true);
        }
        let mut waiting = self.start_waiting();
        let ([mut nap, longest], mut asked) = (NAPS, Instant::now());
        loop {
            std::thread::sleep(nap);
            nap = (nap * 2).min(longest);
            if self.try_lock_process()? || waiting.as_mut().is_some_and(Waiting::is_circular) {
                return Ok(true);
            }
            if asked.elapsed() >= ASKING_INTERVAL {
                asked = Instant::now();
                if gives_up() {
                    return Ok(false);
                }
            }
        }
    }

    async fn lock_process_as_task(&mut self) -> Result<()> {
        if self.try_lock_process()? {
            return Ok(());
        }
        let mut waiting = self.start_waiting();
        let [mut time, longest] = NAPS;
        loop {
            nap(time).await;
            let crowd = u32::try_from(napping()).unwrap_or(u32::MAX);
            time = (time * 2).min(longest + NAP_IN_A_CROWD.saturating_mul(crowd));
            if self.try_lock_process()? || waiting.as_mut().is_some_and(Waiting::is_circular) {
                return Ok(());
            }
        }
    }

    fn start_waiting(&self) -> Option<Waiting> {
        self.flights.locks.as_ref().and_then(|locks| Waiting::start(locks, self.hash))
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
        if !self.is_flight {
            return;
        }
        let mut table = lock(&self.flights.table);
        let Some(flight) = table.flights.get_mut(&self.hash) else { return };
        let line = flight.line.clone();
        let is_over = self.has_landed || flight.waiting == 0;
        flight.leader = None;
        if is_over {
            table.flights.remove(&self.hash);
        }
        drop(table);
        line.notify(if is_over { usize::MAX } else { 1 });
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

    /// Until so many stand in line for the key.
    fn wait_for(flights: &Flights, waiting: usize) {
        while lock(&flights.table).flights.get(&A).map_or(0, |flight| flight.waiting) < waiting {
            std::thread::yield_now();
        }
    }

    fn tried(flights: &Arc<Flights>, hash: KeyHash) -> Option<Lead> {
        match flights.try_enter(hash).unwrap() {
            Tried::Lead(lead) => Some(lead),
            Tried::Led(_) => None,
        }
    }

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
            wait_for(&flights, 4);
            first.land();
        });
        assert_eq!(led.load(Ordering::SeqCst), 0);
        assert!(lock(&flights.table).flights.is_empty());
    }

    #[test]
    fn a_lead_that_ends_without_a_value_goes_from_one_in_line_to_the_next() {
        let flights = Flights::local();
        let (leading, led) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let Turn::Lead(first) = flights.enter(A, &|| false).unwrap() else { panic!("nobody else is there") };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let turn = flights.enter(A, &|| false).unwrap();
                    assert!(matches!(turn, Turn::Lead(_)));
                    assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                    led.fetch_add(1, Ordering::SeqCst);
                    leading.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                });
            }
            wait_for(&flights, 4);
            drop(first);
        });
        assert_eq!(led.load(Ordering::SeqCst), 4);
        assert!(lock(&flights.table).flights.is_empty());
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
        let lead = tried(&flights, A).expect("nobody else is there");
        assert!(tried(&flights, A).is_none(), "not even in the thread that leads");
        assert!(tried(&flights, B).is_some());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| matches!(flights.enter(A, &|| false).unwrap(), Turn::Waited));
            wait_for(&flights, 1);
            scope.spawn(|| lead.land()).join().unwrap();
            assert!(waiter.join().unwrap());
        });
        assert!(lock(&flights.table).flights.is_empty());
        let thread = flights.enter(A, &|| false).unwrap();
        assert!(tried(&flights, A).is_none());
        drop(thread);
        assert!(tried(&flights, A).is_some());
    }

    #[test]
    fn a_failure_is_of_all_who_wait_and_of_nobody_who_comes_later() {
        let flights = Flights::local();
        let Turn::Lead(first) = flights.enter(A, &|| false).unwrap() else { panic!("nobody else is there") };
        let Tried::Led(watch) = flights.try_enter(A).unwrap() else { panic!("somebody leads") };
        assert!(watch.failure().is_none());
        let failed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if let Turn::Failed(failure) = flights.enter(A, &|| false).unwrap() {
                        failed.fetch_add(*failure.downcast_ref().unwrap(), Ordering::SeqCst);
                    }
                });
            }
            wait_for(&flights, 4);
            first.fail(Arc::new(10_usize));
        });
        assert_eq!(failed.load(Ordering::SeqCst), 40);
        assert_eq!(watch.failure().and_then(|failure| failure.downcast_ref().copied()), Some(10_usize));
        assert!(lock(&flights.table).flights.is_empty());
        let next = tried(&flights, A);
        assert!(next.is_some());
        let Tried::Led(watch) = flights.try_enter(A).unwrap() else { panic!("somebody leads") };
        drop(next);
        assert!(watch.failure().is_none());
    }

    #[test]
    fn a_failure_beside_a_flight_is_its_own() {
        let flights = Flights::local();
        let Turn::Lead(_outer) = flights.enter(A, &|| false).unwrap() else { panic!("nobody else is there") };
        let Turn::Lead(inner) = flights.enter(A, &|| false).unwrap() else { panic!("it is beside its own") };
        inner.fail(Arc::new(1));
        let Tried::Led(watch) = flights.try_enter(A).unwrap() else { panic!("somebody leads") };
        assert!(watch.failure().is_none());
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
