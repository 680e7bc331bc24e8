//! Fork: a forked child uses the inherited handle as if it were its own, whatever the parent's threads were doing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unsafe_code,
    missing_docs
)]

#[path = "support/front.rs"]
mod front;
#[path = "support/mod.rs"]
mod support;
#[path = "support/versions.rs"]
mod versions;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cachemere::{Cache, Durability, Secret};
use front::front;
use support::{Random, Role, rounds, say, store};
use versions::{Board, Reader, Versions, Writer, value};

/// Keys 0 to 31 are written by the parent's threads, 32 to 47 by its children, one after the other.
const KEYS: u32 = 48;
/// A counter that everybody raises, and that is not on the board.
const COUNTER: u32 = 1000;
/// How long a child may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    support::run(
        &[("fork", fork_often), ("orphan", orphan), ("outlive", outlive), ("probe", probe), ("rekey", rekey)],
        &[
            ("parent_and_child_both_read_and_write_after_a_fork", || all("plain", rounds(100, 1000))),
            ("a_fork_of_an_encrypted_store_works", || all("encrypted", rounds(20, 200))),
            ("a_fork_with_synced_writes_works", || all("synced", rounds(6, 60))),
            ("a_fork_without_a_front_works", || all("frontless", rounds(10, 200))),
            ("a_child_that_never_uses_the_cache_harms_nobody", || played("orphan", "unused")),
            ("a_child_that_runs_another_program_harms_nobody", || played("orphan", "exec")),
            ("a_child_that_drops_or_closes_the_handle_harms_nobody", || played("orphan", "drop")),
            ("a_child_of_a_child_works_too", || played("orphan", "nested")),
            ("a_child_leaves_the_temporary_store_of_its_parent_alone", temporary),
            ("a_child_goes_on_when_its_parent_is_gone", outlives),
            ("a_child_that_the_c_library_knows_nothing_of_writes_nothing_by_its_parents_handle", unknown),
            ("a_child_does_not_use_keys_that_its_parent_has_replaced", || {
                let (_dir, path) = store();
                Role::start("rekey", &[path.to_str().unwrap()]).join();
            }),
        ],
    )
}

fn open(path: &Path, variant: &str) -> Versions {
    let builder = Cache::builder(path).front(front());
    match variant {
        "encrypted" => builder.encryption(Secret::key([9; 32])),
        "synced" => builder.durability(Durability::Sync),
        "frontless" => builder.front_bytes(0),
        // Small enough for the front's bookkeeping to have work all the time.
        _ => builder.front_bytes(20_000),
    }
    .open()
    .unwrap()
}

/// Forks. The child does `work` and ends without cleaning up; the parent waits for it.
fn forked(work: impl FnOnce()) {
    let child = fork(work);
    await_child(child);
}

fn fork(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child goes on with one thread. The C library makes memory allocation and threads work in it; the rest
    // it uses is what is being tested.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends the process at once; nothing of the parent's is cleaned up.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        }
        child => child,
    }
}

fn temporary() {
    let cache: Cache<u32, u32> = Cache::temporary().open().unwrap();
    cache.insert(&1, &1).unwrap();
    forked(|| {
        assert_eq!(cache.get(&1).unwrap(), Some(1));
        cache.insert(&2, &2).unwrap();
        cache.close().unwrap();
        let own: Cache<u32, u32> = Cache::temporary().open().unwrap();
        let path = own.path().to_owned();
        drop(own);
        assert!(!path.exists());
    });
    assert_eq!(cache.get(&2).unwrap(), Some(2));
    let path = cache.path().to_owned();
    drop(cache);
    assert!(!path.exists());
}

/// By the system call, so that no handlers run.
fn unknown() {
    let (_dir, path) = store();
    let cache = open(&path, "plain");
    cache.insert(&COUNTER, &value(COUNTER, 0)).unwrap();
    // SAFETY: as in `fork`; and the child does nothing with locks that another thread could have held.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let refused = cache
                .insert(&COUNTER, &value(COUNTER, 1))
                .is_err_and(|error| error.to_string().contains("forked"));
            // SAFETY: as in `fork`.
            unsafe { libc::_exit(i32::from(!refused)) }
        }
        child => await_child(child as libc::pid_t),
    }
    cache.insert(&COUNTER, &value(COUNTER, 2)).unwrap();
    assert_eq!(cache.get(&COUNTER).unwrap(), Some(value(COUNTER, 2)));
}

fn await_child(child: libc::pid_t) {
    let since = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the status.
        match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
            0 if since.elapsed() < PATIENCE => std::thread::sleep(Duration::from_micros(300)),
            0 => {
                // SAFETY: a signal to our own child.
                unsafe { libc::kill(child, libc::SIGABRT) };
                panic!("the child {child} is stuck");
            }
            -1 => panic!("{}", std::io::Error::last_os_error()),
            _ => break,
        }
    }
    assert_eq!(status, 0, "the child {child} failed");
}

