//! Never stale: a read that starts after any process's write has returned sees that write, or a later one.
//!
//! Processes and threads write and read the same keys; each value carries a version by which every single read is
//! judged (see `support/versions.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "support/front.rs"]
mod front;
#[path = "support/mod.rs"]
mod support;
#[path = "support/versions.rs"]
mod versions;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachemere::{Cache, Secret};
use front::front;
use support::{Random, Role, hear_the_end, rounds, say, store};
use versions::{Board, Reader, Versions, Writer};

const KEYS: u32 = 64;

fn main() -> ExitCode {
    support::run(
        &[("write", write), ("read", read)],
        &[
            ("a_read_sees_every_write_of_any_process_that_has_returned", || processes("plain", 1_000_000)),
            ("an_encrypted_store_is_never_stale", || processes("encrypted", 100_000)),
            ("a_store_without_a_front_is_never_stale", || processes("frontless", 100_000)),
            ("a_cleared_namespace_is_never_seen_again", || processes("clears", 100_000)),
            ("threads_that_share_a_handle_never_read_stale", || threads(&[0, 0], 300_000)),
            ("two_handles_of_one_process_never_read_stale", || threads(&[0, 1], 300_000)),
        ],
    )
}

/// The keys of one writer.
fn keys_of(writer: u32) -> Vec<u32> {
    (0..KEYS).filter(|key| key % 2 == writer).collect()
}

fn open(path: &Path, variant: &str, writer: u32) -> Versions {
    let mut builder = Cache::builder(path).front(front());
    match variant {
        "encrypted" => builder = builder.encryption(Secret::key([9; 32])),
        "frontless" => builder = builder.front_bytes(0),
        // Each writer has a namespace of its own to clear.
        "clears" => builder = builder.namespace(format!("of writer {writer}")),
        _ => {}
    }
    builder.open().unwrap()
}

/// Two writing processes, each with a reading thread, and two reading processes with two threads each.
fn processes(variant: &str, reads: u64) {
    let (dir, path) = store();
    let path = path.to_str().unwrap();
    let board = dir.path().join("board");
    let board = board.to_str().unwrap();
    let mut writers: Vec<Role> =
        ["0", "1"].map(|writer| Role::start("write", &[path, board, variant, writer])).into();
    writers.iter().for_each(|writer| writer.expect("writing"));
    let quota = (rounds(reads, 10 * reads) / 4).to_string();
    let readers: Vec<Role> = (0..2).map(|_| Role::start("read", &[path, board, variant, &quota])).collect();
    let mut total = (0, 0);
    let mut hits = 0;
    let mut add = |report: Option<String>| {
        let report = report.expect("a process failed");
        let numbers: Vec<u64> = report.split(' ').take(3).map(|n| n.parse().unwrap()).collect();
        total = (total.0 + numbers[0], total.1 + numbers[1]);
        hits += numbers[2];
        assert_eq!(numbers[1], 0, "stale: {report}");
    };
    for reader in readers {
        add(std::iter::from_fn(|| reader.line()).find(|line| line != "still reading"));
        reader.join();
    }
    let mut writes = 0;
    for mut writer in writers.drain(..) {
        writer.finish();
        add(writer.line());
        writes += writer.line().unwrap().parse::<u64>().unwrap();
        writer.join();
    }
    eprintln!("{variant}: {} reads ({hits} by the front) of {writes} writes, {} stale", total.0, total.1);
    assert!(total.0 >= reads && writes > 100, "{total:?} {writes}");
    assert_eq!(hits > 0, variant != "frontless");
    let cache = open(Path::new(path), variant, 0);
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

fn pause(random: &mut Random) {
    // Sometimes write upon write, sometimes long enough for the front to be of use.
    if random.below(4) != 0 {
        std::thread::sleep(Duration::from_micros(random.below(600)));
    }
}

fn write(arguments: &[String]) {
    let [path, board, variant, writer] = arguments else { panic!("{arguments:?}") };
    let writer: u32 = writer.parse().unwrap();
    let cache = open(Path::new(path), variant, writer);
    let board = Board::open(Path::new(board), KEYS);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut all = Writer::new(&cache, &board, keys_of(writer));
            all.clears = variant == "clears";
            let mut writes = 0u64;
            while !stop.load(Ordering::Relaxed) {
                all.step();
                pause(&mut all.random);
                writes += 1;
            }
            writes
        });
        let reading = scope.spawn(|| {
            let keys = if variant == "clears" { keys_of(writer) } else { (0..KEYS).collect() };
            let mut reader = Reader::new(&cache, &board, keys);
            while !stop.load(Ordering::Relaxed) {
                reader.step();
            }
            (reader.reads, reader.wrong)
        });
        say("writing");
        hear_the_end();
        stop.store(true, Ordering::Relaxed);
        let (reads, wrong) = reading.join().unwrap();
        report(reads, &wrong, &cache);
        say(&writing.join().unwrap().to_string());
    });
}

