//! A store is what lies at its path now: directories that are removed, renamed or replaced while handles are open.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails, as it should")]

use std::fs;
use std::path::{Path, PathBuf};

use cachemere::{Cache, Error};

type Words = Cache<str, String>;

fn open(path: &Path) -> Words {
    Words::builder(path).open().unwrap()
}

fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

/// A handle that neither reads nor writes any more, and says why.
#[track_caller]
fn assert_gone(cache: &Words) {
    let error = cache.insert("new", &"lost".to_owned()).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }) && error.is_gone(), "{error:?}");
    assert!(error.to_string().contains("open it again"), "{error}");
    for error in [
        cache.get("key").unwrap_err(),
        cache.get_shared("key").unwrap_err(),
        cache.contains("key").unwrap_err(),
        cache.remove("key").unwrap_err(),
        cache.clear().unwrap_err(),
        cache.compact().unwrap_err(),
        cache.sweep().unwrap_err(),
    ] {
        assert!(error.is_gone(), "{error:?}");
    }
}

#[test]
fn a_directory_that_was_removed_is_a_new_store_when_it_is_opened_again() {
    let (_dir, path) = store();
    for round in 0..5 {
        let old = open(&path);
        assert_eq!(old.get("key").unwrap(), None, "nothing is left of round {round}");
        old.insert("key", &format!("{round}")).unwrap();
        assert_eq!(*old.get_shared("key").unwrap().unwrap(), format!("{round}"));
        fs::remove_dir_all(&path).unwrap();
        let new = open(&path);
        assert_eq!(new.get("key").unwrap(), None, "nothing of the old one is served");
        new.insert("other", &"kept".to_owned()).unwrap();
        assert_gone(&old);
        // What becomes of the old one's handles does nothing to the new one.
        drop(old);
        assert_eq!(new.get("other").unwrap().as_deref(), Some("kept"));
        new.insert("third", &"kept".to_owned()).unwrap();
        new.close().unwrap();
        let again = open(&path);
        assert_eq!(again.len().unwrap(), 2);
        assert!(again.verify().unwrap().is_clean());
        drop(again);
        fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn a_handle_notices_by_itself_at_its_next_write() {
    let (_dir, path) = store();
    let cache = open(&path);
    cache.insert("key", &"value".to_owned()).unwrap();
    fs::remove_dir_all(&path).unwrap();
    assert_gone(&cache);
    assert!(!path.exists(), "nothing is made anew behind anybody's back");
    cache.close().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_directory_that_was_renamed_is_opened_where_it_is_with_all_it_had() {
    let (dir, path) = store();
    let old = open(&path);
    old.insert("key", &"value".to_owned()).unwrap();
    let moved = dir.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    let new = open(&moved);
    assert_eq!(new.get("key").unwrap().as_deref(), Some("value"));
    assert_gone(&old);
    new.insert("more", &"value".to_owned()).unwrap();
    drop(old);
    assert!(new.verify().unwrap().is_clean());
    // And where it was there can be another.
    let other = open(&path);
    assert_eq!(other.len().unwrap(), 0);
    assert_eq!(new.len().unwrap(), 2);
}

#[test]
fn a_directory_that_was_replaced_by_another_store_is_that_one() {
    let (dir, path) = store();
    let other = dir.path().join("other");
    let second = open(&other);
    second.insert("key", &"of the other".to_owned()).unwrap();
    second.close().unwrap();
    let old = open(&path);
    old.insert("key", &"of the first".to_owned()).unwrap();
    fs::rename(&path, dir.path().join("aside")).unwrap();
    fs::rename(&other, &path).unwrap();
    let new = open(&path);
    assert_eq!(new.get("key").unwrap().as_deref(), Some("of the other"));
    assert_gone(&old);
    let aside = open(&dir.path().join("aside"));
    assert_eq!(aside.get("key").unwrap().as_deref(), Some("of the first"));
}

#[test]
fn a_store_is_one_by_whatever_path_it_is_opened() {
    let (dir, path) = store();
    let link = dir.path().join("link");
    let first = open(&path);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let second = open(&link);
    first.insert("key", &"1".to_owned()).unwrap();
    assert_eq!(second.get("key").unwrap().as_deref(), Some("1"));
    second.insert("key", &"2".to_owned()).unwrap();
    assert_eq!(first.get("key").unwrap().as_deref(), Some("2"));
    first.close().unwrap();
    second.insert("key", &"3".to_owned()).unwrap();
    assert_eq!(second.get("key").unwrap().as_deref(), Some("3"));
}

#[test]
fn other_options_are_possible_for_what_is_made_in_the_place_of_a_removed_one() {
    let (_dir, path) = store();
    let old = open(&path);
    old.insert("key", &"value".to_owned()).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let secret = cachemere::Secret::key([7; 32]);
    let new = Words::builder(&path).encryption(secret).max_bytes(8 << 20).open().unwrap();
    new.insert("key", &"sealed".to_owned()).unwrap();
    assert_eq!(new.get("key").unwrap().as_deref(), Some("sealed"));
    assert_gone(&old);
}
