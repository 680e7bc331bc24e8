//! A full disk: a clear error, all earlier entries readable, and writes that work again once there is room.
//!
//! Once on a small file system in memory, mounted for a child process alone, and once with a limit on the size of files,
//! which needs no mounting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cachemere::{ByteBuilder, ByteCache, Durability, Error, Maintenance, Secret};
use damage_support::{Dice, Peer, Place, by_form, main_with, quick_dir, tell};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() {
    main_with(
        |role, arguments| match role {
            "filler" => filler(arguments),
            "reader" => reader(arguments),
            "remover" => remover(arguments),
            "crowd" => crowd(arguments),
            "unmade" => unmade(arguments),
            #[cfg(feature = "load")]
            "loader" => loader(arguments),
            _ => panic!("no such role: {role}"),
        },
        vec![
            ("a_full_disk_is_a_clear_error_and_passes", || on_small_disk("checkpoint")),
            ("a_full_disk_is_a_clear_error_and_passes_under_sync", || on_small_disk("sync")),
            ("a_full_disk_is_a_clear_error_and_passes_when_encrypted", || on_small_disk("sealed")),
            ("a_limit_on_file_sizes_is_a_clear_error_and_passes", || with_limited_files("checkpoint")),
            ("a_limit_on_file_sizes_is_a_clear_error_and_passes_under_sync", || with_limited_files("sync")),
            ("what_removes_makes_room_on_a_full_disk", removed_on_full_disk),
            ("a_full_disk_does_not_kill_a_crowd_of_readers", crowd_on_full_disk),
            ("a_store_that_cannot_be_made_on_a_full_disk_can_be_made_later", unmade_on_full_disk),
            #[cfg(feature = "load")]
            ("a_load_that_fills_the_disk_changes_nothing_and_leaves_nothing", load_on_small_disk),
        ],
    );
}

fn builder(dir: &Path, kind: &str) -> ByteBuilder {
    let builder = ByteCache::builder(dir).checkpoint_interval(Duration::from_millis(100));
    match kind {
        "sync" => builder.durability(Durability::Sync),
        "sealed" => builder.encryption(Secret::key([1; 32])),
        _ => builder,
    }
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

fn value(n: usize) -> Vec<u8> {
    let mut dice = Dice::new(n as u64);
    let len = if n.is_multiple_of(7) { dice.between(20_000, 90_000) } else { dice.between(10, 3_000) };
    dice.bytes(len)
}

fn is_there(cache: &ByteCache, n: usize) -> bool {
    cache.get(&key(n)).unwrap().is_some_and(|found| found.payload == value(n))
}

/// What keeps the child from writing, and lets it again.
enum Obstacle {
    Ballast(PathBuf),
    Limit,
}

impl Obstacle {
    fn remove(&self) {
        match self {
            Obstacle::Ballast(file) => std::fs::remove_file(file).unwrap(),
            Obstacle::Limit => limit_files(None),
        }
    }

    fn put_back(&self, cache: &ByteCache) {
        match self {
            Obstacle::Ballast(file) => fill_disk(file),
            // It is for each file, and all of the log goes into one in the end.
            Obstacle::Limit => {
                let data = std::fs::metadata(cache.path().join("data.mdb")).unwrap();
                limit_files(Some(data.len() + 40_000));
            }
        }
    }
}

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

/// What takes the room, for the message of a failed test.
fn room_in(dir: &Path) -> String {
    let disk = rustix::fs::statvfs(dir).unwrap();
    let mut told = format!("{} of {} blocks free", disk.f_bavail, disk.f_blocks);
    for place in [dir, &dir.join("store")] {
        for file in std::fs::read_dir(place).unwrap().flatten() {
            let found = file.metadata().unwrap();
            let blocks = std::os::unix::fs::MetadataExt::blocks(&found);
            told += &format!("\n{:?}: {} bytes, {} on the disk", file.path(), found.len(), blocks * 512);
        }
    }
    told
}

/// Takes all the room there is.
fn fill_disk(file: &Path) {
    let mut out = std::fs::File::create(file).unwrap();
    let block = [7; 4096];
    loop {
        match std::io::Write::write(&mut out, &block) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
                return;
            }
        }
    }
}

