//! Nobody waits for ever: every pair of public operations, and triples by chance, in threads and in processes that share a
//! store, under a watch that ends the test when one does not come back.
//!
//! `CACHEMERE_STRESS_SECONDS` says how long each of the two takes: else some seconds, or half an hour in the long form.
//! `CACHEMERE_STRESS_ONLY="update + fork"` does only that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "stress/operations.rs"]
mod operations;
#[path = "support/mod.rs"]
mod support;

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cachemere::Cache;
use operations::{Ground, OPERATIONS, Operation};
use support::{Random, Role, STUCK, hear, rounds, say, store};

fn main() -> ExitCode {
    support::run(
        &[("perform", perform)],
        &[
            ("operations_in_threads_do_not_wait_for_each_other_for_ever", threads),
            ("operations_in_processes_do_not_wait_for_each_other_for_ever", processes),
            ("any_operation_can_be_called_by_a_function_given_to_another", callbacks),
            ("any_operation_can_be_called_by_a_serializer", serializers),
        ],
    )
}

fn budget() -> Duration {
    let asked = std::env::var("CACHEMERE_STRESS_SECONDS").ok();
    Duration::from_secs(asked.map_or_else(|| rounds(8, 1800), |seconds| seconds.parse().unwrap()))
}

/// All pairs, an operation with itself too, in an order that differs each time, then some triples.
fn combinations(random: &mut Random) -> Vec<Vec<&'static Operation>> {
    if let Ok(only) = std::env::var("CACHEMERE_STRESS_ONLY") {
        return vec![only.split(" + ").map(Operation::named).collect()];
    }
    let mut pairs = Vec::new();
    for (at, first) in OPERATIONS.iter().enumerate() {
        pairs.extend(OPERATIONS[at..].iter().map(|second| vec![first, second]));
    }
    for last in (1..pairs.len()).rev() {
        pairs.swap(last, random.below(last as u64 + 1) as usize);
    }
    let any = |random: &mut Random| &OPERATIONS[random.below(OPERATIONS.len() as u64) as usize];
    let triples: Vec<_> =
        (0..pairs.len() as u64 / rounds(8, 1)).map(|_| (0..3).map(|_| any(random)).collect()).collect();
    pairs.into_iter().chain(triples).collect()
}

fn names(together: &[&Operation]) -> String {
    together.iter().map(|operation| operation.name).collect::<Vec<_>>().join(" + ")
}

/// Does something in threads, and waits for all of them, but not for ever.
fn watched(what: &str, threads: Vec<Box<dyn FnOnce() + Send>>) {
    let (send, done) = channel();
    let running: Vec<_> = threads
        .into_iter()
        .map(|thread| {
            let send = send.clone();
            std::thread::spawn(move || {
                let _send = send;
                thread();
            })
        })
        .collect();
    drop(send);
    if done.recv_timeout(STUCK) == Err::<(), _>(RecvTimeoutError::Timeout) {
        eprintln!("stuck: {what}, in process {}", std::process::id());
        keep_for_a_debugger();
        std::process::abort();
    }
    for thread in running {
        thread.join().unwrap_or_else(|_| panic!("{what} failed"));
    }
}

