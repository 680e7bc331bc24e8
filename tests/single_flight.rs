//! Single flight: of all threads and processes that miss a key at once, one runs the function.

#[path = "support/mod.rs"]
mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cachemere::{Cache, Error, Secret};
use support::{Role, STUCK, hear, rounds, say, store};

const PROCESSES: usize = 8;
const THREADS: usize = 4;

fn main() -> ExitCode {
    support::run(
        &[("load", load), ("cross", cross)],
        &[
            ("many_processes_and_threads_run_a_function_once", || once(false)),
            ("an_encrypted_store_has_single_flight_too", || once(true)),
            ("when_the_loading_process_is_killed_another_takes_over_at_once", takes_over),
            ("slow_functions_of_several_keys_run_once_each", slow),
            ("an_error_is_not_kept_and_the_next_one_runs_its_own_function", errors),
            ("a_panic_frees_the_key", panics),
            ("a_function_may_use_the_cache_even_for_its_own_key", recursion),
        ],
    )
}

fn open(path: &Path, encrypted: bool) -> Cache<str, String> {
    let builder = Cache::builder(path);
    if encrypted { builder.encryption(Secret::key([4; 32])) } else { builder }.open().unwrap()
}

/// Notes a run of the function for a key, in one write at the end of a file.
fn note_run(dir: &Path, key: &str) {
    let file = OpenOptions::new().append(true).create(true).open(dir.join(format!("runs of {key}")));
    file.unwrap().write_all(format!("{:>9}\n", std::process::id()).as_bytes()).unwrap();
}

/// The processes that ran the function, in turn.
fn runs(dir: &Path, key: &str) -> Vec<u32> {
    let noted = std::fs::read_to_string(dir.join(format!("runs of {key}"))).unwrap_or_default();
    noted.lines().map(|pid| pid.trim().parse().unwrap()).collect()
}