/// Arguments: directory, kind, `ballast` or `limit`.
fn filler(arguments: &[String]) {
    let [dir, kind, obstacle] = arguments else { panic!("three arguments") };
    let dir = Path::new(dir);
    let store = dir.join("store");
    let obstacle = match obstacle.as_str() {
        "ballast" => {
            // Much more than the store: writing the access times of all entries takes as much room again.
            let ballast = dir.join("ballast");
            std::fs::write(&ballast, vec![1; 40 << 20]).unwrap();
            Obstacle::Ballast(ballast)
        }
        _ => {
            limit_files(Some(5_000_000));
            Obstacle::Limit
        }
    };
    let cache = builder(&store, kind).open().unwrap();
    let mut there = 0;
    let rounds = match obstacle {
        Obstacle::Ballast(_) => by_form(3, 6),
        // From one to the next the store grows by what the log may have before anybody is refused.
        Obstacle::Limit => 3,
    };
    for round in 0..rounds {
        // One after the other, until the disk is full.
        let full = loop {
            match cache.insert(&key(there), &value(there), 0, None) {
                Ok(()) => there += 1,
                Err(error) => break error,
            }
            assert!(there < 100_000, "the disk is never full");
        };
        assert!(full.is_disk_full(), "round {round}: {full:?}");
        assert!(full.to_string().contains("free some space"), "{full}");
        // It is the same for many at once, and a failed write changed nothing.
        let many: Vec<(Vec<u8>, Vec<u8>)> =
            (0..200).map(|n| (key(1_000_000 + n), vec![3; 100_000])).collect();
        let error = cache.insert_many(many.iter().map(|(k, v)| (&k[..], v.to_vec(), 0)), None).unwrap_err();
        assert!(error.is_disk_full(), "{error:?}");
        assert!(!cache.contains(&key(1_000_000)).unwrap());
        for _ in 0..3 {
            let error = cache.insert(&key(there + 1), &vec![9; 16 << 20], 0, None).unwrap_err();
            assert!(error.is_disk_full(), "{error:?}");
        }
        // A checkpoint may succeed, since it needs no new room, or say what is wrong.
        match cache.checkpoint() {
            Ok(()) => {}
            Err(error) => assert!(error.is_disk_full(), "{error:?}"),
        }
        // Everything from before is there, here and in a fresh process.
        assert!((0..there).all(|n| is_there(&cache, n)));
        assert_eq!(cache.len().unwrap(), there as u64);
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        ask_reader(&store, kind, there);
        // What only removes needs no room that is not there.
        if round % 2 == 1 {
            for _ in 0..20 {
                let removed = cache
                    .remove(&key(there - 1))
                    .unwrap_or_else(|error| panic!("round {round}: {error:?}\n{}", room_in(dir)));
                assert!(removed);
                there -= 1;
            }
        }
        // With room again, the same handle writes again.
        obstacle.remove();
        let ok = |result: cachemere::Result<()>| {
            result.unwrap_or_else(|error| {
                panic!("round {round}: {error:?}, but there is room:\n{}", room_in(dir))
            });
        };
        for _ in 0..10 {
            ok(cache.insert(&key(there), &value(there), 0, None));
            there += 1;
        }
        ok(cache.insert_many(many.iter().take(5).map(|(k, v)| (&k[..], v.to_vec(), 0)), None));
        for n in 0..5 {
            ok(cache.remove(&key(1_000_000 + n)).map(|removed| assert!(removed)));
        }
        ok(cache.checkpoint());
        assert!((0..there).all(|n| is_there(&cache, n)));
        obstacle.put_back(&cache);
    }
    // Closing on a full disk loses nothing.
    match cache.close() {
        Ok(()) => {}
        Err(error) => assert!(error.is_disk_full(), "{error:?}"),
    }
    ask_reader(&store, kind, there);
    obstacle.remove();
    let cache = builder(&store, kind).open().unwrap();
    assert!((0..there).all(|n| is_there(&cache, n)));
    cache.insert(b"last", b"one", 0, None).unwrap();
    assert!(cache.verify().unwrap().is_clean());
    tell(&format!("full {there}"));
}

/// Another process, in the same namespace of mounts and with the same limits.
fn ask_reader(store: &Path, kind: &str, there: usize) {
    let mut peer = Peer::start("reader", &[store.to_str().unwrap(), kind, &there.to_string()]);
    peer.expect("all there");
    assert!(peer.finish().success());
}

fn reader(arguments: &[String]) {
    let [store, kind, there] = arguments else { panic!("three arguments") };
    let cache = builder(Path::new(store), kind).open().unwrap();
    assert!((0..there.parse().unwrap()).all(|n| is_there(&cache, n)));
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    match cache.close() {
        Ok(()) => tell("all there"),
        Err(error) => {
            assert!(error.is_disk_full(), "{error:?}");
            tell("all there");
        }
    }
}

fn on_small_disk(kind: &str) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { small_disk: Some((dir.path(), 46 << 10)), ..Place::default() };
    let mut peer = Peer::start_in(place, "filler", &[dir.path().to_str().unwrap(), kind, "ballast"]);
    let there: usize = peer.expect("full").parse().unwrap();
    assert!(there > 100);
    assert!(peer.finish().success());
}

