//! Stages of the user's own take part in everything as the built-in ones do, and what goes wrong in one stays there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/backend.rs"]
mod backend;
#[path = "../examples/custom_stage.rs"]
pub mod custom_stage;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backend::backend;
use cachemere::{
    BackendKind, BoxError, Cache, Cipher, Codec, Compressor, Error, Maintenance, Secret, XChaCha20Poly1305,
    Zstd,
};

fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

#[test]
fn the_example_runs() {
    custom_stage::main().unwrap();
}

/// Text with its bytes complemented, so that nothing can pass for it by chance.
struct Complement;

impl Codec<String> for Complement {
    fn name(&self) -> &str {
        "complement"
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend(value.bytes().map(|byte| !byte));
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        Ok(String::from_utf8(bytes.iter().map(|byte| !byte).collect())?)
    }
}

/// Numbers as four bytes, most significant first.
struct BigEndian;

impl Codec<u32> for BigEndian {
    fn name(&self) -> &str {
        "u32-be"
    }

    fn encode(&self, value: &u32, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32, BoxError> {
        Ok(u32::from_be_bytes(bytes.try_into()?))
    }
}

/// Drops zeros at the end.
struct Trim;

impl Compressor for Trim {
    fn name(&self) -> &str {
        "trim"
    }

    fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, BoxError> {
        // The zero byte as `Complement` has it.
        let kept = input.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
        out.extend_from_slice(&input[..kept]);
        Ok(kept + 64 < input.len())
    }

    fn decompress(&self, input: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let missing = size.checked_sub(input.len()).ok_or("longer than it was")?;
        out.extend_from_slice(input);
        out.extend(std::iter::repeat_n(0xff, missing));
        Ok(())
    }
}

/// The built-in cipher with the bytes reversed, under another name.
struct Reversed;

impl Cipher for Reversed {
    fn name(&self) -> &str {
        "reversed"
    }

    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError> {
        XChaCha20Poly1305.seal(key, aad, buffer, from)?;
        buffer[from..].reverse();
        Ok(())
    }

    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError> {
        buffer.reverse();
        XChaCha20Poly1305.open(key, aad, buffer)
    }