/// For each key it hears, misses it in several threads at once and says what all of them got.
fn load(arguments: &[String]) {
    let [path, notes, encrypted] = arguments else { panic!("{arguments:?}") };
    let (notes, cache) = (Path::new(notes), open(Path::new(path), encrypted == "true"));
    say("ready");
    while let Some(key) = hear() {
        let barrier = Barrier::new(THREADS);
        let got: Vec<String> = std::thread::scope(|scope| {
            let threads = [(); THREADS].map(|()| {
                scope.spawn(|| {
                    barrier.wait();
                    let value = cache.get_or_insert_with(key.as_str(), || {
                        note_run(notes, &key);
                        // The first one of all is in no hurry to end; whoever takes over is.
                        let first = runs(notes, &key)[0] == std::process::id();
                        let time = if key.starts_with("endless") && first { 1_000_000 } else { 30 };
                        std::thread::sleep(Duration::from_millis(time));
                        format!("{key} of {}", std::process::id())
                    });
                    value.unwrap()
                })
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert!(got.iter().all(|one| *one == got[0]), "{got:?}");
        say(&got[0]);
    }
}

fn loaders(path: &Path, notes: &Path, encrypted: bool) -> Vec<Role> {
    let (path, notes) = (path.to_str().unwrap(), notes.to_str().unwrap());
    let encrypted = encrypted.to_string();
    let all: Vec<Role> = (0..PROCESSES).map(|_| Role::start("load", &[path, notes, &encrypted])).collect();
    all.iter().for_each(|role| role.expect("ready"));
    all
}

fn once(encrypted: bool) {
    let (dir, path) = store();
    let mut all = loaders(&path, dir.path(), encrypted);
    let keys = rounds(10, 200);
    for n in 0..keys {
        let key = format!("key {n}");
        all.iter_mut().for_each(|role| role.say(&key));
        let got: Vec<String> = all.iter().map(|role| role.line().unwrap()).collect();
        let runs = runs(dir.path(), &key);
        assert_eq!(runs.len(), 1, "{key}: {runs:?}");
        assert!(got.iter().all(|got| *got == format!("{key} of {}", runs[0])), "{got:?}");
    }
    all.into_iter().for_each(Role::join);
    eprintln!("{keys} keys, each missed by {PROCESSES} processes with {THREADS} threads: one run each");
}

fn takes_over() {
    let (dir, path) = store();
    let mut all = loaders(&path, dir.path(), false);
    let mut slowest = Duration::ZERO;
    for n in 0..rounds(4, 6) {
        let key = format!("endless {n}");
        all.iter_mut().for_each(|role| role.say(&key));
        let since = Instant::now();
        let first = loop {
            if let Some(first) = runs(dir.path(), &key).first() {
                break *first;
            }
            assert!(since.elapsed() < STUCK, "nobody runs the function");
            std::thread::sleep(Duration::from_millis(1));
        };
        // Give the others a moment to be waiting: the promise is the same when they are not.
        std::thread::sleep(Duration::from_millis(100));
        let leader = all.iter().position(|role| role.pid() == first).unwrap();
        all.remove(leader).kill();
        let killed = Instant::now();
        let got: Vec<String> = all.iter().map(|role| role.line().unwrap()).collect();
        slowest = slowest.max(killed.elapsed());
        let runs = runs(dir.path(), &key);
        assert_eq!(runs.len(), 2, "{runs:?}");
        assert!(got.iter().all(|got| *got == format!("{key} of {}", runs[1])), "{got:?}");
    }
    eprintln!("after a kill all others had the value within {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    all.into_iter().for_each(Role::join);
}

/// Loads one key and waits for the other in a second thread, so that each process waits for the other.
fn cross(arguments: &[String]) {
    let [path, notes, mine, other] = arguments else { panic!("{arguments:?}") };
    let (notes, cache) = (Path::new(notes), open(Path::new(path), false));
    let load = |key: &str| {
        let value = cache.get_or_insert_with(key, || {
            note_run(notes, key);
            if key == mine {
                say("loading");
            }
            // Longer than a lead waits when it has reason to think that there is a deadlock.
            std::thread::sleep(Duration::from_millis(6500));
            key.to_owned()
        });
        assert_eq!(value.unwrap(), key);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| load(mine));
        hear();
        scope.spawn(|| load(other));
    });
    say("done");
}

fn slow() {
    let (dir, path) = store();
    let keys = ["a", "b", "c"];
    let mut all: Vec<Role> = (0..3)
        .map(|n| {
            let (mine, other) = (keys[n], keys[(n + 1) % 3]);
            Role::start("cross", &[path.to_str().unwrap(), dir.path().to_str().unwrap(), mine, other])
        })
        .collect();
    all.iter().for_each(|role| role.expect("loading"));
    all.iter_mut().for_each(|role| role.say("now wait for the other"));
    all.iter().for_each(|role| role.expect("done"));
    all.into_iter().for_each(Role::join);
    for key in keys {
        assert_eq!(runs(dir.path(), key).len(), 1, "runs of {key}");
    }
}

fn errors() {
    let (_dir, path) = store();
    let cache = open(&path, false);
    let barrier = Barrier::new(THREADS);
    let run = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                let got = cache.try_get_or_insert_with("key", || {
                    run.fetch_add(1, Ordering::SeqCst);
                    Err::<String, Error>(Error::EmptyKey)
                });
                assert!(matches!(got, Err(Error::EmptyKey)));
            });
        }
    });
    assert_eq!(run.load(Ordering::SeqCst), THREADS as u32, "each ran its own function");
    assert_eq!(cache.get("key").unwrap(), None);
    assert_eq!(cache.get_or_insert_with("key", || "good".to_owned()).unwrap(), "good");
    assert_eq!(cache.get("key").unwrap().as_deref(), Some("good"));
}

fn panics() {
    let (_dir, path) = store();
    let cache = open(&path, false);
    let loading = Barrier::new(2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            cache.get_or_insert_with("key", || {
                loading.wait();
                std::panic::resume_unwind(Box::new("as a loader might"))
            })
        });
        loading.wait();
        let second = scope.spawn(|| cache.get_or_insert_with("key", || "second".to_owned()).unwrap());
        assert!(first.join().is_err());
        assert_eq!(second.join().unwrap(), "second");
    });
    assert!(cache.verify().unwrap().is_clean());
}

fn recursion() {
    let (_dir, path) = store();
    let cache = open(&path, false);
    let got = cache.get_or_insert_with("outer", || {
        cache.insert("beside", &"1".to_owned()).unwrap();
        let inner = cache.get_or_insert_with("inner", || "2".to_owned()).unwrap();
        let own = cache.get_or_insert_with("outer", || "3".to_owned()).unwrap();
        format!("{inner}{own}")
    });
    assert_eq!(got.unwrap(), "23");
    assert_eq!(cache.get("outer").unwrap().as_deref(), Some("23"));
    assert_eq!(cache.get("beside").unwrap().as_deref(), Some("1"));
    // Two threads, each of which needs the other's key while it loads its own, both go on.
    let barrier = Barrier::new(2);
    let since = Instant::now();
    std::thread::scope(|scope| {
        for (mine, other) in [("x", "y"), ("y", "x")] {
            let (cache, barrier) = (&cache, &barrier);
            scope.spawn(move || {
                let got = cache.get_or_insert_with(mine, || {
                    barrier.wait();
                    cache.get_or_insert_with(other, || "by the other".to_owned()).unwrap()
                });
                assert_eq!(got.unwrap(), "by the other");
            });
        }
    });
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}
