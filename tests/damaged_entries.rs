//! An accident in an entry: whichever bit it changes, nothing but that entry is lost. Reading it is an error that says so,
//! never another value, an absence or another version of the format, and it can be overwritten and removed like any other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]
#![allow(dead_code, reason = "a part of what reads the format is used")]

#[path = "format/log.rs"]
mod log;
#[path = "format/reader.rs"]
mod reader;

use std::path::Path;
use std::time::Duration;

use cachemere::{Batch, Builder, Cache, Error, Maintenance, Secret};

type Texts = Cache<str, String>;

const HEADER: usize = 80;
const NUMBER: std::ops::Range<usize> = 48..56;
const ACCESSED: std::ops::Range<usize> = 64..72;
/// When it expires, and how long it lives without being read.
const TIMES: std::ops::Range<usize> = 32..48;
const HOUR: Duration = Duration::from_secs(3600);

/// What is done to the entry of the key, one for each.
const KEYS: [&str; 11] = [
    "get",
    "contains",
    "insert",
    "remove",
    "take",
    "update",
    "get or insert",
    "swap",
    "touch",
    "batch insert",
    "batch remove",
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Sealed,
    /// So large that writers do not read it.
    Large,
}

impl Kind {
    fn builder(self, path: &Path) -> Builder<str, String> {
        let builder =
            Texts::builder(path).maintenance(Maintenance::Manual).max_entries(KEYS.len() as u64 + 1);
        match self {
            Kind::Sealed => builder.encryption(Secret::key([5; 32])),
            _ => builder,
        }
    }

    fn value(self, key: &str) -> String {
        match self {
            Kind::Large => format!("value of {key} ").repeat(400),
            _ => format!("value of {key}"),
        }
    }
}

/// Makes a store, and returns the length of its entries' records, which is the same for all.
fn make(kind: Kind, path: &Path) -> usize {
    let cache = kind.builder(path).open().unwrap();
    for key in KEYS {
        cache.insert_with_ttl(key, &kind.value(key), HOUR).unwrap();
    }
    cache.close().unwrap();
    let records = reader::tree_records(path);
    records.iter().filter(|(key, _)| key[0] == b'e').map(|(_, entry)| entry.len()).min().unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::copy(from.join("data.mdb"), to.join("data.mdb")).unwrap();
}

/// Changes the same bit in all entries.
fn flip(path: &Path, bit: usize) {
    reader::change(path, |records| {
        for (_, entry) in records.iter_mut().filter(|(key, _)| key[0] == b'e') {
            entry[bit / 8] ^= 1 << (bit % 8);
        }
    });
}