    fn overhead(&self) -> usize {
        XChaCha20Poly1305.overhead()
    }
}

fn value(n: u32) -> String {
    match n % 4 {
        0 => String::new(),
        1 => format!("short {n}"),
        2 => format!("ends in zeros {n}{}", "\0".repeat(5_000)),
        _ => format!("long {n} ").repeat(1_000),
    }
}

fn open_custom(path: &Path, secret: Secret) -> Cache<u32, String> {
    Cache::builder(path)
        .backend(backend())
        .key_serializer(BigEndian)
        .serializer(Complement)
        .compression(Trim)
        .cipher(Reversed)
        .encryption(secret)
        .open()
        .unwrap()
}

#[test]
fn own_stages_take_part_in_everything() {
    let (dir, path) = store();
    let (one, two) = (Secret::key([1; 32]), Secret::key([2; 32]));
    let cache = open_custom(&path, one.clone());
    let all: Vec<(u32, String)> = (0..60).map(|n| (n, value(n))).collect();
    for (n, text) in &all[..30] {
        cache.insert(n, text).unwrap();
    }
    cache.insert_many(all[30..].iter().map(|(n, text)| (n, text))).unwrap();
    assert!(cache.info(&2).unwrap().unwrap().stored_size < 300, "compressed");
    assert!(cache.info(&3).unwrap().unwrap().stored_size > 6_000, "not worth it");
    assert!(cache.touch(&2).unwrap());
    cache.update(&1, |text| text.map(|text| text + "!")).unwrap();
    assert!(cache.compare_and_set(&1, Some(&(value(1) + "!")), Some(&value(1))).unwrap());
    cache.close().unwrap();

    let cache = open_custom(&path, one.clone());
    cache.compact().unwrap();
    match backend() {
        BackendKind::Lmdb => cache.reencrypt(&one, &two).unwrap(),
        // RocksDB would have to be written anew as a whole.
        _ => cache.change_secret(&one, &two).unwrap(),
    }
    cache.backup(dir.path().join("copy")).unwrap();
    cache.close().unwrap();
    for path in [path, dir.path().join("copy")] {
        let cache = open_custom(&path, two.clone());
        assert_eq!(cache.iter().collect::<Result<Vec<_>, _>>().unwrap(), all);
        let values = cache.get_many(0..60).unwrap();
        assert_eq!(values, all.iter().map(|(_, text)| Some(text.clone())).collect::<Vec<_>>());
        for (n, text) in &all {
            assert_eq!(cache.get(n).unwrap().as_ref(), Some(text));
        }
        assert_eq!(cache.take(&2).unwrap(), Some(value(2)));
        assert_eq!(cache.pop_newest().unwrap(), Some((59, value(59))));
        let report = cache.verify().unwrap();
        assert!(report.is_clean() && report.entries == 58, "{report:?}");
    }
}

#[test]
fn a_namespace_is_bound_to_the_names_of_its_stages() {
    let (_dir, path) = store();
    let secret = || Secret::key([1; 32]);
    open_custom(&path, secret()).close().unwrap();
    let refused = [
        Cache::<u32, String>::builder(&path).backend(backend()).encryption(secret()).open().unwrap_err(),
        Cache::<u32, String>::builder(&path)
            .backend(backend())
            .cipher(Reversed)
            .encryption(secret())
            .open()
            .unwrap_err(),
        Cache::<u32, String>::builder(&path)
            .backend(backend())
            .cipher(Reversed)
            .encryption(secret())
            .key_serializer(BigEndian)
            .open()
            .unwrap_err(),
        Cache::<u32, String>::builder(&path)
            .backend(backend())
            .cipher(Reversed)
            .encryption(secret())
            .key_serializer(BigEndian)
            .serializer(Complement)
            .compression(Zstd::default())
            .open()
            .unwrap_err(),
    ];
    let names = [
        ["cipher", "reversed", "xchacha20poly1305"],
        ["key serializer", "u32-be", "msgpack"],
        ["serializer", "complement", "msgpack"],
        ["compression", "trim", "zstd"],
    ];
    for (error, names) in refused.iter().zip(names) {
        assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
        for name in names {
            assert!(error.to_string().contains(name), "{error}");
        }
    }
    // The compressor alone can be left out where it is a built-in one.
    let unknown = Cache::<u32, String>::builder(&path)
        .backend(backend())
        .cipher(Reversed)
        .encryption(secret())
        .key_serializer(BigEndian)
        .serializer(Complement)
        .open();
    assert!(
        matches!(unknown.unwrap_err(), Error::UnknownStage { kind: "compressor", name } if name == "trim")
    );
}

/// Works until it is told to fail.
#[derive(Clone, Default)]
struct Moody(Arc<Mood>);

#[derive(Default)]
struct Mood {
    fails: AtomicBool,
    lies: AtomicBool,
    panics: AtomicBool,
}

impl Moody {
    fn check(&self) -> Result<(), BoxError> {
        assert!(!self.0.panics.load(Ordering::SeqCst), "as a stage should not");
        match self.0.fails.load(Ordering::SeqCst) {
            true => Err("in a bad mood".into()),
            false => Ok(()),
        }
    }

    fn set(flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::SeqCst);
    }
}

impl Codec<String> for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(b"half of it");
        self.check()?;
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        self.check()?;
        Ok(String::from_utf8(bytes.strip_prefix(b"half of it").ok_or("not mine")?.to_vec())?)
    }
}

impl Compressor for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, BoxError> {
        self.check()?;
        out.extend_from_slice(&input[..input.len() / 2]);
        Ok(input.len() > 64)
    }

    fn decompress(&self, input: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.check()?;
        out.extend_from_slice(input);
        // All the values here repeat themselves after half their length.
        out.extend_from_slice(&input[..size - input.len()]);
        if self.0.lies.load(Ordering::SeqCst) {
            out.push(0);
        }
        Ok(())
    }
}

impl Cipher for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError> {
        self.check()?;
        XChaCha20Poly1305.seal(key, aad, buffer, from)
    }

    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError> {
        self.check()?;
        XChaCha20Poly1305.open(key, aad, buffer)
    }

    fn overhead(&self) -> usize {
        XChaCha20Poly1305.overhead()
    }
}

const OLD: [u8; 200] = [b'o'; 200];
const NEW: [u8; 200] = [b'n'; 200];

