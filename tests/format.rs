//! The format is what `docs/FORMAT.md` says: stores of every version ever written are still read, and what is written
//! now can be read by the document alone, also while it is in the log.
//!
//! The stores in `tests/fixtures/v1` were written by version 1, those in `tests/fixtures/v2` by
//! `cargo test --test format -- --ignored write_the_fixtures`, which is to be run for a new version of the format only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "format/log.rs"]
mod log;
#[path = "format/reader.rs"]
mod reader;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{Argon2Params, Cache, Clock, Maintenance, Zstd};
use reader::Secret;

type Texts = Cache<str, String>;

const SECOND: u64 = 1_000_000;
/// When the fixtures were made, as far as they know.
const START: u64 = 1_700_000_000 * SECOND;
const LIFE: u64 = 200 * 365 * 86_400 * SECOND;

/// The shape of what these stores have.
const TEXT: u8 = 14;

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

/// Writes one of everything. Nothing of it is in the data file before the handles are closed.
fn fill(path: &Path, secret: Secret) -> [Texts; 4] {
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
    [cache, idle, packed, cleared]
}

fn close(handles: impl IntoIterator<Item = Texts>) {
    for handle in handles {
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
fn check_bytes(path: &Path, secret: Secret, version: u32) -> reader::Store {
    let store = reader::read(path, secret);
    assert_eq!((store.version, store.created), (version, START));
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
            assert_eq!(entry.cipher, u8::from(store.keys.is_some()));
            // The fixtures are older than shapes.
            assert!([0, TEXT].contains(&entry.tag), "{}", entry.tag);
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

/// The versions there are, with the stores of each.
const VERSIONS: [(u32, &str); 2] = [(1, "v1"), (2, "v2")];

fn fixture(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version).join(name)
}

/// The names of the files of a store, in their order.
fn files(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Copies the data file and what belongs to it, as a process leaves them that is killed now. What a store that is open has
/// besides means nothing to anybody else.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let counts = |name: &str| name == "data.mdb" || name == "checkpoint" || name.starts_with("log-");
    for name in files(from).iter().filter(|name| counts(name)) {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn copy_of_fixture(version: &str, name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    copy_files(&fixture(version, name), &path);
    (dir, path)
}

/// What is written to a store after [`fill`] for the fixture of a killed process: so much that it takes two segments.
fn go_on(path: &Path) -> Texts {
    let cache = builder(path, Secret::None).open().unwrap();
    for n in 0..LOGGED {
        cache.insert(&format!("logged {n}"), &logged(n)).unwrap();
    }
    cache.remove("logged 0").unwrap();
    cache.insert("plain", &"newer".to_owned()).unwrap();
    cache
}

const LOGGED: usize = 30;

fn logged(n: usize) -> String {
    format!("{n} ").repeat(5_000)
}

#[test]
#[ignore = "writes the fixtures that the other tests read"]
fn write_the_fixtures() {
    let to = fixture("v2", "");
    drop(fs::remove_dir_all(&to));
    fs::create_dir_all(&to).unwrap();
    for (name, secret) in SECRETS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        close(fill(&path, secret));
        // A backup is compacted. Access times of the copying handle's own must not get into it.
        let cache = builder(&path, secret).open().unwrap();
        cache.backup(to.join(name)).unwrap();
        check_bytes(&to.join(name), secret, 2);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    close(fill(&path, Secret::None));
    let open = go_on(&path);
    copy_files(&path, &to.join("killed"));
    close([open]);
    check_killed(&to.join("killed"));
}

/// Reads what [`go_on`] leaves by the document.
fn check_killed(path: &Path) {
    let tree = reader::tree_records(path);
    let log = reader::log_of(path, &tree);
    assert_eq!(log.records.len(), LOGGED + 2, "each was a transaction of its own");
    assert!(log.parts.len() > 1, "{:?}", log.parts);
    assert!(log.parts.is_sorted() && log.records.is_sorted_by_key(|(segment, at, _)| (*segment, *at)));
    let store = reader::read(path, Secret::None);
    let found: Vec<(String, String)> = store.entries.iter().map(texts_of).collect();
    let expected = rows().into_iter().map(|row| match row.1 {
        "plain" => (row.1.to_owned(), "newer".to_owned()),
        key => (key.to_owned(), row.2),
    });
    let new = (1..LOGGED).map(|n| (format!("logged {n}"), logged(n)));
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (found, expected.chain(new).collect());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let in_tree = tree.keys().filter(|key| key[0] == b'e').count();
    assert_eq!(in_tree, rows().len(), "the rest is in the log alone");
}

fn texts_of(entry: &reader::Entry) -> (String, String) {
    (rmp_serde::from_slice(&entry.key).unwrap(), rmp_serde::from_slice(&entry.value).unwrap())
}

#[test]
fn stores_of_all_versions_are_read_and_written_on() {
    for ((version, dir), (name, secret)) in VERSIONS.into_iter().flat_map(|v| SECRETS.map(|s| (v, s))) {
        let (_dir, path) = copy_of_fixture(dir, name);
        check_bytes(&path, secret, version);
        for left in ["lock.mdb", "checkpoint.lock", "open.lock", "users.lock", "flight.lock"]
            .iter()
            .filter(|_| version == 1)
        {
            fs::write(path.join(left), "").unwrap();
        }
        let cache = builder(&path, secret).open().unwrap();
        let packed = builder(&path, secret).namespace("packed").open().unwrap();
        let cleared = builder(&path, secret).namespace("cleared").open().unwrap();
        assert_eq!(cache.store_info().unwrap().format_version, 2);
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
        close([cache, packed, cleared]);
        // What version 1 had beside its data file is gone.
        assert_eq!(files(&path), ["control", "data.mdb"]);
        let store = reader::read(&path, secret);
        assert_eq!(store.version, 2);
        // An encrypted store of version 1 has seals from now on; entries that were in it stay as they are.
        let sealed_from = store.keys.map(|keys| keys.sealed_from);
        let first = if version == 1 { 5 } else { 0 };
        assert_eq!(sealed_from, (name != "plain").then_some(Some(first)));
        let mut stamps: Vec<u64> = store.entries.iter().map(|entry| entry.stamp).collect();
        stamps.sort_unstable();
        stamps.dedup();
        assert_eq!(stamps.len(), 6, "none was given out before");
        let cache = builder(&path, secret).open().unwrap();
        assert_eq!(cache.get("new").unwrap().as_deref(), Some("written now"));
        assert_eq!(cache.pop_newest().unwrap().unwrap().0, "new");
        let packed = builder(&path, secret).namespace("packed").open().unwrap();
        assert_eq!(packed.get("long").unwrap().as_deref(), Some("shorter"));
        assert!(cache.verify().unwrap().is_clean());
    }
}

/// Copies of stores of version 1 could be without it.
#[test]
fn a_store_of_version_1_without_its_record_is_taken_as_it_is() {
    let (_dir, path) = copy_of_fixture("v1", "plain");
    fs::remove_file(path.join("checkpoint")).unwrap();
    close([builder(&path, Secret::None).open().unwrap()]);
    check_bytes(&path, Secret::None, 2);
}

#[test]
fn a_reader_alone_leaves_a_store_of_version_1_version_2() {
    let (_dir, path) = copy_of_fixture("v1", "plain");
    let cache = builder(&path, Secret::None).read_only(true).open().unwrap();
    assert_eq!(cache.len().unwrap(), 3);
    close([cache]);
    assert!(!path.join("checkpoint").exists());
    check_bytes(&path, Secret::None, 2);
}

#[test]
fn a_log_without_its_data_file_is_kept() {
    let (_dir, path) = copy_of_fixture("v2", "killed");
    let before = files(&path);
    let data = fs::read(path.join("data.mdb")).unwrap();
    for left in [None, Some("")] {
        fs::remove_file(path.join("data.mdb")).unwrap();
        if let Some(left) = left {
            fs::write(path.join("data.mdb"), left).unwrap();
        }
        let error = builder(&path, Secret::None).open().unwrap_err();
        assert!(error.is_damaged() && error.to_string().contains("log-"), "{error}");
        fs::write(path.join("data.mdb"), &data).unwrap();
        let store: Vec<_> = files(&path).into_iter().filter(|name| !name.ends_with("lock")).collect();
        assert_eq!(store, before);
    }
    check_killed(&path);
}

#[test]
fn the_log_of_a_killed_process_is_read_and_goes_on() {
    check_killed(&fixture("v2", "killed"));
    let (_dir, path) = copy_of_fixture("v2", "killed");
    let log = reader::log_of(&path, &reader::tree_records(&path));
    let cache = builder(&path, Secret::None).open().unwrap();
    assert_eq!(cache.get("plain").unwrap().as_deref(), Some("newer"));
    for n in 0..LOGGED {
        let found = cache.get(&format!("logged {n}")).unwrap();
        assert_eq!(found, (n > 0).then(|| logged(n)));
    }
    assert!(cache.verify().unwrap().is_clean());
    cache.insert("behind", &"in a segment of its own".to_owned()).unwrap();
    let longer = reader::log_of(&path, &reader::tree_records(&path));
    assert_eq!(longer.parts[..log.parts.len()], log.parts);
    assert_eq!(longer.parts.len(), log.parts.len() + 1, "nothing is appended to what was there");
    assert_eq!(longer.records.len(), log.records.len() + 1);
    close([cache]);
    let tree = reader::tree_records(&path);
    assert!(files(&path).iter().all(|name| !name.starts_with("log-")));
    assert_eq!(tree, reader::records(&path));
    let folded = log::Point::decode(&tree[&b"f"[..]]);
    // With the access times that closing has written.
    assert!((folded.segment, folded.offset) > (longer.end.segment, longer.end.offset), "all of it is folded");
}

#[test]
fn the_bytes_are_as_documented() {
    for ((version, dir), (name, secret)) in VERSIONS.into_iter().flat_map(|v| SECRETS.map(|s| (v, s))) {
        let (_dir, path) = copy_of_fixture(dir, name);
        check_bytes(&path, secret, version);
        assert!(fs::metadata(path.join("data.mdb")).unwrap().len() <= 64 << 10);
    }
}

#[test]
fn what_is_written_now_has_the_same_bytes() {
    for (_, secret) in SECRETS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let open = fill(&path, secret);
        // In the log alone, as a process leaves it that is killed; then in the data file alone.
        let killed = dir.path().join("killed");
        copy_files(&path, &killed);
        let logged = check_bytes(&killed, secret, 2);
        let tree = reader::tree_records(&killed);
        assert_eq!(tree.keys().map(|key| key[0]).collect::<Vec<_>>(), *b"fms");
        close(open);
        let written = check_bytes(&path, secret, 2);
        assert_eq!((written.stamp_base, &written.entries), (0, &logged.entries));
        assert!(written.entries.iter().all(|entry| entry.tag == TEXT));
        assert!(files(&path).iter().all(|name| !name.starts_with("log-")));
        // Copies of it, too.
        let cache = builder(&path, secret).open().unwrap();
        let copy = dir.path().join("copy");
        cache.backup(&copy).unwrap();
        assert_eq!(files(&copy), ["data.mdb"]);
        cache.compact().unwrap();
        cache.insert("newest", &"later than all".to_owned()).unwrap();
        close([cache]);
        assert_eq!(check_bytes(&copy, secret, 2).entries, written.entries);
        let last = written.entries.iter().map(|entry| entry.stamp).max().unwrap();
        let copy = builder(&copy, secret).open().unwrap();
        copy.insert("newest", &"later than all".to_owned()).unwrap();
        close([copy]);
        for path in [&path, &dir.path().join("copy")] {
            let store = reader::read(path, secret);
            let newest = store.entries.iter().find(|entry| entry.number == 4 && entry.namespace == 1);
            assert!(newest.unwrap().stamp > last, "no stamp is given out twice");
        }
    }
}

#[test]
fn a_schema_and_a_shape_are_as_documented() {
    for (_, secret) in SECRETS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        close([fill(&path, secret)].into_iter().flatten());
        let cache = builder(&path, secret).namespace("marked").schema("texts/2").open().unwrap();
        cache.insert("key", &"value".to_owned()).unwrap();
        close([cache]);
        let store = reader::read(&path, secret);
        let marked = store.entries.iter().find(|entry| entry.namespace == store.namespaces["marked"].id);
        let marked = marked.unwrap();
        assert_eq!(marked.tag, 0x80 | TEXT);
        let (schema, value) = marked.value.split_at(9);
        assert_eq!(schema, [b"\xc1\x07", &b"texts/2"[..]].concat());
        assert_eq!(rmp_serde::from_slice::<String>(value).unwrap(), "value");
    }
}

/// What of a store is in the log and what in the data file makes no difference to a reader.
#[test]
fn log_and_data_file_are_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut expected = BTreeMap::new();
    let mut copies = 0;
    let mut check = |expected: &BTreeMap<String, String>| {
        copies += 1;
        let copy = dir.path().join(format!("copy {copies}"));
        copy_files(&path, &copy);
        let store = reader::read(&copy, Secret::None);
        let mut found: Vec<(String, String)> = store.entries.iter().map(texts_of).collect();
        found.sort();
        assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>());
        // And the cache sees the same in it.
        let cache = builder(&copy, Secret::None).open().unwrap();
        let mut seen: Vec<(String, String)> = cache.iter().map(Result::unwrap).collect();
        seen.sort();
        assert_eq!(seen, found);
        close([cache]);
        assert_eq!(reader::records(&copy), reader::tree_records(&copy));
    };
    for round in 0..4 {
        let cache = builder(&path, Secret::None).open().unwrap();
        for n in 0..40 * round {
            let (key, value) = (format!("key {}", n % 50), format!("{round} {n} ").repeat(n * 20 % 3000));
            cache.insert(&key, &value).unwrap();
            expected.insert(key, value);
        }
        check(&expected);
        for n in (round..50).step_by(7) {
            cache.remove(&format!("key {n}")).unwrap();
            expected.remove(&format!("key {n}"));
        }
        check(&expected);
        if round == 2 {
            cache.clear().unwrap();
            expected.clear();
            cache.insert("after", &"it".to_owned()).unwrap();
            expected.insert("after".to_owned(), "it".to_owned());
            check(&expected);
        }
        close([cache]);
        check(&expected);
    }
}

