//! Inserts and removals that are made together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{Batch, ByteBatch, ByteCache, Cache, EntryTimes, Error, Known, Maintenance, Secret, Zstd};

use crate::backend::backend;
use crate::front::front;
use crate::store;

const DAY: Duration = Duration::from_secs(86_400);

/// Whole microseconds, as the store keeps them.
fn ago(age: Duration) -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    UNIX_EPOCH + Duration::from_micros(now as u64) - age
}

/// Created and last read so many days ago.
fn aged(created: u32, accessed: u32, expires: Option<SystemTime>) -> EntryTimes {
    EntryTimes { created: ago(created * DAY), accessed: ago(accessed * DAY), expires }
}

fn keys(cache: &Cache<str, u32>) -> Vec<(String, u32)> {
    cache.iter().map(Result::unwrap).collect()
}

fn pairs(pairs: &[(&str, u32)]) -> Vec<(String, u32)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

#[test]
fn a_batch_comes_to_what_its_changes_would_one_by_one() {
    for encrypt in [false, true] {
        let (_dir, path) = store();
        let mut builder = Cache::<str, u32>::builder(&path).backend(backend());
        if encrypt {
            builder = builder.encryption(Secret::key([3; 32])).compression(Zstd::default());
        }
        let cache = builder.open().unwrap();
        cache.insert_many([("a", &1), ("b", &2), ("c", &3), ("d", &4)]).unwrap();
        let created = |key| cache.info(key).unwrap().unwrap().created;
        let (a, b) = (created("a"), created("b"));
        std::thread::sleep(Duration::from_millis(2));

        let mut batch = Batch::new();
        batch.insert("new", 9).insert("b", 20).remove("absent").remove("c");
        batch.insert("a", 10).remove("a").insert("a", 11).insert("a", 12);
        batch.insert("fleeting", 1).remove("fleeting");
        batch.insert_with_ttl("ttl", 5, Duration::from_secs(60));
        assert_eq!((batch.len(), batch.is_empty()), (11, false));
        cache.write(&batch).unwrap();

        assert_eq!(keys(&cache), pairs(&[("b", 20), ("d", 4), ("new", 9), ("a", 12), ("ttl", 5)]));
        assert_eq!(created("b"), b, "what is replaced hands on its age");
        assert!(created("a") > a, "what was removed does not");
        assert!(cache.info("ttl").unwrap().unwrap().expires.is_some());
        assert_eq!(cache.len().unwrap(), 5);
        // Again, now that nothing is new.
        cache.write(&batch).unwrap();
        cache.write(&Batch::new()).unwrap();
        assert_eq!(keys(&cache), pairs(&[("b", 20), ("d", 4), ("new", 9), ("ttl", 5), ("a", 12)]));
        let report = cache.verify().unwrap();
        assert!(report.is_clean() && report.entries == 5, "{report:?}");
    }
}

#[test]
fn a_batch_that_is_refused_changes_nothing() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    cache.insert(b"key", b"1", 0, None).unwrap();
    let good = || {
        let mut batch = ByteBatch::new();
        batch.insert(b"new", *b"2", 0, None).insert(b"key", *b"2", 0, None).remove(b"key");
        batch
    };
    let old = EntryTimes { created: UNIX_EPOCH - DAY, accessed: UNIX_EPOCH, expires: None };
    let older = EntryTimes { created: UNIX_EPOCH, accessed: old.created, ..old };
    for (told, key, ttl, times) in [
        ("empty", &b""[..], None, None),
        ("ttl", b"k", Some(Duration::ZERO), None),
        ("creation time: it lies before 1970", b"k", None, Some(old)),
        ("access time: it lies before 1970", b"k", None, Some(older)),
    ] {
        let mut batch = good();
        match times {
            Some(times) => batch.insert_with_times(key, *b"3", 0, times),
            None => batch.insert(key, *b"3", 0, ttl),
        };
        let error = cache.write(&batch).unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(told), "{error}");
    }
    assert!(matches!(cache.write(good().remove(b"")), Err(Error::EmptyKey)));
    assert_eq!(cache.get(b"key").unwrap().unwrap().payload, b"1");
    assert_eq!(cache.len().unwrap(), 1);
}