fn read(arguments: &[String]) {
    let [path, board, variant, quota] = arguments else { panic!("{arguments:?}") };
    let quota: u64 = quota.parse().unwrap();
    let board = Board::open(Path::new(board), KEYS);
    let caches = [0, 1].map(|writer| open(Path::new(path), variant, writer));
    let (mut reads, mut wrong) = (0, Vec::new());
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|thread| {
            let (board, cache) = (&board, &caches[thread as usize]);
            let keys = if variant == "clears" { keys_of(thread) } else { (0..KEYS).collect() };
            scope.spawn(move || {
                let mut reader = Reader::new(cache, board, keys);
                let mut steps = 0u64;
                while reader.reads < quota {
                    reader.step();
                    steps += 1;
                    if steps.is_multiple_of(50_000) {
                        say("still reading");
                    }
                }
                (reader.reads, reader.wrong)
            })
        });
        for thread in threads {
            let (more, worse) = thread.join().unwrap();
            reads += more;
            wrong.extend(worse);
        }
    });
    report(reads, &wrong, &caches[0]);
}

fn report(reads: u64, wrong: &[String], cache: &Versions) {
    let hits = cache.stats().unwrap().front_hits;
    say(&format!("{reads} {} {hits} {:?}", wrong.len(), wrong.first()));
}

/// Two writing and two reading threads; `handles` tells which handle each pair uses.
fn threads(handles: &[usize; 2], reads: u64) {
    let (dir, path) = store();
    let board = Board::open(&dir.path().join("board"), KEYS);
    let caches = [0, 1].map(|_| open(&path, "plain", 0));
    let stop = AtomicBool::new(false);
    let quota = rounds(reads, 10 * reads) / 2;
    std::thread::scope(|scope| {
        for (writer, handle) in handles.iter().enumerate() {
            let (cache, board, stop) = (&caches[*handle], &board, &stop);
            scope.spawn(move || {
                let mut writer = Writer::new(cache, board, keys_of(writer as u32));
                while !stop.load(Ordering::Relaxed) {
                    writer.step();
                    pause(&mut writer.random);
                }
            });
        }
        let readers = handles.map(|handle| {
            let (cache, board) = (&caches[handle], &board);
            scope.spawn(move || {
                let mut reader = Reader::new(cache, board, (0..KEYS).collect());
                while reader.reads < quota {
                    reader.step();
                }
                (reader.reads, reader.wrong)
            })
        });
        let results = readers.map(|reader| reader.join());
        stop.store(true, Ordering::Relaxed);
        for result in results {
            let (reads, wrong) = result.unwrap();
            assert!(reads >= quota);
            assert_eq!(wrong, Vec::<String>::new());
        }
    });
    let hits: u64 = caches.iter().map(|cache| cache.stats().unwrap().front_hits).sum();
    eprintln!("threads with handles {handles:?}: {} reads, {hits} by the front, 0 stale", 2 * quota);
    assert!(hits > 0);
    assert!(caches[0].verify().unwrap().is_clean());
}
