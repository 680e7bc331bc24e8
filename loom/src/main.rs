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

mod store {
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
}

mod tracing {
    macro_rules! info {
        ($($field:tt)*) => {};
    }
    pub(crate) use info;
}

mod layout {
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub(crate) struct KeyHash(pub(crate) [u8; 16]);

    impl KeyHash {
        pub(crate) fn prefix(&self) -> u64 {
            self.0[0].into()
        }
    }

    pub(crate) type Prefix = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
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

use access::{Access, AccessLog};
use chain::Chain;
use clock::Time;
use layout::KeyHash;
use loom::sync::Arc;
use loom::thread;
use quiet::{QuietRun, Standing};

const HASH: KeyHash = KeyHash([3; 16]);

fn main() {
    let all: [(&str, fn()); 8] = [
        ("a quiet run never reaches back over a commit that was not quiet", quiet_run),
        ("a chain covers no value from before another's commit", chain_after_another),
        ("a chain that goes on covers what it covered", chain_goes_on),
        ("an access beside a take is taken or waits", access_beside_take),
        ("two accesses of one moment are noted once, and none is lost", two_accesses),
        ("whoever sees the tail sees whole records before it", log::readers_see_whole_records),
        ("writers take turns, and each sees what it wrote", log::writers_take_turns),
        ("snapshots with one number of settings have the same settings", log::settings_have_a_number),
    ];
    for (promise, run) in all {
        loom::model(run);
        println!("{promise}: in every order");
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
