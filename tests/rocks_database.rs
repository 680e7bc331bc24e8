//! Databases of RocksDB: what they promise to a program in Rust.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use cachemere::Error;
use cachemere::rocks::{Batch, Compression, Database, Encoding, Mode, Options, Range, Scan};
use proptest::prelude::*;

fn encoding() -> Encoding {
    Encoding::new("raw", "raw")
}

fn create() -> Options {
    Options { create_if_missing: Some(true), ..Options::default() }
}

fn open(path: &Path) -> Database {
    Database::open(path, Mode::Primary, create(), encoding()).unwrap()
}

fn all(database: &Database, mut scan: Scan) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let chunk = scan.next_chunk(database).unwrap();
        if chunk.is_empty() {
            return found;
        }
        found.extend(chunk.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
}

#[test]
fn entries_are_written_read_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("db"));
    database.put(b"a", b"1").unwrap();
    database.put(b"", b"empty").unwrap();
    assert_eq!(database.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(database.get_with(b"", <[u8]>::len).unwrap(), Some(5));
    assert!(database.contains(b"a").unwrap() && !database.contains(b"b").unwrap());
    let many = database.get_many([&b"a"[..], b"b", b""]).unwrap();
    assert_eq!(many, [Some(b"1".to_vec()), None, Some(b"empty".to_vec())]);
    assert_eq!(database.put_if_absent(b"a", b"2").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(database.put_if_absent(b"b", b"2").unwrap(), None);
    assert!(!database.remove_if(b"b", b"1").unwrap() && database.remove_if(b"b", b"2").unwrap());
    assert!(database.remove(b"a").unwrap() && !database.remove(b"a").unwrap());
    assert_eq!(database.count(&Range::all()).unwrap(), 1);
    database.clear().unwrap();
    assert_eq!(database.count(&Range::all()).unwrap(), 0);
}

#[test]
fn a_batch_is_made_whole_and_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("db"));
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    batch.put(b"a", b"1");
    batch.put(b"b", b"1");
    batch.delete(b"a");
    batch.put(b"b", b"2");
    assert_eq!(batch.len(), 4);
    database.write(batch).unwrap();
    assert_eq!(all(&database, Scan::new(Range::all())), [(b"b".to_vec(), b"2".to_vec())]);
}

#[test]
fn who_reads_cannot_write_and_who_follows_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let primary = open(&path);
    primary.put(b"a", b"1").unwrap();
    let reader = Database::open(&path, Mode::ReadOnly, Options::default(), encoding()).unwrap();
    let mode = Mode::Secondary { path: dir.path().join("second") };
    let secondary = Database::open(&path, mode.clone(), Options::default(), encoding()).unwrap();
    assert_eq!(secondary.mode(), &mode);
    primary.put(b"b", b"2").unwrap();
    assert!(!reader.contains(b"b").unwrap() && !secondary.contains(b"b").unwrap());
    secondary.catch_up().unwrap();
    assert!(secondary.contains(b"b").unwrap());
    for database in [&reader, &secondary] {
        assert!(database.put(b"c", b"3").unwrap_err().is_read_only());
        assert!(database.clear().unwrap_err().is_read_only());
    }
    assert!(reader.catch_up().unwrap_err().is_invalid() && primary.catch_up().unwrap_err().is_invalid());
    assert!(Database::open(&path, Mode::Primary, create(), encoding()).err().unwrap().is_busy());
}

#[test]
fn another_encoding_or_prefix_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let options = Options { prefix_length: Some(4), compression: Some(Compression::Zstd), ..create() };
    Database::open(&path, Mode::Primary, options.clone(), encoding()).unwrap().close();
    let other = Database::open(&path, Mode::Primary, create(), Encoding::new("raw", "json")).err().unwrap();
    assert!(other.is_incompatible() && other.to_string().contains(r#"values "json""#), "{other}");
    let longer = Options { prefix_length: Some(5), ..options.clone() };
    let other = Database::open(&path, Mode::Primary, longer, encoding()).err().unwrap();
    assert!(other.is_incompatible() && other.to_string().contains("4 bytes"), "{other}");
    Database::open(&path, Mode::Primary, create(), encoding()).unwrap();
}

#[test]
fn a_database_that_does_not_say_its_encoding_is_taken_only_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = open(&path);
    database.put(b"a", b"1").unwrap();
    database.close();
    std::fs::remove_file(path.join("CACHEMERE")).unwrap();
    let known = encoding().known_only();
    for mode in [Mode::Primary, Mode::ReadOnly] {
        let error = Database::open(&path, mode, create(), known.clone()).err().unwrap();
        assert!(matches!(error, Error::Unmarked { .. }), "{error}");
    }
    assert!(open(&path).contains(b"a").unwrap());
}

