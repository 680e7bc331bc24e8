//! Sharing: handles of one process share one store, processes agree on its options, and the dead leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachemere::{Cache, Durability, Error, Maintenance, Secret, Zstd};
use support::{Role, hear_the_end, rounds, say, store};

fn main() -> ExitCode {
    support::run(
        &[("hold", hold), ("read", read), ("follow", follow)],
        &[
            ("handles_by_any_name_of_a_directory_share_one_store", names),
            ("closing_one_handle_leaves_the_others_working", closing),
            ("a_clear_is_seen_by_a_handle_that_slept_through_a_compaction", compaction),
            ("a_compaction_by_one_handle_is_unnoticed_by_the_others", compaction_under_load),
            ("handles_that_contradict_each_other_are_refused", contradictions),
            ("processes_agree_on_the_size_limit", size_limits),
            ("settings_that_one_process_changes_are_those_of_the_next_operation_of_others", settings),
            ("compaction_is_refused_while_another_process_has_the_store_open", busy),
            ("readers_that_were_killed_keep_no_pages", killed_readers),
            ("readers_that_were_killed_keep_no_reader_slots", reader_slots),
        ],
    )
}

type Store = Cache<u32, Vec<u8>>;

fn open(path: &Path) -> Store {
    Cache::builder(path).open().unwrap()
}

/// Opens the store, with a size limit if one is given, and holds it open.
fn hold(arguments: &[String]) {
    let [path, limit] = arguments else { panic!("{arguments:?}") };
    let mut builder = Cache::<u32, Vec<u8>>::builder(path);
    if let Ok(limit) = limit.parse::<u64>() {
        builder = builder.max_bytes(limit);
    }
    let cache = builder.open().unwrap();
    cache.insert(&1, &vec![1]).unwrap();
    say("open");
    hear_the_end();
    assert_eq!(cache.get(&1).unwrap(), Some(vec![1]));
}

/// Does what it is told with a handle that it keeps.
fn follow(arguments: &[String]) {
    let cache = open(Path::new(&arguments[0]));
    say("open");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["get", key] => {
                let found = cache.get(&key.parse().unwrap()).unwrap();
                say(&found.map_or("none".into(), |value| value[0].to_string()));
            }
            ["put", key, value] => {
                cache.insert(&key.parse().unwrap(), &vec![value.parse().unwrap()]).unwrap();
                say("put");
            }
            ["len"] => say(&cache.len().unwrap().to_string()),
            _ => panic!("{line}"),
        }
    }
}

/// A handle remembers its namespace's id and limit. Others change both again and again.
fn settings() {
    let (_dir, path) = store();
    let ours = open(&path);
    let mut other = Role::start("follow", &[path.to_str().unwrap()]);
    other.expect("open");
    let ask = |other: &mut Role, what: &str, answer: &str| {
        other.say(what);
        other.expect(answer);
    };
    for round in 0..rounds(30, 1000) {
        let value = (round % 200) as u8;
        ours.insert(&1, &vec![value]).unwrap();
        ask(&mut other, "get 1", &value.to_string());
        ours.clear().unwrap();
        ask(&mut other, "get 1", "none");
        // Into the namespace as it is now.
        ask(&mut other, &format!("put 2 {value}"), "put");
        assert_eq!(ours.get(&2).unwrap(), Some(vec![value]));
        let limit = 2 + round % 3;
        drop(Cache::<u32, Vec<u8>>::builder(&path).max_entries(limit).open().unwrap());
        for key in 10..20 {
            ask(&mut other, &format!("put {key} 1"), "put");
            assert!(ours.len().unwrap() <= limit, "round {round}");
        }
        ask(&mut other, "len", &limit.to_string());
        drop(Cache::<u32, Vec<u8>>::builder(&path).max_entries(None).open().unwrap());
        for key in 10..20 {
            ask(&mut other, &format!("put {key} 1"), "put");
        }
        ask(&mut other, "len", "10");
        ours.clear().unwrap();
        // Whose id must not be mistaken for another's.
        drop(Cache::<u32, Vec<u8>>::builder(&path).namespace(format!("of round {round}")).open().unwrap());
        ask(&mut other, "len", "0");
    }
    other.join();
}