/// Created is authenticated with the body of an encrypted entry, and all three times are where entries are listed by.
#[test]
fn given_times_are_kept() {
    for (compress, encrypt) in [(false, false), (true, false), (false, true), (true, true)] {
        let (_dir, path) = store();
        let open = || {
            let mut builder = Cache::<str, String>::builder(&path).backend(backend());
            if encrypt {
                builder = builder.encryption(Secret::key([3; 32]));
            }
            if compress {
                builder = builder.compression(Zstd::default());
            }
            builder.time_to_live(DAY).max_entries(100).maintenance(Maintenance::Manual).open().unwrap()
        };
        let cache = open();
        let text = "text ".repeat(100);
        cache.insert("replaced", &"old".to_owned()).unwrap();
        cache.insert("second", &"old".to_owned()).unwrap();
        let soon = ago(Duration::ZERO) + Duration::from_millis(1_000);
        let mut batch = Batch::new();
        let all = [
            ("replaced", aged(30, 2, None)),
            ("soon", aged(20, 10, Some(soon))),
            ("later", aged(20, 10, Some(soon + DAY))),
        ];
        for (key, times) in all {
            batch.insert_with_times(key, text.clone(), times);
        }
        cache.write(&batch).unwrap();
        // What it is written over later, too.
        cache.insert("later", &"new".to_owned()).unwrap();
        let check = |cache: &Cache<str, String>| {
            for (key, times) in all {
                let info = cache.info(key).unwrap().unwrap();
                assert_eq!(info.created, times.created, "{key}");
                if key != "later" {
                    assert_eq!((info.modified, info.accessed), (times.created, times.accessed), "{key}");
                    assert_eq!(info.expires, times.expires, "{key}");
                }
            }
        };
        check(&cache);
        cache.close().unwrap();
        let cache = open();
        check(&cache);
        assert_eq!(cache.get("replaced").unwrap(), Some(text.clone()));
        assert_eq!(cache.get("soon").unwrap(), Some(text.clone()));
        let order: Vec<String> = cache.iter().map(|entry| entry.unwrap().0).collect();
        assert_eq!(order, ["replaced", "second", "soon", "later"]);
        let report = cache.verify().unwrap();
        assert!(report.is_clean() && report.entries == 4, "{report:?}");

        while SystemTime::now() <= soon {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!((cache.get("soon").unwrap(), cache.len().unwrap()), (None, 3));
        assert_eq!(cache.sweep().unwrap(), 1);
        let report = cache.verify().unwrap();
        assert!(report.is_clean() && report.entries == 3, "{report:?}");
    }
}

#[test]
fn what_is_expired_when_it_is_written_takes_the_present_value_with_it() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path).backend(backend()).time_to_idle(DAY).open().unwrap();
    cache.insert_many([("a", &1), ("b", &1), ("c", &1)]).unwrap();
    let mut batch = Batch::new();
    batch.insert_with_times("a", 2, aged(3, 0, Some(ago(DAY))));
    batch.insert_with_times("b", 2, aged(3, 0, Some(UNIX_EPOCH)));
    // It was not read for longer than an entry of this cache may be idle.
    batch.insert_with_times("c", 2, aged(3, 2, None));
    batch.insert_with_times("new", 2, aged(3, 2, None));
    batch.insert_with_times("late", 2, aged(3, 2, None)).insert("late", 3);
    cache.write(&batch).unwrap();
    assert_eq!(keys(&cache), pairs(&[("late", 3)]));
    assert!(cache.info("late").unwrap().unwrap().created > ago(DAY));
    let report = cache.verify().unwrap();
    assert!(report.is_clean() && report.entries == 1, "{report:?}");
}

#[test]
fn no_entry_is_of_the_future_nor_read_before_it_was_made() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path).backend(backend()).open().unwrap();
    let tomorrow = ago(Duration::ZERO) + DAY;
    let mut batch = Batch::new();
    batch.insert_with_times(
        "a",
        1,
        EntryTimes { created: tomorrow, accessed: tomorrow, expires: Some(tomorrow) },
    );
    batch.insert_with_times("b", 1, aged(1, 2, None));
    let before = ago(Duration::ZERO);
    cache.write(&batch).unwrap();
    let a = cache.info("a").unwrap().unwrap();
    assert!(before <= a.created && a.created <= SystemTime::now() && a.accessed == a.created);
    assert_eq!(a.expires, Some(tomorrow));
    let b = cache.info("b").unwrap().unwrap();
    assert_eq!(b.accessed, b.created);
}

