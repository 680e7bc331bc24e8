//! Runs what threads share without a lock in every order in which they can run, and holds it to what it promises.
//!
//! The sources are the engine's (see `build.rs`); around them stands as little as they need.
#![allow(dead_code, unused_imports)]

mod clock {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
    pub(crate) struct Time(pub(crate) u64);
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub(crate) struct Span(pub(crate) u64);
}

mod error {
    #[derive(Debug)]
    pub(crate) enum Error {
        NotFound {},
        Damaged(String),
    }

    impl Error {
        pub(crate) fn damaged(what: impl Into<String>) -> Error {
            Error::Damaged(what.into())
        }
    }

    pub(crate) type Result<T> = std::result::Result<T, Error>;
}

mod log;

mod tracing {
    macro_rules! info {
        ($($field:tt)*) => {};
    }
    pub(crate) use info;
}

mod store {
    pub(crate) mod directory {
        pub(crate) mod store_dir {
            use std::path::Path;

            use loom::sync::{Mutex, MutexGuard};

            use crate::log::segment::Segment;

            /// The files of the log, by number.
            pub(crate) struct StoreDir(Mutex<Vec<Segment>>);

            impl StoreDir {
                pub(crate) fn with(first: Segment) -> StoreDir {
                    StoreDir(Mutex::new(vec![first]))
                }

                pub(crate) fn files(&self) -> MutexGuard<'_, Vec<Segment>> {
                    self.0.lock().unwrap()
                }

                pub(crate) fn add(&self, segment: Segment) {
                    self.files().push(segment);
                }

                pub(crate) fn path(&self) -> &Path {
                    Path::new("a store")
                }
            }
        }

        pub(crate) mod locks {
            pub(crate) enum LockFile {}

            impl LockFile {
                pub(crate) fn try_lock(&self, _: u64) -> crate::error::Result<bool> {
                    match *self {}
                }

                pub(crate) fn unlock(&self, _: u64) {
                    match *self {}
                }
            }
        }
    }

    pub(crate) mod process {
        pub(crate) mod fork {
            pub(crate) fn epoch() -> u64 {
                0
            }
        }

        pub(crate) mod naps {
            pub(crate) async fn nap(_: std::time::Duration) {
                unreachable!("nobody waits for another process");
            }

            pub(crate) fn napping() -> usize {
                0
            }
        }
    }

    pub(crate) mod flight {
        /// Of a lead that is of no thread, in a store that no other process has.
        mod circles {
            use std::sync::atomic::{AtomicU64, Ordering};

            use loom::sync::Arc;

            use crate::store::directory::locks::LockFile;
            use crate::store::format::layout::KeyHash;

            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
            pub(crate) struct LeadNumber(u64);

            impl LeadNumber {
                pub(crate) fn new() -> LeadNumber {
                    static LEADS: AtomicU64 = AtomicU64::new(0);
                    LeadNumber(LEADS.fetch_add(1, Ordering::Relaxed))
                }

                pub(crate) fn here() -> Vec<LeadNumber> {
                    Vec::new()
                }
            }

            pub(crate) struct Led;

            impl Led {
                pub(crate) fn new(_: LeadNumber, _: Option<&Arc<LockFile>>, _: KeyHash) -> Arc<Led> {
                    Arc::new(Led)
                }

                pub(crate) fn note(&self) {}

                pub(crate) fn enter(led: &Arc<Led>) -> Arc<Led> {
                    led.clone()
                }
            }

            pub(crate) enum Waiting {}

            impl Waiting {
                pub(crate) fn start(_: &Arc<LockFile>, _: KeyHash) -> Option<Waiting> {
                    None
                }

                pub(crate) fn is_circular(&mut self) -> bool {
                    match *self {}
                }
            }
        }

        include!(concat!(env!("OUT_DIR"), "/flight.rs"));

        impl Flights {
            /// Whether nobody leads or stands in line.
            pub(crate) fn is_idle(&self) -> bool {
                let table = lock(&self.table);
                table.flights.is_empty() && table.waiting.is_empty()
            }
        }
    }

    pub(crate) mod format {
        pub(crate) mod layout {
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
            pub(crate) struct KeyHash(pub(crate) [u8; 16]);

            impl KeyHash {
                pub(crate) fn prefix(&self) -> u64 {
                    self.0[0].into()
                }
            }

            pub(crate) type Prefix = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
        }
    }
}