fn holder(path: &Path, limit: &str) -> Role {
    let role = Role::start("hold", &[path.to_str().unwrap(), limit]);
    role.expect("open");
    role
}

/// Reads in as many threads as asked for, without end.
fn read(arguments: &[String]) {
    let [path, threads] = arguments else { panic!("{arguments:?}") };
    let threads: usize = threads.parse().unwrap();
    let cache: Store = Cache::builder(path).front_bytes(0).open().unwrap();
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                cache.get(&0).unwrap();
                barrier.wait();
                loop {
                    assert!(cache.iter().all(|entry| entry.is_ok()));
                }
            });
        }
        barrier.wait();
        say("reading");
    });
}

fn names() {
    let (dir, path) = store();
    std::fs::create_dir(&path).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(path.canonicalize().unwrap().strip_prefix("/").unwrap());
    assert!(relative.is_relative());
    let roundabout = path.join("..").join("store").join(".");
    let handles: Vec<Store> = [&path, &link, &relative, &roundabout].map(|path| open(path)).into();
    for (n, writer) in handles.iter().enumerate() {
        let n = n as u32;
        writer.insert(&n, &vec![n as u8]).unwrap();
        for reader in &handles {
            assert_eq!(reader.get(&n).unwrap(), Some(vec![n as u8]));
            assert_eq!(reader.path(), path.canonicalize().unwrap());
        }
    }
    // One store: a compaction by one is a compaction for all.
    handles[1].compact().unwrap();
    assert!(handles.iter().all(|handle| handle.len().unwrap() == 4));
}

fn closing() {
    let (_dir, path) = store();
    let (a, b) = (open(&path), open(&path));
    let of_a = a.clone();
    a.insert(&1, &vec![1]).unwrap();
    a.close().unwrap();
    assert!(a.get(&1).unwrap_err().is_closed());
    assert!(of_a.get(&1).unwrap_err().is_closed());
    a.close().unwrap();
    assert_eq!(b.get(&1).unwrap(), Some(vec![1]));
    b.insert(&2, &vec![2]).unwrap();
    let c = open(&path);
    drop(b);
    assert_eq!(c.get(&2).unwrap(), Some(vec![2]));
    drop(c);
    let d = open(&path);
    assert_eq!(d.len().unwrap(), 2);
    assert!(d.verify().unwrap().is_clean());
}

/// A compacted file counts its transactions anew, so a handle can meet the number of a snapshot it knows again.
fn compaction() {
    for sleep_at in 0..12 {
        let (_dir, path) = store();
        let (sleeper, busy) = (open(&path), open(&path));
        for n in 0..sleep_at {
            busy.insert(&n, &vec![0]).unwrap();
        }
        busy.insert(&7, &vec![0]).unwrap();
        assert_eq!(sleeper.get(&7).unwrap(), Some(vec![0]));
        for n in 100..120 {
            busy.insert(&n, &vec![0]).unwrap();
        }
        busy.clear().unwrap();
        busy.insert(&7, &vec![1]).unwrap();
        busy.compact().unwrap();
        let look = || {
            assert_eq!(sleeper.get(&7).unwrap(), Some(vec![1]));
            assert_eq!(sleeper.iter().count() as u64, sleeper.len().unwrap());
        };
        if sleep_at.is_multiple_of(2) {
            look();
        }
        for n in 0..sleep_at {
            busy.insert(&(200 + n), &vec![1]).unwrap();
            if sleep_at.is_multiple_of(3) {
                look();
            }
        }
        look();
        assert_eq!(sleeper.len().unwrap(), u64::from(sleep_at) + 1);
    }
    // The number at which the sleeper slept comes by exactly once: try all distances.
    for distance in 0..40 {
        let (_dir, path) = store();
        let (sleeper, busy) = (open(&path), open(&path));
        for n in 0..20 {
            busy.insert(&n, &vec![0]).unwrap();
        }
        assert_eq!(sleeper.get(&7).unwrap(), Some(vec![0]));
        busy.clear().unwrap();
        busy.insert(&7, &vec![1]).unwrap();
        busy.compact().unwrap();
        for n in 0..distance {
            busy.insert(&(200 + n), &vec![1]).unwrap();
        }
        assert_eq!(sleeper.get(&7).unwrap(), Some(vec![1]), "{distance} commits after the compaction");
    }
}