#[test]
fn limits_evict_by_the_accesses_that_were_given() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path).backend(backend()).max_entries(3).open().unwrap();
    cache.insert("present", &1).unwrap();
    let mut batch = Batch::new();
    for (key, days) in [("four", 4), ("one", 1), ("three", 3), ("two", 2)] {
        batch.insert_with_times(key, days, aged(9, days, None));
    }
    cache.write(&batch).unwrap();
    assert_eq!(keys(&cache), pairs(&[("present", 1), ("one", 1), ("two", 2)]));
    assert_eq!(cache.stats().unwrap().evictions, 2);
    // Room is made by the removals of a batch before any entry has to go.
    let mut batch = Batch::new();
    batch.insert("new", 1).remove("present");
    cache.write(&batch).unwrap();
    assert_eq!(keys(&cache), pairs(&[("one", 1), ("two", 2), ("new", 1)]));
    assert_eq!(cache.stats().unwrap().evictions, 2);
    assert!(cache.verify().unwrap().is_clean());
}

#[test]
fn a_batch_drops_what_it_wrote_from_memory_and_nothing_else() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    cache.insert_many([(&b"a"[..], vec![1], 0), (b"b", vec![1], 0), (b"c", vec![1], 0)], None).unwrap();
    cache.insert(b"own", b"1", 0, None).unwrap();
    let held = [b"a", b"b", b"c"].map(|key| cache.hold(&cache.get(key).unwrap().unwrap()).unwrap());
    cache.insert(b"own", b"2", 0, None).unwrap();
    for (key, held) in [b"a", b"b", b"c"].into_iter().zip(&held) {
        assert!(matches!(cache.get_unless(key, held).unwrap(), Known::Same));
    }
    let mut batch = ByteBatch::new();
    batch.insert(b"a", *b"2", 1, None).remove(b"b");
    cache.write(&batch).unwrap();
    assert_eq!(held.each_ref().map(|held| cache.is_current(held).unwrap()), [false, false, true]);
    let Known::Other(found) = cache.get_unless(b"a", &held[0]).unwrap() else { panic!("it was replaced") };
    assert_eq!((found.payload.as_slice(), found.tag), (&b"2"[..], 1));
    assert!(matches!(cache.get_unless(b"b", &held[1]).unwrap(), Known::Missing));

    let (one, other) = (numbers(&path), numbers(&path));
    one.write(Batch::new().insert("a", 1).insert("b", 1)).unwrap();
    for round in 2..20 {
        assert_eq!(other.get_many(["a", "b"]).unwrap(), [Some(round - 1), Some(round - 1)]);
        assert_eq!((one.get("a").unwrap(), other.get("b").unwrap()), (Some(round - 1), Some(round - 1)));
        one.write(Batch::new().insert("a", round).remove("b")).unwrap();
        assert_eq!((one.get("a").unwrap(), other.get("b").unwrap()), (Some(round), None));
        other.write(Batch::new().insert("b", round)).unwrap();
        assert_eq!(one.get("b").unwrap(), Some(round));
    }
}

fn numbers(path: &std::path::Path) -> Cache<str, u32> {
    Cache::builder(path).backend(backend()).front(front()).namespace("numbers").open().unwrap()
}

#[test]
fn the_namespaces_of_a_store_are_listed_without_making_one() {
    let (_dir, path) = store();
    let names = |cache: &Cache<str, u32>| -> Vec<(String, u64)> {
        cache.namespaces().unwrap().into_iter().map(|it| (it.name, it.entries)).collect()
    };
    let open = |name: &str| Cache::<str, u32>::builder(&path).backend(backend()).namespace(name);
    let one = open("one").maintenance(Maintenance::Manual).open().unwrap();
    let two = open("äther").open().unwrap();
    assert_eq!(names(&one), pairs64(&[("one", 0), ("äther", 0)]));
    one.insert_many([("a", &1), ("b", &2)]).unwrap();
    one.insert_with_ttl("c", &3, Duration::from_millis(1)).unwrap();
    two.insert("a", &1).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(names(&two), pairs64(&[("one", 2), ("äther", 1)]));
    two.clear().unwrap();
    let reader = open("none").read_only(true).open().unwrap();
    assert_eq!(names(&reader), pairs64(&[("one", 2), ("äther", 0)]));
    let bytes =
        ByteCache::builder(&path).backend(backend()).namespace("none").read_only(true).open().unwrap();
    assert_eq!(bytes.namespaces().unwrap(), one.namespaces().unwrap());
    one.close().unwrap();
    assert!(one.namespaces().unwrap_err().is_closed());
}

fn pairs64(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, entries)| ((*name).to_owned(), *entries)).collect()
}
