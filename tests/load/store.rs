//! Loads into a store: what is there afterwards, in which order, and what a load that fails leaves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cachemere::load::{Duplicates, Existing, Load, OnError, Record, Refusal, Watch};
use cachemere::{ByteBuilder, ByteCache, ByteEntry, Cache, Error, Maintenance, Secret, Zstd};

use super::collected::{file, gzip, pairs, tab_separated};
use super::support::{self, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_new_store_is_filled_in_the_order_of_the_files", || {
        for kind in KINDS {
            let (dir, path) = support::store();
            let files = two_files(dir.path());
            let cache = builder(&path, kind).open().unwrap();
            for budget in [4 << 20, 64 << 20] {
                cache.clear().unwrap();
                cache.compact().unwrap();
                let load = Load::new(&files, tab_separated(), &path).options(|o| o.memory_budget(budget));
                let summary = cache.load(load, Existing::Error, None, &as_it_is, &mut ()).unwrap();
                assert_eq!((summary.records, summary.written, summary.duplicates), (60_000, 50_000, 10_000));
                check_both(&cache);
            }
            cache.insert(b"one more", b"value", 7, None).unwrap();
            assert_eq!(cache.newest().unwrap().unwrap().key, b"one more");
            cache.close().unwrap();
            let cache = builder(&path, kind).open().unwrap();
            assert!(cache.remove(b"one more").unwrap());
            check_both(&cache);
            only_its_own_files(&path);
        }
    }),
    ("pages_of_a_new_store_are_full", || {
        let (dir, path) = support::store();
        let files = two_files(dir.path());
        let cache = builder(&path, "plain").open().unwrap();
        let load = Load::new(&files, tab_separated(), &path);
        cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        let loaded = cache.stats().unwrap().file_bytes;
        cache.close().unwrap();
        let cache = builder(&path, "plain").open().unwrap();
        cache.compact().unwrap();
        let compacted = cache.stats().unwrap().file_bytes;
        assert!(loaded < compacted + compacted / 20, "{loaded} {compacted}");
    }),
    ("what_is_there_is_replaced_kept_or_an_error", || {
        for kind in KINDS {
            let (dir, path) = support::store();
            let cache = builder(&path, kind).open().unwrap();
            let other = builder(&path, kind).namespace("other").open().unwrap();
            other.insert(b"1", b"of the other", 0, None).unwrap();
            let fill = || {
                cache.clear().unwrap();
                for key in ["b", "a", "expired"] {
                    cache.insert(key.as_bytes(), b"old", 3, None).unwrap();
                }
                cache.insert(b"expired", b"old", 3, Some(Duration::from_millis(1))).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            };
            let new = dir.path().join("new");
            std::fs::write(&new, "c\t1\na\t2\nexpired\t3\nd\t4\n").unwrap();
            let load = |existing| {
                let load = Load::new([&new], tab_separated(), &path);
                cache.load(load, existing, None, &as_it_is, &mut ())
            };
            fill();
            let created = cache.info(b"a").unwrap().unwrap().created;
            let summary = load(Existing::Replace).unwrap();
            assert_eq!((summary.written, summary.kept), (4, 0));
            let expected = [("b", "old"), ("a", "2"), ("c", "1"), ("expired", "3"), ("d", "4")];
            assert_eq!(listed(&cache), pairs(&expected));
            assert_eq!(cache.info(b"a").unwrap().unwrap().created, created);
            fill();
            let summary = load(Existing::Keep).unwrap();
            assert_eq!((summary.written, summary.kept), (3, 1));
            assert_eq!(listed(&cache)[1], pairs(&[("a", "old")])[0]);
            fill();
            let error = load(Existing::Error).unwrap_err();
            assert!(matches!(error, Error::DuplicateKey { .. }), "{error}");
            assert!(error.to_string().contains("key a") && error.to_string().contains("line 2"), "{error}");
            assert_eq!(listed(&cache), pairs(&[("b", "old"), ("a", "old")]));
            assert_eq!(listed(&other), pairs(&[("1", "of the other")]));
            let report = cache.verify().unwrap();
            assert!(report.is_clean(), "{report:?}");
            only_its_own_files(&path);
        }
    }),
    ("a_large_load_into_a_store_that_has_entries_is_as_the_inserts_would_be", || {
        let (dir, path) = support::store();
        let files = two_files(dir.path());
        let cache = builder(&path, "plain").open().unwrap();
        cache.insert(b"before", b"1", 0, None).unwrap();
        cache.insert(b"first 7", b"old", 0, None).unwrap();
        let load = Load::new(&files, tab_separated(), &path).options(|o| o.memory_budget(4 << 20));
        cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        let mut expected = expected();
        expected.remove(7);
        expected.insert(0, ("first 7".to_owned(), value(1, 7)));
        expected.insert(0, ("before".to_owned(), "1".to_owned()));
        assert!(listed(&cache) == expected);
        assert!(cache.verify().unwrap().is_clean());
    }),
    ("loaded_entries_expire", || {
        for first in [false, true] {
            let (dir, path) = support::store();
            let clock = Arc::new(Clock(Mutex::new(SystemTime::now())));
            let builder = builder(&path, "plain").clock(clock.clone()).maintenance(Maintenance::Manual);
            let cache = builder.time_to_idle(Duration::from_secs(3600)).open().unwrap();
            if first {
                cache.insert(b"x", b"y", 0, None).unwrap();
            }
            let files = two_files(dir.path());
            let load = Load::new(&files, tab_separated(), &path);
            let ttl = Some(Duration::from_secs(60));
            cache.load(load, Existing::Replace, ttl, &as_it_is, &mut ()).unwrap();
            *clock.0.lock().unwrap() += Duration::from_secs(59);
            assert_eq!(cache.len().unwrap(), 50_000 + u64::from(first));
            assert!(cache.verify().unwrap().is_clean());
            *clock.0.lock().unwrap() += Duration::from_secs(2);
            assert_eq!(cache.len().unwrap(), u64::from(first));
            assert_eq!(cache.sweep().unwrap(), 50_000);
            assert!(cache.verify().unwrap().is_clean());
        }
    }),
    ("limits_hold_and_more_than_fits_is_refused_before_anything_is_evicted", || {
        let (dir, path) = support::store();
        let files = two_files(dir.path());
        let cache = builder(&path, "plain").max_bytes(8 << 20).open().unwrap();
        cache.insert(b"there", b"value", 0, None).unwrap();
        let load = |files: &[std::path::PathBuf]| {
            let load = Load::new(files, tab_separated(), &path);
            cache.load(load, Existing::Replace, None, &as_it_is, &mut ())
        };
        let error = load(&files).unwrap_err();
        assert!(error.is_store_full() && error.to_string().contains("max_bytes"), "{error}");
        assert_eq!(listed(&cache), pairs(&[("there", "value")]));
        let small = dir.path().join("small");
        std::fs::write(&small, (0..1000).map(|n| format!("small {n}\t{n}\n")).collect::<String>()).unwrap();
        load(std::slice::from_ref(&small)).unwrap();
        assert_eq!(cache.len().unwrap(), 1001);
        cache.close().unwrap();
        let few = builder(&path, "plain").namespace("few").max_entries(100).open().unwrap();
        let load = Load::new([&small], tab_separated(), &path);
        few.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        assert!(few.len().unwrap() <= 100);
        let report = few.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
    }),
    ("a_load_that_fills_the_map_says_how_large_it_is_and_changes_nothing", || {
        let (dir, path) = support::store();
        let cache = ByteCache::builder(&path).map_size(1 << 20).open().unwrap();
        cache.insert(b"there", b"before", 7, None).unwrap();
        let lines: String = (0..20_000).map(|n| format!("{n}\t{}\n", "value ".repeat(150))).collect();
        let file = dir.path().join("too much.tsv");
        std::fs::write(&file, lines).unwrap();
        let load = Load::new([&file], tab_separated(), &path);
        let error = cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap_err();
        assert!(matches!(error, Error::StoreFull { limit, .. } if limit == 1 << 20), "{error:?}");
        assert!(error.to_string().contains("larger map_size"), "{error}");
        assert_eq!(cache.len().unwrap(), 1);
        assert_eq!(cache.get(b"there").unwrap().unwrap().payload, b"before");
    }),
    ("a_new_store_with_a_limit_lists_what_was_loaded_by_access", || {
        let (dir, path) = support::store();
        let files = two_files(dir.path());
        let cache = builder(&path, "plain").max_bytes(64 << 20).open().unwrap();
        let load = Load::new(&files, tab_separated(), &path);
        cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        check_both(&cache);
    }),
    ("a_load_that_fails_or_is_cancelled_leaves_the_store_as_it_was", || {
        struct AtWriting;
        impl Watch for AtWriting {
            fn progress(&mut self, progress: &cachemere::load::Progress) {
                assert!(progress.bytes_read <= progress.bytes_total);
            }
            fn is_cancelled(&mut self) -> bool {
                true
            }
        }
        let (dir, path) = support::store();
        let mut files = two_files(dir.path());
        let cache = builder(&path, "plain").open().unwrap();
        cache.insert(b"there", b"value", 0, None).unwrap();
        let token = cache.token().unwrap();
        let load = |files: &[std::path::PathBuf]| Load::new(files, tab_separated(), &path);
        let many: Vec<_> = files.iter().cycle().take(40).cloned().collect();
        let cancelled = cache.load(load(&many), Existing::Replace, None, &as_it_is, &mut AtWriting);
        assert!(matches!(cancelled, Err(Error::Cancelled)));
        let refuses = |_: &Record<'_>, _: &mut ByteEntry| Err(Refusal::Load(Error::EmptyKey));
        assert!(matches!(
            cache.load(load(&files), Existing::Replace, None, &refuses, &mut ()),
            Err(Error::EmptyKey)
        ));
        let sorted = Load::new(&files, tab_separated().sorted(), &path);
        assert!(cache.load(sorted, Existing::Replace, None, &as_it_is, &mut ()).unwrap_err().is_invalid());
        let bad = dir.path().join("bad");
        std::fs::write(&bad, "\tempty key\n").unwrap();
        files.push(bad);
        let error = cache.load(load(&files), Existing::Replace, None, &as_it_is, &mut ()).unwrap_err();
        assert!(error.to_string().contains("bad, line 1: its key is empty"), "{error}");
        assert_eq!(listed(&cache), pairs(&[("there", "value")]));
        assert_eq!(cache.token().unwrap(), token);
        only_its_own_files(&path);
        let load = load(&files).options(|options| options.on_error(OnError::Skip));
        assert_eq!(cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap().skipped, 1);
    }),
    ("a_cache_that_is_cleared_while_files_are_read_is_not_filled", || {
        let (dir, path) = support::store();
        let files = two_files(dir.path());
        let cache = builder(&path, "plain").open().unwrap();
        let clears = std::sync::Once::new();
        let make = |record: &Record<'_>, entry: &mut ByteEntry| {
            clears.call_once(|| cache.clear().unwrap());
            as_it_is(record, entry)
        };
        let load = Load::new(&files, tab_separated(), &path);
        let error = cache.load(load, Existing::Replace, None, &make, &mut ()).unwrap_err();
        assert!(error.is_busy() && error.to_string().contains("cleared"), "{error}");
        assert!(cache.is_empty().unwrap());
    }),
    ("values_in_memory_are_not_stale_after_a_load", || {
        let (_dir, path) = support::store();
        let (_other, file) = file("file", b"a\tnew\n");
        let cache: Cache<str, String> = Cache::builder(&path).open().unwrap();
        cache.insert("a", &"old".to_owned()).unwrap();
        assert_eq!(cache.get("a").unwrap().as_deref(), Some("old"));
        let make =
            |record: &Record<'_>| Ok((record.key.text()?.into_owned(), record.value.text()?.into_owned()));
        let load = Load::new([&file], tab_separated(), &path);
        cache.load(load, Existing::Replace, None, &make, &mut ()).unwrap();
        assert_eq!(cache.get("a").unwrap().as_deref(), Some("new"));
        let bytes = ByteCache::builder(path.with_extension("bytes")).open().unwrap();
        bytes.insert(b"a", b"old", 0, None).unwrap();
        let held = bytes.hold(&bytes.get(b"a").unwrap().unwrap()).unwrap();
        assert!(bytes.is_current(&held).unwrap());
        let load = Load::new([&file], tab_separated(), bytes.path());
        bytes.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        assert!(!bytes.is_current(&held).unwrap());
    }),
    ("of_two_records_of_a_key_the_first_can_be_loaded", || {
        let (_dir, path) = support::store();
        let (_other, file) = file("file", b"a\t1\nb\t2\na\t3\n");
        let cache = builder(&path, "plain").open().unwrap();
        let load = Load::new([&file], tab_separated(), &path).options(|o| o.duplicates(Duplicates::First));
        cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        assert_eq!(listed(&cache), pairs(&[("a", "1"), ("b", "2")]));
    }),
];

