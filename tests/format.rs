//! The format is what `docs/FORMAT.md` says: stores of every version ever written are still read, and what is written
//! now can be read by the document alone.
//!
//! The stores in `tests/fixtures/v1` were written by
//! `cargo test --test format -- --ignored write_the_fixtures`, which is to be run for a new version of the format only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "format/reader.rs"]
mod reader;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{Argon2Params, Cache, Clock, Maintenance, Zstd};
use reader::{Fields, Secret};

type Texts = Cache<str, String>;

const SECOND: u64 = 1_000_000;
/// When the fixtures were made, as far as they know.
const START: u64 = 1_700_000_000 * SECOND;
const LIFE: u64 = 200 * 365 * 86_400 * SECOND;

const SECRETS: [(&str, Secret); 3] = [
    ("plain", Secret::None),
    ("key", Secret::Key([42; 32])),
    ("passphrase", Secret::Passphrase("correct horse battery staple")),
];

struct MockClock(AtomicU64);

impl Clock for MockClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

fn builder(path: &Path, secret: Secret) -> cachemere::Builder<str, String> {
    let builder = Texts::builder(path).maintenance(Maintenance::Manual);
    // The least that Argon2 takes: the test is about bytes, not about guessing.
    let params = Argon2Params { memory_kib: 8, iterations: 1, parallelism: 1 };
    match secret {
        Secret::None => builder,
        Secret::Key(key) => builder.encryption(cachemere::Secret::key(key)),
        Secret::Passphrase(text) => builder.encryption(cachemere::Secret::passphrase_with(text, params)),
    }
}

fn long_text() -> String {
    "compress me ".repeat(40)
}

/// Writes one of everything.
fn fill(path: &Path, secret: Secret) {
    let clock = Arc::new(MockClock(AtomicU64::new(START)));
    let open = || builder(path, secret).clock(clock.clone());
    let tick = || clock.0.fetch_add(SECOND, Ordering::SeqCst);
    let life = Duration::from_micros(LIFE);

    let cache = open().open().unwrap();
    let idle = open().time_to_idle(life).open().unwrap();
    let packed = open().namespace("packed").compression(Zstd::default()).max_entries(10).open().unwrap();
    let cleared = open().namespace("cleared").open().unwrap();
    cache.insert("plain", &"first".to_owned()).unwrap();
    tick();
    cache.insert_with_ttl("dated", &"expires".to_owned(), life).unwrap();
    tick();
    cache.insert("gone", &"leaves a gap".to_owned()).unwrap();
    cache.remove("gone").unwrap();
    tick();
    idle.insert("idle", &"rests".to_owned()).unwrap();
    packed.insert("long", &long_text()).unwrap();
    packed.insert("short", &"x".to_owned()).unwrap();
    cleared.insert("nothing", &"of this stays".to_owned()).unwrap();
    cleared.clear().unwrap();
    tick();
    cache.insert("plain", &"value".to_owned()).unwrap();
    tick();
    assert!(cache.get("dated").unwrap().is_some());
    cache.checkpoint().unwrap();
    for handle in [cache, idle, packed, cleared] {
        handle.close().unwrap();
    }
}

