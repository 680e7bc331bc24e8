//! What a store in RocksDB does otherwise than one in LMDB, with real processes: one that writes, others that follow it.
//!
//! What both do alike is in the tests that run once for each backend; see `support/backend.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, unsafe_code, missing_docs)]

#[path = "support/mod.rs"]
mod support;
#[path = "rocks_backend/vanished.rs"]
mod vanished;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cachemere::{BackendKind, Builder, Cache, Durability, Error, Secret};
use support::{Random, Role, SharedWords, hear, mixed, rounds, say, store};

fn main() -> ExitCode {
    support::run(
        &[("write", write), ("follow", follow), ("count_up", count_up), ("fork", fork)],
        &[
            ("a_second_writer_is_refused_and_told_why", second_writer),
            ("a_follower_sees_each_write_that_has_returned", never_stale),
            ("a_follower_writes_nothing", follower_writes_nothing),
            ("a_killed_writer_loses_nothing", || kill_all("plain", rounds(12, 150))),
            ("a_killed_writer_loses_nothing_of_an_encrypted_store", || kill_all("encrypted", rounds(5, 60))),
            ("a_killed_writer_loses_nothing_with_synced_writes", || kill_all("synced", rounds(5, 60))),
            ("a_compaction_removes_what_has_expired", vanished::compaction),
            ("what_vanishes_during_a_verification_is_no_damage", vanished::verification),
            ("what_vanished_before_a_clear_leaves_nothing_behind", vanished::clear),
            ("what_vanished_does_not_take_the_lists_of_its_successor_along", vanished::successor),
            ("a_backup_is_a_store", backup),
            ("what_only_lmdb_can_do_is_refused", refused),
            ("a_store_keeps_its_backend", keeps_its_backend),
            ("a_forked_child_can_read_and_not_write", forks),
            ("a_forked_child_exits_as_it_wants_to", || Role::start("fork", &[]).join()),
            ("writing_what_a_process_follows_is_refused", write_after_follow),
            ("a_damaged_table_is_told", damaged),
        ],
    )
}

fn builder<V: Clone + Send + Sync + 'static>(path: &Path) -> Builder<u64, V> {
    Cache::builder(path).backend(BackendKind::RocksDb)
}

fn second_writer() {
    let (_dir, path) = store();
    let writer = Role::start("count_up", &[path.to_str().unwrap(), "1"]);
    writer.expect("ready");
    let refused = builder::<u64>(&path).open().unwrap_err();
    assert!(refused.is_busy(), "{refused:?}");
    assert!(refused.to_string().contains("open it read-only"), "{refused}");
    writer.join();
    builder::<u64>(&path).open().unwrap().insert(&1, &1).unwrap();
}

/// Writes versions of some keys one after the other, and says on the board which writes have returned.
fn count_up(arguments: &[String]) {
    let [path, versions] = arguments else { panic!("{arguments:?}") };
    let cache = builder::<u64>(Path::new(path)).open().unwrap();
    let board = SharedWords::map(&Path::new(path).with_extension("board"), KEYS as usize);
    for key in 0..KEYS {
        cache.insert(&key, &0).unwrap();
    }
    say("ready");
    let versions: u64 = versions.parse().unwrap();
    for version in 1..=versions {
        for key in 0..KEYS {
            cache.insert(&key, &version).unwrap();
            board[key as usize].store(version, Ordering::SeqCst);
        }
    }
    say("done");
    while hear().is_some() {}
}

const KEYS: u64 = 16;

/// Reads until all keys have the last version, and counts the reads that were older than what had returned before.
fn follow(arguments: &[String]) {
    let [path, last] = arguments else { panic!("{arguments:?}") };
    let cache = builder::<u64>(Path::new(path)).read_only(true).open().unwrap();
    let board = SharedWords::map(&Path::new(path).with_extension("board"), KEYS as usize);
    let last: u64 = last.parse().unwrap();
    let (mut reads, mut stale, mut random) = (0u64, 0u64, Random::new());
    let started = Instant::now();
    loop {
        let key = random.below(KEYS);
        let returned = board[key as usize].load(Ordering::SeqCst);
        let found = cache.get(&key).unwrap().unwrap();
        reads += 1;
        stale += u64::from(found < returned);
        if key == KEYS - 1 && found == last {
            break;
        }
        assert!(started.elapsed() < support::STUCK, "at {found} of {last}");
    }
    say(&format!("{reads} {stale}"));
}

fn never_stale() {
    let (_dir, path) = store();
    let versions = rounds(1000, 20_000).to_string();
    let path = path.to_str().unwrap();
    let mut writer = Role::start("count_up", &[path, &versions]);
    writer.expect("ready");
    let followers: Vec<Role> = (0..2).map(|_| Role::start("follow", &[path, &versions])).collect();
    writer.expect("done");
    for follower in followers {
        let line = follower.line().unwrap();
        let counts: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        assert!(counts[0] > 16, "too few reads to tell: {line}");
        assert_eq!(counts[1], 0, "stale reads of {}", counts[0]);
        follower.join();
    }
    writer.finish();
}