/// Plain and with a raw key: the document is enough to write an entry.
#[test]
fn an_entry_written_by_the_document_is_read() {
    for (name, secret) in &SECRETS[..2] {
        let (_dir, path) = copy_of_fixture("v2", name);
        let store = reader::read(&path, *secret);
        reader::change(&path, |records| {
            let (namespace, number) = (1u32, 100u64);
            let key = rmp_serde::to_vec("by hand").unwrap();
            let value = rmp_serde::to_vec("and found").unwrap();
            let hash = reader::hash(namespace, &key, store.keys);
            let encrypted = store.keys.is_some();
            let mut head = vec![1 + u8::from(encrypted), 0, 1, 0, u8::from(encrypted), 0, 0, 0];
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
                    let identity = store.namespaces["default"].identity("default");
                    let associated = [&head[..48], &hash, &identity].concat();
                    reader::seal(&keys.values, &associated, &plain, [8; 24])
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
    let (_dir, path) = copy_of_fixture("v2", "plain");
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

/// A segment is what the document says, down to what a reader need not look at: the links and the table.
#[test]
fn segments_are_as_documented() {
    let (_dir, path) = copy_of_fixture("v2", "killed");
    let tree = reader::tree_records(&path);
    let folded = log::Point::decode(&tree[&b"f"[..]]);
    let log = reader::log_of(&path, &tree);
    let store = reader::read(&path, Secret::None).id;
    let segments = log::segments(&path, store);
    assert_eq!(segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), log.parts);
    assert_eq!(segments[0].previous, folded);
    for segment in &segments {
        assert_eq!(segment.bytes.len(), segment.size as usize);
        assert!(segment.bytes[88..128].iter().all(|byte| *byte == 0));
        let word = |at: usize| u32::from_le_bytes(segment.bytes[at..at + 4].try_into().unwrap());
        let mut newest = BTreeMap::new();
        for (_, at, changes) in log.records.iter().filter(|(number, ..)| *number == segment.number) {
            let mut at = *at as usize + 16;
            for (key, value) in changes {
                let older: Option<usize> = newest.insert(key.clone(), at);
                assert_eq!(word(at) as usize, older.unwrap_or(0), "the link");
                at += 12 + key.len() + value.as_ref().map_or(0, Vec::len);
            }
        }
        assert_eq!(word(72) as usize, newest.len(), "keys listed");
        let mut table: Vec<usize> =
            (segment.table()..segment.bytes.len()).step_by(8).map(|at| word(at) as usize).collect();
        table.retain(|at| *at != 0);
        table.sort_unstable();
        let mut expected: Vec<usize> = newest.into_values().collect();
        expected.sort_unstable();
        assert_eq!(table, expected);
    }
}

/// A change that gives the key "plain" another value of as many bytes.
fn change_of_plain(tree: &reader::Records, text: &str) -> Vec<log::Change> {
    let is_it =
        |key: &[u8], value: &[u8]| key[0] == b'e' && value.windows(text.len()).any(|part| part == b"value");
    let (key, value) = tree.iter().find(|(key, value)| is_it(key, value)).unwrap();
    let mut value = value.clone();
    let at = value.len() - text.len();
    value[at..].copy_from_slice(text.as_bytes());
    let checksum = reader::checksum(&value[..80], &value[80..]);
    value[72..80].copy_from_slice(&checksum.to_le_bytes());
    vec![(key.clone(), Some(value))]
}

/// The document is enough to go on with a log: a segment that names the end is a part of it, and of two the higher number
/// wins; what names another point is none.
#[test]
fn a_segment_written_by_the_document_is_read() {
    let (_dir, path) = copy_of_fixture("v2", "plain");
    let tree = reader::tree_records(&path);
    let end = reader::log_of(&path, &tree).end;
    let store = reader::read(&path, Secret::None).id;
    let write = |number, previous, texts: &[&str]| {
        let records: Vec<_> = texts.iter().map(|text| change_of_plain(&tree, text)).collect();
        let bytes = log::segment(number, previous, store, &records);
        fs::write(path.join(format!("log-{number:08x}")), bytes).unwrap();
    };
    let next = end.segment + 1;
    write(next, end, &["lower"]);
    write(next + 5, end, &["first", "wins."]);
    let used = fs::read(path.join(format!("log-{:08x}", next + 5))).unwrap();
    let checksum = u64::from_le_bytes(used[64..72].try_into().unwrap());
    write(next + 7, log::Point { segment: next + 5, offset: 128, checksum }, &["other"]);
    write(next + 9, log::Point { segment: next, offset: 128, checksum: 1 }, &["other"]);
    fs::write(path.join(format!("log-{:08x}", next + 11)), [0; 4096]).unwrap();
    fs::write(path.join(format!("log-{:08x}", next + 12)), "").unwrap();
    let cache = builder(&path, Secret::None).open().unwrap();
    assert_eq!(cache.get("plain").unwrap().as_deref(), Some("wins."));
    assert!(cache.verify().unwrap().is_clean());
    let segments = files(&path).into_iter().filter(|name| name.starts_with("log-")).collect::<Vec<_>>();
    assert_eq!(segments, [format!("log-{:08x}", next + 5)], "what is no part of the log is removed");
    cache.insert("new", &"one".to_owned()).unwrap();
    let log = reader::log_of(&path, &reader::tree_records(&path));
    assert_eq!(log.parts, [next + 5, next + 13], "above every number there was");
    close([cache]);
}

/// A segment goes only when LMDB has it; so one that goes on from elsewhere where none is belongs to a later data file.
#[test]
fn a_log_that_the_data_file_has_not_come_to_is_refused() {
    let (_dir, path) = copy_of_fixture("v2", "plain");
    let tree = reader::tree_records(&path);
    let store = reader::read(&path, Secret::None).id;
    let end = reader::log_of(&path, &tree).end;
    let number = end.segment + 3;
    let name = path.join(format!("log-{number:08x}"));
    for elsewhere in [
        log::Point { checksum: end.checksum ^ 1, ..end },
        log::Point { offset: end.offset + 8, ..end },
        log::Point { segment: end.segment + 1, ..end },
    ] {
        let bytes = log::segment(number, elsewhere, store, &[change_of_plain(&tree, "later")]);
        fs::write(&name, &bytes).unwrap();
        let error = builder(&path, Secret::None).open().unwrap_err();
        assert!(error.is_damaged() && error.to_string().contains("older"), "{error}");
        assert_eq!(fs::read(&name).unwrap(), bytes);
        assert_eq!(reader::tree_records(&path), tree);
    }
    // Of before that, it was left over.
    let before = log::Point { segment: end.segment - 1, ..end };
    fs::write(&name, log::segment(number, before, store, &[change_of_plain(&tree, "later")])).unwrap();
    let cache = builder(&path, Secret::None).open().unwrap();
    assert_eq!(cache.get("plain").unwrap().as_deref(), Some("value"));
    assert!(!name.exists());
}

/// Where LMDB has the log up to the middle of a segment, what stands before that need not even have reached the disk.
#[test]
fn a_segment_that_is_folded_in_part_goes_on_from_there() {
    let (_dir, path) = copy_of_fixture("v2", "plain");
    let tree = reader::tree_records(&path);
    let store = reader::read(&path, Secret::None).id;
    let end = reader::log_of(&path, &tree).end;
    let number = end.segment + 1;
    // Of different lengths, so that the place in the middle is not where a wrong step would lead.
    let first: Vec<log::Change> = vec![(b"zz".to_vec(), Some(vec![7; 1001])), (b"zy".to_vec(), None)];
    let records = [first, change_of_plain(&tree, "first"), change_of_plain(&tree, "later")];
    let bytes = log::segment(number, end, store, &records);
    let name = path.join(format!("log-{number:08x}"));
    fs::write(&name, &bytes).unwrap();
    let middle = reader::log_of(&path, &tree).records[1].1 as usize;
    let checksum = u64::from_le_bytes(bytes[128..136].try_into().unwrap());
    let folded = log::Point { segment: number, offset: middle as u32, checksum };
    reader::change(&path, |records| drop(records.insert(b"f".to_vec(), folded.encode())));
    for fill in [None, Some(0), Some(0xff), Some(0x18)] {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("store");
        copy_files(&path, &copy);
        let mut bytes = bytes.clone();
        if let Some(fill) = fill {
            bytes[128..middle].fill(fill);
        }
        fs::write(copy.join(format!("log-{number:08x}")), &bytes).unwrap();
        let cache = builder(&copy, Secret::None).open().unwrap();
        assert_eq!(cache.get("plain").unwrap().as_deref(), Some("later"), "{fill:?}");
        let keys: Vec<_> = cache.iter().map(|entry| entry.unwrap()).collect();
        assert_eq!(keys[0], ("plain".to_owned(), "later".to_owned()));
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        cache.insert("new", &"goes on".to_owned()).unwrap();
        let log = reader::log_of(&copy, &reader::tree_records(&copy));
        assert_eq!((log.records.len(), log.parts), (3, vec![number, number + 1]));
        close([cache]);
        assert!(files(&copy).iter().all(|name| !name.starts_with("log-")), "all of it was folded");
        assert_eq!(reader::read(&copy, Secret::None).entries.len(), rows().len() + 1);
    }
}

/// After a power loss whatever the data file's meta pages say, the snapshot that version 1 recorded counts.
#[test]
fn recovery_of_version_1_puts_the_recorded_snapshot_back_as_documented() {
    let (_dir, path) = copy_of_fixture("v1", "plain");
    let mut record = fs::read(path.join("checkpoint")).unwrap();
    let newest = record.chunks(4096).position(|slot| slot.starts_with(b"CACHMCKP")).unwrap();
    let slot = &mut record[newest * 4096..][..4096];
    // Open, in another boot.
    slot[12..16].copy_from_slice(&2u32.to_le_bytes());
    slot[24..28].copy_from_slice(&4u32.to_le_bytes());
    slot[28..32].copy_from_slice(b"boot");
    let checksum = twox_hash::XxHash3_64::oneshot(&slot[..4088]);
    slot[4088..].copy_from_slice(&checksum.to_le_bytes());
    let meta = slot[108..244].to_vec();
    fs::write(path.join("checkpoint"), &record).unwrap();
    // A later transaction, whose root has not reached the disk.
    let txn = u64::from_ne_bytes(meta[128..].try_into().unwrap()) + 1;
    let mut data = fs::read(path.join("data.mdb")).unwrap();
    let page = (txn % 2) as usize * 4096;
    data[page + 16..page + 152].copy_from_slice(&meta);
    data[page + 144..page + 152].copy_from_slice(&txn.to_ne_bytes());
    data[page + 128..page + 136].copy_from_slice(&(1u64 << 40).to_ne_bytes());
    fs::write(path.join("data.mdb"), data).unwrap();

    let cache = builder(&path, Secret::None).open().unwrap();
    assert!(cache.verify().unwrap().is_clean());
    close([cache]);
    assert!(!path.join("checkpoint").exists());
    check_bytes(&path, Secret::None, 2);
    let cache = builder(&path, Secret::None).open().unwrap();
    assert_eq!(cache.get("plain").unwrap().as_deref(), Some("value"));
}