mod sync {
    use std::path::Path;

    pub(crate) fn lock<T>(mutex: &loom::sync::Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }

    #[derive(Default)]
    pub(crate) struct SlowMutex;
    pub(crate) struct SlowGuard<'a>(&'a SlowMutex);

    impl SlowMutex {
        pub(crate) fn take(&self, _: &Path) -> crate::error::Result<SlowGuard<'_>> {
            Ok(SlowGuard(self))
        }
    }
}

mod quiet {
    include!(concat!(env!("OUT_DIR"), "/quiet.rs"));
}

mod access {
    include!(concat!(env!("OUT_DIR"), "/access.rs"));
}

mod chain {
    use loom::sync::atomic::{AtomicU64, Ordering};

    use crate::quiet::Standing;

    include!(concat!(env!("OUT_DIR"), "/chain.rs"));
}

use std::future::Future;
use std::task::{Context, Waker};

use access::{Access, AccessLog};
use chain::Chain;
use clock::Time;
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use quiet::{QuietRun, Standing};
use store::flight::{Flights, Lead, Tried, Turn};
use store::format::layout::KeyHash;

const HASH: KeyHash = KeyHash([3; 16]);

fn main() {
    let all: [(&str, fn(), Option<usize>); 12] = [
        ("a quiet run never reaches back over a commit that was not quiet", quiet_run, None),
        ("a chain covers no value from before another's commit", chain_after_another, None),
        ("a chain that goes on covers what it covered", chain_goes_on, None),
        ("an access beside a take is taken or waits", access_beside_take, None),
        ("two accesses of one moment are noted once, and none is lost", two_accesses, None),
        ("of tasks that want one key, one leads at a time, and all come to an end", tasks_of_one_key, FLIGHT),
        ("a lead that ends without a value goes to the task in line", task_in_line, FLIGHT),
        ("who is in line when a lead lands looks for the value, or leads", landing, FLIGHT),
        ("a task that is dropped in line passes its turn on", dropped_in_line, FLIGHT),
        ("whoever sees the tail sees whole records before it", log::readers_see_whole_records, None),
        ("writers take turns, and each sees what it wrote", log::writers_take_turns, None),
        ("snapshots with one number of settings have the same settings", log::settings_have_a_number, None),
    ];
    for (promise, run, preemptions) in all {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = preemptions;
        model.check(run);
        let most = preemptions.map_or(String::new(), |most| format!(" with at most {most} preemptions"));
        println!("{promise}: in every order{most}");
    }
    for place in log::DEATHS {
        // All orders of three threads would take hours: those with up to three interruptions.
        let mut some = loom::model::Builder::new();
        some.preemption_bound = Some(3);
        some.check(move || log::killed_writer(place));
        println!(
            "a writer killed where {place:?} loses nothing that was acknowledged: with up to three interruptions"
        );
    }
}

/// The line is a list behind a lock of its own, with more steps than could be tried in all orders.
const FLIGHT: Option<usize> = Some(4);

fn quiet_run() {
    let run = Arc::new(QuietRun::default());
    // 8 was quiet, 9 was not.
    run.extend(7, 8);
    let writer = thread::spawn({
        let run = run.clone();
        move || run.extend(9, 10)
    });
    for token in [8, 10] {
        let since = run.standing(token).since;
        // A start that is too new for the token costs a look. One that is too old would be a stale read.
        assert!(since >= if token == 8 { 7 } else { 9 }, "{since} for {token}");
    }
    writer.join().unwrap();
    assert_eq!(run.standing(10).since, 9);
}

fn chain_after_another() {
    let chain = Arc::new(Chain::default());
    chain.restart(5);
    // 6 was committed by another handle; 7 is this one's.
    let writer = thread::spawn({
        let chain = chain.clone();
        move || {
            chain.begin();
            chain.extend(6, 7);
        }
    });
    assert!(!chain.covers(5, Standing { token: 7, since: 7 }));
    writer.join().unwrap();
    assert!(!chain.covers(5, Standing { token: 7, since: 7 }));
    assert!(chain.covers(7, Standing { token: 7, since: 7 }));
}