fn follower_writes_nothing() {
    let (_dir, path) = store();
    let missing = builder::<u64>(&path).read_only(true).open().unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");
    let mut writer = Role::start("count_up", &[path.to_str().unwrap(), "3"]);
    writer.expect("ready");
    writer.expect("done");
    let follower = builder::<u64>(&path).read_only(true).open().unwrap();
    assert_eq!(follower.get(&3).unwrap(), Some(3));
    assert_eq!(follower.len().unwrap(), KEYS);
    assert_eq!(follower.iter().count() as u64, KEYS);
    assert!(follower.insert(&1, &1).unwrap_err().is_read_only());
    assert!(follower.remove(&1).unwrap_err().is_read_only());
    assert!(follower.verify().unwrap().is_clean());
    writer.finish();
    follower.close().unwrap();
}

fn variant(path: &Path, variant: &str) -> Cache<u64, String> {
    match variant {
        "encrypted" => builder(path).encryption(Secret::key([9; 32])),
        "synced" => builder(path).durability(Durability::Sync),
        _ => builder(path),
    }
    .open()
    .unwrap()
}

fn value(version: u64) -> String {
    format!("{:x}", mixed(version)).repeat(1 + (mixed(version) % 200) as usize)
}

/// Writes until it is killed; says what it is about to write, and that it has returned.
fn write(arguments: &[String]) {
    let [path, kind, from] = arguments else { panic!("{arguments:?}") };
    let cache = variant(Path::new(path), kind);
    let (mut random, mut version) = (Random::new(), from.parse::<u64>().unwrap());
    loop {
        version += 1;
        let key = random.below(50);
        if random.below(5) == 0 {
            say(&format!("- {key} 0"));
            cache.remove(&key).unwrap();
        } else {
            say(&format!("+ {key} {version}"));
            cache.insert(&key, &value(version)).unwrap();
        }
        say(".");
    }
}

fn kill_all(kind: &str, times: u64) {
    let (_dir, path) = store();
    let mut model: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut version, mut random) = (0, Random::new());
    for _ in 0..times {
        let mut writer = Role::start("write", &[path.to_str().unwrap(), kind, &version.to_string()]);
        // Once it is at it.
        let first = writer.line().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        writer.kill();
        let mut open: Option<(u64, u64)> = None;
        let apply = |model: &mut BTreeMap<u64, u64>, (key, version): (u64, u64)| match version {
            0 => drop(model.remove(&key)),
            version => drop(model.insert(key, version)),
        };
        for line in std::iter::once(first).chain(writer.rest()) {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["."] => {
                    if let Some(done) = open.take() {
                        apply(&mut model, done);
                    }
                }
                [_, key, number] => open = Some((key.parse().unwrap(), number.parse().unwrap())),
                // The kill cut it short.
                _ => {}
            }
        }
        let cache = variant(&path, kind);
        for key in 0..50 {
            let found = cache.get(&key).unwrap();
            let expected = model.get(&key).map(|version| value(*version));
            let newest = open.filter(|(of, _)| *of == key).map(|(_, version)| version);
            let other = newest.map(|version| (version != 0).then(|| value(version)));
            assert!(
                found == expected || other == Some(found.clone()),
                "key {key}: neither what was written nor what was being written"
            );
            if let Some(newest) = newest.filter(|_| found != expected) {
                apply(&mut model, (key, newest));
            }
        }
        version = version.max(open.map_or(0, |(_, version)| version));
        version = model.values().copied().fold(version, u64::max);
        assert!(cache.verify().unwrap().is_clean(), "{:?}", cache.verify().unwrap());
        cache.close().unwrap();
    }
    assert!(version > times, "the writers were killed before they wrote");
}

fn backup() {
    let (dir, path) = store();
    let cache = builder::<u64>(&path).open().unwrap();
    for key in 0..100 {
        cache.insert(&key, &key).unwrap();
    }
    let copy = dir.path().join("copy");
    cache.backup(&copy).unwrap();
    cache.insert(&0, &7).unwrap();
    let reader = Cache::<u64, u64>::builder(&copy).read_only(true).open().unwrap();
    assert_eq!((reader.get(&0).unwrap(), reader.len().unwrap()), (Some(0), 100));
    reader.close().unwrap();
    let writer = Cache::<u64, u64>::builder(&copy).open().unwrap();
    writer.insert(&0, &8).unwrap();
    assert!(writer.verify().unwrap().is_clean());
    assert_eq!(cache.get(&0).unwrap(), Some(7));
    assert!(cache.backup(&copy).unwrap_err().is_invalid());
}

