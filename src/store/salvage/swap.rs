//! Putting new data in the place of damaged ones, which are kept.
//!
//! The directory stays what it is, with its mode, its owner and what else lies in it. The damaged files get another name in a
//! directory beside it, without being copied; then one rename puts the new data file in place, and with it the damaged log
//! means nothing. So whoever is killed leaves the damaged store or the new one, and the damaged files in either case.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::backend::lmdb;
use crate::store::copy::{parent_of, remove_unfinished};
use crate::store::directory::making::sync_directory;
use crate::store::directory::store_dir::StoreDir;
use crate::store::fault;

/// Directories that can lie beside a store for the same reason.
const MOST_KEPT: u32 = 1000;

/// Puts the data file in `made` in the place of that of the store; returns where the files of the store are kept. The caller
/// has the gate, and nobody has the store open.
pub(super) fn put_in_place(dir: &StoreDir, made: &Path) -> Result<PathBuf> {
    let names = lmdb::files(dir)?;
    let kept = keep(dir.path(), &names)?;
    fault::point("the damaged files are kept");
    // By it the new data file would be changed.
    lmdb::forget_version_1(dir)?;
    fs::rename(lmdb::data_path(made), lmdb::data_path(dir.path()))
        .map_err(|e| Error::io("putting the new file in place", e))?;
    fault::point("a repaired store is in place");
    sync_directory(dir.path())?;
    // The new data file goes on from none of them. What stays the next process to open the store removes.
    lmdb::remove_log(dir)?;
    Ok(kept)
}

/// Gives the files of a store a second name, in a new directory beside it.
fn keep(store: &Path, names: &[String]) -> Result<PathBuf> {
    let failed = |e| Error::io("keeping the damaged files", e);
    let Some(name) = store.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Err(Error::invalid("path", "it has no last component"));
    };
    let beside = parent_of(store);
    let partial = beside.join(format!(".{name}.damaged.partial"));
    remove_unfinished(&partial)?;
    DirBuilder::new().mode(0o700).create(&partial).map_err(failed)?;
    for name in names {
        let (from, to) = (store.join(name), partial.join(name));
        // Where a file cannot have two names it is copied.
        match fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            kept => kept.map_err(failed)?,
        }
    }
    sync_directory(&partial)?;
    for number in 1..MOST_KEPT {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let kept = beside.join(format!("{name}.damaged{suffix}"));
        if fs::symlink_metadata(&kept).is_ok() {
            continue;
        }
        fs::rename(&partial, &kept).map_err(failed)?;
        sync_directory(beside)?;
        return Ok(kept);
    }
    let reason =
        format!("there are {MOST_KEPT} damaged stores beside it; remove those that are not needed any more");
    Err(Error::invalid("path", reason))
}