fn chain_goes_on() {
    let chain = Arc::new(Chain::default());
    chain.restart(5);
    let writer = thread::spawn({
        let chain = chain.clone();
        move || {
            chain.begin();
            chain.extend(5, 6);
        }
    });
    // The snapshot that both are in is that of 5 or that of 6.
    assert!(chain.covers(5, Standing { token: 6, since: 5 }));
    writer.join().unwrap();
    assert!(chain.covers(5, Standing { token: 6, since: 6 }));
    assert_eq!(chain.drops(), 1);
}

fn access_beside_take() {
    let log = Arc::new(AccessLog::default());
    let access = Arc::new(Access::default());
    log.note(HASH, &access, Time(1));
    let taker = thread::spawn({
        let log = log.clone();
        move || log.take()
    });
    log.note(HASH, &access, Time(2));
    let taken = taker.join().unwrap();
    assert_eq!(log.pending(HASH), Some(Time(2)), "lost; taken were {taken:?}");
}

fn two_accesses() {
    let log = Arc::new(AccessLog::default());
    let access = Arc::new(Access::default());
    let other = thread::spawn({
        let (log, access) = (log.clone(), access.clone());
        move || log.note(HASH, &access, Time(1))
    });
    log.note(HASH, &access, Time(1));
    other.join().unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log.take(), vec![(HASH, Time(1))]);
}

/// Leads if it comes to that, beside nobody; whether it did.
fn lead_or_wait(flights: &std::sync::Arc<Flights>, leading: &AtomicUsize, lands: bool) -> bool {
    match block_on(flights.enter_as_task(HASH)).unwrap() {
        Turn::Lead(lead) => {
            assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead");
            leading.fetch_sub(1, Ordering::SeqCst);
            if lands {
                lead.land()
            } else {
                drop(lead)
            }
            true
        }
        Turn::Waited => false,
        Turn::Failed(_) => unreachable!("none of them fails"),
        Turn::GivenUp => unreachable!("a task that gives up is dropped"),
    }
}

fn lead(flights: &std::sync::Arc<Flights>) -> Lead {
    match flights.try_enter(HASH).unwrap() {
        Tried::Lead(lead) => lead,
        Tried::Led(_) => unreachable!("nobody else is there"),
    }
}

fn tasks_of_one_key() {
    let (flights, leading) = (Flights::local(), Arc::new(AtomicUsize::new(0)));
    let other = thread::spawn({
        let (flights, leading) = (flights.clone(), leading.clone());
        move || lead_or_wait(&flights, &leading, false)
    });
    let led = lead_or_wait(&flights, &leading, true);
    // The other one has no value, so nobody finds that it landed.
    assert!(led);
    other.join().unwrap();
    assert!(flights.is_idle());
}

fn task_in_line() {
    let (flights, leading) = (Flights::local(), Arc::new(AtomicUsize::new(0)));
    let first = lead(&flights);
    let next = thread::spawn({
        let (flights, leading) = (flights.clone(), leading.clone());
        move || lead_or_wait(&flights, &leading, true)
    });
    drop(first);
    assert!(next.join().unwrap());
    assert!(flights.is_idle());
}

fn landing() {
    let (flights, leading) = (Flights::local(), Arc::new(AtomicUsize::new(0)));
    let first = lead(&flights);
    let next = thread::spawn({
        let (flights, leading) = (flights.clone(), leading.clone());
        move || lead_or_wait(&flights, &leading, true)
    });
    first.land();
    // It stood in line, or came later and leads.
    next.join().unwrap();
    assert!(flights.is_idle());
}

fn dropped_in_line() {
    let (flights, leading) = (Flights::local(), Arc::new(AtomicUsize::new(0)));
    let first = lead(&flights);
    let mut dropped = Box::pin({
        let flights = flights.clone();
        async move { flights.enter_as_task(HASH).await.map(drop) }
    });
    let mut context = Context::from_waker(Waker::noop());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    let next = thread::spawn({
        let (flights, leading) = (flights.clone(), leading.clone());
        move || lead_or_wait(&flights, &leading, true)
    });
    let dropping = thread::spawn(move || drop(dropped));
    drop(first);
    dropping.join().unwrap();
    assert!(next.join().unwrap());
    assert!(flights.is_idle());
}
