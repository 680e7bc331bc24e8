//! Whoever can write to an encrypted store's files, and does not have the secret: what he can do with each record, in the
//! data file and in the log, is what `docs/SECURITY.md` says, and nothing else.
//!
//! Records are changed byte by byte, exchanged, taken away and put back from earlier, with all checksums made right. After
//! each of these a read is an error, an absence, or a value that this very key of this very namespace had, with its own tag
//! and times, within its fixed life; and `verify` tells of whatever decides what an entry means.
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

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{ByteBuilder, ByteCache, Cache, Clock, Error, Maintenance, ScanPosition, Secret, Zstd};
use reader::Records;

const KEY: [u8; 32] = [77; 32];
const START: u64 = 1_700_000_000_000_000;
const HEADER: usize = 80;
const NAMES: [&str; 4] = ["a", "b", "c", "default"];
const KEYS: [&str; 5] = ["k0", "k1", "k2", "gone", "idle"];

struct MockClock(AtomicU64);

impl Clock for MockClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

fn clock(seconds: u64) -> Arc<MockClock> {
    Arc::new(MockClock(AtomicU64::new(START + seconds * 1_000_000)))
}

/// When the forged stores are looked at: an entry has expired by then, and nobody has swept it.
const NOW: u64 = 60;

fn builder(path: &Path, name: &str, at: u64) -> ByteBuilder {
    let builder = ByteCache::builder(path)
        .namespace(name)
        .encryption(Secret::key(KEY))
        .maintenance(Maintenance::Manual)
        .map_size(16 << 20)
        .clock(clock(at));
    match name {
        "a" => builder.compression(Zstd::default()).max_entries(20),
        "b" => builder.compression(Zstd::default()),
        _ => builder,
    }
}

/// All that a reader can be told of an entry but for its accesses: payload, tag, creation, last writing, expiry.
type Seen = (Vec<u8>, u8, SystemTime, SystemTime, Option<SystemTime>);

