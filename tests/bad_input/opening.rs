//! Opening what cannot be opened, or with options that cannot be.
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cachemere::{
    Argon2Params, Batch, BoxError, Builder, ByteCache, Cache, Cipher, Compressor, Durability, Error,
    Maintenance, Secret, XChaCha20Poly1305, Zstd,
};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, EnvOpenOptions};
use twox_hash::XxHash3_64;

use crate::{refused, refused_untouched, store};

type Numbers = Cache<str, u32>;

fn builder(path: &Path) -> Builder<str, u32> {
    Cache::builder(path).maintenance(Maintenance::Manual)
}

fn quick(text: &str) -> Secret {
    Secret::passphrase_with(text, Argon2Params { memory_kib: 8, iterations: 1, parallelism: 1 })
}

fn filled(builder: Builder<str, u32>) {
    let cache = builder.open().unwrap();
    cache.insert("key", &1).unwrap();
    cache.close().unwrap();
}

/// Changes one record of a store that nobody has open.
fn patch(dir: &Path, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 30);
    // SAFETY: the store is the test's own, and nobody has it open.
    let env = unsafe { options.open(dir) }.unwrap();
    let opened = env.open_databases_and_commit(env.read_txn().unwrap(), |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let tree: Database<'_, Bytes, Bytes> = opened.unwrap().commit().flatten().unwrap();
    let mut txn = env.write_txn().unwrap();
    let (key, mut value) = {
        let (key, value) = tree.prefix_iter(&txn, key).unwrap().next().unwrap().unwrap();
        (key.to_vec(), value.to_vec())
    };
    change(&mut value);
    tree.put(&mut txn, &key, &value).unwrap();
    txn.commit().unwrap();
    fs::remove_file(dir.join("lock.mdb")).unwrap();
}

#[test]
fn a_path_that_is_a_file_or_below_one_is_refused() {
    let (dir, path) = store();
    fs::write(&path, "a file").unwrap();
    for path in [path.clone(), path.join("below"), path.join("far/below")] {
        for read_only in [false, true] {
            let error = refused_untouched(dir.path(), || builder(&path).read_only(read_only).open());
            assert!(matches!(&error, Error::NotADirectory { path: found } if *found == path), "{error:?}");
        }
    }
}