/// Runs `work` while threads of this process read, write and iterate; they must find nothing stale.
fn amid_threads(cache: &Versions, board: &Board, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for part in [0, 1] {
            let stop = &stop;
            scope.spawn(move || {
                let mut writer = Writer::new(cache, board, (16 * part..16 * part + 16).collect());
                while !stop.load(Ordering::Relaxed) {
                    writer.step();
                }
            });
        }
        let readers = [0, 1].map(|reader| {
            let stop = &stop;
            scope.spawn(move || {
                let mut all = Reader::new(cache, board, (0..KEYS).collect());
                let mut steps = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    all.step();
                    steps += 1;
                    if reader == 1 && steps.is_multiple_of(500) {
                        assert!(cache.stats().unwrap().entries <= u64::from(KEYS) + 1);
                        cache.checkpoint().unwrap();
                    }
                }
                assert_eq!(all.wrong, Vec::<String>::new());
                all.reads
            })
        });
        // The threads are told to stop also when `work` fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let reads: u64 = readers.map(|reader| reader.join().unwrap()).iter().sum();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        assert!(reads > 0);
    });
}

/// What a child does: first, in each round, something else; then everything.
fn child_work(cache: &Versions, board: &Board, counted: &AtomicU64, round: u64) {
    match round % 10 {
        0 => drop(cache.stats().unwrap()),
        1 => assert!(cache.iter().all(|entry| entry.is_ok())),
        2 => cache.checkpoint().unwrap(),
        3 => drop(cache.len().unwrap()),
        4 => assert!(cache.verify().unwrap().is_clean()),
        5 => drop(cache.clone()),
        6 => drop(cache.sweep().unwrap()),
        7 => drop(cache.remove(&9999).unwrap()),
        _ => {}
    }
    let mut writer = Writer::new(cache, board, (32..KEYS).collect());
    let mut reader = Reader::new(cache, board, (0..KEYS).collect());
    let until = reader.random.below(60) + 20;
    for _ in 0..until {
        writer.step();
        (0..4).for_each(|_| reader.step());
        count(cache, counted);
    }
    assert_eq!(reader.wrong, Vec::<String>::new());
}

fn count(cache: &Versions, counted: &AtomicU64) {
    cache.update(&COUNTER, |present| Some((COUNTER, present.map_or(0, |n| n.1) + 1, vec![]))).unwrap();
    counted.fetch_add(1, Ordering::SeqCst);
}

fn all(variant: &str, forks: u64) {
    let (dir, path) = store();
    let board = dir.path().join("board");
    let forks = forks.to_string();
    let role = Role::start("fork", &[path.to_str().unwrap(), board.to_str().unwrap(), variant, &forks]);
    // Children of the role write on its pipe, too: the end comes when all are gone.
    while let Some(line) = role.line() {
        if line.starts_with("done") {
            eprintln!("{variant}: {line}");
        }
    }
    role.join();
    let cache = open(&path, variant);
    assert!(cache.verify().unwrap().is_clean());
}

fn fork_often(arguments: &[String]) {
    let [path, board, variant, forks] = arguments else { panic!("{arguments:?}") };
    let forks: u64 = forks.parse().unwrap();
    let since = Instant::now();
    let counted = support::SharedWords::map(&Path::new(board).with_extension("counted"), 1);
    let board = Board::open(Path::new(board), KEYS);
    let cache = open(Path::new(path), variant);
    amid_threads(&cache, &board, || {
        let mut random = Random::new();
        for round in 0..forks {
            let child = fork(|| child_work(&cache, &board, &counted[0], round));
            for _ in 0..random.below(10) {
                count(&cache, &counted[0]);
            }
            await_child(child);
            say("alive");
        }
        let amount = cache.get(&COUNTER).unwrap().map(|counter| counter.1);
        assert_eq!(amount, Some(counted[0].load(Ordering::SeqCst)));
    });
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    say(&format!(
        "done: {forks} forks, {} counted, in {:?}",
        counted[0].load(Ordering::SeqCst),
        since.elapsed()
    ));
}

/// Starts a role that ends by itself, in a store of its own.
fn played(role: &str, variant: &str) {
    let (dir, path) = store();
    let board = dir.path().join("board");
    let role = Role::start(role, &[path.to_str().unwrap(), board.to_str().unwrap(), variant]);
    let said = role.rest();
    role.join();
    assert_eq!(said.last().map(String::as_str), Some("done"));
    assert!(open(&path, "plain").verify().unwrap().is_clean());
}