#[test]
fn a_closed_database_refuses_everything() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("db"));
    let other = database.clone();
    database.close();
    database.close();
    assert!(other.is_closed());
    assert!(other.get(b"a").unwrap_err().is_closed() && other.put(b"a", b"1").unwrap_err().is_closed());
    assert!(Scan::new(Range::all()).next_chunk(&other).unwrap_err().is_closed());
    open(database.path()).put(b"a", b"1").unwrap();
}

#[test]
fn a_new_database_needs_leave_and_a_place_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    for mode in [Mode::Primary, Mode::ReadOnly] {
        assert!(Database::open(&path, mode, Options::default(), encoding()).is_err());
    }
    assert!(!path.exists());
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("notes.txt"), "mine").unwrap();
    let error = Database::open(&path, Mode::Primary, create(), encoding()).err().unwrap();
    assert!(error.is_incompatible() && error.to_string().contains("notes.txt"), "{error}");
}

#[test]
fn of_threads_that_remove_each_entry_goes_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let database = Arc::new(open(&dir.path().join("db")));
    for number in 0..1000u32 {
        database.put(&number.to_be_bytes(), b"x").unwrap();
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let database = database.clone();
            thread::spawn(move || {
                (0..1000u32).filter(|number| database.remove(&number.to_be_bytes()).unwrap()).count()
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 1000);
    assert_eq!(database.count(&Range::all()).unwrap(), 0);
}

#[test]
fn a_walk_stays_in_order_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("db"));
    for number in (0..5000u32).step_by(2) {
        database.put(&number.to_be_bytes(), &[0; 100]).unwrap();
    }
    let mut scan = Scan::new(Range::all()).keys_only();
    let mut met = Vec::new();
    loop {
        let chunk = scan.next_chunk(&database).unwrap();
        if chunk.is_empty() {
            break;
        }
        for (key, value) in chunk.iter() {
            assert!(value.is_empty());
            let number = u32::from_be_bytes(key.try_into().unwrap());
            met.push(number);
            database.put(&(number + 1).to_be_bytes(), b"new").unwrap();
        }
    }
    assert!(met.is_sorted() && (0..5000).step_by(2).all(|number| met.binary_search(&number).is_ok()));
}

#[test]
fn a_walk_ends_though_a_key_is_written_beyond_each_that_it_meets() {
    let dir = tempfile::tempdir().unwrap();
    for is_back in [false, true] {
        let database = open(&dir.path().join(format!("db {is_back}")));
        let (first, last) = (1 << 20, (1 << 20) + 2_000u32);
        for number in first..last {
            database.put(&number.to_be_bytes(), b"").unwrap();
        }
        let mut scan = Scan::new(Range::all()).keys_only();
        if is_back {
            scan = scan.back();
        }
        let mut met = Vec::new();
        loop {
            let chunk = scan.next_chunk(&database).unwrap();
            if chunk.is_empty() {
                break;
            }
            for key in chunk.keys() {
                let count = met.len() as u32;
                met.push(u32::from_be_bytes(key.try_into().unwrap()));
                for beyond in [last + count, first - 1 - count] {
                    database.put(&beyond.to_be_bytes(), b"").unwrap();
                }
            }
            assert!(met.len() <= 2_000);
        }
        met.sort_unstable();
        assert_eq!(met, (first..last).collect::<Vec<_>>());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Flush,
    Compact,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..3);
    prop_oneof![
        8 => (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Step::Put(key, value)),
        3 => key().prop_map(Step::Remove),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_a_sorted_map_would_be(
        steps in prop::collection::vec(step(), 0..30),
        start in prop::option::of(prop::collection::vec(prop_oneof![Just(0u8), Just(0xff)], 0..3)),
        stop in prop::option::of(prop::collection::vec(prop_oneof![Just(1u8), Just(0xff)], 0..3)),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let database = open(&dir.path().join("db"));
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    database.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                Step::Remove(key) => prop_assert_eq!(database.remove(&key).unwrap(), model.remove(&key).is_some()),
                Step::Flush => database.flush().unwrap(),
                Step::Compact => database.compact(&Range::all()).unwrap(),
                Step::Clear => {
                    database.clear().unwrap();
                    model.clear();
                }
            }
        }
        let range = Range { start: start.clone(), stop };
        let mut expected: Vec<_> =
            model.iter().filter(|(key, _)| range.contains(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(database.count(&range).unwrap(), expected.len() as u64);
        prop_assert_eq!(all(&database, Scan::new(range.clone()).at_most(1)), expected.clone());
        expected.reverse();
        prop_assert_eq!(all(&database, Scan::new(range).back()), expected);
        let prefix = start.unwrap_or_default();
        let of_prefix: Vec<_> =
            model.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        prop_assert_eq!(all(&database, Scan::new(Range::prefix(&prefix))), of_prefix);
    }
}