fn keep_for_a_debugger() {
    if std::env::var_os("CACHEMERE_STRESS_KEEP").is_some() {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Does it until the time is over, at least once.
fn repeat(operation: &Operation, ground: &Ground, seed: u64, until: Instant) {
    let mut random = Random(seed);
    loop {
        operation.perform(ground, &mut random);
        if Instant::now() >= until {
            return;
        }
    }
}

fn threads() {
    let (_dir, path) = store();
    let ground = Arc::new(Ground::open(&path));
    let mut random = Random::new();
    let all = combinations(&mut random);
    let each = budget() / all.len() as u32;
    let begun = Instant::now();
    for together in &all {
        let until = Instant::now() + each;
        let thread = |operation: &&'static Operation| -> Box<dyn FnOnce() + Send> {
            let (operation, ground, seed) = (*operation, ground.clone(), random.next());
            Box::new(move || repeat(operation, &ground, seed, until))
        };
        watched(&names(together), together.iter().map(thread).collect());
    }
    eprintln!("{} combinations in threads took {:?}", all.len(), begun.elapsed());
}

/// Does what it is told for so many milliseconds, again and again.
fn perform(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    let ground = Ground::open(path.as_ref());
    say("open");
    while let Some(line) = hear() {
        let (millis, name) = line.split_once(' ').unwrap();
        let until = Instant::now() + Duration::from_millis(millis.parse().unwrap());
        repeat(Operation::named(name), &ground, Random::new().next(), until);
        say("done");
    }
}

fn processes() {
    let (_dir, path) = store();
    let mut others: Vec<Role> = (0..3).map(|_| Role::start("perform", &[path.to_str().unwrap()])).collect();
    others.iter().for_each(|role| role.expect("open"));
    let mut random = Random::new();
    let all = combinations(&mut random);
    let each = (budget() / all.len() as u32).as_millis();
    let begun = Instant::now();
    for together in &all {
        for (operation, role) in together.iter().zip(&mut others) {
            role.say(&format!("{each} {}", operation.name));
        }
        for (_, role) in together.iter().zip(&others) {
            if role.line_within(STUCK).as_deref() != Some("done") {
                eprintln!("stuck or failed: {}, in process {}", names(together), role.pid());
                keep_for_a_debugger();
                panic!("{}", names(together));
            }
        }
    }
    eprintln!("{} combinations in processes took {:?}", all.len(), begun.elapsed());
    others.into_iter().for_each(Role::join);
    let ground = Ground::open(&path);
    Operation::named("verify").perform(&ground, &mut random);
}

/// What is done to a store by code of the user's, in the middle of an operation.
fn callbacks() {
    for inner in OPERATIONS {
        let (_dir, path) = store();
        let ground = Arc::new(Ground::open(&path));
        let inside = |ground: &Arc<Ground>| {
            let ground = ground.clone();
            move || inner.perform(&ground, &mut Random(1))
        };
        let update: Box<dyn FnOnce() + Send> = Box::new({
            let (inside, path) = (inside(&ground), path.clone());
            move || {
                let cache = numbers(&path);
                let changed = cache.update(&1, |present| {
                    inside();
                    Some(present.map_or(0, |number| number + 1))
                });
                assert!(changed.unwrap().is_some());
            }
        });
        let load: Box<dyn FnOnce() + Send> = Box::new({
            let inside = inside(&ground);
            move || {
                let cache = numbers(&path);
                let loaded = cache.get_or_insert_with(&2, || {
                    inside();
                    2
                });
                assert_eq!(loaded.unwrap(), 2);
            }
        });
        watched(&format!("{} in update", inner.name), vec![update]);
        watched(&format!("{} in a load", inner.name), vec![load]);
    }
}

fn numbers(path: &std::path::Path) -> Cache<u64, u64> {
    Cache::builder(path).namespace("numbers").encryption(cachemere::Secret::key([7; 32])).open().unwrap()
}

thread_local! {
    static MEDDLES: Cell<bool> = const { Cell::new(false) };
}
static MEDDLED: Mutex<Option<(Arc<Ground>, &Operation)>> = Mutex::new(None);

/// A value whose code uses the store that it is in.
#[derive(PartialEq, Debug)]
struct Meddler(u64);

fn meddle() {
    let meddled = MEDDLED.lock().unwrap().clone();
    if let Some((ground, operation)) = meddled.filter(|_| !MEDDLES.replace(true)) {
        operation.perform(&ground, &mut Random(2));
        MEDDLES.set(false);
    }
}

impl Clone for Meddler {
    fn clone(&self) -> Meddler {
        meddle();
        Meddler(self.0)
    }
}

impl serde::Serialize for Meddler {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        meddle();
        serializer.serialize_u64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Meddler {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Meddler, D::Error> {
        meddle();
        serde::Deserialize::deserialize(deserializer).map(Meddler)
    }
}

fn serializers() {
    for operation in OPERATIONS {
        let (_dir, path) = store();
        let ground = Arc::new(Ground::open(&path));
        *MEDDLED.lock().unwrap() = Some((ground.clone(), operation));
        let use_it: Box<dyn FnOnce() + Send> = Box::new(move || {
            let builder = Cache::builder(&path).namespace("meddlers");
            let cache: Cache<u64, Meddler> =
                builder.encryption(cachemere::Secret::key([7; 32])).open().unwrap();
            cache.insert(&1, &Meddler(1)).unwrap();
            assert_eq!(cache.get(&1).unwrap(), Some(Meddler(1)));
            // From the front.
            assert_eq!(cache.get(&1).unwrap(), Some(Meddler(1)));
            assert_eq!(cache.get_many([1]).unwrap(), [Some(Meddler(1))]);
            assert_eq!(cache.get_or_insert_with(&2, || Meddler(2)).unwrap(), Meddler(2));
            assert!(cache.compare_and_set(&1, Some(&Meddler(1)), Some(&Meddler(3))).unwrap());
            assert_eq!(cache.update(&1, |_| Some(Meddler(4))).unwrap(), Some(Meddler(4)));
            assert_eq!(cache.iter().count(), 2);
            assert_eq!(cache.pop_newest().unwrap(), Some((2, Meddler(2))));
            assert_eq!(cache.take(&1).unwrap(), Some(Meddler(4)));
        });
        watched(&format!("{} in a serializer", operation.name), vec![use_it]);
    }
    *MEDDLED.lock().unwrap() = None;
}