#[test]
fn an_address_is_no_path_and_is_not_told_with_its_password() {
    for address in
        ["redis://user:hidden@host:6379/0", "s3://hidden/store", "VALKEY+X://hidden", "file:///hidden"]
    {
        let scheme = address.split("//").next().unwrap();
        // Where it would be made.
        let directory = Path::new(scheme);
        let tell = |opened: cachemere::Result<()>| {
            let error = opened.expect_err(address);
            assert!(matches!(error, Error::Invalid { .. }), "{address}: {error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("begins with {scheme}//")), "{text}");
            assert!(!text.contains("hidden"), "{text}");
            assert!(!directory.exists(), "{address} made a directory");
        };
        for read_only in [false, true] {
            tell(builder(Path::new(address)).read_only(read_only).open().map(drop));
            tell(ByteCache::builder(address).read_only(read_only).open().map(drop));
        }
        let (_dir, path) = store();
        let cache = builder(&path).open().unwrap();
        tell(cache.backup(address));
    }
    // A directory of such a name can be had.
    let (dir, _) = store();
    let odd = dir.path().join("valkey://host");
    builder(&odd).open().unwrap();
    assert!(dir.path().join("valkey:/host/data.mdb").exists());
}

#[test]
fn a_directory_of_another_program_is_left_alone() {
    for (files, named) in [
        (&["hosts"][..], "\"hosts\""),
        (&["cache.db", "cache.db-wal", ".hidden"], "1 other name"),
        (&["projects/notes.txt"], "\"projects\""),
        (&["empty/", "a/b/c/d/e/"], "\"a\""),
    ] {
        let (_dir, path) = store();
        for name in files {
            let made = path.join(name);
            fs::create_dir_all(if name.ends_with('/') { &made } else { made.parent().unwrap() }).unwrap();
            if !name.ends_with('/') {
                fs::write(made, b"somebody's").unwrap();
            }
        }
        let error = refused_untouched(&path, || builder(&path).open());
        assert!(matches!(error, Error::Foreign { .. }), "{files:?}: {error:?}");
        assert!(error.to_string().contains(named), "{files:?}: {error}");
        let error = refused_untouched(&path, || builder(&path).read_only(true).open());
        assert!(matches!(error, Error::NotFound { .. }), "{files:?}: {error:?}");
    }
}

#[test]
fn a_directory_becomes_a_store_beside_what_is_no_programs() {
    let (_dir, path) = store();
    for name in ["lost+found", ".snapshots", "empty/directories", "create.tmp"] {
        fs::create_dir_all(path.join(name)).unwrap();
    }
    for name in [".gitignore", "CACHEDIR.TAG"] {
        fs::write(path.join(name), b"").unwrap();
    }
    // Stores below it, and what a process that was killed while it made this one has left.
    filled(builder(&path.join("below")));
    filled(builder(&path.join("far/below")));
    for name in ["open.lock", "another.lock", "reserve", "token", "diskcache.gate"] {
        fs::write(path.join(name), b"").unwrap();
    }
    for name in ["compact.tmp", "reencrypt.tmp", "repair.tmp"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    filled(builder(&path));
    assert_eq!(builder(&path).open().unwrap().get("key").unwrap(), Some(1));
}

#[test]
fn options_that_make_no_sense_make_no_store() {
    let (dir, path) = store();
    let bad_params = |memory_kib, iterations, parallelism| {
        Secret::passphrase_with("text", Argon2Params { memory_kib, iterations, parallelism })
    };
    let attempts = [
        ("max_bytes", builder(&path).max_bytes(1_000)),
        ("max_bytes", builder(&path).max_bytes((4 << 20) - 1)),
        ("max_bytes", builder(&path).max_bytes(0)),
        ("map_size", builder(&path).map_size(1_000)),
        ("max_entries", builder(&path).max_entries(0)),
        ("namespace", builder(&path).namespace("")),
        ("namespace", builder(&path).namespace("n".repeat(256))),
        ("passphrase", builder(&path).encryption(Secret::passphrase(""))),
        ("Argon2 parameters", builder(&path).encryption(bad_params(1, 1, 1))),
        ("Argon2 parameters", builder(&path).encryption(bad_params(8, 0, 1))),
        ("Argon2 parameters", builder(&path).encryption(bad_params(8, 1, 0))),
        ("stage name", builder(&path).compression(Named(String::new()))),
        ("stage name", builder(&path).compression(Named("n".repeat(256)))),
        ("stage name", builder(&path).cipher(Named(String::new()))),
    ];
    for (wrong, attempt) in attempts {
        let error = refused_untouched(dir.path(), || attempt.open());
        assert!(matches!(error, Error::Invalid { what, .. } if what == wrong), "{wrong}: {error:?}");
    }
    let error = refused_untouched(dir.path(), || ByteCache::builder(&path).serializer_name("").open());
    assert!(matches!(error, Error::Invalid { what: "stage name", .. }), "{error:?}");
    assert!(Zstd::new(99).unwrap_err().is_invalid());
    assert!(Secret::key_from_slice(&[0; 31]).unwrap_err().is_invalid());
    assert!(!path.exists());

    // The same of a store that is there.
    filled(builder(&path));
    for attempt in [builder(&path).namespace(""), builder(&path).max_entries(0), builder(&path).max_bytes(1)]
    {
        assert!(refused_untouched(&path, || attempt.open()).is_invalid());
    }
    let longest = builder(&path).namespace("n".repeat(255)).open().unwrap();
    longest.insert("key", &2).unwrap();
    assert_eq!(longest.get("key").unwrap(), Some(2));
}

/// A stage that has nothing but its name.
struct Named(String);

impl Compressor for Named {
    fn name(&self) -> &str {
        &self.0
    }

    fn compress(&self, _: &[u8], _: &mut Vec<u8>) -> Result<bool, BoxError> {
        Ok(false)
    }

    fn decompress(&self, _: &[u8], _: usize, _: &mut Vec<u8>) -> Result<(), BoxError> {
        Err("nothing was ever compressed".into())
    }
}

impl Cipher for Named {
    fn name(&self) -> &str {
        &self.0
    }

    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError> {
        XChaCha20Poly1305.seal(key, aad, buffer, from)
    }

    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError> {
        XChaCha20Poly1305.open(key, aad, buffer)
    }

    fn overhead(&self) -> usize {
        XChaCha20Poly1305.overhead()
    }
}

#[test]
fn somebody_elses_database_is_left_alone() {
    for name in [None, Some("a database")] {
        let (_dir, path) = store();
        fs::create_dir(&path).unwrap();
        {
            let mut options = EnvOpenOptions::new();
            options.map_size(1 << 20).max_dbs(1);
            // SAFETY: the directory is the test's own.
            let env = unsafe { options.open(&path) }.unwrap();
            let mut txn = env.write_txn().unwrap();
            let opened = env.create_databases_and_commit(txn, |opener, txn| {
                opener.create_database::<Bytes, Bytes>(txn, name).map(CommitOrAbort::<_, ()>::Commit)
            });
            let tree = opened.unwrap().commit().unwrap();
            txn = env.write_txn().unwrap();
            tree.put(&mut txn, b"key", b"value").unwrap();
            txn.commit().unwrap();
        }
        for attempt in
            [builder(&path), builder(&path).read_only(true), builder(&path).encryption(Secret::key([1; 32]))]
        {
            let error = refused_untouched(&path, || attempt.open());
            assert!(matches!(&error, Error::Foreign { .. }) && error.is_incompatible(), "{error:?}");
        }
    }
}

#[test]
fn a_data_file_that_is_no_database_is_left_alone() {
    let noise: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for content in [noise.as_slice(), &noise[..100], b"SQLite format 3\0", &[0; 8192]] {
        let (_dir, path) = store();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("data.mdb"), content).unwrap();
        for read_only in [false, true] {
            let error = refused_untouched(&path, || builder(&path).read_only(read_only).open());
            assert!(matches!(error, Error::Foreign { .. } | Error::Damaged { .. }), "{error:?}");
        }
    }
}

#[test]
fn an_empty_data_file_is_nobodys() {
    let (_dir, path) = store();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("data.mdb"), "").unwrap();
    filled(builder(&path));
    assert_eq!(builder(&path).open().unwrap().get("key").unwrap(), Some(1));
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let newer = |path: &Path, attempt: Builder<str, u32>| {
        let error = refused(path, || attempt.open());
        assert!(
            matches!(error, Error::NewerFormat { found, supported } if found == supported + 1),
            "{error:?}"
        );
        assert!(error.is_incompatible() && error.to_string().contains("upgrade"), "{error}");
    };
    // The store record.
    let (_dir, path) = store();
    filled(builder(&path));
    patch(&path, b"mcachemere", |record| record[8] = 3);
    newer(&path, builder(&path));
    newer(&path, builder(&path).read_only(true));
    // The envelope.
    let (_dir, path) = store();
    let key = || Secret::key([1; 32]);
    filled(builder(&path).encryption(key()));
    // Behind magic, version, id, time and the cipher's name.
    patch(&path, b"mcachemere", |record| record[8 + 4 + 16 + 8 + 1 + "xchacha20poly1305".len()] = 3);
    newer(&path, builder(&path).encryption(key()));
}

