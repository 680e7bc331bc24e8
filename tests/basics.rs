//! The operations of one process, one at a time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/backend.rs"]
mod backend;
#[path = "basics/batch.rs"]
mod batch;
#[path = "basics/description.rs"]
mod description;
#[path = "support/front.rs"]
mod front;
#[path = "basics/walks.rs"]
mod walks;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use backend::backend;
use cachemere::{BackendKind, ByteCache, Cache, Error, Known, Maintenance, Secret, Zstd};
use front::front;

fn store() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

#[test]
fn values_survive_a_reopen() {
    let (_dir, path) = store();
    let cache: Cache<str, String> = Cache::builder(&path).backend(backend()).front(front()).open().unwrap();
    cache.insert("a", &"1".to_owned()).unwrap();
    assert_eq!(cache.get("a").unwrap().as_deref(), Some("1"));
    cache.close().unwrap();
    assert!(cache.get("a").unwrap_err().is_closed());
    let cache: Cache<str, String> = Cache::builder(&path).backend(backend()).front(front()).open().unwrap();
    assert_eq!(cache.get("a").unwrap().as_deref(), Some("1"));
    assert_eq!(cache.get("b").unwrap(), None);
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.entries, 1);
}

#[test]
fn every_pipeline_round_trips() {
    for (compress, encrypt) in [(false, false), (true, false), (false, true), (true, true)] {
        let (_dir, path) = store();
        let open = || {
            let mut builder = Cache::<u64, Vec<String>>::builder(&path).backend(backend()).front(front());
            if compress {
                builder = builder.compression(Zstd::default());
            }
            if encrypt {
                builder = builder.encryption(Secret::key([3; 32]));
            }
            builder.front_bytes(0).open().unwrap()
        };
        let cache = open();
        let value = |n: u64| vec![format!("value {n}"); 100];
        for n in 0..50 {
            cache.insert(&n, &value(n)).unwrap();
        }
        let many: Vec<(u64, Vec<String>)> = (50..100).map(|n| (n, value(n))).collect();
        cache.insert_many(many.iter().map(|(k, v)| (k, v))).unwrap();
        cache.insert(&7, &value(700)).unwrap();
        cache.close().unwrap();
        let cache = open();
        assert_eq!(cache.len().unwrap(), 100);
        assert_eq!(cache.get(&7).unwrap(), Some(value(700)));
        assert_eq!(cache.get(&99).unwrap(), Some(value(99)));
        let keys: Vec<u64> = cache.iter().map(|entry| entry.unwrap().0).collect();
        assert_eq!(keys, (0..100).collect::<Vec<_>>());
        let back: Vec<u64> = cache.iter().rev().map(|entry| entry.unwrap().0).collect();
        assert_eq!(back, (0..100).rev().collect::<Vec<_>>());
        assert_eq!(cache.pop_newest().unwrap().unwrap().0, 99);
        assert_eq!(cache.pop_oldest().unwrap().unwrap().0, 0);
        assert!(cache.remove(&50).unwrap());
        assert!(!cache.remove(&50).unwrap());
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        cache.clear().unwrap();
        assert!(cache.is_empty().unwrap());
        assert_eq!(cache.get(&7).unwrap(), None);
        let report = cache.verify().unwrap();
        assert!(report.is_clean() && report.entries == 0, "{report:?}");
    }
}

/// Of more entries than are read at a time, and of fewer.
#[test]
fn a_walk_ends_though_an_entry_is_inserted_for_each_that_it_meets() {
    for count in [0, 1, 100, 256, 600u32] {
        let (_dir, path) = store();
        let cache: Cache<u32, u32> =
            Cache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
        let entries: Vec<(u32, u32)> = (0..count).map(|n| (n, n)).collect();
        cache.insert_many(entries.iter().map(|(key, value)| (key, value))).unwrap();
        let mut new = count..;
        let mut met = |(key, _): (u32, u32)| {
            cache.insert(&new.next().unwrap(), &0).unwrap();
            key
        };
        let mut all = 0..count;
        for entry in cache.iter() {
            let key = met(entry.unwrap());
            assert_eq!(Some(key), all.next(), "an entry is met that was inserted meanwhile, or none");
        }
        assert_eq!(all.next(), None);
        // From the back and from both ends.
        let there = cache.len().unwrap() as u32;
        let mut all = 0..there;
        for entry in cache.iter().rev() {
            assert_eq!(Some(met(entry.unwrap())), all.next_back());
        }
        assert_eq!(all.next(), None);
        let there = cache.len().unwrap() as u32;
        let (mut all, mut walk) = (0..there, cache.iter());
        while let Some(first) = walk.next() {
            assert_eq!(Some(met(first.unwrap())), all.next());
            assert_eq!(walk.next_back().map(|last| met(last.unwrap())), all.next_back());
        }
        assert_eq!(all.next(), None);
    }
}