struct Clock(Mutex<SystemTime>);

impl cachemere::Clock for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

pub(crate) const KINDS: [&str; 3] = ["plain", "encrypted", "compressed"];

pub(crate) fn builder(path: &Path, kind: &str) -> ByteBuilder {
    let builder = ByteCache::builder(path);
    match kind {
        "encrypted" => builder.encryption(Secret::key([5; 32])),
        "compressed" => builder.encryption(Secret::key([5; 32])).compression(Zstd::default()),
        _ => builder,
    }
}

pub(crate) fn as_it_is(record: &Record<'_>, entry: &mut ByteEntry) -> Result<(), Refusal> {
    entry.key.extend_from_slice(record.key.raw());
    entry.payload.extend_from_slice(record.value.raw());
    entry.tag = 7;
    Ok(())
}

fn value(file: u32, n: u32) -> String {
    format!("{file} {}", "value ".repeat((n % 40) as usize))
}

/// Two files, the second of which has keys of the first again.
fn two_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let line = |file: u32, key: &str, n: u32| format!("{key} {n}\t{}\n", value(file, n));
    let first: String = (0..30_000).map(|n| line(1, "first", n)).collect();
    let again = (20_000..30_000).map(|n| line(2, "first", n));
    let second: String = (0..20_000).map(|n| line(2, "second", n)).chain(again).collect();
    let files = [dir.join("first.tsv"), dir.join("second.tsv.gz")];
    std::fs::write(&files[0], first).unwrap();
    std::fs::write(&files[1], gzip(second.as_bytes())).unwrap();
    files.to_vec()
}