/// Makes the stage fail at writing and at reading, and sees what that does to the entry.
fn fails_alone(
    cache: &Cache<str, Vec<u8>>,
    mood: &Moody,
    wrote: fn(&Error) -> bool,
    read: fn(&Error) -> bool,
) {
    cache.insert("key", &OLD.to_vec()).unwrap();
    let before = cache.info("key").unwrap().unwrap();
    Moody::set(&mood.0.fails, true);
    let new = NEW.to_vec();
    for error in [
        cache.insert("key", &new).unwrap_err(),
        cache.insert_if_absent("other", &new).unwrap_err(),
        cache.insert_many([("other", &new), ("key", &new)]).unwrap_err(),
    ] {
        assert!(wrote(&error), "{error:?}");
    }
    for error in [cache.get("key").unwrap_err(), cache.get_many(["key"]).unwrap_err()] {
        assert!(read(&error), "{error:?}");
    }
    assert!(read(&cache.iter().next().unwrap().unwrap_err()));
    assert!(read(&cache.take("key").unwrap_err()));
    assert!(read(&cache.pop_oldest().unwrap_err()));
    Moody::set(&mood.0.fails, false);
    assert_eq!(cache.info("key").unwrap().unwrap(), before, "nothing was written");
    assert_eq!(cache.get("key").unwrap().as_deref(), Some(&OLD[..]));
    assert_eq!(cache.len().unwrap(), 1);
    assert!(cache.verify().unwrap().is_clean());
}

#[test]
fn a_failing_compressor_changes_nothing() {
    let (_dir, path) = store();
    let mood = Moody::default();
    let builder = Cache::<str, Vec<u8>>::builder(&path)
        .backend(backend())
        .maintenance(Maintenance::Manual)
        .front_bytes(0);
    let cache = builder.serializer(Plain).compression(mood.clone()).open().unwrap();
    fails_alone(
        &cache,
        &mood,
        |e| matches!(e, Error::Stage { stage, .. } if stage == "moody"),
        Error::is_damaged,
    );
    Moody::set(&mood.0.lies, true);
    assert!(cache.get("key").unwrap_err().is_damaged(), "it gave more bytes than it should");
    Moody::set(&mood.0.lies, false);
    assert_eq!(cache.get("key").unwrap().as_deref(), Some(&OLD[..]));
}

#[test]
fn who_touches_an_entry_neither_decodes_nor_compresses_it() {
    for secret in [None, Some(Secret::key([1; 32]))] {
        let (_dir, path) = store();
        let mood = Moody::default();
        let mut builder = Cache::<str, Vec<u8>>::builder(&path).backend(backend()).front_bytes(0);
        if let Some(secret) = secret {
            builder = builder.encryption(secret);
        }
        let cache = builder.serializer(Plain).compression(mood.clone()).open().unwrap();
        for (key, value) in [("packed", OLD.to_vec()), ("short", b"as it is".to_vec())] {
            cache.insert(key, &value).unwrap();
            let before = cache.info(key).unwrap().unwrap();
            Moody::set(&mood.0.fails, true);
            assert!(cache.touch_with_ttl(key, Duration::from_secs(1_000)).unwrap());
            assert!(!cache.touch("absent").unwrap());
            Moody::set(&mood.0.fails, false);
            let after = cache.info(key).unwrap().unwrap();
            assert!(before.expires.is_none() && after.expires.is_some());
            assert_eq!((before.created, before.modified), (after.created, after.modified));
            assert_eq!(before.stored_size, after.stored_size);
            assert_eq!(cache.get(key).unwrap(), Some(value));
        }
        assert!(cache.verify().unwrap().is_clean());
    }
}

/// Bytes as they are.
struct Plain;

impl Codec<Vec<u8>> for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(bytes.to_vec())
    }
}