fn with_limited_files(kind: &str) {
    let dir = quick_dir();
    let place = Place { ignores_file_size_signal: true, ..Place::default() };
    let mut peer = Peer::start_in(place, "filler", &[dir.path().to_str().unwrap(), kind, "limit"]);
    let there: usize = peer.expect("full").parse().unwrap();
    assert!(there > 100);
    assert!(peer.finish().success());
}

/// Removes the first half of what is there; the other half stays.
fn remove_half(cache: &ByteCache, there: usize, dir: &Path) {
    for n in 0..there / 2 {
        assert!(
            cache
                .remove(&key(n))
                .unwrap_or_else(|error| panic!("{n} of {there}: {error:?}\n{}", room_in(dir)))
        );
    }
    assert!((there / 2..there).all(|n| is_there(cache, n)));
}

/// Arguments: directory on a small disk, how room is made. Nothing but the store is there to make room.
fn remover(arguments: &[String]) {
    let [dir, how] = arguments else { panic!("two arguments") };
    let dir = Path::new(dir);
    let store = dir.join("store");
    let open = || ByteCache::builder(&store).open().unwrap();
    let mut cache = open();
    // Of which the last are the ones that expire.
    let mut there = 0;
    let fill = |cache: &ByteCache, there: &mut usize, ttl: Option<Duration>| {
        let cache = match ttl {
            Some(ttl) => ByteCache::builder(&store).time_to_live(ttl).open().unwrap(),
            None => cache.clone(),
        };
        loop {
            match cache.insert(&key(*there), &value(*there), 0, None) {
                Ok(()) => *there += 1,
                Err(error) => break assert!(error.is_disk_full(), "{error:?}"),
            }
        }
    };
    let insert_some = |cache: &ByteCache, how: &str| {
        for n in 0..20 {
            cache.insert(&key(n), &value(n), 0, None).unwrap_or_else(|error| {
                panic!("{how} made no room: {error:?}\n{}", room_in(dir));
            });
        }
        assert!((0..20).all(|n| is_there(cache, n)));
    };
    if how == "sweep" {
        // A third of it stays.
        let ballast = dir.join("ballast");
        std::fs::write(&ballast, vec![1; 16 << 20]).unwrap();
        fill(&cache, &mut there, None);
        std::fs::remove_file(&ballast).unwrap();
        fill(&cache, &mut there, Some(Duration::from_secs(2)));
        std::thread::sleep(Duration::from_secs(3));
        cache.sweep().unwrap();
    } else {
        fill(&cache, &mut there, None);
    }
    assert!(there > 100);
    match how.as_str() {
        "sweep" => {}
        "remove" => remove_half(&cache, there, dir),
        "clear" => {
            cache.clear().unwrap();
            assert_eq!(cache.len().unwrap(), 0);
            cache.sweep().unwrap();
        }
        "reopened" => {
            cache.close().unwrap_or_else(|error| assert!(error.is_disk_full(), "{error:?}"));
            fill_disk(&dir.join("ballast"));
            cache = open();
            remove_half(&cache, there, dir);
        }
        "compact" => {
            for n in 0..there / 2 {
                assert!(cache.remove(&key(n)).unwrap());
            }
            fill_disk(&dir.join("ballast"));
            cache.compact().unwrap();
            assert!((there / 2..there).all(|n| is_there(&cache, n)));
        }
        how => panic!("no such way: {how}"),
    }
    insert_some(&cache, how);
    assert!(cache.verify().unwrap().is_clean());
    // There may be no room for writing down when everything was read.
    cache.close().unwrap_or_else(|error| assert!(error.is_disk_full(), "{error:?}"));
    let cache = open();
    assert!((0..20).all(|n| is_there(&cache, n)));
    assert!(cache.verify().unwrap().is_clean());
    tell("done");
}

fn removed_on_full_disk() {
    for how in ["remove", "clear", "sweep", "reopened", "compact"] {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { small_disk: Some((dir.path(), 24 << 10)), ..Place::default() };
        let mut peer = Peer::start_in(place, "remover", &[dir.path().to_str().unwrap(), how]);
        peer.expect("done");
        assert!(peer.finish().success());
    }
}

/// LMDB keeps the slots of its readers in a memory map: a page of that which the disk has no room for would kill whoever
/// touches it.
fn crowd(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let store = dir.join("store");
    let cache = builder(&store, "checkpoint").open().unwrap();
    cache.insert(&key(1), &value(1), 0, None).unwrap();
    fill_disk(&dir.join("ballast"));
    let all = std::sync::Barrier::new(300);
    std::thread::scope(|scope| {
        for _ in 0..300 {
            scope.spawn(|| {
                // A thread's slot is its own until it ends.
                assert!(is_there(&cache, 1));
                all.wait();
            });
        }
    });
    tell("all have read");
}

