//! What a store and its namespaces say of themselves, and other handles on the same store.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cachemere::{BackendKind, ByteCache, Cache, Error, Secret, Zstd};

use crate::backend::backend;
use crate::store;

/// The least bytes that a limit can be.
const LEAST: u64 = 4 << 20;

fn micros(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap().as_micros()
}

#[test]
fn a_store_says_what_it_was_made_with() {
    for encrypt in [false, true] {
        let (dir, path) = store();
        let began = micros(SystemTime::now());
        let open = |path: &Path| {
            let builder = ByteCache::builder(path).backend(backend());
            if encrypt { builder.encryption(Secret::key([3; 32])) } else { builder }
        };
        let cache = open(&path).open().unwrap();
        let made = cache.store_info().unwrap();
        let format = if backend() == BackendKind::Lmdb { 2 } else { 1 };
        assert_eq!((made.backend, made.format_version, made.max_bytes), (backend(), format, None));
        assert_eq!(made.cipher.as_deref(), encrypt.then_some("xchacha20poly1305"));
        assert!((began..=micros(SystemTime::now())).contains(&micros(made.created)));
        assert_ne!(made.id, [0; 16]);

        cache.insert(b"k", b"1", 0, None).unwrap();
        let copy = dir.path().join("copy");
        cache.backup(&copy).unwrap();
        cache.compact().unwrap();
        assert_eq!(cache.store_info().unwrap(), made, "a compaction changes none of it");
        cache.close().unwrap();
        let reader = open(&path).read_only(true).namespace("none").open().unwrap();
        assert_eq!(reader.store_info().unwrap(), made);

        let copy = open(&copy).open().unwrap();
        assert_eq!(copy.store_info().unwrap(), made, "a copy is the same store");
        let (_other_dir, other) = store();
        let other = ByteCache::builder(other).backend(backend()).open().unwrap();
        assert_ne!(other.store_info().unwrap().id, made.id);
    }
}

#[test]
fn a_limit_in_bytes_is_the_one_in_force() {
    let (_dir, path) = store();
    let open = || ByteCache::builder(&path).backend(backend());
    if backend() == BackendKind::RocksDb {
        assert!(matches!(open().max_bytes(LEAST).open(), Err(Error::Invalid { .. })));
        return;
    }
    for limit in [Some(LEAST), Some(2 * LEAST), None] {
        let cache = open().max_bytes(limit).open().unwrap();
        assert_eq!(cache.store_info().unwrap().max_bytes, limit);
        drop(cache);
        assert_eq!(open().read_only(true).open().unwrap().store_info().unwrap().max_bytes, limit);
    }
}

#[test]
fn a_namespace_says_what_it_was_made_with() {
    let (_dir, path) = store();
    let bytes = |name: &str| ByteCache::builder(&path).backend(backend()).namespace(name);
    let typed = Cache::<str, u32>::builder(&path).backend(backend()).namespace("typed");
    let typed = typed.max_entries(7).open().unwrap();
    drop(bytes("plain").open().unwrap());
    drop(bytes("packed").serializer_name("mine").compression(Zstd::default()).open().unwrap());
    let said = || -> Vec<_> {
        let all = typed.namespaces().unwrap().into_iter();
        all.map(|it| (it.name, it.key_serializer, it.serializer, it.compressor, it.max_entries)).collect()
    };
    let line = |name: &str, serializer: &str, compressor: Option<&str>, most| {
        (name.to_owned(), serializer.to_owned(), serializer.to_owned(), compressor.map(str::to_owned), most)
    };
    assert_eq!(
        said(),
        [
            line("packed", "mine", Some("zstd"), None),
            line("plain", "bytes", None, None),
            line("typed", "msgpack", None, Some(7))
        ]
    );
    drop(bytes("plain").max_entries(9).open().unwrap());
    typed.clear().unwrap();
    assert_eq!(said()[1].4, Some(9));
    assert_eq!(said()[2].4, Some(7), "it stays when the namespace is emptied");

    // Whoever knows no serializer can ask.
    let reader = bytes("none").read_only(true).serializer_name("unknown").open().unwrap();
    assert_eq!(reader.namespaces().unwrap(), typed.namespaces().unwrap());
}

#[test]
fn a_sibling_needs_no_secret_while_the_store_is_open() {
    let (_dir, path) = store();
    let phrase = || Secret::passphrase("correct horse");
    let open = || Cache::<str, u32>::builder(&path).backend(backend());
    let one = open().encryption(phrase()).open().unwrap();
    one.insert("a", &1).unwrap();

    let began = Instant::now();
    let two: Cache<str, String> = one.sibling().unwrap().namespace("two").open().unwrap();
    let quick = began.elapsed();
    two.insert("a", &"of two".to_owned()).unwrap();
    let same: Cache<str, u32> = two.sibling().unwrap().open().unwrap();
    assert_eq!(same.get("a").unwrap(), Some(1));
    let began = Instant::now();
    drop(open().encryption(phrase()).open().unwrap());
    assert!(quick < began.elapsed(), "no key is made of the passphrase: {quick:?}");

    // Of its own options, none is taken over.
    let reader = one.sibling::<str, u32>().unwrap().read_only(true).open().unwrap();
    assert!(matches!(reader.insert("b", &1), Err(Error::ReadOnly { .. })));
    reader.sibling::<str, u32>().unwrap().open().unwrap().insert("b", &2).unwrap();
    assert_eq!(reader.get("b").unwrap(), Some(2));

    // One that is given is checked, and nobody else is let in.
    let wrong = one.sibling::<str, u32>().unwrap().encryption(Secret::key([1; 32])).open();
    assert!(matches!(wrong, Err(Error::WrongSecret { .. })));
    assert!(matches!(open().open(), Err(Error::MissingSecret { .. })));

    let late = one.sibling::<str, u32>().unwrap();
    for cache in [&one, &same, &reader] {
        cache.close().unwrap();
    }
    two.close().unwrap();
    assert!(matches!(late.open(), Err(Error::MissingSecret { .. })));
    assert!(one.sibling::<str, u32>().unwrap_err().is_closed());
    let again = open().encryption(phrase()).open().unwrap();
    let late = again.sibling::<str, u32>().unwrap();
    assert_eq!(late.open().unwrap().len().unwrap(), 2);
}

#[test]
fn a_sibling_of_a_plain_store_and_of_one_with_another_data_key() {
    let (_dir, path) = store();
    let plain = ByteCache::builder(&path).backend(backend()).open().unwrap();
    plain.insert(b"k", b"1", 0, Some(Duration::from_secs(60))).unwrap();
    let sibling = plain.sibling().unwrap();
    drop(plain);
    assert_eq!(sibling.open().unwrap().len().unwrap(), 1, "without a secret it can be opened later, too");

    if backend() == BackendKind::RocksDb {
        return;
    }
    let (_dir, path) = store();
    let (old, new) = (Secret::key([1; 32]), Secret::key([2; 32]));
    let cache = ByteCache::builder(&path).encryption(old.clone()).open().unwrap();
    cache.insert(b"k", b"1", 0, None).unwrap();
    let before = cache.sibling().unwrap();
    cache.reencrypt(&old, &new).unwrap();
    assert!(matches!(before.open(), Err(Error::MissingSecret { .. })));
    assert_eq!(cache.sibling().unwrap().open().unwrap().get(b"k").unwrap().unwrap().payload, b"1");
}