/// What equals a map comes out of it in another order.
fn map(n: u32) -> HashMap<String, u32> {
    (0..10).map(|place| (format!("{n} {place}"), place)).collect()
}

#[test]
fn a_map_is_found_by_an_equal_one_as_a_key() {
    let (_dir, path) = store();
    let open = || Cache::<HashMap<String, u32>, u32>::builder(&path).backend(backend()).open().unwrap();
    let cache = open();
    for n in 0..20 {
        cache.insert(&map(n), &n).unwrap();
    }
    cache.insert_many([(map(20), &20)]).unwrap();
    let mut batch = cachemere::Batch::new();
    batch.insert(&map(21), 21);
    cache.write(&batch).unwrap();
    cache.close().unwrap();
    let cache = open();
    let all: Vec<_> = (0..22).map(map).collect();
    assert_eq!(cache.get_many(&all).unwrap(), (0..22).map(Some).collect::<Vec<_>>());
    for n in 0..22 {
        assert_eq!(cache.get(&map(n)).unwrap(), Some(n));
        assert_eq!(cache.get(&map(n)).unwrap(), Some(n), "from memory");
        assert!(cache.touch(&map(n)).unwrap() && cache.contains(&map(n)).unwrap());
        assert_eq!(cache.iter().nth(n as usize).unwrap().unwrap(), (map(n), n));
    }
    assert!((0..22).all(|n| cache.remove(&map(n)).unwrap()));
}

#[test]
fn a_map_is_compared_by_what_is_in_it() {
    let (_dir, path) = store();
    let cache: Cache<str, HashMap<String, u32>> = Cache::builder(&path).backend(backend()).open().unwrap();
    assert!(cache.compare_and_set("key", None, Some(&map(0))).unwrap());
    for n in 0..50 {
        assert!(!cache.compare_and_set("key", None, Some(&map(n))).unwrap());
        assert!(!cache.compare_and_set("key", Some(&map(n + 1)), Some(&map(n))).unwrap());
        assert!(cache.compare_and_set("key", Some(&map(n)), Some(&map(n + 1))).unwrap(), "{n}");
    }
    assert!(cache.compare_and_set("key", Some(&map(50)), None).unwrap());
    assert!(!cache.contains("key").unwrap());
}

#[test]
fn what_has_no_order_is_refused_where_it_is_to_be_found_again() {
    let (_dir, path) = store();
    let set = HashSet::from([1u32, 2, 3]);
    let keys: Cache<HashSet<u32>, u32> = Cache::builder(&path).backend(backend()).open().unwrap();
    let error = keys.insert(&set, &1).unwrap_err();
    assert!(error.is_serialization() && error.to_string().contains("BTreeSet"), "{error}");
    let values: Cache<str, HashSet<u32>> =
        Cache::builder(&path).backend(backend()).namespace("values").open().unwrap();
    values.insert("key", &set).unwrap();
    assert_eq!(values.get("key").unwrap().as_ref(), Some(&set));
    assert!(values.compare_and_set("key", Some(&set), None).unwrap_err().is_serialization());
    assert_eq!(values.get("key").unwrap(), Some(set));
}

#[test]
fn entries_expire_and_are_swept() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path).backend(backend()).front(front()).open().unwrap();
    cache.insert_with_ttl("short", &1, Duration::from_millis(30)).unwrap();
    cache.insert("long", &2).unwrap();
    assert_eq!(cache.get("short").unwrap(), Some(1));
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(cache.get("short").unwrap(), None);
    assert_eq!(cache.len().unwrap(), 1);
    assert!(matches!(cache.insert_with_ttl("x", &1, Duration::ZERO), Err(Error::Invalid { .. })));
    cache.sweep().unwrap();
    assert_eq!(cache.verify().unwrap().entries, 1);
}