/// What [`fill`] leaves, in a form to compare: namespace, key, value, and in seconds since the start ctime, mtime and
/// atime; expiry, idle time, insertion number.
type Row = (u32, &'static str, String, [u64; 3], u64, u64, u64);

fn rows() -> Vec<Row> {
    vec![
        (1, "plain", "value".to_owned(), [0, 4, 4], 0, 0, 0),
        (1, "dated", "expires".to_owned(), [1, 1, 5], START + SECOND + LIFE, 0, 1),
        (1, "idle", "rests".to_owned(), [3, 3, 3], 0, LIFE, 3),
        (2, "long", long_text(), [3, 3, 3], 0, 0, 0),
        (2, "short", "x".to_owned(), [3, 3, 3], 0, 0, 1),
    ]
}

/// Reads a store by the document and compares it with what was written.
fn check_bytes(path: &Path, secret: Secret) -> reader::Store {
    let store = reader::read(path, secret);
    assert_eq!((store.version, store.created), (1, START));
    assert_eq!(store.cipher, if matches!(secret, Secret::None) { "" } else { "xchacha20poly1305" });
    assert_eq!((store.recency, store.max_bytes, store.next_namespace), (2, 0, 5));
    let namespace = |id, compressor: &str, max_entries| reader::Namespace {
        id,
        max_entries,
        key_serializer: "msgpack".to_owned(),
        serializer: "msgpack".to_owned(),
        compressor: compressor.to_owned(),
    };
    assert_eq!(store.namespaces["default"], namespace(1, "", 0));
    assert_eq!(store.namespaces["packed"], namespace(2, "zstd", 10));
    assert_eq!(store.namespaces["cleared"], namespace(4, "", 0));
    let seconds = |time: u64| (time - START) / SECOND;
    let found: Vec<Row> = store
        .entries
        .iter()
        .map(|entry| {
            let key: String = rmp_serde::from_slice(&entry.key).unwrap();
            let row = rows().into_iter().find(|row| row.1 == key).expect("a key that was written");
            let times = [entry.created, entry.modified, entry.accessed].map(seconds);
            let value = rmp_serde::from_slice(&entry.value).unwrap();
            assert_eq!(entry.compressor, u8::from(key == "long"));
            assert_eq!((entry.cipher, entry.tag), (u8::from(store.keys.is_some()), 0));
            (entry.namespace, row.1, value, times, entry.expires, entry.idle, entry.number)
        })
        .collect();
    assert_eq!(found, rows());
    let mut stamps: Vec<u64> = store.entries.iter().map(|entry| entry.stamp).collect();
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), rows().len(), "each was written in a transaction of its own");
    store
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

fn copy_of_fixture(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::create_dir(&path).unwrap();
    for file in ["data.mdb", "checkpoint"] {
        fs::copy(fixture(name).join(file), path.join(file)).unwrap();
    }
    (dir, path)
}

#[test]
#[ignore = "writes the fixtures that the other tests read"]
fn write_the_fixtures() {
    for (name, secret) in SECRETS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        fill(&path, secret);
        let to = fixture(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        drop(fs::remove_dir_all(&to));
        // A backup is compacted. Access times of the copying handle's own must not get into it.
        let cache = builder(&path, secret).open().unwrap();
        cache.backup(&to).unwrap();
        // The boot in which it was made means nothing to anybody else.
        let mut slots = fs::read(to.join("checkpoint")).unwrap();
        for slot in slots.chunks_mut(4096).filter(|slot| slot.starts_with(b"CACHMCKP")) {
            slot[24..92].fill(0);
            let checksum = twox_hash::XxHash3_64::oneshot(&slot[..4088]);
            slot[4088..].copy_from_slice(&checksum.to_le_bytes());
        }
        fs::write(to.join("checkpoint"), slots).unwrap();
        check_bytes(&to, secret);
    }
}

