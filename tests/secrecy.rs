//! What encryption promises: nothing readable on the disk, and no entry altered, moved or given a longer life unnoticed.
//! And what it does not promise, so that it is known: a whole entry can be put back to an older version, or removed.
//!
//! The forger here works on the records in the closed store, and makes the checksums right: the cipher must notice alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]
#![allow(unsafe_code, reason = "heed opens an environment")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use cachemere::{Argon2Params, ByteCache, Cache, Error, Known, ScanPosition, Secret, Zstd};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, EnvOpenOptions, RwTxn};
use twox_hash::XxHash3_64;

type Tree = Database<'static, Bytes, Bytes>;

// The entry's header, see docs/FORMAT.md.
const HEADER: usize = 80;
const CREATED: usize = 16;
const EXPIRES: usize = 32;
const IDLE: usize = 40;
const NUMBER: usize = 48;
const STAMP: usize = 56;
const ACCESSED: usize = 64;
const CHECKSUM: usize = 72;

fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

fn secret() -> Secret {
    Secret::key([77; 32])
}

fn open(path: &Path) -> ByteCache {
    ByteCache::builder(path).encryption(secret()).open().unwrap()
}

/// Edits the records of a store that nobody has open.
fn forge(path: &Path, edit: impl FnOnce(&mut RwTxn<'_>, Tree)) {
    // SAFETY: nobody else has the store open.
    let env = unsafe { EnvOpenOptions::new().map_size(64 << 20).open(path) }.unwrap();
    let txn = env.read_txn().unwrap();
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let tree: Tree = opened.unwrap().commit().flatten().unwrap();
    let mut txn = env.write_txn().unwrap();
    edit(&mut txn, tree);
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

/// The record key of the entry that was inserted as the n-th.
fn nth(txn: &RwTxn<'_>, tree: Tree, n: u64) -> Vec<u8> {
    let order = tree.prefix_iter(txn, b"o").unwrap().map(Result::unwrap);
    let hash = order.filter(|(key, _)| key.ends_with(&n.to_be_bytes())).map(|(_, hash)| hash.to_vec()).next();
    [b"e".to_vec(), hash.unwrap()].concat()
}

fn entry(txn: &RwTxn<'_>, tree: Tree, n: u64) -> Vec<u8> {
    tree.get(txn, &nth(txn, tree, n)).unwrap().unwrap().to_vec()
}

fn put(txn: &mut RwTxn<'_>, tree: Tree, n: u64, entry: &[u8]) {
    let key = nth(txn, tree, n);
    tree.put(txn, &key, entry).unwrap();
}

/// Makes the checksum of an entry right, which anybody can.
fn with_checksum(mut entry: Vec<u8>) -> Vec<u8> {
    let body = XxHash3_64::oneshot(&entry[HEADER..]).to_le_bytes();
    let sum = XxHash3_64::oneshot(&[&entry[..ACCESSED], &body[..]].concat());
    entry[CHECKSUM..HEADER].copy_from_slice(&sum.to_le_bytes());
    entry
}

fn set(entry: &mut [u8], at: usize, number: u64) {
    entry[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn number(entry: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(entry[at..at + 8].try_into().unwrap())
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for found in std::fs::read_dir(dir).unwrap() {
        let path = found.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    all
}

/// The first file under the directory that has these bytes in it, or in its name.
fn leak(dir: &Path, needle: &[u8]) -> Option<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    files(dir)
        .into_iter()
        .find(|(path, bytes)| holds(bytes) || holds(path.as_os_str().as_encoded_bytes()))
        .map(|found| found.0)
}

/// Makes a store of four entries with the same tag and times to live, closed.
fn four(path: &Path) {
    let cache = open(path);
    for n in 0..4 {
        let (key, value) = (format!("key {n}"), format!("value {n}"));
        cache.insert(key.as_bytes(), value.as_bytes(), 0, Some(Duration::from_secs(3600))).unwrap();
    }
}

/// Every way of reading meets exactly these of the four as tampered, and the others unharmed.
fn assert_tampered(path: &Path, which: &[usize], what: &str) {
    let cache = open(path);
    for n in 0..4 {
        let found = cache.get(format!("key {n}").as_bytes());
        match which.contains(&n) {
            true => {
                let error = found.unwrap_err();
                assert!(error.is_tampered(), "{what}: key {n}: {error:?}");
                assert!(cache.contains(format!("key {n}").as_bytes()).is_err(), "{what}");
                assert!(cache.get_many([format!("key {n}").as_bytes()]).unwrap_err().is_tampered(), "{what}");
            }
            false => assert_eq!(found.unwrap().unwrap().payload, format!("value {n}").as_bytes(), "{what}"),
        }
    }
    let scanned = cache.scan(&mut ScanPosition::default()).unwrap();
    let tampered = scanned.iter().filter(|entry| matches!(entry, Err(Error::Tampered { .. }))).count();
    assert_eq!((scanned.len(), tampered), (4, which.len()), "{what}");
    assert!(!cache.verify().unwrap().is_clean(), "{what}");
}

#[test]
fn neither_keys_nor_values_are_readable_in_any_file() {
    let long_key = "a key of the user's that nobody may read ".repeat(30);
    let value = "what the model answered is nobody's business, ";
    let needles: [&[u8]; 4] = [
        b"nobody may read",
        b"the model answered",
        b"short secret key",
        &[0xD1, 0xCE, 0xB0, 0x0C, 0xFA, 0xCA, 0xDE, 0x17],
    ];
    for (sealed, packed) in [(false, false), (true, false), (true, true)] {
        let (dir, path) = store();
        let open = || {
            let mut builder = ByteCache::builder(&path).max_bytes(64 << 20);
            if sealed {
                builder = builder.encryption(secret());
            }
            if packed {
                builder = builder.compression(Zstd::default());
            }
            builder.open().unwrap()
        };
        let cache = open();
        let check = |when: &str| {
            for needle in needles {
                let found = leak(dir.path(), needle);
                assert_eq!(found.is_some(), !sealed, "{when}: {} in {found:?}", needle.escape_ascii());
            }
        };
        cache.insert(long_key.as_bytes(), value.repeat(400).as_bytes(), 0, None).unwrap();
        cache.insert(b"short secret key", value.as_bytes(), 0, Some(Duration::from_secs(60))).unwrap();
        cache.insert(b"number", needles[3], 0, None).unwrap();
        check("just written");
        let many: Vec<(Vec<u8>, Vec<u8>)> =
            (0..300).map(|n| (format!("short secret key {n}").into(), value.repeat(n % 9).into())).collect();
        cache.insert_many(many.iter().map(|(k, v)| (&k[..], v.to_vec(), 0)), None).unwrap();
        assert!(cache.get(long_key.as_bytes()).unwrap().is_some());
        cache.touch(b"short secret key", None).unwrap();
        for n in 0..150 {
            cache.remove(format!("short secret key {n}").as_bytes()).unwrap();
        }
        cache.checkpoint().unwrap();
        check("in use");
        cache.backup(dir.path().join("backup")).unwrap();
        cache.compact().unwrap();
        check("compacted");
        cache.close().unwrap();
        check("closed");
        let cache = open();
        assert_eq!(cache.get(b"number").unwrap().unwrap().payload, needles[3]);
    }
}

#[test]
fn swapped_payloads_are_noticed() {
    for repair in [false, true] {
        let (_dir, path) = store();
        four(&path);
        forge(&path, |txn, tree| {
            let (mut a, mut b) = (entry(txn, tree, 0), entry(txn, tree, 1));
            a[HEADER..].swap_with_slice(&mut b[HEADER..]);
            for (n, entry) in [(0, a), (1, b)] {
                put(txn, tree, n, &if repair { with_checksum(entry) } else { entry });
            }
        });
        assert_tampered(&path, &[0, 1], &format!("payloads swapped, repaired: {repair}"));
    }
}

#[test]
fn swapped_entries_are_noticed() {
    for repair in [false, true] {
        let (_dir, path) = store();
        four(&path);
        forge(&path, |txn, tree| {
            let (mut a, mut b) = (entry(txn, tree, 0), entry(txn, tree, 1));
            if repair {
                // What lists the entries fits, too.
                a[NUMBER..NUMBER + 8].swap_with_slice(&mut b[NUMBER..NUMBER + 8]);
            }
            put(txn, tree, 1, &with_checksum(a));
            put(txn, tree, 0, &with_checksum(b));
        });
        assert_tampered(&path, &[0, 1], "entries swapped");
    }
}

#[test]
fn an_entry_moved_under_another_key_is_noticed() {
    for repair in [false, true] {
        let (_dir, path) = store();
        four(&path);
        forge(&path, |txn, tree| {
            let mut moved = entry(txn, tree, 2);
            let there = entry(txn, tree, 3);
            if repair {
                set(&mut moved, NUMBER, number(&there, NUMBER));
                moved = with_checksum(moved);
            }
            put(txn, tree, 3, &moved);
        });
        assert_tampered(&path, &[3], "moved");
    }
}

#[test]
fn an_entry_moved_to_another_namespace_is_noticed() {
    let (_dir, path) = store();
    let open = |name: &str| ByteCache::builder(&path).namespace(name).encryption(secret()).open().unwrap();
    let (one, other) = (open("one"), open("other"));
    one.insert(b"key", b"of one", 0, None).unwrap();
    other.insert(b"key", b"of the other", 0, None).unwrap();
    drop((one, other));
    forge(&path, |txn, tree| {
        let keys: Vec<Vec<u8>> =
            tree.prefix_iter(txn, b"e").unwrap().map(|record| record.unwrap().0.to_vec()).collect();
        let entries: Vec<Vec<u8>> =
            keys.iter().map(|key| tree.get(txn, key).unwrap().unwrap().to_vec()).collect();
        for (key, (there, other)) in keys.iter().zip([(&entries[0], &entries[1]), (&entries[1], &entries[0])])
        {
            let mut moved = other.clone();
            moved[8..12].copy_from_slice(&there[8..12]);
            tree.put(txn, key, &with_checksum(moved)).unwrap();
        }
    });
    assert!(open("one").get(b"key").unwrap_err().is_tampered());
    assert!(open("other").get(b"key").unwrap_err().is_tampered());
}

#[test]
fn an_extended_life_is_noticed() {
    const DAY: u64 = 86_400_000_000;
    for repair in [false, true] {
        for (field, change) in [(EXPIRES, DAY), (EXPIRES, 0), (IDLE, DAY), (CREATED, DAY)] {
            let (_dir, path) = store();
            four(&path);
            forge(&path, |txn, tree| {
                let mut forged = entry(txn, tree, 1);
                let before = number(&forged, EXPIRES);
                let new = if change == 0 { 0 } else { number(&forged, field) + change };
                set(&mut forged, field, new);
                if repair {
                    forged = with_checksum(forged);
                }
                // And it is listed as due when it now says.
                let hash = nth(txn, tree, 1)[1..].to_vec();
                let listed = |due: u64| [b"x".to_vec(), due.to_be_bytes().to_vec(), hash.clone()].concat();
                let namespace = tree.get(txn, &listed(before)).unwrap().unwrap().to_vec();
                tree.delete(txn, &listed(before)).unwrap();
                if number(&forged, EXPIRES) != 0 {
                    tree.put(txn, &listed(number(&forged, EXPIRES)), &namespace).unwrap();
                }
                put(txn, tree, 1, &forged);
            });
            assert_tampered(&path, &[1], &format!("field {field} changed by {change}, repaired: {repair}"));
        }
    }
}

#[test]
fn an_expired_entry_cannot_be_brought_back_to_life() {
    let (_dir, path) = store();
    let cache = open(&path);
    cache.insert(b"key", b"value", 0, Some(Duration::from_millis(400))).unwrap();
    drop(cache);
    std::thread::sleep(Duration::from_millis(410));
    forge(&path, |txn, tree| {
        let mut forged = entry(txn, tree, 0);
        let later = number(&forged, EXPIRES) + 3_600_000_000;
        set(&mut forged, EXPIRES, later);
        put(txn, tree, 0, &with_checksum(forged));
    });
    assert!(open(&path).get(b"key").unwrap_err().is_tampered());
}

/// Of the header only what the cipher does not cover can be changed: the place in the order, the stamp that tells versions
/// apart, and when the entry was last read.
#[test]
fn every_bit_of_the_authenticated_header_counts() {
    let (_dir, path) = store();
    four(&path);
    let mut original = Vec::new();
    forge(&path, |txn, tree| original = entry(txn, tree, 2));
    for byte in (0..HEADER).step_by(1) {
        let bit = byte % 8;
        forge(&path, |txn, tree| {
            let mut forged = original.clone();
            forged[byte] ^= 1 << bit;
            put(txn, tree, 2, &with_checksum(forged));
        });
        let cache = open(&path);
        let found = cache.get(b"key 2");
        match byte {
            // Also refused: an unknown version or stage, a time that is over, another namespace.
            0..NUMBER => {
                assert!(!matches!(found, Ok(Some(_))), "byte {byte}: {found:?}");
                assert!(!cache.verify().unwrap().is_clean(), "byte {byte}");
            }
            // With the checksum made anew its own bytes are as they were.
            _ => assert_eq!(found.unwrap().unwrap().payload, b"value 2", "byte {byte}"),
        }
        // Nothing of this harms the neighbours.
        assert_eq!(cache.get(b"key 1").unwrap().unwrap().payload, b"value 1");
        drop(cache);
        forge(&path, |txn, tree| put(txn, tree, 2, &original));
    }
}

#[test]
fn every_bit_of_the_ciphertext_counts_even_with_a_right_checksum() {
    let (_dir, path) = store();
    four(&path);
    let mut original = Vec::new();
    forge(&path, |txn, tree| original = entry(txn, tree, 2));
    for byte in HEADER..original.len() {
        forge(&path, |txn, tree| {
            let mut forged = original.clone();
            forged[byte] ^= 0x10;
            put(txn, tree, 2, &with_checksum(forged));
        });
        assert!(open(&path).get(b"key 2").unwrap_err().is_tampered(), "byte {byte}");
    }
    for len in [HEADER, HEADER + 1, original.len() - 1] {
        forge(&path, |txn, tree| put(txn, tree, 2, &with_checksum(original[..len].to_vec())));
        assert!(open(&path).get(b"key 2").unwrap_err().is_tampered(), "{len} bytes");
    }
}

#[test]
fn a_plain_entry_planted_in_an_encrypted_store_is_noticed() {
    let (_dir, path) = store();
    four(&path);
    forge(&path, |txn, tree| {
        let mut forged = entry(txn, tree, 1);
        forged.truncate(HEADER);
        forged.extend_from_slice(b"key 1planted");
        forged[4] = 0;
        forged[12..16].copy_from_slice(&5u32.to_le_bytes());
        put(txn, tree, 1, &with_checksum(forged));
    });
    assert_tampered(&path, &[1], "planted");
}

/// Not promised, and so that it is known: whoever can write to the file can put an entry back to an older version, as it
/// can with the whole file. It stays an authentic value of that very key, within the life it was written with.
#[test]
fn an_older_version_of_an_entry_can_be_put_back_unnoticed() {
    let (_dir, path) = store();
    let cache = open(&path);
    cache.insert(b"key", b"older", 0, None).unwrap();
    drop(cache);
    let mut older = Vec::new();
    forge(&path, |txn, tree| older = entry(txn, tree, 0));
    let cache = open(&path);
    cache.insert(b"key", b"newer", 0, None).unwrap();
    drop(cache);
    forge(&path, |txn, tree| put(txn, tree, 0, &older));
    let cache = open(&path);
    assert_eq!(cache.get(b"key").unwrap().unwrap().payload, b"older");
    assert!(cache.verify().unwrap().is_clean());
}

/// Not promised either: the time of the last access is not authenticated, because reads would have to encrypt anew. So a
/// life that counts from the last read can be prolonged, but not beyond a fixed end.
#[test]
fn an_idle_life_can_be_prolonged_but_not_a_fixed_one() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path)
        .encryption(secret())
        .time_to_idle(Duration::from_millis(100))
        .open()
        .unwrap();
    cache.insert(b"idle", b"1", 0, None).unwrap();
    cache.insert(b"both", b"2", 0, Some(Duration::from_millis(100))).unwrap();
    drop(cache);
    forge(&path, |txn, tree| {
        for n in 0..2 {
            let mut forged = entry(txn, tree, n);
            let later = number(&forged, ACCESSED) + 60_000_000;
            set(&mut forged, ACCESSED, later);
            put(txn, tree, n, &forged);
        }
    });
    std::thread::sleep(Duration::from_millis(120));
    let cache = ByteCache::builder(&path).encryption(secret()).read_only(true).open().unwrap();
    assert_eq!(cache.get(b"idle").unwrap().unwrap().payload, b"1");
    assert_eq!(cache.get(b"both").unwrap(), None);
}

#[test]
fn a_stamp_made_up_does_not_confuse_versions() {
    let (_dir, path) = store();
    four(&path);
    forge(&path, |txn, tree| {
        let mut forged = entry(txn, tree, 0);
        set(&mut forged, STAMP, u64::MAX - 1);
        put(txn, tree, 0, &with_checksum(forged));
    });
    let cache = open(&path);
    let found = cache.get(b"key 0").unwrap().unwrap();
    assert_eq!(found.payload, b"value 0");
    let held = cache.hold(&found).unwrap();
    assert!(cache.is_current(&held).unwrap());
    cache.insert(b"key 0", b"another", 0, None).unwrap();
    assert!(!cache.is_current(&held).unwrap());
    assert!(
        matches!(cache.get_unless(b"key 0", &held).unwrap(), Known::Other(new) if new.payload == b"another")
    );
}

#[test]
fn a_store_opens_with_its_secret_only() {
    let (dir, path) = store();
    let weak = Argon2Params { memory_kib: 64, iterations: 1, parallelism: 1 };
    let passphrase = |text: &str| Secret::passphrase_with(text, weak);
    let typed = |path: &Path| Cache::<str, String>::builder(path);
    let cache = typed(&path).encryption(passphrase("right")).open().unwrap();
    cache.insert("a", &"1".to_owned()).unwrap();
    drop(cache);
    let before = std::fs::read(path.join("data.mdb")).unwrap();
    assert!(matches!(typed(&path).encryption(passphrase("wrong")).open(), Err(Error::WrongSecret { .. })));
    assert!(matches!(typed(&path).encryption(Secret::key([0; 32])).open(), Err(Error::WrongSecret { .. })));
    assert!(matches!(typed(&path).open(), Err(Error::MissingSecret { .. })));
    assert!(std::fs::read(path.join("data.mdb")).unwrap() == before, "a refused open touched the data");
    let plain = dir.path().join("plain");
    drop(typed(&plain).open().unwrap());
    assert!(matches!(typed(&plain).encryption(passphrase("right")).open(), Err(Error::NotEncrypted { .. })));
    assert!(typed(&plain).open().is_ok());
    let cache = typed(&path).encryption(passphrase("right")).open().unwrap();
    assert_eq!(cache.get("a").unwrap().as_deref(), Some("1"));
    // Another handle of the same process needs it as well.
    assert!(matches!(typed(&path).encryption(passphrase("wrong")).open(), Err(Error::WrongSecret { .. })));
}

#[test]
fn a_damaged_envelope_is_not_taken_for_a_wrong_secret_nor_opened() {
    let (_dir, path) = store();
    four(&path);
    let mut record = Vec::new();
    forge(&path, |txn, tree| record = tree.get(txn, b"mcachemere").unwrap().unwrap().to_vec());
    let wrapped = record.len() - 72;
    for byte in [wrapped, record.len() - 1] {
        let mut forged = record.clone();
        forged[byte] ^= 1;
        forge(&path, |txn, tree| tree.put(txn, b"mcachemere", &forged).unwrap());
        let error = ByteCache::builder(&path).encryption(secret()).open().unwrap_err();
        assert!(error.is_tampered(), "{error:?}");
    }
    // The commitment tells the secret.
    let mut forged = record.clone();
    forged[wrapped - 1] ^= 1;
    forge(&path, |txn, tree| tree.put(txn, b"mcachemere", &forged).unwrap());
    assert!(matches!(ByteCache::builder(&path).encryption(secret()).open(), Err(Error::WrongSecret { .. })));
    forge(&path, |txn, tree| tree.put(txn, b"mcachemere", &record).unwrap());
    assert_eq!(open(&path).len().unwrap(), 4);
}

#[test]
fn after_a_change_of_secret_the_old_one_opens_nothing_but_old_copies() {
    let (dir, path) = store();
    four(&path);
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for (file, bytes) in files(&path) {
        std::fs::write(copy.join(file.file_name().unwrap()), bytes).unwrap();
    }
    let new = Secret::key([78; 32]);
    let cache = open(&path);
    assert!(cache.change_secret(&new, &secret()).unwrap_err().is_wrong_secret());
    cache.change_secret(&secret(), &new).unwrap();
    assert_eq!(cache.get(b"key 1").unwrap().unwrap().payload, b"value 1");
    drop(cache);
    assert!(ByteCache::builder(&path).encryption(secret()).open().unwrap_err().is_wrong_secret());
    let cache = ByteCache::builder(&path).encryption(new).open().unwrap();
    assert_eq!(cache.get(b"key 1").unwrap().unwrap().payload, b"value 1");
    // The data key is the same: who had a copy and the old secret has it still.
    assert_eq!(open(&copy).get(b"key 1").unwrap().unwrap().payload, b"value 1");
}

#[test]
fn after_reencryption_nothing_of_the_old_key_is_left() {
    let (_dir, path) = store();
    four(&path);
    let mut old = Vec::new();
    let mut envelope = Vec::new();
    forge(&path, |txn, tree| {
        for n in 0..4 {
            old.push(entry(txn, tree, n)[HEADER..].to_vec());
            // The name of an entry is of the old key, too.
            old.push(nth(txn, tree, n)[1..].to_vec());
        }
        envelope = tree.get(txn, b"mcachemere").unwrap().unwrap().to_vec();
    });
    old.push(envelope[envelope.len() - 72..].to_vec());
    for bytes in &old {
        assert!(leak(&path, bytes).is_some(), "the control: it is there before");
    }
    let new = Secret::key([78; 32]);
    let cache = open(&path);
    assert!(cache.reencrypt(&new, &secret()).unwrap_err().is_wrong_secret());
    assert_eq!(cache.get(b"key 3").unwrap().unwrap().payload, b"value 3");
    cache.reencrypt(&secret(), &new).unwrap();
    for bytes in &old {
        assert_eq!(leak(&path, bytes), None);
    }
    assert_eq!(cache.get(b"key 3").unwrap().unwrap().payload, b"value 3");
    assert!(cache.verify().unwrap().is_clean());
    cache.insert(b"key 4", b"value 4", 0, None).unwrap();
    drop(cache);
    for bytes in &old {
        assert_eq!(leak(&path, bytes), None);
    }
    assert!(ByteCache::builder(&path).encryption(secret()).open().unwrap_err().is_wrong_secret());
    let cache = ByteCache::builder(&path).encryption(new).open().unwrap();
    assert_eq!(cache.len().unwrap(), 5);
    assert!(cache.info(b"key 3").unwrap().unwrap().expires.is_some(), "its life is as it was");
}

#[test]
fn a_store_that_is_encrypted_in_place_keeps_its_entries_and_nothing_in_plain_text() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).compression(cachemere::Zstd::default()).open().unwrap();
    let typed: cachemere::Cache<str, String> =
        cachemere::Cache::builder(&path).namespace("typed").max_entries(10).open().unwrap();
    for n in 0..300 {
        let (key, value) = (format!("key {n}"), format!("value {n} ").repeat(n));
        cache.insert(key.as_bytes(), value.as_bytes(), 9, Some(Duration::from_secs(3600))).unwrap();
    }
    for n in 0..12 {
        typed.insert(&format!("name {n}"), &format!("text {n}")).unwrap();
    }
    cache.checkpoint().unwrap();
    let plain = [&b"key 250"[..], b"name 11", b"text 11"];
    for bytes in plain {
        assert!(leak(&path, bytes).is_some(), "the control: it is there before");
    }
    let before = cache.info(b"key 7").unwrap().unwrap();

    let refused = cache.encrypt(&Secret::passphrase("")).unwrap_err();
    assert!(refused.is_invalid() && cache.store_info().unwrap().cipher.is_none());
    cache.encrypt(&secret()).unwrap();
    let refused = cache.encrypt(&secret()).unwrap_err();
    assert!(refused.is_invalid() && refused.to_string().contains("reencrypt"), "{refused}");
    assert!(cache.change_secret(&Secret::key([1; 32]), &secret()).unwrap_err().is_wrong_secret());

    // The handles go on, in memory and on the disk.
    let info = cache.info(b"key 7").unwrap().unwrap();
    assert_eq!((info.created, info.expires, info.tag), (before.created, before.expires, 9));
    assert_eq!(typed.get("name 11").unwrap().as_deref(), Some("text 11"));
    typed.insert("name 12", &"text 12".to_owned()).unwrap();
    assert_eq!((cache.len().unwrap(), typed.len().unwrap()), (300, 10));
    assert!(cache.verify().unwrap().is_clean());
    drop((cache, typed));
    for bytes in plain {
        assert_eq!(leak(&path, bytes), None);
    }

    let without = ByteCache::builder(&path).open().unwrap_err();
    assert!(matches!(without, Error::MissingSecret { .. }), "{without}");
    let cache = open(&path);
    let keys: Vec<_> = std::iter::from_fn({
        let mut position = cachemere::ScanPosition::default();
        let cache = cache.clone();
        move || Some(cache.scan(&mut position).unwrap()).filter(|chunk| !chunk.is_empty())
    })
    .flatten()
    .map(|entry| entry.unwrap().key)
    .collect();
    assert_eq!(keys, (0..300).map(|n| format!("key {n}").into_bytes()).collect::<Vec<_>>());
    assert!(cache.verify().unwrap().is_clean());
}

#[test]
fn a_store_is_encrypted_in_place_by_one_process_that_may_write() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).open().unwrap();
    cache.insert(b"a", b"1", 0, None).unwrap();
    let reader = ByteCache::builder(&path).read_only(true).open().unwrap();
    assert!(matches!(reader.encrypt(&secret()), Err(Error::ReadOnly { .. })));
    // Two threads at once: one of them does.
    let done: Vec<bool> = std::thread::scope(|scope| {
        let encrypt = || {
            [secret(), Secret::key([5; 32])].map(|secret| {
                scope.spawn(|| {
                    let secret = secret;
                    cache.encrypt(&secret).is_ok()
                })
            })
        };
        encrypt().map(|thread| thread.join().unwrap()).to_vec()
    });
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    assert_eq!(reader.get(b"a").unwrap().unwrap().payload, b"1");
}