fn orphan(arguments: &[String]) {
    let [path, board, variant] = arguments else { panic!("{arguments:?}") };
    let counted = AtomicU64::new(0);
    let board = Board::open(Path::new(board), KEYS);
    let cache = open(Path::new(path), "plain");
    amid_threads(&cache, &board, || {
        for round in 0..rounds(8, 100) {
            say("alive");
            match variant.as_str() {
                "unused" => forked(|| ()),
                "exec" => {
                    let mut program = Command::new(std::env::current_exe().unwrap());
                    program.args(["play-role", "probe", path]).stdin(Stdio::null());
                    // SAFETY: does nothing; its presence makes the standard library fork rather than spawn.
                    unsafe { program.pre_exec(|| Ok(())) };
                    assert!(program.status().unwrap().success());
                }
                "drop" => forked(|| {
                    // SAFETY: a copy whose original is never used again: this process ends with `_exit`.
                    let mine: Versions = unsafe { std::ptr::read(&cache) };
                    if round.is_multiple_of(2) {
                        mine.close().unwrap();
                        assert!(mine.get(&0).unwrap_err().is_closed());
                    }
                    drop(mine);
                }),
                "nested" => forked(|| {
                    if round.is_multiple_of(2) {
                        child_work(&cache, &board, &counted, round);
                    }
                    forked(|| {
                        child_work(&cache, &board, &counted, round);
                        forked(|| child_work(&cache, &board, &counted, round));
                    });
                    child_work(&cache, &board, &counted, round);
                }),
                _ => panic!("{variant}"),
            }
        }
        if variant == "nested" {
            return;
        }
        // The child's end has not taken the parent's place among those who have the store open, nor its snapshots.
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
    });
    if variant != "nested" {
        assert_eq!(cache.remove(&COUNTER).unwrap(), variant == "exec");
        // Only one process has it open now, and that can be seen.
        cache.compact().unwrap();
    }
    cache.close().unwrap();
    say("done");
}

/// Another program that uses the same store.
fn probe(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), "plain");
    cache.insert(&COUNTER, &value(COUNTER, 1)).unwrap();
    assert_eq!(cache.get(&COUNTER).unwrap(), Some(value(COUNTER, 1)));
    assert!(cache.verify().unwrap().is_clean());
}

fn outlives() {
    for round in 0..rounds(3, 50) {
        let (dir, path) = store();
        let board = dir.path().join("board");
        let mut role = Role::start("outlive", &[path.to_str().unwrap(), board.to_str().unwrap()]);
        role.expect("child reads");
        role.kill();
        // The pipe is closed when the child has ended, too.
        let said = role.rest();
        assert_eq!(said.last().map(String::as_str), Some("child done"), "round {round}: {said:?}");
        let cache = open(&path, "plain");
        assert_eq!(cache.get(&COUNTER).unwrap(), Some(value(COUNTER, 1)));
        assert!(cache.verify().unwrap().is_clean());
    }
}

/// Forks, and waits to be killed.
fn outlive(arguments: &[String]) {
    let [path, board] = arguments else { panic!("{arguments:?}") };
    let counted = AtomicU64::new(0);
    let board = Board::open(Path::new(board), KEYS);
    let cache = open(Path::new(path), "plain");
    // SAFETY: asks for a number.
    let parent = unsafe { libc::getpid() };
    amid_threads(&cache, &board, || {
        fork(|| {
            child_work(&cache, &board, &counted, 9);
            // Not by `say`: another thread of the parent can have had the lock of the standard output.
            write_line("child reads");
            let since = Instant::now();
            // SAFETY: asks for a number.
            while unsafe { libc::getppid() } == parent {
                assert!(since.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(1));
            }
            // Whatever the parent's threads had begun is over now, one way or the other.
            (0..20).for_each(|round| child_work(&cache, &board, &counted, round));
            cache.insert(&COUNTER, &value(COUNTER, 1)).unwrap();
            assert!(cache.verify().unwrap().is_clean());
            write_line("child done");
        });
        std::thread::sleep(PATIENCE);
    });
}

/// Encrypts anew between a fork and what the child does first.
fn rekey(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), "encrypted");
    cache.insert(&1, &value(1, 1)).unwrap();
    let is_done = Path::new(path).with_extension("done");
    let child = fork(|| {
        while !is_done.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(cache.get(&1).unwrap_err().is_wrong_secret());
        assert!(cache.insert(&2, &value(2, 2)).unwrap_err().is_wrong_secret());
        // Who has the secret can open it here, too.
        drop(cache.close());
        let anew = open(Path::new(path), "encrypted");
        assert_eq!(anew.get(&1).unwrap(), Some(value(1, 1)));
        anew.insert(&3, &value(3, 3)).unwrap();
    });
    cache.reencrypt(&Secret::key([9; 32]), &Secret::key([9; 32])).unwrap();
    std::fs::write(&is_done, "").unwrap();
    await_child(child);
    assert_eq!((cache.len().unwrap(), cache.get(&3).unwrap()), (2, Some(value(3, 3))));
    assert!(cache.verify().unwrap().is_clean());
    // Its own children have the new keys.
    forked(|| assert_eq!(cache.get(&1).unwrap(), Some(value(1, 1))));
}

fn write_line(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: the buffer is as long as said.
    let written = unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
    assert_eq!(written, line.len() as isize);
}