/// Whoever can write to the files decides what the next open costs.
#[test]
fn a_passphrase_that_would_take_too_much_is_refused_before_it_is_tried() {
    let (_dir, path) = store();
    filled(builder(&path).encryption(quick("pass")));
    let ask_for = |memory_kib: u32, iterations: u32| {
        patch(&path, b"mcachemere", |record| {
            // Behind magic, version, id, time and the cipher's name: the envelope's version and the kind of key.
            let at = 8 + 4 + 16 + 8 + 1 + "xchacha20poly1305".len() + 2;
            record[at..at + 4].copy_from_slice(&memory_kib.to_le_bytes());
            record[at + 4..at + 8].copy_from_slice(&iterations.to_le_bytes());
        });
    };
    for (memory_kib, iterations) in
        [(4 << 20, 1000), (4 << 20, 1), ((2 << 20) + 1, 1), (1 << 20, 9), (8389, 1000)]
    {
        ask_for(memory_kib, iterations);
        let since = std::time::Instant::now();
        let error = refused(&path, || builder(&path).encryption(quick("pass")).open());
        assert!(error.is_invalid() && error.to_string().contains("limit"), "{error}");
        assert!(since.elapsed() < std::time::Duration::from_secs(5));
    }
    for (memory_kib, iterations) in [(u32::MAX, 1), (8, u32::MAX), (7, 1), (8, 0)] {
        ask_for(memory_kib, iterations);
        assert!(refused(&path, || builder(&path).encryption(quick("pass")).open()).is_damaged());
    }
    // Below the limits it is tried, and is another key then. Who gives such parameters himself has it tried above them.
    ask_for(64, 1000);
    assert!(refused(&path, || builder(&path).encryption(quick("pass")).open()).is_wrong_secret());
    ask_for(8, 1);
    assert_eq!(builder(&path).encryption(quick("pass")).open().unwrap().get("key").unwrap(), Some(1));
}