fn crowd_on_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { small_disk: Some((dir.path(), 2 << 10)), ..Place::default() };
    let mut peer = Peer::start_in(place, "crowd", &[dir.path().to_str().unwrap()]);
    peer.expect("all have read");
    assert!(peer.finish().success());
}

/// Arguments: directory. Fills the disk but for some pages, and opens a new store.
fn unmade(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let (mut failed, mut made) = (0, 0);
    for spare in 0..48 {
        let store = dir.join(format!("store {spare}"));
        let (ballast, room) = (dir.join("ballast"), dir.join("room"));
        std::fs::write(&room, vec![1; spare * 4096]).unwrap();
        fill_disk(&ballast);
        std::fs::remove_file(&room).unwrap();
        let open = || ByteCache::builder(&store).maintenance(Maintenance::Manual).open();
        let first = open().and_then(|cache| {
            cache.insert(b"key", b"value", 0, None)?;
            cache.close()
        });
        match first {
            Ok(()) => made += 1,
            Err(Error::DiskFull { .. }) => failed += 1,
            Err(other) => panic!("with {spare} pages: {other:?}"),
        }
        std::fs::remove_file(&ballast).unwrap();
        let cache = open().unwrap();
        cache.insert(b"key", b"new value", 0, None).unwrap();
        assert_eq!(cache.get(b"key").unwrap().unwrap().payload, b"new value");
        assert!(cache.verify().unwrap().is_clean());
        drop(cache);
        std::fs::remove_dir_all(&store).unwrap();
    }
    tell(&format!("tried {failed} {made}"));
}

fn unmade_on_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { small_disk: Some((dir.path(), 2 << 10)), ..Place::default() };
    let mut peer = Peer::start_in(place, "unmade", &[dir.path().to_str().unwrap()]);
    let tried = peer.expect("tried");
    let (failed, made) = tried.split_once(' ').unwrap();
    assert!(failed != "0" && made != "0", "{tried}");
    assert!(peer.finish().success());
}

/// Arguments: a directory on a small disk, and a file that is larger than the disk.
#[cfg(feature = "load")]
fn loader(arguments: &[String]) {
    use cachemere::load::{Existing, Format, Load, Record, Records};

    let [dir, file] = arguments else { panic!("two arguments") };
    let (store, small) = (Path::new(dir).join("store"), Path::new(dir).join("small"));
    std::fs::write(&small, (0..1000).map(|n| format!("small {n}\t{n}\n")).collect::<String>()).unwrap();
    let make = |record: &Record<'_>, entry: &mut cachemere::ByteEntry| {
        entry.key.extend_from_slice(record.key.raw());
        entry.payload.extend_from_slice(record.value.raw());
        Ok(())
    };
    for first in [0, 500] {
        let cache = builder(&store, "checkpoint").open().unwrap();
        for n in 0..first {
            cache.insert(&key(n), b"before", 0, None).unwrap();
        }
        // Once the temporary directory fills the disk, and once the store itself, all records being in memory.
        for budget in [8 << 20, 512 << 20] {
            let load = Load::new([file], Format::new(Records::TabSep), &store);
            let load = load.options(|options| options.memory_budget(budget));
            let error = cache.load(load, Existing::Replace, None, &make, &mut ()).unwrap_err();
            assert!(error.is_disk_full(), "{error:?}");
            assert!(error.to_string().contains("free some space"), "{error}");
            assert_eq!(cache.len().unwrap(), first as u64);
            assert!((0..first).all(|n| cache.get(&key(n)).unwrap().unwrap().payload == b"before"));
            let report = cache.verify().unwrap();
            assert!(report.is_clean(), "{report:?}");
            let left = std::fs::read_dir(&store).unwrap().flatten().filter(|left| left.path().is_dir());
            assert_eq!(left.count(), 0);
        }
        let load = Load::new([&small], Format::new(Records::TabSep), &store);
        cache.load(load, Existing::Replace, None, &make, &mut ()).unwrap();
        assert_eq!(cache.len().unwrap(), first as u64 + 1000);
        cache.close().unwrap();
        std::fs::remove_dir_all(&store).unwrap();
    }
    tell("done");
}

#[cfg(feature = "load")]
fn load_on_small_disk() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("large");
    let line = |n: u64| format!("{n:020}\t{}\n", "x".repeat(200));
    std::fs::write(&file, (0..300_000).map(line).collect::<String>()).unwrap();
    let place = Place { small_disk: Some((dir.path(), 46 << 10)), ..Place::default() };
    let mut peer = Peer::start_in(place, "loader", &[dir.path().to_str().unwrap(), file.to_str().unwrap()]);
    peer.expect("done");
    assert!(peer.finish().success());
}
