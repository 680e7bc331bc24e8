//! Whether a directory may become a store: a mistyped path must not scatter files among those of another program.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::backend::{BackendKind, is_own_name};
use crate::error::{Error, Result};

/// How the names begin that what is built on a store makes beside it: Python's facade for diskcache.
const BUILT_ON_OURS: &str = "diskcache.";
/// Names that say nothing about who uses a directory: of file systems, of tools for backups, and of who locks what others use.
const NOBODYS: [&str; 2] = ["lost+found", "CACHEDIR.TAG"];
const NOBODYS_END: &str = ".lock";
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
        || name.ends_with(NOBODYS_END)
        // The data, too, which another process may have made since it was looked for.
        || is_own_name(name)
        || name.starts_with(BUILT_ON_OURS)
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
