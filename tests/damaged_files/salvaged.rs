//! What is salvaged of a damaged store: all that is there, nothing else, and it is told what is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cachemere::{ByteCache, Error, Result, Salvage, Salvaged, Secret};

use crate::damage_support::lmdb::{PAGE, Snapshot};
use crate::damage_support::{Dice, copy_files, quick_dir};
use crate::log::{self, Log};
use crate::{CLASSES, Class, ENDS, KEYS, SOUND, STORES, builder, damage, early_value, key, kind_of, value};

fn of(kind: &str, path: &Path) -> Salvage {
    match kind {
        "sealed" => Salvage::of(path).encryption(Secret::key([5; 32])),
        _ => Salvage::of(path),
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// What a salvaged store has.
struct Found {
    right: usize,
    early: usize,
    missing: Vec<usize>,
    ops: Option<usize>,
    /// Entries of the log that are there.
    logged: usize,
}

fn look(kind: &str, dir: &Path) -> Result<Found> {
    let cache = match builder(kind, dir).open() {
        // The record of a namespace has no checksum in a plain store.
        Err(error @ (Error::Incompatible { .. } | Error::UnknownStage { .. })) => return Err(error),
        opened => opened.unwrap(),
    };
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    let mut found = Found { right: 0, early: 0, missing: Vec::new(), ops: None, logged: 0 };
    for n in 0..KEYS {
        match cache.get(&key(n)).unwrap().map(|found| found.payload) {
            None => found.missing.push(n),
            Some(payload) if payload == value(n) => found.right += 1,
            Some(payload) if payload == early_value(n) => found.early += 1,
            Some(_) => panic!("key {n} has a value that it never had"),
        }
    }
    found.ops = log::ops_in(&cache).unwrap();
    found.logged = log::entries_in(&cache);
    // It is of full use.
    cache.insert(b"new", b"new", 0, None).unwrap();
    cache.close().unwrap();
    assert_eq!(builder(kind, dir).open().unwrap().get(b"new").unwrap().unwrap().payload, b"new");
    Ok(found)
}

/// Salvages a store whose directory stays as it is.
fn salvage(kind: &str, dir: &Path, told: &str) -> Result<(Salvaged, Found)> {
    let before = files(dir);
    let to = dir.with_extension("new");
    let salvaged = of(kind, dir).to(&to);
    assert!(before == files(dir), "{told}: the damaged store was changed");
    let salvaged = salvaged.inspect_err(|_| assert!(!to.exists(), "{told}"))?;
    let found = look(kind, &to);
    fs::remove_dir_all(&to).unwrap();
    Ok((salvaged, found?))
}

pub(crate) fn every_kind() {
    let (root, seed) = &*SOUND;
    let work = quick_dir();
    let (mut variants, mut all, mut refused) = (0, 0, 0);
    for kind in STORES {
        for end in ENDS {
            let sound = root.path().join(format!("{kind}-{end}"));
            let data = fs::read(sound.join("data.mdb")).unwrap();
            let snapshot = Snapshot::of(&data);
            for class in CLASSES {
                if class == Class::Random || (class == Class::Log && end == "closed") {
                    continue;
                }
                for variant in 0..12 {
                    let dir = work.path().join(format!("{kind} {end} {class:?} {variant}"));
                    copy_files(&sound, &dir);
                    let mut dice = Dice::new(seed.wrapping_add(variant * 31 + 5));
                    let told = match class {
                        Class::Log => log::damage(&Log::of(&dir, &snapshot, &data), &mut dice).0,
                        _ => damage(class, &dir, &snapshot, &mut dice),
                    };
                    let told = format!("{kind} {end} {class:?} {variant}: {told}");
                    variants += 1;
                    match salvage(kind, &dir, &told) {
                        Ok((salvaged, found)) => {
                            judge(&told, class, end, &salvaged, &found);
                            all += usize::from(found.right == KEYS);
                        }
                        Err(error) => {
                            let is_lost =
                                kind == "sealed" && matches!(kind_of(&error), "damaged" | "tampered");
                            let is_other = matches!(
                                kind_of(&error),
                                "newer" | "secret" | "incompatible" | "unknown-stage"
                            );
                            let is_record = matches!(class, Class::Record | Class::Log);
                            assert!(is_lost || (is_record && is_other), "{told}: {error}");
                            refused += 1;
                        }
                    }
                    fs::remove_dir_all(&dir).unwrap();
                }
            }
        }
    }
    crate::damage_support::say(&format!("{variants} variants, all kept of {all}, {refused} refused"));
    assert!(all * 3 > variants && refused * 10 < variants);
}

/// What has to hold of whatever was salvaged.
fn judge(told: &str, class: Class, end: &str, salvaged: &Salvaged, found: &Found) {
    let Found { right, early, missing, ops, logged } = found;
    let told = format!("{told}: {salvaged:?}, {right} right, {early} early, {missing:?}, {ops:?}, {logged}");
    assert!(*early == 0 || salvaged.may_be_old, "{told}");
    assert_eq!(salvaged.entries as usize, right + early + logged, "{told}");
    // What is not there is known to be lost, but for what nobody can know.
    if !salvaged.may_be_old && !matches!(class, Class::Record) {
        // Unless what lists it is lost with it.
        let is_listed = matches!(class, Class::Payload | Class::EntryHeader | Class::Log | Class::Locks);
        assert!(!is_listed || salvaged.lost as usize >= missing.len(), "{told}");
        assert!(missing.is_empty() || salvaged.problems > 0 || salvaged.lost > 0, "{told}");
    }
    if matches!(class, Class::Locks) {
        assert_eq!((salvaged.problems, salvaged.lost, *right), (0, 0, KEYS), "{told}");
        assert!(end == "closed" || *ops == Some(log::OPS), "{told}");
    }
    if matches!(class, Class::Payload | Class::EntryHeader) {
        assert!(missing.len() <= 1, "{told}");
    }
    if matches!(class, Class::Log) {
        assert_eq!(*right, KEYS, "{told}");
        let can_pass_for_the_end =
            ["zeroed", "removed", "cut to", "header"].iter().any(|what| told.contains(what));
        assert!(*ops == Some(log::OPS) || salvaged.problems > 0 || can_pass_for_the_end, "{told}");
    }
}

/// One damaged entry costs itself. In a plain store its key tells itself by its hash.
pub(crate) fn payloads() {
    let (root, _) = &*SOUND;
    let work = tempfile::tempdir().unwrap();
    for kind in STORES {
        let sound = root.path().join(format!("{kind}-closed"));
        let data = fs::read(sound.join("data.mdb")).unwrap();
        for (n, entry) in Snapshot::of(&data).entries().into_values().take(12).enumerate() {
            let dir = work.path().join(format!("{kind} {n}"));
            copy_files(&sound, &dir);
            let mut damaged = data.clone();
            damaged[entry.end - 1] ^= 1;
            fs::write(dir.join("data.mdb"), damaged).unwrap();
            let (salvaged, found) = salvage(kind, &dir, kind).unwrap();
            assert_eq!((found.missing.len(), salvaged.lost, found.right), (1, 1, KEYS - 1), "{salvaged:?}");
            let named: Vec<_> = salvaged.lost_keys.iter().map(|(_, key)| key.clone()).collect();
            match kind {
                "sealed" => assert_eq!(named, Vec::<Vec<u8>>::new()),
                _ => assert_eq!(named, [key(found.missing[0])]),
            }
        }
    }
}

/// Whatever becomes of the meta pages: where the tree begins can be found.
pub(crate) fn roots() {
    let (root, _) = &*SOUND;
    let work = tempfile::tempdir().unwrap();
    for kind in STORES {
        for end in ENDS {
            let sound = root.path().join(format!("{kind}-{end}"));
            let mut data = fs::read(sound.join("data.mdb")).unwrap();
            data[..2 * PAGE].fill(0);
            let dir = work.path().join(format!("{kind} {end}"));
            copy_files(&sound, &dir);
            fs::write(dir.join("data.mdb"), data).unwrap();
            let (salvaged, found) = salvage(kind, &dir, kind).unwrap();
            assert_eq!((found.right, found.early, salvaged.lost), (KEYS, 0, 0), "{salvaged:?}");
            assert!(end == "closed" || found.ops == Some(log::OPS), "{:?}", found.ops);
        }
    }
}

/// The control file, a segment, the data file: what the others have is there.
pub(crate) fn lacking() {
    let (root, _) = &*SOUND;
    let sound = root.path().join("plain-logged");
    let work = tempfile::tempdir().unwrap();
    let names: Vec<String> = files(&sound).into_keys().collect();
    assert!(names.iter().filter(|name| name.starts_with("log-")).count() > 1, "{names:?}");
    for name in names {
        let dir = work.path().join(&name);
        copy_files(&sound, &dir);
        fs::remove_file(dir.join(&name)).unwrap();
        match name.as_str() {
            "data.mdb" => {
                let (salvaged, found) = salvage("plain", &dir, &name).unwrap();
                assert!(salvaged.may_be_old && found.right == 0, "{salvaged:?}");
            }
            log if log.starts_with("log-") => {
                let (salvaged, found) = salvage("plain", &dir, &name).unwrap();
                assert_eq!(found.right, KEYS, "{name}: {salvaged:?}");
                let is_last = !files(&dir).keys().any(|other| *other > name && other.starts_with("log-"));
                assert!(is_last || salvaged.may_be_old, "{name}: {salvaged:?}");
            }
            _ => {
                let (salvaged, found) = salvage("plain", &dir, &name).unwrap();
                assert_eq!((salvaged.problems, found.right, found.ops), (0, KEYS, Some(log::OPS)), "{name}");
            }
        }
    }
    // A wrong secret, and none, is said as at any open.
    let sealed = root.path().join("sealed-closed");
    let to = work.path().join("new");
    let wrong = Salvage::of(&sealed).encryption(Secret::key([6; 32])).to(&to).unwrap_err();
    assert!(matches!(wrong, Error::WrongSecret { .. }), "{wrong}");
    let none = Salvage::of(&sealed).to(&to).unwrap_err();
    assert!(matches!(none, Error::MissingSecret { .. }), "{none}");
    let plain = of("sealed", &sound).to(&to).unwrap_err();
    assert!(matches!(plain, Error::NotEncrypted { .. }), "{plain}");
    let cache: ByteCache = builder("plain", &work.path().join("open")).open().unwrap();
    cache.insert(b"k", b"v", 0, None).unwrap();
    let busy = Salvage::of(work.path().join("open")).repair().unwrap_err();
    assert!(busy.is_busy(), "{busy}");
}