#[test]
fn limits_evict_the_least_recently_read() {
    let (_dir, path) = store();
    let cache: Cache<u32, u32> =
        Cache::builder(&path).backend(backend()).front(front()).max_entries(3).open().unwrap();
    for n in 0..3 {
        cache.insert(&n, &n).unwrap();
        std::thread::sleep(Duration::from_millis(12));
    }
    assert_eq!(cache.get(&0).unwrap(), Some(0));
    cache.insert(&3, &3).unwrap();
    assert_eq!(cache.len().unwrap(), 3);
    assert_eq!(cache.get(&1).unwrap(), None);
    assert_eq!(cache.get(&0).unwrap(), Some(0));
    assert_eq!(cache.stats().unwrap().evictions, 1);
}

#[test]
fn taking_the_first_or_last_again_and_again_costs_no_more_the_more_was_taken() {
    let (_dir, path) = store();
    // Nothing is done behind the writer, so that all that was taken still lies before what is to be found.
    let cache: Cache<u32, u32> = Cache::builder(&path)
        .backend(backend())
        .front(front())
        .maintenance(Maintenance::Manual)
        .open()
        .unwrap();
    let entries: Vec<(u32, u32)> = (0..20_000).map(|n| (n, n)).collect();
    cache.insert_many(entries.iter().map(|(key, value)| (key, value))).unwrap();
    let mut taken = 0;
    let mut take = |count: u32| {
        let began = std::time::Instant::now();
        for _ in 0..count {
            assert_eq!(cache.pop_oldest().unwrap(), Some((taken, taken)));
            assert_eq!(cache.pop_newest().unwrap(), Some((19_999 - taken, 19_999 - taken)));
            taken += 1;
        }
        began.elapsed()
    };
    let first = take(500);
    take(9_000);
    let last = take(500);
    assert!(last < first * 5 + Duration::from_millis(100), "{first:?} at first, {last:?} in the end");
    assert_eq!(cache.pop_oldest().unwrap(), None);
    cache.insert(&7, &7).unwrap();
    assert_eq!(cache.pop_oldest().unwrap(), Some((7, 7)));
}

#[test]
fn compaction_backup_and_rekeying_keep_everything() {
    let (dir, path) = store();
    let (one, two, three) = (Secret::key([1; 32]), Secret::key([2; 32]), Secret::key([3; 32]));
    let open = || -> Cache<u32, Vec<u8>> {
        let builder = Cache::builder(&path).backend(backend()).front(front()).encryption(one.clone());
        builder.maintenance(Maintenance::Manual).open().unwrap()
    };
    let cache = open();
    for n in 0..2000 {
        cache.insert(&n, &vec![n as u8; 500]).unwrap();
    }
    // So that all of it is in the data file.
    cache.close().unwrap();
    let cache = open();
    for n in 0..1900 {
        cache.remove(&n).unwrap();
    }
    assert_eq!(cache.get(&1950).unwrap(), Some(vec![1950u32 as u8; 500]));
    let before = cache.stats().unwrap().file_bytes;
    cache.compact().unwrap();
    let after = cache.stats().unwrap().file_bytes;
    assert!(after < before / 2, "{before} {after}");
    assert_eq!(cache.get(&1950).unwrap(), Some(vec![1950u32 as u8; 500]));
    cache.insert(&1950, &vec![9]).unwrap();
    assert_eq!(cache.get(&1950).unwrap(), Some(vec![9]));
    cache.backup(dir.path().join("copy")).unwrap();
    let copy: Cache<u32, Vec<u8>> = Cache::builder(dir.path().join("copy"))
        .backend(backend())
        .front(front())
        .encryption(one.clone())
        .open()
        .unwrap();
    assert_eq!(copy.len().unwrap(), 100);
    assert!(copy.verify().unwrap().is_clean());

    assert!(cache.change_secret(&two, &three).unwrap_err().is_wrong_secret());
    cache.change_secret(&one, &two).unwrap();
    // RocksDB would have to be written anew as a whole.
    let last = match backend() {
        BackendKind::Lmdb => three,
        _ => two.clone(),
    };
    match backend() {
        BackendKind::Lmdb => cache.reencrypt(&two, &last).unwrap(),
        _ => assert!(cache.reencrypt(&two, &last).unwrap_err().is_invalid()),
    }
    assert_eq!(cache.get(&1950).unwrap(), Some(vec![9]));
    let report = cache.verify().unwrap();
    assert!(report.is_clean() && report.entries == 100, "{report:?}");
    cache.close().unwrap();
    assert!(
        Cache::<u32, Vec<u8>>::builder(&path)
            .backend(backend())
            .encryption(one)
            .open()
            .unwrap_err()
            .is_wrong_secret()
    );
    let cache: Cache<u32, Vec<u8>> =
        Cache::builder(&path).backend(backend()).front(front()).encryption(last).open().unwrap();
    assert_eq!(cache.iter().count(), 100);
}

