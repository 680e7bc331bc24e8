//! A repair that is killed: what lies at the path is the store as it was or the repaired one, and nothing is lost.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use cachemere::{ByteCache, Maintenance, Salvage};

use super::support::{Part, Role, Test, say};

pub(crate) const TESTS: &[Test] =
    &[("a_repair_killed_anywhere_leaves_the_store_or_the_repaired_one_and_the_damaged_files", killed)];

pub(crate) const ROLES: &[Part<'_>] = &[("leave", leave), ("repair", repair)];

/// The places that only a repair comes by.
pub(crate) const PLACES: &[&str] =
    &["a repaired store is verified", "the damaged files are kept", "a repaired store is in place"];
const OTHERS: &[&str] = &["a record is copied", "a segment is to be removed"];
const ENTRIES: usize = 300;

fn open(path: &Path) -> ByteCache {
    ByteCache::builder(path).maintenance(Maintenance::Manual).open().unwrap()
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

/// Leaves a store with a log, as a process that is killed does.
fn leave(arguments: &[String]) {
    let cache = open(Path::new(&arguments[0]));
    for n in 0..ENTRIES {
        cache.insert(&key(n), &vec![n as u8; 1000], 0, None).unwrap();
    }
    say("left");
    std::process::abort();
}

fn repair(arguments: &[String]) {
    let repaired = Salvage::of(&arguments[0]).repair().unwrap();
    say(&format!("kept {}", repaired.kept.display()));
}

fn assert_all_there(path: &Path) {
    let cache = open(path);
    assert!(cache.verify().unwrap().is_clean());
    for n in 0..ENTRIES {
        assert_eq!(cache.get(&key(n)).unwrap().unwrap().payload, vec![n as u8; 1000], "{n}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn killed() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left");
    let mut leaving = Role::start("leave", &[left.to_str().unwrap()]);
    leaving.expect("left");
    leaving.ended();
    let mut kills = 0;
    for place in PLACES.iter().chain(OTHERS) {
        for passage in [1, 2, 400] {
            let at = dir.path().join(format!("{place} {passage}"));
            std::fs::create_dir(&at).unwrap();
            let path = at.join("store");
            copy(&left, &path);
            let mut victim =
                Role::start_with_fault(&format!("{place}:{passage}"), "repair", &[path.to_str().unwrap()]);
            kills += usize::from(victim.ended().signal() == Some(9));
            // As it is, and after another repair, which keeps what it finds.
            let again = at.join("again");
            copy_what_counts(&path, &again);
            assert_all_there(&again);
            let repaired = Salvage::of(&path).repair().unwrap();
            assert_eq!((repaired.salvaged.entries, repaired.salvaged.lost), (ENTRIES as u64, 0));
            assert_all_there(&path);
            assert_all_there(&repaired.kept);
            for kept in kept_beside(&at) {
                assert_all_there(&kept);
            }
            assert!(!path.join("repair.tmp").exists());
        }
    }
    assert!(kills >= 7, "{kills}");
}

/// What is the store while nobody has it open.
fn copy_what_counts(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
        let name = file.file_name().into_string().unwrap();
        if name == "data.mdb" || name.starts_with("log-") {
            std::fs::copy(file.path(), to.join(name)).unwrap();
        }
    }
}

fn kept_beside(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("store.damaged")).collect()
}