/// What is there after they were loaded, in the order in which what counts was read.
fn expected() -> Vec<(String, String)> {
    let first = (0..20_000).map(|n| (format!("first {n}"), value(1, n)));
    let second = (0..20_000).map(|n| (format!("second {n}"), value(2, n)));
    let again = (20_000..30_000).map(|n| (format!("first {n}"), value(2, n)));
    first.chain(second).chain(again).collect()
}

fn check_both(cache: &ByteCache) {
    let expected = expected();
    assert_eq!(cache.len().unwrap(), expected.len() as u64);
    assert!(listed(cache) == expected);
    let found: BTreeMap<_, _> = expected.iter().step_by(997).cloned().collect();
    for (key, value) in found {
        let found = cache.get(key.as_bytes()).unwrap().unwrap();
        assert_eq!((found.payload, found.tag), (value.into_bytes(), 7));
    }
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Keys and values in the order of insertion.
pub(crate) fn listed(cache: &ByteCache) -> Vec<(String, String)> {
    let (mut all, mut position) = (Vec::new(), Default::default());
    loop {
        let chunk = cache.scan(&mut position).unwrap();
        if chunk.is_empty() {
            return all;
        }
        for entry in chunk {
            let entry = entry.unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            all.push((text(entry.key), text(entry.payload)));
        }
    }
}

/// Whether nothing of a load is left in a store's directory.
pub(crate) fn only_its_own_files(store: &Path) {
    for entry in std::fs::read_dir(store).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_file(), "{:?} is left", entry.path());
    }
}
