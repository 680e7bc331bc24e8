//! Whatever a program gives that cannot be: each is an error of its own kind that says what to do, and nothing is
//! written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "support/backend.rs"]
mod backend;
#[path = "bad_input/closed.rs"]
mod closed;
#[path = "bad_input/messages.rs"]
mod messages;
#[path = "bad_input/opening.rs"]
mod opening;
#[path = "bad_input/permissions.rs"]
mod permissions;
#[path = "bad_input/values.rs"]
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cachemere::{Error, Result};

pub(crate) fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

/// Every file below a directory with its bytes, and every directory; nothing if there is nothing.
pub(crate) fn everything(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let Ok(list) = fs::read_dir(dir) else { return found };
    for item in list {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

/// All that holds data. The control file is written by whoever looks into the store, even to refuse it: it is made anew by
/// the first who comes. Whether it exists counts.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = everything(dir);
    for (path, bytes) in &mut found {
        if path.file_name().is_some_and(|name| name == "control") {
            *bytes = None;
        }
    }
    found
}

/// The error of `work`, which must leave what holds data below `dir` as it is.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(dir: &Path, work: impl FnOnce() -> Result<T>) -> Error {
    let before = contents(dir);
    let error = work().expect_err("it is to be refused");
    let after = contents(dir);
    for path in before.keys().chain(after.keys()) {
        assert!(before.get(path) == after.get(path), "{} is another after: {error}", path.display());
    }
    error
}

/// As [`refused`], where not even a lock file may change or appear.
#[track_caller]
pub(crate) fn refused_untouched<T: std::fmt::Debug>(dir: &Path, work: impl FnOnce() -> Result<T>) -> Error {
    let before = everything(dir);
    let error = refused(dir, work);
    assert!(before == everything(dir), "something was touched by: {error}");
    error
}