#[test]
fn stores_of_version_1_are_read_and_written_on() {
    for (name, secret) in SECRETS {
        let (_dir, path) = copy_of_fixture(name);
        let cache = builder(&path, secret).open().unwrap();
        let packed = builder(&path, secret).namespace("packed").open().unwrap();
        let cleared = builder(&path, secret).namespace("cleared").open().unwrap();
        let report = cache.verify().unwrap();
        assert!(report.is_clean() && report.entries == 5, "{report:?}");
        for (namespace, key, value, [created, modified, accessed], expires, idle, _) in rows() {
            let handle = if namespace == 1 { &cache } else { &packed };
            let info = handle.info(key).unwrap().unwrap();
            let at = |seconds| UNIX_EPOCH + Duration::from_micros(START + seconds * SECOND);
            assert_eq!(
                (info.created, info.modified, info.accessed),
                (at(created), at(modified), at(accessed))
            );
            let due = [expires, if idle == 0 { 0 } else { START + accessed * SECOND + idle }];
            let due = due.into_iter().filter(|due| *due != 0).min();
            assert_eq!(info.expires, due.map(|due| UNIX_EPOCH + Duration::from_micros(due)));
            assert_eq!(handle.get(key).unwrap().as_deref(), Some(value.as_str()));
        }
        let keys: Vec<String> = cache.iter().map(|entry| entry.unwrap().0).collect();
        assert_eq!(keys, ["plain", "dated", "idle"]);
        assert!(cleared.is_empty().unwrap());
        cache.insert("new", &"written now".to_owned()).unwrap();
        packed.insert("long", &"shorter".to_owned()).unwrap();
        for handle in [cache, packed, cleared] {
            handle.close().unwrap();
        }
        let cache = builder(&path, secret).open().unwrap();
        assert_eq!(cache.get("new").unwrap().as_deref(), Some("written now"));
        assert_eq!(cache.pop_newest().unwrap().unwrap().0, "new");
        let packed = builder(&path, secret).namespace("packed").open().unwrap();
        assert_eq!(packed.get("long").unwrap().as_deref(), Some("shorter"));
        assert!(cache.verify().unwrap().is_clean());
    }
}

#[test]
fn the_bytes_are_as_documented() {
    for (name, secret) in SECRETS {
        let (_dir, path) = copy_of_fixture(name);
        check_bytes(&path, secret);
        assert!(fs::metadata(path.join("data.mdb")).unwrap().len() <= 64 << 10);
    }
}

#[test]
fn what_is_written_now_has_the_same_bytes() {
    for (_, secret) in SECRETS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        fill(&path, secret);
        let written = check_bytes(&path, secret);
        assert_eq!(written.stamp_base, 0);
        // Copies of it, too.
        let cache = builder(&path, secret).open().unwrap();
        let copy = dir.path().join("copy");
        cache.backup(&copy).unwrap();
        cache.compact().unwrap();
        cache.close().unwrap();
        let last = written.entries.iter().map(|entry| entry.stamp).max().unwrap();
        assert!(check_bytes(&copy, secret).stamp_base > last);
        assert!(check_bytes(&path, secret).stamp_base > last);
    }
}

/// Plain and with a raw key: the document is enough to write an entry.
#[test]
fn an_entry_written_by_the_document_is_read() {
    for (name, secret) in &SECRETS[..2] {
        let (_dir, path) = copy_of_fixture(name);
        let store = reader::read(&path, *secret);
        reader::change(&path, |records| {
            let (namespace, number) = (1u32, 100u64);
            let key = rmp_serde::to_vec("by hand").unwrap();
            let value = rmp_serde::to_vec("and found").unwrap();
            let hash = reader::hash(namespace, &key, store.keys);
            let encrypted = store.keys.is_some();
            let mut head = vec![1, 0, 1, 0, u8::from(encrypted), 0, 0, 0];
            head.extend_from_slice(&namespace.to_le_bytes());
            let key_len = if encrypted { 0 } else { key.len() as u32 };
            head.extend_from_slice(&key_len.to_le_bytes());
            for field in [START, START, 0, LIFE, number, store.stamp_base, START + 9] {
                head.extend_from_slice(&field.to_le_bytes());
            }
            let body = match store.keys {
                None => [key, value].concat(),
                Some(keys) => {
                    let plain = [(key.len() as u32).to_le_bytes().to_vec(), key, value].concat();
                    reader::seal(&keys.values, &[&head[..48], &hash].concat(), &plain, [8; 24])
                }
            };
            head.extend_from_slice(&reader::checksum(&head, &body).to_le_bytes());
            let in_tree = namespace.to_be_bytes();
            records.insert([b"e", &hash[..]].concat(), [head, body].concat());
            records.insert([b"o", &in_tree[..], &number.to_be_bytes()].concat(), hash.to_vec());
            records.insert([b"r", &in_tree[..], &(START + 9).to_be_bytes(), &hash].concat(), vec![]);
            let due = START + 9 + LIFE;
            records.insert([b"x", &due.to_be_bytes()[..], &hash].concat(), namespace.to_le_bytes().to_vec());
            let counters = [4u64, number + 1].map(u64::to_le_bytes).concat();
            records.insert([b"o", &in_tree[..], &[0xff; 8]].concat(), counters);
        });
        let cache = builder(&path, *secret).open().unwrap();
        assert_eq!(cache.get("by hand").unwrap().as_deref(), Some("and found"));
        assert_eq!(cache.len().unwrap(), 4);
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        let (key, value) = cache.pop_newest().unwrap().unwrap();
        assert_eq!((key.as_str(), value.as_str()), ("by hand", "and found"));
        assert!(cache.verify().unwrap().is_clean());
    }
}