fn refused() {
    let (_dir, path) = store();
    let limited = builder::<u64>(&path).max_bytes(8 << 20).open().unwrap_err();
    assert!(limited.is_invalid() && limited.to_string().contains("max_bytes"), "{limited}");
    let mapped = builder::<u64>(&path).map_size(8 << 20).open().unwrap_err();
    assert!(mapped.is_invalid() && mapped.to_string().contains("map_size"), "{mapped}");
    assert!(!path.join("rocksdb").exists(), "a refused open made something");
    let (old, new) = (Secret::key([1; 32]), Secret::key([2; 32]));
    let cache = builder::<u64>(&path).encryption(old.clone()).open().unwrap();
    cache.insert(&1, &1).unwrap();
    let rekeyed = cache.reencrypt(&old, &new).unwrap_err();
    assert!(rekeyed.is_invalid(), "{rekeyed:?}");
    cache.change_secret(&old, &new).unwrap();
    assert_eq!(cache.get(&1).unwrap(), Some(1));
    cache.close().unwrap();
    assert!(builder::<u64>(&path).encryption(old).open().unwrap_err().is_wrong_secret());
    assert_eq!(builder::<u64>(&path).encryption(new).open().unwrap().get(&1).unwrap(), Some(1));
}

fn keeps_its_backend() {
    let (dir, path) = store();
    let cache = builder::<u64>(&path).open().unwrap();
    cache.insert(&1, &1).unwrap();
    let other = |error: Error| {
        assert!(error.is_incompatible(), "{error:?}");
        assert!(error.to_string().contains("RocksDB") && error.to_string().contains("LMDB"), "{error}");
    };
    other(Cache::<u64, u64>::builder(&path).backend(BackendKind::Lmdb).open().unwrap_err());
    // Whatever it has.
    assert_eq!(Cache::<u64, u64>::builder(&path).open().unwrap().get(&1).unwrap(), Some(1));
    cache.close().unwrap();
    other(Cache::<u64, u64>::builder(&path).backend(BackendKind::Lmdb).open().unwrap_err());
    let lmdb = dir.path().join("lmdb");
    Cache::<u64, u64>::builder(&lmdb).open().unwrap().insert(&1, &1).unwrap();
    other(builder::<u64>(&lmdb).open().unwrap_err());
}

fn forks() {
    let (_dir, path) = store();
    let cache = builder::<u64>(&path).open().unwrap();
    cache.insert(&1, &1).unwrap();
    // SAFETY: the child goes on with one thread, and ends without cleaning up.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let works = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let refused = cache.insert(&1, &2).unwrap_err();
            assert!(refused.is_busy(), "{refused:?}");
            assert_eq!(cache.get(&1).unwrap(), Some(1));
            let follower = builder::<u64>(&path).read_only(true).open().unwrap();
            assert_eq!(follower.get(&1).unwrap(), Some(1));
        }));
        // SAFETY: ends the process at once; nothing of the parent's is cleaned up.
        unsafe { libc::_exit(i32::from(works.is_err())) }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0, "the child failed");
    cache.insert(&1, &3).unwrap();
    assert_eq!(cache.get(&1).unwrap(), Some(3));
}

/// In a process of its own, which has but one thread of its own.
fn fork(_: &[String]) {
    let (_dir, path) = store();
    let cache = builder::<u64>(&path).open().unwrap();
    cache.insert(&1, &1).unwrap();
    // Starts threads of RocksDB's.
    cache.compact().unwrap();
    // SAFETY: the child goes on with one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let works = cache.get(&1).is_ok_and(|found| found == Some(1));
        // With all exit handlers, unlike `_exit`.
        std::process::exit(if works { 7 } else { 8 });
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert!(libc::WIFEXITED(status), "the child was ended by signal {}", libc::WTERMSIG(status));
    assert_eq!(libc::WEXITSTATUS(status), 7);
    cache.insert(&1, &2).unwrap();
}

fn write_after_follow() {
    let (_dir, path) = store();
    builder::<u64>(&path).open().unwrap().insert(&1, &1).unwrap();
    let follower = builder::<u64>(&path).read_only(true).open().unwrap();
    let refused = builder::<u64>(&path).open().unwrap_err();
    assert!(refused.is_busy() && refused.to_string().contains("close"), "{refused}");
    follower.close().unwrap();
    builder::<u64>(&path).open().unwrap().insert(&1, &2).unwrap();
}

fn damaged() {
    let (_dir, path) = store();
    let cache = builder::<String>(&path).open().unwrap();
    for key in 0..200 {
        cache.insert(&key, &value(key)).unwrap();
    }
    cache.compact().unwrap();
    cache.close().unwrap();
    drop(cache);
    for file in std::fs::read_dir(path.join("rocksdb")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = std::fs::read(&file).unwrap();
            for byte in bytes.iter_mut().take(2000) {
                *byte ^= 0x55;
            }
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let told = builder::<String>(&path).open().and_then(|cache| {
        for key in 0..200 {
            cache.get(&key)?;
        }
        Ok(())
    });
    assert!(told.unwrap_err().is_damaged());
}
