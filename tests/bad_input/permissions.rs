//! Handles and directories that may not be written, and stores of somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cachemere::{Batch, Cache, Error, Maintenance, Secret};

use crate::{everything, refused, refused_untouched, store};

type Numbers = Cache<str, u32>;

/// The environment variable that names the store to a test run as another user.
const STORE: &str = "CACHEMERE_TEST_STORE";

fn filled(path: &Path) {
    let cache = Numbers::builder(path).open().unwrap();
    cache.insert("key", &1).unwrap();
    cache.close().unwrap();
}

fn am_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Every way to change something through a handle.
fn check_no_writes(dir: &Path, cache: &Numbers) {
    for error in [
        refused(dir, || cache.insert("key", &2)),
        refused(dir, || cache.insert_with_ttl("key", &2, Duration::from_secs(1))),
        refused(dir, || cache.insert_if_absent("new", &2)),
        refused(dir, || cache.insert_many([("new", &2)])),
        refused(dir, || cache.write(Batch::new().insert("new", 2).remove("key"))),
        refused(dir, || cache.remove("key")),
        refused(dir, || cache.take("key")),
        refused(dir, || cache.touch("key")),
        refused(dir, || cache.touch_with_ttl("key", Duration::from_secs(1))),
        refused(dir, || cache.update("key", |n| n)),
        refused(dir, || cache.compare_and_set("key", Some(&1), None)),
        refused(dir, || cache.pop_oldest()),
        refused(dir, || cache.pop_newest()),
        refused(dir, || cache.clear()),
        refused(dir, || cache.sweep()),
        refused(dir, || cache.compact()),
        refused(dir, || cache.change_secret(&Secret::key([1; 32]), &Secret::key([2; 32]))),
    ] {
        assert!(matches!(&error, Error::ReadOnly { .. }) && error.is_read_only(), "{error:?}");
    }
    assert_eq!(cache.get("key").unwrap(), Some(1));
    assert_eq!(cache.get_or_insert_with("new", || 9).unwrap(), 9, "it is loaded and not kept");
    assert!(!cache.contains("new").unwrap());
    assert_eq!(cache.len().unwrap(), 1);
    assert_eq!(cache.iter().count(), 1);
    cache.checkpoint().unwrap();
}

#[test]
fn a_read_only_handle_changes_nothing() {
    let (dir, path) = store();
    filled(&path);
    let before = crate::contents(&path);
    let cache = Numbers::builder(&path).read_only(true).maintenance(Maintenance::Manual).open().unwrap();
    check_no_writes(&path, &cache);
    assert!(cache.verify().unwrap().is_clean());
    cache.backup(dir.path().join("copy")).unwrap();
    // A namespace that is not there is empty, and stays away.
    let other = Numbers::builder(&path).read_only(true).namespace("other").open().unwrap();
    assert!(other.is_empty().unwrap());
    assert!(other.insert("key", &1).unwrap_err().is_read_only());
    for handle in [cache, other] {
        handle.close().unwrap();
    }
    assert!(before == crate::contents(&path));
    let copy = Numbers::builder(dir.path().join("copy")).open().unwrap();
    assert_eq!(copy.get("key").unwrap(), Some(1));
}

#[test]
fn a_read_only_open_of_nothing_makes_nothing() {
    let (dir, path) = store();
    let open = |path: &Path| Numbers::builder(path).read_only(true).open();
    let error = refused_untouched(dir.path(), || open(&path));
    assert!(matches!(&error, Error::NotFound { path: found } if *found == path), "{error:?}");
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    let error = refused_untouched(dir.path(), || open(&path));
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    fs::write(path.join("data.mdb"), "").unwrap();
    let error = refused_untouched(dir.path(), || open(&path));
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

/// Nobody is refused by permissions who is root, so the test proper runs as another user then.
#[test]
fn a_directory_that_may_not_be_written_can_be_read() {
    let (dir, path) = store();
    filled(&path);
    for file in fs::read_dir(&path).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
    }
    for dir in [dir.path(), &path] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let before = everything(&path);
    // The other user may not be able to get at the place where tests are built.
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(&program);
    child.args(["--exact", "permissions::as_somebody_who_may_only_read", "--ignored"]).env(STORE, &path);
    child.current_dir("/");
    if am_root() {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(before == everything(&path), "not even a lock file changed");
    for dir in [dir.path(), &path] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
#[ignore = "run by the test above, as another user"]
fn as_somebody_who_may_only_read() {
    let path = std::env::var_os(STORE).expect("the store to read");
    let path = Path::new(&path);
    let error = refused_untouched(path, || Numbers::builder(path).open());
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    let below = path.join("below");
    let error = refused_untouched(path, || Numbers::builder(&below).open());
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    let cache = Numbers::builder(path).read_only(true).open().unwrap();
    check_no_writes(path, &cache);
    let error = refused_untouched(path, || Numbers::builder(path).open());
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    assert!(cache.verify().unwrap().is_clean());
    cache.close().unwrap();

    // Who asks to read what may not be written, reads; and is told that it may not, and not that it did not want to.
    let cache = Numbers::builder(path).read_only_if_unwritable(true).open().unwrap();
    check_no_writes(path, &cache);
    let error = cache.insert("key", &2).unwrap_err();
    assert!(error.is_read_only() && error.to_string().contains("may not write"), "{error}");
    cache.close().unwrap();
}

/// Only root can give a directory away; for others the rule itself is tested beside its code.
#[test]
fn a_store_of_another_user_is_refused_unless_trusted() {
    let (_dir, path) = store();
    filled(&path);
    if !am_root() {
        return;
    }
    chown(&path, Some(12_345), None).unwrap();
    for read_only in [false, true] {
        let error = refused_untouched(&path, || Numbers::builder(&path).read_only(read_only).open());
        assert!(matches!(error, Error::ForeignOwner { owner: 12_345, user: 0, .. }), "{error:?}");
        assert!(error.to_string().contains("allow_foreign_owner"), "{error}");
    }
    let cache = Numbers::builder(&path).allow_foreign_owner(true).open().unwrap();
    assert_eq!(cache.get("key").unwrap(), Some(1));
    cache.insert("key", &2).unwrap();
}