#[test]
fn an_entry_of_a_newer_version_is_left_alone() {
    for secret in [None, Some(Secret::key([1; 32]))] {
        let (_dir, path) = store();
        let builder = || match &secret {
            Some(secret) => builder(&path).encryption(secret.clone()),
            None => builder(&path),
        };
        filled(builder());
        // Not an accident: the checksum is right.
        patch(&path, b"e", |entry| {
            entry[0] = 3;
            let body = XxHash3_64::oneshot(&entry[80..]).to_le_bytes();
            let checksum = XxHash3_64::oneshot(&[&entry[..64], &body].concat());
            entry[72..80].copy_from_slice(&checksum.to_le_bytes());
        });
        let cache = builder().open().unwrap();
        cache.insert("another", &2).unwrap();
        for error in [
            refused(&path, || cache.get("key")),
            refused(&path, || cache.get_many(["key"])),
            refused(&path, || cache.contains("key")),
            refused(&path, || cache.info("key")),
            refused(&path, || cache.insert("key", &2)),
            refused(&path, || cache.insert_many([("other", &1), ("key", &2)])),
            refused(&path, || cache.write(Batch::new().remove("other").insert("key", 2))),
            refused(&path, || cache.write(Batch::new().insert("other", 2).remove("key"))),
            refused(&path, || cache.remove("key")),
            refused(&path, || cache.take("key")),
            refused(&path, || cache.update("key", |_| Some(2))),
            refused(&path, || cache.iter().next().unwrap()),
        ] {
            assert!(matches!(error, Error::NewerFormat { found: 3, supported: 2 }), "{error:?}");
        }
        // Others are not concerned.
        cache.insert("other", &3).unwrap();
        assert_eq!(cache.get("other").unwrap(), Some(3));
        assert_eq!(cache.iter().filter_map(Result::ok).count(), 2);
        assert!(!cache.verify().unwrap().is_clean());
    }
}

/// Damage is an error where the entry is asked for, and nowhere else.
#[test]
fn an_entry_whose_header_cannot_be_read_stands_in_nobodys_way() {
    let hour = std::time::Duration::from_secs(3600);
    type Check = fn(&Numbers);
    let ways: [(&str, Check); 6] = [
        ("remove", |cache| assert!(cache.remove("key").unwrap())),
        ("clear", |cache| cache.clear().unwrap()),
        ("evict", |cache| {
            for n in 0..8 {
                cache.insert(&format!("new {n}"), &n).unwrap();
            }
            assert_eq!(cache.len().unwrap(), 3);
        }),
        ("expire", |cache| {
            std::thread::sleep(std::time::Duration::from_millis(60));
            assert_eq!(cache.len().unwrap(), 2, "it counts until it is removed");
            cache.sweep().unwrap();
        }),
        ("reinsert", |cache| {
            cache.insert("key", &2).unwrap();
            assert_eq!(cache.get("key").unwrap(), Some(2));
            assert!(cache.remove("key").unwrap());
            cache.insert("key", &2).unwrap();
            assert_eq!(cache.get("key").unwrap(), Some(2));
        }),
        ("batch", |cache| {
            cache.write(Batch::new().insert("other", 2).insert("key", 1)).unwrap();
            assert_eq!((cache.get("other").unwrap(), cache.get("key").unwrap()), (Some(2), Some(1)));
            cache.write(Batch::new().remove("key").insert("key", 2)).unwrap();
            assert_eq!(cache.get("key").unwrap(), Some(2));
        }),
    ];
    for (way, check) in ways {
        for limit_later in [false, true] {
            let (_dir, path) = store();
            let limited = |set| if set { builder(&path).max_entries(3) } else { builder(&path) };
            let cache = limited(!limit_later).open().unwrap();
            let life = if way == "expire" { std::time::Duration::from_millis(50) } else { hour };
            cache.insert_with_ttl("key", &1, life).unwrap();
            cache.close().unwrap();
            patch(&path, b"e", |entry| entry[1] = 0x10);
            let cache = limited(limit_later).open().unwrap();
            cache.insert("another", &3).unwrap();
            assert!(cache.get("key").unwrap_err().is_damaged());
            assert_eq!(cache.get("another").unwrap(), Some(3));
            check(&cache);
            let report = cache.verify().unwrap();
            // An entry that could not be listed by its access is never the least recent one.
            let is_gone = (way, limit_later) != ("evict", true);
            assert_eq!(report.is_clean(), is_gone, "{way}, {limit_later}: {report:?}");
            cache.clear().unwrap();
            let report = cache.verify().unwrap();
            assert!(report.is_clean() && report.entries == 0, "{way}, {limit_later}: {report:?}");
        }
    }
}