#[test]
fn updates_and_comparisons_are_atomic() {
    let (_dir, path) = store();
    let cache: Cache<str, u64> = Cache::builder(&path).backend(backend()).front(front()).open().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    cache.update("n", |n| Some(n.unwrap_or(0) + 1)).unwrap();
                }
            });
        }
    });
    assert_eq!(cache.get("n").unwrap(), Some(1000));
    assert!(!cache.compare_and_set("n", Some(&5), Some(&6)).unwrap());
    assert!(cache.compare_and_set("n", Some(&1000), None).unwrap());
    assert!(cache.compare_and_set("n", None, Some(&1)).unwrap());
    assert!(!cache.insert_if_absent("n", &2).unwrap());
    assert_eq!(cache.take("n").unwrap(), Some(1));
    assert_eq!(cache.take("n").unwrap(), None);
}

#[test]
fn a_read_only_handle_writes_nothing_not_even_at_close() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path)
        .backend(backend())
        .front(front())
        .time_to_idle(Duration::from_millis(800))
        .open()
        .unwrap();
    cache.insert("a", &1).unwrap();
    cache.close().unwrap();
    let before = files(&path);
    std::thread::sleep(Duration::from_millis(200));
    let reader: Cache<str, u32> =
        Cache::builder(&path).backend(backend()).front(front()).read_only(true).open().unwrap();
    assert_eq!(reader.get("a").unwrap(), Some(1));
    reader.close().unwrap();
    assert_eq!(files(&path), before);
}

/// What holds the records, byte by byte. (RocksDB's notes for people are not of them.)
fn files(store: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let (dir, is_data): (_, fn(&str) -> bool) = match backend() {
        BackendKind::Lmdb => (store.to_owned(), |name| name == "data.mdb"),
        _ => (store.join("rocksdb"), |name| !name.starts_with("LOG")),
    };
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let data = files.filter(|file| is_data(file.file_name().unwrap().to_str().unwrap()));
    let read: std::collections::BTreeMap<_, _> =
        data.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect();
    assert!(!read.is_empty());
    read
}

#[test]
fn a_backup_knows_when_its_entries_were_read() {
    let (dir, path) = store();
    let cache: Cache<str, u32> =
        Cache::builder(&path).backend(backend()).front(front()).max_entries(10).open().unwrap();
    cache.insert("a", &1).unwrap();
    let written = cache.info("a").unwrap().unwrap().accessed;
    std::thread::sleep(Duration::from_millis(5));
    cache.get("a").unwrap();
    cache.backup(dir.path().join("copy")).unwrap();
    let copy: Cache<str, u32> =
        Cache::builder(dir.path().join("copy")).backend(backend()).front(front()).open().unwrap();
    assert!(copy.info("a").unwrap().unwrap().accessed > written);
}

#[test]
fn a_claim_to_a_payload_is_confirmed_or_answered_with_the_payload() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    let other = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    cache.insert(b"key", b"1", 0, None).unwrap();
    let found = cache.get(b"key").unwrap().unwrap();
    let first = cache.hold(&found).unwrap();
    assert!(cache.is_current(&first).unwrap());

    // From its first commit after something is held, the handle knows what it wrote.
    cache.insert(b"own", b"2", 0, None).unwrap();
    assert!(matches!(cache.get_unless(b"key", &first).unwrap(), Known::Same));
    cache.insert(b"own", b"3", 0, None).unwrap();
    assert!(cache.is_current(&first).unwrap());
    other.insert(b"foreign", b"3", 0, None).unwrap();
    assert!(!cache.is_current(&first).unwrap());
    assert!(matches!(cache.get_unless(b"key", &first).unwrap(), Known::Same));
    assert!(cache.is_current(&first).unwrap());

    // As two threads do that miss at once. The older claim cannot be renewed, so its owner gets the payload to hold anew.
    let second = cache.hold(&found).unwrap();
    assert!(!cache.is_current(&first).unwrap());
    let Known::Other(again) = cache.get_unless(b"key", &first).unwrap() else {
        panic!("it would never be current again")
    };
    assert_eq!(again, found);
    let third = cache.hold(&again).unwrap();
    assert!(cache.is_current(&third).unwrap() && !cache.is_current(&second).unwrap());

    cache.remove(b"key").unwrap();
    assert!(!cache.is_current(&third).unwrap());
    assert!(matches!(cache.get_unless(b"key", &third).unwrap(), Known::Missing));
}
