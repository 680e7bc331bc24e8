//! Whether a directory may become a store: a mistyped path must not scatter files among those of another program.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::backend::BackendKind;

/// Names that a store, or what is built on one, makes: locks, the log, what is put in place by a rename; and the data
/// itself, which another process may have made since it was looked for.
const OURS: [&str; 7] = ["control", "reserve", "token", "checkpoint", "lock.mdb", "data.mdb", "rocksdb"];
const OURS_BY_START: [&str; 2] = ["log-", "diskcache."];
const OURS_BY_END: [&str; 2] = [".lock", ".tmp"];
/// Names that say nothing about who uses a directory: of file systems, and of tools for backups.
const NOBODYS: [&str; 2] = ["lost+found", "CACHEDIR.TAG"];
/// Stores can lie in a store's directory, and theirs in directories of their own.
const DEPTH: usize = 4;

/// Refuses a directory without a store that has files of another program. Hidden names do not count.
pub(super) fn check(dir: &Path) -> Result<()> {
    let Ok(names) = fs::read_dir(dir) else {
        // Whoever may not list it may still use it.
        return Ok(());
    };
    let mut others = names.flatten().filter(|found| !is_allowed(&found.file_name(), &found.path()));
    let Some(first) = others.next() else { return Ok(()) };
    let detail = match others.count() {
        0 => format!("{:?}", first.file_name()),
        1 => format!("{:?} and 1 other name", first.file_name()),
        more => format!("{:?} and {more} other names", first.file_name()),
    };
    Err(Error::Foreign { path: dir.to_owned(), detail: detail.into() })
}

fn is_allowed(name: &OsStr, path: &Path) -> bool {
    let Some(name) = name.to_str() else { return false };
    name.starts_with('.')
        || NOBODYS.contains(&name)
        || OURS.contains(&name)
        || OURS_BY_START.iter().any(|start| name.starts_with(start))
        || OURS_BY_END.iter().any(|end| name.ends_with(end))
        || has_only_stores(path, DEPTH)
}

/// Whether a directory is a store, or has nothing but directories of which the same is true.
fn has_only_stores(path: &Path, depth: usize) -> bool {
    if BackendKind::found(path).is_some() {
        return true;
    }
    let is_directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let Some(depth) = depth.checked_sub(1).filter(|_| is_directory) else { return false };
    fs::read_dir(path).is_ok_and(|names| names.flatten().all(|found| has_only_stores(&found.path(), depth)))
}