#[test]
fn a_pipeline_other_than_the_recorded_one_is_refused() {
    let (_dir, path) = store();
    filled(builder(&path));
    filled(builder(&path).namespace("zstd").compression(Zstd::default()));
    filled(builder(&path).namespace("own").compression(Named("own".to_owned())));
    ByteCache::builder(&path).namespace("bytes").open().unwrap().close().unwrap();

    let incompatible = |attempt: Builder<str, u32>, what, names: [&str; 2]| {
        let error = refused(&path, || attempt.open());
        assert!(matches!(error, Error::Incompatible { what: found, .. } if found == what), "{error:?}");
        for name in names {
            assert!(error.to_string().contains(name), "{name}: {error}");
        }
    };
    let zstd = Zstd::default;
    incompatible(builder(&path).namespace("bytes"), "key serializer", ["bytes", "msgpack"]);
    incompatible(builder(&path).compression(zstd()), "compression", ["none", "zstd"]);
    incompatible(builder(&path).namespace("zstd").no_compression(), "compression", ["zstd", "none"]);
    incompatible(builder(&path).namespace("own").compression(zstd()), "compression", ["own", "zstd"]);
    // Not even an option that could be granted is.
    incompatible(builder(&path).compression(zstd()).max_entries(5), "compression", ["none", "zstd"]);
    let error = refused(&path, || ByteCache::builder(&path).open());
    assert!(matches!(error, Error::Incompatible { what: "key serializer", .. }), "{error:?}");

    // As recorded, that is: of a name nobody knows.
    for attempt in [builder(&path).namespace("own"), builder(&path).namespace("own").max_entries(5)] {
        let error = refused(&path, || attempt.open());
        assert!(
            matches!(&error, Error::UnknownStage { kind: "compressor", name } if name == "own"),
            "{error:?}"
        );
    }
    let cache = builder(&path).namespace("zstd").open().unwrap();
    assert_eq!(cache.get("key").unwrap(), Some(1));
}

#[test]
fn another_cipher_than_the_recorded_one_is_refused() {
    let (_dir, path) = store();
    let key = || Secret::key([1; 32]);
    filled(builder(&path).encryption(key()));
    let own = || builder(&path).encryption(key()).cipher(Named("own".to_owned()));
    let check = |error: Error| {
        assert!(matches!(error, Error::Incompatible { what: "cipher", .. }), "{error:?}");
        assert!(
            error.to_string().contains("own") && error.to_string().contains("xchacha20poly1305"),
            "{error}"
        );
    };
    check(refused(&path, || own().open()));
    let cache = builder(&path).encryption(key()).open().unwrap();
    check(refused(&path, || own().open()));
    assert_eq!(cache.get("key").unwrap(), Some(1));
}