#[test]
fn a_failing_cipher_changes_nothing() {
    let (_dir, path) = store();
    let mood = Moody::default();
    let cache: Cache<str, Vec<u8>> = Cache::builder(&path)
        .backend(backend())
        .maintenance(Maintenance::Manual)
        .front_bytes(0)
        .cipher(mood.clone())
        .encryption(Secret::key([1; 32]))
        .open()
        .unwrap();
    cache.insert("key", &OLD.to_vec()).unwrap();
    Moody::set(&mood.0.fails, true);
    let new = NEW.to_vec();
    for error in [cache.insert("key", &new).unwrap_err(), cache.insert_many([("a", &new)]).unwrap_err()] {
        assert!(matches!(&error, Error::Stage { stage, .. } if stage == "moody"), "{error:?}");
    }
    for error in [cache.get("key").unwrap_err(), cache.take("key").unwrap_err()] {
        assert!(error.is_tampered(), "{error:?}");
    }
    Moody::set(&mood.0.fails, false);
    assert_eq!(cache.get("key").unwrap().as_deref(), Some(&OLD[..]));
    assert_eq!(cache.len().unwrap(), 1);
    assert!(cache.verify().unwrap().is_clean());
}

#[test]
fn a_failing_or_panicking_serializer_changes_nothing() {
    let (_dir, path) = store();
    let mood = Moody::default();
    let cache: Cache<str, String> =
        Cache::builder(&path).backend(backend()).serializer(mood.clone()).front_bytes(0).open().unwrap();
    cache.insert("key", &"old".to_owned()).unwrap();
    let new = "new".to_owned();
    Moody::set(&mood.0.fails, true);
    assert!(matches!(cache.insert("key", &new), Err(Error::Serialize { what: "value", .. })));
    assert!(matches!(cache.insert_many([("a", &new)]), Err(Error::Serialize { what: "value", .. })));
    assert!(matches!(cache.get("key"), Err(Error::Deserialize { what: "value", .. })));
    assert!(matches!(cache.take("key"), Err(Error::Deserialize { what: "value", .. })));
    Moody::set(&mood.0.fails, false);
    Moody::set(&mood.0.panics, true);
    let panics = |work: &dyn Fn()| {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    };
    panics(&|| drop(cache.insert("key", &new)));
    panics(&|| drop(cache.get("key")));
    panics(&|| drop(cache.update("key", |_| None)));
    Moody::set(&mood.0.panics, false);
    panics(&|| drop(cache.update("key", |_| panic!("as a closure might"))));
    panics(&|| drop(cache.get_or_insert_with("other", || panic!("as a loader might"))));
    assert_eq!(cache.get("key").unwrap().as_deref(), Some("old"));
    assert_eq!(cache.get_or_insert_with("other", || new.clone()).unwrap(), "new");
    assert_eq!(cache.len().unwrap(), 2);
    assert!(cache.verify().unwrap().is_clean());
}

/// Keeps a count of its values in the very cache that it serializes for.
#[derive(Clone, Default)]
struct Counting(Arc<OnceLock<Cache<str, u64>>>);

impl Codec<String> for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.count("written")?;
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        self.count("read")?;
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

impl Counting {
    fn count(&self, what: &str) -> Result<(), BoxError> {
        if let Some(counts) = self.0.get() {
            counts.update(what, |n| Some(n.unwrap_or(0) + 1))?;
        }
        Ok(())
    }
}

#[test]
fn no_lock_is_held_while_a_serializer_runs() {
    let (_dir, path) = store();
    let counting = Counting::default();
    let counts: Cache<str, u64> =
        Cache::builder(&path).backend(backend()).namespace("counts").open().unwrap();
    let cache: Cache<str, String> =
        Cache::builder(&path).backend(backend()).serializer(counting.clone()).front_bytes(0).open().unwrap();
    counting.0.set(counts.clone()).unwrap();
    let text = "text".to_owned();
    cache.insert("a", &text).unwrap();
    cache.insert_many([("b", &text), ("c", &text)]).unwrap();
    assert_eq!(counts.get("written").unwrap(), Some(3));
    assert_eq!(cache.get("a").unwrap(), Some(text.clone()));
    assert_eq!(cache.iter().count(), 3);
    assert_eq!(cache.get_many(["a", "b"]).unwrap(), [Some(text.clone()), Some(text.clone())]);
    cache.update("a", |value| value).unwrap();
    assert_eq!(cache.pop_oldest().unwrap(), Some(("a".to_owned(), text.clone())));
    assert_eq!(cache.take("b").unwrap(), Some(text.clone()));
    assert_eq!(cache.get_or_insert_with("d", || text.clone()).unwrap(), text);
    assert_eq!(counts.get("written").unwrap(), Some(5));
    assert_eq!(counts.get("read").unwrap(), Some(9));
}