fn compaction_under_load() {
    let (_dir, path) = store();
    let (a, b) = (open(&path), open(&path));
    let rounds = rounds(20, 200);
    let since = Instant::now();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|writer: u32| {
            let (b, done) = (&b, &done);
            scope.spawn(move || {
                let mut n = 0;
                while !done.load(Ordering::Relaxed) {
                    n += 1;
                    let value = vec![writer as u8; (n % 5000) as usize];
                    b.insert(&(2 * (n % 50) + writer), &value).unwrap();
                    assert_eq!(b.get(&(2 * (n % 50) + writer)).unwrap(), Some(value));
                }
                n
            })
        });
        let compacted = (0..rounds).try_for_each(|_| a.compact());
        done.store(true, Ordering::Relaxed);
        let written = writers.map(|writer| writer.join().unwrap());
        compacted.unwrap();
        assert!(written.iter().all(|n| *n > 0));
    });
    eprintln!("{rounds} compactions under load in {:?}", since.elapsed());
    assert!(a.verify().unwrap().is_clean());
}

fn contradictions() {
    let (_dir, path) = store();
    let cache: Store = Cache::builder(&path).durability(Durability::Checkpoint).open().unwrap();
    cache.insert(&1, &vec![1]).unwrap();
    let builder = || Cache::<u32, Vec<u8>>::builder(&path);
    let refused = [
        ("durability", builder().durability(Durability::Sync).open()),
        ("maintenance", builder().maintenance(Maintenance::Manual).open()),
        ("max_bytes", builder().max_bytes(8 << 20).open()),
        ("compression", builder().compression(Zstd::default()).open()),
    ];
    for (option, result) in refused {
        match result {
            Err(Error::Incompatible { what, stored, asked, .. }) => {
                assert_eq!(what, option);
                assert_ne!(stored, asked);
            }
            other => panic!("{option}: {other:?}"),
        }
    }
    assert!(builder().encryption(Secret::key([1; 32])).open().unwrap_err().is_wrong_secret());
    assert!(Cache::<u32, Vec<u8>>::builder(&path).serializer(Bytes).open().unwrap_err().is_incompatible());
    // What was refused has changed nothing, and what says the same is welcome.
    let same =
        builder().durability(Durability::Checkpoint).maintenance(Maintenance::Background).open().unwrap();
    assert_eq!(same.get(&1).unwrap(), Some(vec![1]));
    assert!(cache.verify().unwrap().is_clean());
}

/// A serializer of another name.
struct Bytes;

impl cachemere::Codec<Vec<u8>> for Bytes {
    fn name(&self) -> &str {
        "test-bytes"
    }

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), cachemere::BoxError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, cachemere::BoxError> {
        Ok(bytes.to_vec())
    }
}