/// A store as it is, and was.
struct Past {
    dir: tempfile::TempDir,
    /// The records when it was closed the first times, and the last.
    earlier: [Records; 2],
    now: Records,
    /// What each key of each namespace ever had.
    had: BTreeMap<(&'static str, String), BTreeSet<Seen>>,
}

impl Past {
    fn make() -> Past {
        let dir =
            tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
        let path = dir.path().join("store");
        let mut had: BTreeMap<_, BTreeSet<Seen>> = BTreeMap::new();
        let mut write = |name: &'static str, key: &str, version: u8, at: u64, ttl: Option<u64>| {
            let mut builder = builder(&path, name, at);
            if key == "idle" {
                builder = builder.time_to_idle(Duration::from_secs(100));
            }
            let cache = builder.open().unwrap();
            let text = format!("{name}/{key}/{version} ").repeat(if name == "a" { 30 } else { 1 });
            cache.insert(key.as_bytes(), text.as_bytes(), version, ttl.map(Duration::from_secs)).unwrap();
            had.entry((name, key.to_owned())).or_default().insert(seen(&cache, key).unwrap().unwrap());
        };
        for key in &KEYS[..3] {
            NAMES.into_iter().for_each(|name| write(name, key, 1, 0, Some(3600)));
        }
        let first = reader::records(&path);
        write("a", "gone", 2, 1, Some(10));
        write("c", "idle", 2, 1, None);
        NAMES.into_iter().for_each(|name| write(name, "k0", 2, 2, Some(7200)));
        let second = reader::records(&path);
        builder(&path, "b", 3).open().unwrap().clear().unwrap();
        for key in &KEYS[..2] {
            write("b", key, 3, 3, None);
        }
        let now = reader::tree_records(&path);
        assert_eq!(now, reader::records(&path));
        Past { dir, earlier: [first, second], now, had }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// The data file with these records; or the one there is, with a log that changes it to them.
    fn forge(&self, records: &Records, in_log: bool) -> PathBuf {
        let path = self.dir.path().join("forged");
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        fs::copy(self.path().join("data.mdb"), path.join("data.mdb")).unwrap();
        if !in_log {
            reader::change(&path, |there| *there = records.clone());
            return path;
        }
        let removed =
            self.now.keys().filter(|key| !records.contains_key(*key)).map(|key| (key.clone(), None));
        let put = records.iter().filter(|(key, value)| self.now.get(*key) != Some(value));
        let changes: Vec<log::Change> =
            removed.chain(put.map(|(key, value)| (key.clone(), Some(value.clone())))).collect();
        let end = reader::log_of(&path, &self.now).end;
        let id: [u8; 16] = self.now[&b"mcachemere"[..]][12..28].try_into().unwrap();
        let segment = log::segment(end.segment + 1, end, id, &[changes]);
        fs::write(path.join(format!("log-{:08x}", end.segment + 1)), segment).unwrap();
        path
    }
}

fn seen(cache: &ByteCache, key: &str) -> Result<Option<Seen>, Error> {
    let Some(found) = cache.get(key.as_bytes())? else { return Ok(None) };
    let info = cache.info(key.as_bytes())?.unwrap();
    // Of an entry that lives by accesses it says when it was read.
    let expires = info.expires.filter(|_| info.idle.is_none());
    Ok(Some((found.payload, found.tag, info.created, info.modified, expires)))
}

/// An error that says that something is not as it was written, or not there.
fn is_told(error: &Error) -> bool {
    error.is_tampered() || error.is_damaged() || error.is_incompatible() || error.is_wrong_secret()
}

/// What became of a forged store.
#[derive(Default, Debug)]
struct Outcome {
    /// Namespaces that could not be opened as they were altered.
    refused: BTreeSet<&'static str>,
    /// Values that were read.
    read: BTreeMap<(&'static str, String), Seen>,
    is_clean: bool,
}

/// Reads and writes everything; whatever it was given, only that is there which was.
fn look(past: &Past, path: &Path, what: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut open = Vec::new();
    for name in NAMES {
        match builder(path, name, NOW).open() {
            Ok(cache) => open.push((name, cache)),
            Err(error) => {
                assert!(is_told(&error), "{what}: {error:?}");
                outcome.refused.insert(name);
            }
        }
    }
    let had = |name, key: &str, seen: &Seen| {
        let had = past.had.get(&(name, key.to_owned())).is_some_and(|had| had.contains(seen));
        assert!(had, "{what}: {key:?} of {name:?} never was {:?}", String::from_utf8_lossy(&seen.0));
        assert_ne!(key, "gone", "{what}: it has expired");
    };
    for (name, cache) in &open {
        for key in KEYS {
            match seen(cache, key) {
                Ok(Some(seen)) => {
                    had(name, key, &seen);
                    outcome.read.insert((name, key.to_owned()), seen);
                }
                Ok(None) => {}
                Err(error) => assert!(is_told(&error), "{what}: {error:?}"),
            }
        }
        let mut position = ScanPosition::default();
        for _ in 0..100 {
            let chunk = match cache.scan(&mut position) {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => chunk,
                Err(error) => panic!("{what}: {error:?}"),
            };
            for entry in chunk {
                match entry {
                    Ok(entry) => {
                        let key = String::from_utf8(entry.key).unwrap();
                        let info = entry.info;
                        let expires = info.expires.filter(|_| info.idle.is_none());
                        had(name, &key, &(entry.payload, info.tag, info.created, info.modified, expires));
                    }
                    Err(error) => assert!(is_told(&error), "{what}: {error:?}"),
                }
            }
        }
    }
    if let Some((_, cache)) = open.first() {
        outcome.is_clean = cache.verify().unwrap().is_clean();
    }
    // What is written into it is there; if it cannot be written, that is told.
    for (name, cache) in &open {
        for key in ["k0", "gone", "new"] {
            match cache.insert(key.as_bytes(), b"new", 9, None) {
                Ok(()) => {
                    let found = cache.get(key.as_bytes()).unwrap().map(|found| found.payload);
                    // Where there is a limit, counters that were made up can have it evicted at once.
                    let is_evicted = found.is_none() && *name == "a";
                    assert!(is_evicted || found.as_deref() == Some(&b"new"[..]), "{what}: {name}");
                }
                Err(error) => assert!(is_told(&error), "{what}: {error:?}"),
            }
        }
        for result in [cache.sweep().map(drop), cache.remove(b"k1").map(drop), cache.clear()] {
            if let Err(error) = result {
                assert!(is_told(&error), "{what}: {error:?}");
            }
        }
    }
    outcome
}

fn is_long() -> bool {
    std::env::var_os("CACHEMERE_TORTURE").is_some()
}

/// In the short form one of so many, another one in the log.
fn is_tried(count: usize, in_log: bool) -> bool {
    is_long() || count.is_multiple_of(if in_log { 29 } else { 7 })
}

/// Makes the checksum of an entry right, which anybody can.
fn repaired(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    if key.first() == Some(&b'e') && value.len() >= HEADER {
        let checksum = reader::checksum(&value[..HEADER], &value[HEADER..]);
        value[72..HEADER].copy_from_slice(&checksum.to_le_bytes());
    }
    value
}

/// What kind of record it is; the counters are one of their own.
fn kind(key: &[u8]) -> char {
    match key {
        [b'o', rest @ ..] if rest.ends_with(&[0xff; 8]) => 'c',
        _ => char::from(key[0]),
    }
}

/// The name of the namespace that a record is of, or the id.
fn named(past: &Past, key: &[u8]) -> Option<&'static str> {
    let value = past.now.get(key)?;
    NAMES.into_iter().find(|name| match kind(key) {
        'n' => key[1..] == *name.as_bytes(),
        'e' => value[8..12] == past.now[&[b"n", name.as_bytes()].concat()][..4],
        _ => false,
    })
}

#[test]
fn every_byte_of_every_record_counts_or_is_documented_not_to() {
    let past = Past::make();
    assert!(look(&past, &past.forge(&past.now, false), "nothing").is_clean);
    let mut count = 0;
    for (key, value) in &past.now {
        for at in 0..value.len() {
            for in_log in [false, true] {
                count += 1;
                let decides = matches!(kind(key), 'm' | 's' | 'n');
                if !(is_tried(count, in_log) || decides && !in_log) {
                    continue;
                }
                let what = format!("{}: byte {at} of {value:02x?}", key.escape_ascii());
                let mut changed = value.clone();
                changed[at] ^= 1 << (at % 8);
                let mut forged = past.now.clone();
                forged.insert(key.clone(), repaired(key, changed));
                let outcome = look(&past, &past.forge(&forged, in_log), &what);
                match kind(key) {
                    // The id of the store is in the log, too.
                    'm' | 's' => assert_eq!(outcome.refused.len(), NAMES.len(), "{what}"),
                    'n' => {
                        assert_eq!(outcome.refused.first().copied(), named(&past, key), "{what}");
                        assert!(!outcome.is_clean || outcome.refused.contains(NAMES[0]), "{what}");
                    }
                    'e' => {
                        let is_sealed = !(48..HEADER).contains(&at);
                        let is_listed = (48..56).contains(&at) || (64..72).contains(&at);
                        assert_eq!(outcome.is_clean, !is_sealed && !is_listed, "{what}");
                        let all = past.had.len() - 2;
                        let gone = outcome.read.len() < all + 1;
                        assert!(
                            !is_sealed || gone || named(&past, key).is_none(),
                            "{what}: {:?}",
                            outcome.read.keys()
                        );
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_record_under_another_key_or_taken_away_gives_nobody_anything() {
    let past = Past::make();
    let keys: Vec<&Vec<u8>> = past.now.keys().collect();
    let mut count = 0;
    for (place, key) in keys.iter().enumerate() {
        for in_log in [false, true] {
            let mut forged = past.now.clone();
            forged.remove(*key);
            look(&past, &past.forge(&forged, in_log), &format!("{} is gone", key.escape_ascii()));
        }
        for at in 0..key.len() {
            count += 1;
            if !is_tried(count, false) {
                continue;
            }
            let mut moved = key.to_vec();
            moved[at] ^= 1 << (at % 8);
            let mut forged = past.now.clone();
            let value = forged.remove(*key).unwrap();
            forged.insert(moved.clone(), value);
            look(&past, &past.forge(&forged, count % 2 == 0), &format!("{} is moved", key.escape_ascii()));
        }
        for other in &keys[place + 1..] {
            count += 1;
            let is_same_kind = kind(key) == kind(other);
            if !(is_tried(count, false) || is_same_kind && kind(key) == 'n') {
                continue;
            }
            let what = format!("{} and {} are exchanged", key.escape_ascii(), other.escape_ascii());
            let mut forged = past.now.clone();
            forged.insert(key.to_vec(), past.now[*other].clone());
            look(&past, &past.forge(&forged, count % 2 == 0), &what);
            forged.insert(other.to_vec(), past.now[*key].clone());
            let outcome = look(&past, &past.forge(&forged, count % 2 == 1), &what);
            if is_same_kind && kind(key) == 'n' {
                let both = [named(&past, key), named(&past, other)].into_iter().flatten().collect();
                assert_eq!(outcome.refused, both, "{what}");
            }
        }
    }
}

/// The ids of two namespaces exchanged, and every other field of their records: the fault this began with.
#[test]
fn no_field_of_a_namespace_can_be_given_to_another() {
    let past = Past::make();
    for (one, other) in [("a", "b"), ("b", "a"), ("c", "default"), ("a", "c")] {
        let (one, other) = ([b"n", one.as_bytes()].concat(), [b"n", other.as_bytes()].concat());
        let shortest = past.now[&one].len().min(past.now[&other].len());
        // The id; the limit; the stages; the seal alone; everything.
        for range in [0..4, 4..12, 12..shortest - 16, shortest - 16..shortest, 0..shortest] {
            let mut forged = past.now.clone();
            let (mut left, mut right) = (past.now[&one].clone(), past.now[&other].clone());
            left[range.clone()].swap_with_slice(&mut right[range.clone()]);
            if (&left, &right) == (&past.now[&one], &past.now[&other]) {
                continue;
            }
            forged.insert(one.clone(), left);
            forged.insert(other.clone(), right);
            let outcome = look(&past, &past.forge(&forged, false), "fields exchanged");
            let both = [named(&past, &one), named(&past, &other)].into_iter().flatten().collect();
            assert_eq!(outcome.refused, both, "{range:?}");
        }
    }
}

/// Not promised, and so that it is known: what was there before can be put back, record by record. It is what the very key
/// had, or nothing.
#[test]
fn what_is_put_back_from_before_is_of_the_same_key_or_nothing() {
    let past = Past::make();
    let mut old_values = 0;
    for earlier in &past.earlier {
        for (key, value) in earlier.iter().filter(|(key, value)| past.now.get(*key) != Some(value)) {
            for in_log in [false, true] {
                let mut forged = past.now.clone();
                forged.insert(key.clone(), value.clone());
                let what = format!("{} as it was", key.escape_ascii());
                let outcome = look(&past, &past.forge(&forged, in_log), &what);
                old_values += outcome.read.values().filter(|seen| seen.1 == 1).count();
            }
        }
        // Whole kinds of records, in all combinations.
        let kinds = ['s', 'n', 'e', 'o', 'c', 'x', 'r', 'm'];
        for chosen in (1..1usize << kinds.len()).filter(|chosen| is_tried(*chosen, false)) {
            let is_old = |key: &[u8]| {
                kinds.iter().position(|it| *it == kind(key)).is_some_and(|place| chosen >> place & 1 == 1)
            };
            let mut forged: Records = earlier.clone().into_iter().filter(|(key, _)| is_old(key)).collect();
            forged.extend(past.now.clone().into_iter().filter(|(key, _)| !is_old(key)));
            look(
                &past,
                &past.forge(&forged, chosen % 2 == 0),
                &format!("{chosen:b} of {kinds:?} as they were"),
            );
        }
    }
    assert!(old_values > 0, "the control: an older version can be put back");
}

/// Put back, the state gives an id out again. Who gets it finds nothing of whom had it before.
#[test]
fn an_id_that_is_given_out_again_opens_no_entries() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(builder(&path, "a", 0).open().unwrap());
    let before = reader::records(&path);
    let theirs = builder(&path, "theirs", 0).open().unwrap();
    for key in ["k0", "k1"] {
        theirs.insert(key.as_bytes(), b"nobody else's", 0, None).unwrap();
    }
    theirs.close().unwrap();
    reader::change(&path, |records| {
        records.insert(b"s".to_vec(), before[&b"s"[..]].clone());
        assert!(records.remove(&b"ntheirs"[..]).is_some());
    });
    let mine = builder(&path, "mine", 0).open().unwrap();
    assert!(mine.get(b"k0").unwrap_err().is_tampered());
    assert!(mine.get_many([&b"k1"[..]]).unwrap_err().is_tampered());
    let scanned = mine.scan(&mut ScanPosition::default()).unwrap();
    assert_eq!(scanned.iter().filter(|entry| matches!(entry, Err(Error::Tampered { .. }))).count(), 2);
    assert!(!mine.verify().unwrap().is_clean());
    mine.insert(b"k0", b"mine", 0, None).unwrap();
    assert_eq!(mine.get(b"k0").unwrap().unwrap().payload, b"mine");
    mine.clear().unwrap();
    assert!(mine.verify().unwrap().is_clean());
}

/// Without the seals a store would be one of version 1, which is believed once. The envelope says that it is not one.
#[test]
fn seals_cannot_be_taken_away() {
    let past = Past::make();
    let mut forged = past.now.clone();
    for (key, value) in &mut forged {
        if matches!(kind(key), 's' | 'n') {
            value.truncate(value.len() - 16);
        }
    }
    for drop_fold in [false, true] {
        for version in [1, 2] {
            let record = forged.get_mut(&b"mcachemere"[..]).unwrap();
            let record_before = record.clone();
            record[8] = version;
            let envelope = 36 + 1 + usize::from(record[36]);
            record[envelope] = 1;
            record.drain(envelope + 2..envelope + 6);
            if drop_fold {
                forged.remove(&b"f"[..]);
            }
            let path = past.forge(&forged, false);
            let error = builder(&path, "a", NOW).open().unwrap_err();
            assert!(error.is_tampered(), "{error:?}");
            forged.insert(b"mcachemere".to_vec(), record_before);
        }
    }
}

/// A store that version 1 made is believed as it is when it is opened first, and sealed then.
#[test]
fn a_store_of_version_1_is_sealed_when_it_is_brought_over() {
    type Texts = Cache<str, String>;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::create_dir(&path).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/key/data.mdb");
    fs::copy(fixture, path.join("data.mdb")).unwrap();
    let old = reader::tree_records(&path);
    let open = |name: &str| Texts::builder(&path).encryption(Secret::key([42; 32])).namespace(name).open();
    let caches = ["default", "packed"].map(|name| open(name).unwrap());
    for (cache, value) in caches.iter().zip(["of default", "of packed"]) {
        cache.insert("both", &value.to_owned()).unwrap();
    }
    for cache in caches {
        cache.close().unwrap();
    }
    let sealed = reader::tree_records(&path);
    let tampered = |what: &str, name: &str| {
        let error = open(name).unwrap_err();
        assert!(error.is_tampered(), "{what}: {error:?}");
    };
    let (default, packed) = (b"ndefault".to_vec(), b"npacked".to_vec());
    let swap_ids = |records: &mut Records| {
        let id = records[&default][..4].to_vec();
        let other = records[&packed][..4].to_vec();
        records.get_mut(&default).unwrap()[..4].copy_from_slice(&other);
        records.get_mut(&packed).unwrap()[..4].copy_from_slice(&id);
    };
    reader::change(&path, swap_ids);
    tampered("ids exchanged", "default");
    tampered("ids exchanged", "packed");
    // As they were before they had seals.
    reader::change(&path, |records| {
        *records = sealed.clone();
        records.insert(default.clone(), old[&default].clone());
    });
    tampered("without its seal", "default");
    assert_eq!(open("packed").unwrap().get("both").unwrap().as_deref(), Some("of packed"));
    reader::change(&path, |records| {
        *records = sealed.clone();
        records.insert(b"s".to_vec(), old[&b"s"[..]].clone());
    });
    tampered("the state without its seal", "default");
    // With the envelope that a copy from then has, it is a store of version 1 again, and believed. What was written since
    // is bound to its namespace all the same.
    reader::change(&path, |records| {
        *records = sealed.clone();
        for key in
            [b"mcachemere".to_vec(), b"s".to_vec(), default.clone(), packed.clone(), b"ncleared".to_vec()]
        {
            records.insert(key.clone(), old[&key].clone());
        }
        swap_ids(records);
    });
    for name in ["default", "packed"] {
        let cache = open(name).unwrap();
        assert!(cache.get("both").unwrap_err().is_tampered(), "{name}");
    }
    // After encrypting anew that copy opens nothing.
    reader::change(&path, |records| *records = sealed.clone());
    let cache = open("default").unwrap();
    cache.reencrypt(&Secret::key([42; 32]), &Secret::key([42; 32])).unwrap();
    assert_eq!(cache.get("both").unwrap().as_deref(), Some("of default"));
    assert_eq!(cache.get("plain").unwrap().as_deref(), Some("value"));
    assert!(cache.verify().unwrap().is_clean());
    cache.close().unwrap();
    let keys = reader::read(&path, reader::Secret::Key([42; 32])).keys.unwrap();
    assert_eq!(keys.sealed_from, Some(0));
    reader::change(&path, |records| drop(records.insert(b"s".to_vec(), old[&b"s"[..]].clone())));
    tampered("a state of before", "default");
}