/// A grave is what a process leaves that was killed while it cleared a namespace.
#[test]
fn what_a_grave_says_is_gone_is_removed() {
    let (_dir, path) = copy_of_fixture("plain");
    reader::change(&path, |records| {
        records.get_mut(&b"ndefault"[..]).unwrap()[..4].copy_from_slice(&5u32.to_le_bytes());
        // The next namespace id, behind the flag and the size limit.
        records.get_mut(&b"s"[..]).unwrap()[9..13].copy_from_slice(&6u32.to_le_bytes());
        records.insert([b"g", &1u32.to_be_bytes()[..]].concat(), vec![]);
    });
    let cache = builder(&path, Secret::None).open().unwrap();
    assert!(cache.is_empty().unwrap());
    assert_eq!(cache.get("plain").unwrap(), None);
    assert_eq!(cache.sweep().unwrap(), 0, "nothing of it expired");
    assert_eq!(cache.verify().unwrap().entries, 2);
    cache.close().unwrap();
    let records = reader::records(&path);
    assert!(records.keys().all(|key| key[0] != b'g'));
    assert!(records.keys().all(|key| !matches!(key[0], b'o' | b'r') || key[1..5] == 2u32.to_be_bytes()));
}

/// A record of the checkpoint file: state, sequence number, boot id, page size, transaction, meta body.
type Slot = (u32, u64, Vec<u8>, u32, u64, Vec<u8>);

/// The record that counts.
fn newest_slot(path: &Path) -> Slot {
    let file = fs::read(path.join("checkpoint")).unwrap();
    assert_eq!(file.len(), 8192);
    let slots = [&file[..4096], &file[4096..]].into_iter().enumerate();
    let written = slots.filter(|(_, slot)| slot.iter().any(|byte| *byte != 0)).map(|(index, slot)| {
        let mut fields = Fields(slot);
        assert_eq!(fields.array(), *b"CACHMCKP");
        assert_eq!(fields.u32(), 1);
        let (state, sequence, boot_len) = (fields.u32(), fields.u64(), fields.u32() as usize);
        assert_eq!(sequence % 2, index as u64);
        let boot: [u8; 64] = fields.array();
        assert!(boot[boot_len..].iter().all(|byte| *byte == 0));
        let (page_size, txn, meta_len) = (fields.u32(), fields.u64(), fields.u32() as usize);
        let meta: [u8; 136] = fields.array();
        let zeros: [u8; 3844] = fields.array();
        assert_eq!(zeros, [0; 3844]);
        assert_eq!(fields.u64(), twox_hash::XxHash3_64::oneshot(&slot[..4088]));
        fields.end();
        (state, sequence, boot[..boot_len].to_vec(), page_size, txn, meta[..meta_len].to_vec())
    });
    written.max_by_key(|slot| slot.1).unwrap()
}

/// The meta body in the data file with the higher transaction id.
fn newest_meta(path: &Path) -> (u64, Vec<u8>) {
    let data = fs::read(path.join("data.mdb")).unwrap();
    let page_size = u32::from_ne_bytes(data[16 + 24..16 + 28].try_into().unwrap()) as usize;
    let metas = [0, page_size].map(|at| data[at + 16..at + 152].to_vec());
    metas.map(|meta| (u64::from_ne_bytes(meta[128..].try_into().unwrap()), meta)).into_iter().max().unwrap()
}