fn size_limits() {
    let (_dir, path) = store();
    let first = holder(&path, &(4 << 20).to_string());
    let differs = Cache::<u32, Vec<u8>>::builder(&path).max_bytes(8 << 20).open();
    assert!(matches!(differs, Err(Error::Incompatible { what: "max_bytes", .. })), "{differs:?}");
    let none = Cache::<u32, Vec<u8>>::builder(&path).max_bytes(None).open();
    match none {
        Err(Error::Incompatible { what: "max_bytes", stored, asked, .. }) => {
            assert_eq!(stored, "4194304 bytes");
            assert_eq!(asked, "no limit while other processes have it open");
        }
        other => panic!("{other:?}"),
    }
    // The same limit, and none given, are both right; the limit holds in either case.
    let same = Cache::<u32, Vec<u8>>::builder(&path).max_bytes(4 << 20).open().unwrap();
    let silent = open(&path);
    for n in 0..3000 {
        silent.insert(&(10 + n), &vec![0; 2000]).unwrap();
    }
    assert!(same.stats().unwrap().file_bytes <= 4 << 20);
    assert!(same.stats().unwrap().evictions > 0);
    // Whoever is refused leaves the others alone; once alone, the limit may change.
    same.close().unwrap();
    silent.close().unwrap();
    let mut first = first;
    first.kill();
    let larger = Cache::<u32, Vec<u8>>::builder(&path).max_bytes(8 << 20).open().unwrap();
    assert!(larger.verify().unwrap().is_clean());
}

fn busy() {
    let (_dir, path) = store();
    let other = holder(&path, "none");
    let cache = open(&path);
    assert!(cache.compact().unwrap_err().is_busy());
    assert_eq!(cache.get(&1).unwrap(), Some(vec![1]));
    cache.insert(&1, &vec![1]).unwrap();
    other.join();
    cache.compact().unwrap();
    assert_eq!(cache.get(&1).unwrap(), Some(vec![1]));
}

/// What writing 400 values of 2000 bytes one by one writes at least: for each its own page, a leaf, the root, and one of the
/// list of free pages.
const LEAST_REWRITTEN: u64 = 400 * 4 * 4096;

/// A reader that is killed in the middle of a read must not keep the pages of its snapshot for ever.
fn killed_readers() {
    let (_dir, path) = store();
    let cache: Store = Cache::builder(&path).checkpoint_interval(Duration::from_millis(20)).open().unwrap();
    for n in 0..400 {
        cache.insert(&n, &vec![0; 2000]).unwrap();
    }
    let rewrite = |value: u8| {
        for n in 0..400 {
            cache.insert(&n, &vec![value; 2000]).unwrap();
        }
    };
    for round in 0..rounds(12, 60) {
        let mut readers: Vec<Role> =
            (0..4).map(|_| Role::start("read", &[path.to_str().unwrap(), "2"])).collect();
        readers.iter().for_each(|reader| reader.expect("reading"));
        rewrite(round as u8);
        readers.iter_mut().for_each(Role::kill);
    }
    // Dead readers are looked for every second, and only while there is something to write. Until then, and while the
    // disk is slow to sync a checkpoint, the file grows. Then there is a time in which more pages are written than the
    // file has, and it does not grow: pages are used again. With a dead reader it grows by what is written beyond the
    // pages that were free when it died.
    let since = Instant::now();
    let file = || cache.stats().unwrap().file_bytes;
    let mut sizes = vec![file()];
    loop {
        let (before, mut written) = (file(), 0);
        while written < before + (32 << 20) && file() <= before + (8 << 20) {
            rewrite(1);
            written += LEAST_REWRITTEN;
        }
        if file() <= before + (8 << 20) {
            break;
        }
        sizes.push(file());
        let patient = since.elapsed() < Duration::from_secs(60) && file() < 4 << 30;
        assert!(patient, "the file goes on growing: {sizes:?}");
    }
    eprintln!("values of 0.8 MB, a file that grew to {sizes:?}, then no more, in {:?}", since.elapsed());
    assert!(cache.verify().unwrap().is_clean());
}

/// There are 1024 slots for reading threads, and killed processes do not give theirs back themselves.
fn reader_slots() {
    let (_dir, path) = store();
    // Somebody has the store open all the time, else whoever opens it first starts with an empty table.
    let holder = open(&path);
    holder.insert(&0, &vec![0]).unwrap();
    for _ in 0..rounds(15, 60) {
        let mut reader = Role::start("read", &[path.to_str().unwrap(), "100"]);
        reader.expect("reading");
        reader.kill();
    }
    assert_eq!(holder.get(&0).unwrap(), Some(vec![0]));
}