#[test]
fn every_wrong_secret_is_told_apart_from_damage() {
    let wrong = |path: &Path, attempt: Builder<str, u32>, kind: fn(&Error) -> bool| {
        let error = refused(path, || attempt.open());
        assert!(kind(&error) && error.is_wrong_secret(), "{error:?}");
    };
    let is_wrong: fn(&Error) -> bool = |e| matches!(e, Error::WrongSecret { .. });
    let is_missing: fn(&Error) -> bool = |e| matches!(e, Error::MissingSecret { .. });
    let is_not_encrypted: fn(&Error) -> bool = |e| matches!(e, Error::NotEncrypted { .. });
    let key = |byte| Secret::key([byte; 32]);

    let (_dir, with_key) = store();
    filled(builder(&with_key).encryption(key(1)));
    let (_dir, with_passphrase) = store();
    filled(builder(&with_passphrase).encryption(quick("right")));
    let (_dir, plain) = store();
    filled(builder(&plain));
    // Closed, and again while another handle of this process has it open.
    for keep_open in [false, true] {
        let handles: Vec<Numbers> = match keep_open {
            true => vec![
                builder(&with_key).encryption(key(1)).open().unwrap(),
                builder(&with_passphrase).encryption(quick("right")).open().unwrap(),
                builder(&plain).open().unwrap(),
            ],
            false => vec![],
        };
        wrong(&with_key, builder(&with_key), is_missing);
        wrong(&with_key, builder(&with_key).encryption(key(2)), is_wrong);
        wrong(&with_key, builder(&with_key).encryption(quick("right")), is_wrong);
        wrong(&with_passphrase, builder(&with_passphrase), is_missing);
        wrong(&with_passphrase, builder(&with_passphrase).encryption(quick("wrong")), is_wrong);
        wrong(&with_passphrase, builder(&with_passphrase).encryption(key(1)), is_wrong);
        wrong(&plain, builder(&plain).encryption(key(1)), is_not_encrypted);
        wrong(&plain, builder(&plain).encryption(quick("right")), is_not_encrypted);
        for (cache, right) in handles.iter().zip([Some(key(1)), Some(quick("right")), None]) {
            assert_eq!(cache.get("key").unwrap(), Some(1));
            let path = cache.path().to_owned();
            cache.insert("another", &2).unwrap();
            let kind = if right.is_some() { is_wrong } else { is_not_encrypted };
            assert!(kind(&refused(&path, || cache.change_secret(&key(9), &key(3)))));
            assert!(kind(&refused(&path, || cache.reencrypt(&key(9), &key(3)))));
            if let Some(right) = right {
                assert!(refused(&path, || cache.change_secret(&right, &quick(""))).is_invalid());
                assert!(refused(&path, || cache.reencrypt(&right, &quick(""))).is_invalid());
            }
        }
    }
}

#[test]
fn handles_of_one_process_must_agree() {
    let (_dir, path) = store();
    let cache = builder(&path).durability(Durability::Checkpoint).open().unwrap();
    cache.insert("key", &1).unwrap();
    let attempts = [
        ("durability", builder(&path).durability(Durability::Sync)),
        ("maintenance", builder(&path).maintenance(Maintenance::Inline)),
        ("max_bytes", builder(&path).max_bytes(4 << 20)),
    ];
    for (what, attempt) in attempts {
        let error = refused(&path, || attempt.open());
        assert!(matches!(error, Error::Incompatible { what: found, .. } if found == what), "{error:?}");
    }
    assert_eq!(builder(&path).open().unwrap().get("key").unwrap(), Some(1));
}

#[test]
fn a_backup_over_something_is_refused() {
    let (dir, path) = store();
    filled(builder(&path));
    let cache = builder(&path).open().unwrap();
    let (file, full) = (dir.path().join("file"), dir.path().join("full"));
    fs::write(&file, "a file").unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "another").unwrap();
    for to in [file.as_path(), &full, &path, Path::new("/"), Path::new("..")] {
        let error = refused(dir.path(), || cache.backup(to));
        assert!(matches!(error, Error::Invalid { what: "backup path", .. }), "{error:?}");
    }
    let error = refused(dir.path(), || cache.backup(file.join("below")));
    assert!(!error.is_damaged(), "{error:?}");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    cache.backup(&empty).unwrap();
    assert_eq!(builder(&empty).open().unwrap().get("key").unwrap(), Some(1));
}

/// A page size of another machine: LMDB would misread every page.
#[test]
fn a_store_of_another_kind_of_machine_is_refused() {
    let (_dir, path) = store();
    filled(builder(&path));
    let data = fs::OpenOptions::new().write(true).open(path.join("data.mdb")).unwrap();
    let whole = fs::read(path.join("data.mdb")).unwrap();
    let page_size = u32::from_ne_bytes(whole[40..44].try_into().unwrap());
    let other = page_size * 4;
    data.set_len(u64::from(other) * 8).unwrap();
    // Both meta pages, the second where it would be.
    for number in [0u64, 1] {
        let mut meta = whole[..152].to_vec();
        meta[..8].copy_from_slice(&number.to_ne_bytes());
        meta[40..44].copy_from_slice(&other.to_ne_bytes());
        data.write_all_at(&meta, number * u64::from(other)).unwrap();
    }
    let error = refused(&path, || builder(&path).open());
    assert!(matches!(error, Error::Incompatible { .. } | Error::Damaged { .. }), "{error:?}");
}