#[test]
fn the_checkpoint_file_is_as_documented() {
    let (_dir, path) = copy_of_fixture("plain");
    let (state, sequence, boot, page_size, txn, meta) = newest_slot(&path);
    assert_eq!((state, sequence, boot, page_size), (3, 1, vec![], 4096));
    assert_eq!((txn, meta), newest_meta(&path));

    let cache = builder(&path, Secret::None).open().unwrap();
    assert_eq!(newest_slot(&path).0, 3, "reading changes nothing");
    cache.insert("a", &"1".to_owned()).unwrap();
    let (state, _, boot, page_size, before, _) = newest_slot(&path);
    let boot_id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    assert_eq!((state, boot.as_slice(), page_size), (2, boot_id.trim_ascii(), 4096));
    assert!(before < newest_meta(&path).0, "the snapshot is the one before the first write");

    cache.checkpoint().unwrap();
    let (state, _, _, _, txn, meta) = newest_slot(&path);
    assert_eq!((state, (txn, meta)), (2, newest_meta(&path)));

    cache.insert("b", &"2".to_owned()).unwrap();
    cache.close().unwrap();
    let (state, _, _, _, txn, meta) = newest_slot(&path);
    assert_eq!((state, (txn, meta)), (3, newest_meta(&path)));
}

/// After a power loss whatever the data file's meta pages say, the recorded snapshot counts.
#[test]
fn recovery_puts_the_recorded_snapshot_back_as_documented() {
    let (dir, path) = copy_of_fixture("plain");
    let lost = dir.path().join("after the power loss");
    let cache = builder(&path, Secret::None).open().unwrap();
    cache.insert("safe", &"1".to_owned()).unwrap();
    cache.checkpoint().unwrap();
    cache.insert("lost", &"2".to_owned()).unwrap();
    fs::create_dir(&lost).unwrap();
    for file in ["data.mdb", "checkpoint"] {
        fs::copy(path.join(file), lost.join(file)).unwrap();
    }
    cache.close().unwrap();

    // In the same boot the page cache would still have everything.
    let same_boot = dir.path().join("same boot");
    fs::create_dir(&same_boot).unwrap();
    for file in ["data.mdb", "checkpoint"] {
        fs::copy(lost.join(file), same_boot.join(file)).unwrap();
    }
    let cache = builder(&same_boot, Secret::None).open().unwrap();
    assert_eq!(cache.get("lost").unwrap().as_deref(), Some("2"));
    cache.close().unwrap();

    let (state, sequence, boot, _, _, meta) = newest_slot(&lost);
    assert_eq!(state, 2);
    if boot.is_empty() {
        return;
    }
    let mut file = fs::read(lost.join("checkpoint")).unwrap();
    let slot = &mut file[(sequence % 2) as usize * 4096..][..4096];
    slot[28] = if slot[28] == b'0' { b'1' } else { b'0' };
    let checksum = twox_hash::XxHash3_64::oneshot(&slot[..4088]);
    slot[4088..].copy_from_slice(&checksum.to_le_bytes());
    fs::write(lost.join("checkpoint"), &file).unwrap();
    let cache = builder(&lost, Secret::None).open().unwrap();
    let data = fs::read(lost.join("data.mdb")).unwrap();
    for (number, page) in data.chunks(4096).take(2).enumerate() {
        assert_eq!(page[..8], number.to_ne_bytes());
        assert_eq!(page[8..16], [0, 0, 8, 0, 0, 0, 0, 0]);
        assert_eq!(page[16..152], meta[..]);
        assert!(page[152..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(newest_slot(&lost).0, 3);
    assert_eq!(cache.get("safe").unwrap().as_deref(), Some("1"));
    assert_eq!(cache.get("lost").unwrap(), None);
    assert!(cache.verify().unwrap().is_clean());
}