/// Tries everything on entries of which the same bit was changed.
fn try_all(kind: Kind, path: &Path, bit: usize) {
    let what = format!("{kind:?}, bit {} of byte {}", bit % 8, bit / 8);
    // The access time changes without the rest, and is not in the checksum.
    let is_harmless = ACCESSED.contains(&(bit / 8));
    let fails = |error: &Error| match kind {
        Kind::Sealed => error.is_tampered() || error.is_damaged(),
        _ => error.is_damaged(),
    };
    let cache = kind.builder(path).open().unwrap();
    // What it is listed by is another time then.
    assert!(!cache.verify().unwrap().is_clean(), "{what}");
    let right = |key: &str, found: Result<Option<String>, Error>| match found {
        Err(error) => assert!(fails(&error) && !is_harmless, "{what}, {key}: {error}"),
        Ok(value) => assert!(is_harmless && value == Some(kind.value(key)), "{what}, {key}: {value:?}"),
    };
    for key in KEYS {
        right(key, cache.get(key));
    }
    let many = cache.get_many(["get", "absent"]).map(|found| found[0].clone());
    right("get", many);
    // A plain entry's header is enough to say that it is there, if it is one.
    if let Err(error) = cache.contains("contains") {
        assert!(fails(&error), "{what}: {error}");
    }
    let (mut read, mut failed) = (0, 0);
    for entry in cache.iter() {
        match entry {
            Ok((key, value)) => read += usize::from(value == kind.value(&key)),
            Err(error) => failed += usize::from(fails(&error)),
        }
    }
    assert_eq!((read, failed), if is_harmless { (KEYS.len(), 0) } else { (0, KEYS.len()) }, "{what}");
    let new = "new".to_owned();
    right("take", cache.take("take"));
    right("update", cache.update("update", |value| value));
    right("get or insert", cache.try_get_or_insert_with::<Error>("get or insert", || panic!()).map(Some));
    right(
        "swap",
        cache
            .compare_and_set("swap", Some(&kind.value("swap")), Some(&kind.value("swap")))
            .map(|_| Some(kind.value("swap"))),
    );
    right("touch", cache.touch("touch").map(|_| Some(kind.value("touch"))));
    assert_eq!(cache.sweep().unwrap(), 0, "{what}");
    let replaced = ["insert", "update", "get or insert", "swap", "touch"];
    for key in replaced {
        cache.insert(key, &new).unwrap_or_else(|error| panic!("{what}, {key}: {error}"));
        assert_eq!(cache.get(key).unwrap().as_ref(), Some(&new), "{what}");
    }
    // Of a large one the header is believed when it says that it was over.
    let may_be_over = kind == Kind::Large && TIMES.contains(&(bit / 8));
    assert!(cache.remove("remove").unwrap() || may_be_over, "{what}");
    assert!(cache.remove("take").unwrap() != is_harmless || may_be_over, "{what}");
    let mut batch: Batch<str, String> = Batch::new();
    batch.insert("batch insert", new.clone());
    batch.remove("batch remove");
    cache.write(&batch).unwrap();
    assert_eq!(cache.get("batch insert").unwrap().as_ref(), Some(&new), "{what}");
    for gone in ["remove", "take", "batch remove"] {
        assert_eq!(cache.get(gone).unwrap(), None, "{what}");
    }
    assert_eq!(cache.len().unwrap(), KEYS.len() as u64 - 3, "{what}");
    // Evicted like any other: those that were not written anew first.
    for n in 0..4 {
        cache.insert(&format!("more {n}"), &new).unwrap();
    }
    for key in ["get", "contains"] {
        assert!(cache.get(key).is_err() || is_harmless, "{what}: there was room");
    }
    cache.insert("one too many", &new).unwrap();
    assert_eq!(cache.len().unwrap(), KEYS.len() as u64 + 1, "{what}");
    for key in ["get", "contains"] {
        cache.insert(key, &new).unwrap();
    }
    // The number of a large one is taken over unseen, and all is well when that is removed.
    if kind == Kind::Large && NUMBER.contains(&(bit / 8)) {
        for key in KEYS {
            cache.remove(key).unwrap();
        }
    }
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{what}: {report:?}");
    cache.close().unwrap();
    let cache = kind.builder(path).open().unwrap();
    assert!(cache.verify().unwrap().is_clean(), "{what}");
    assert_eq!(cache.get("one too many").unwrap().as_ref(), Some(&new), "{what}");
}

/// What is cleared is gone, whatever was in it.
fn try_clear(kind: Kind, path: &Path, bit: usize) {
    let cache = kind.builder(path).open().unwrap();
    cache.clear().unwrap();
    assert!(cache.is_empty().unwrap());
    let report = cache.verify().unwrap();
    assert!(report.is_clean() && report.entries == 0, "{kind:?}, bit {bit}: {report:?}");
    cache.insert("get", &"new".to_owned()).unwrap();
    assert_eq!(cache.get("get").unwrap().as_deref(), Some("new"));
}

fn every_bit(kind: Kind) {
    let dir = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
    let sound = dir.path().join("sound");
    let len = make(kind, &sound).min(HEADER + 60);
    let path = dir.path().join("damaged");
    let is_long = std::env::var_os("CACHEMERE_TORTURE").is_some();
    // In the short form one bit of each byte.
    for bit in (0..len * 8).filter(|bit| is_long || bit % 8 == bit / 8 % 8) {
        copy(&sound, &path);
        flip(&path, bit);
        if bit % 8 == bit / 8 % 8 {
            let cleared = dir.path().join("cleared");
            copy(&path, &cleared);
            try_clear(kind, &cleared, bit);
            std::fs::remove_dir_all(&cleared).unwrap();
        }
        try_all(kind, &path, bit);
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn any_bit_of_a_plain_entry_can_be_damaged() {
    every_bit(Kind::Plain);
}

#[test]
fn any_bit_of_an_encrypted_entry_can_be_damaged() {
    every_bit(Kind::Sealed);
}

#[test]
fn any_bit_of_a_large_entry_can_be_damaged() {
    every_bit(Kind::Large);
}
