//! A file that does nothing but take up room on the disk, so that there is some when the disk is full: for the record of
//! a transaction that only removes, and for folding it, after which there is more.

use std::io::ErrorKind;

use rustix::fs::OFlags;

use super::segment_file::allocate;
use crate::error::{Error, Result};
use crate::store::directory::store_dir::StoreDir;

pub(super) const NAME: &str = "reserve";

/// Sees to it that there is a reserve, where there is room for one, a smaller one where there is little.
pub(super) fn keep(dir: &StoreDir, size: u32) -> Result<()> {
    let file = match dir.open_file(NAME, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        // There is no room even for its name.
        Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
        opened => opened.map_err(|e| Error::io("keeping a reserve of room", e))?,
    };
    for part in [1, 2, 4] {
        match allocate(&file, size / part) {
            Ok(()) => return Ok(()),
            // Frees what was allocated in vain.
            Err(_) => drop(file.set_len(0)),
        }
    }
    release(dir).map(drop)
}

/// Gives up `bytes` of the reserve and returns `true`, unless less than half of `most` would be left.
pub(super) fn give(dir: &StoreDir, bytes: u32, most: u32) -> Result<bool> {
    let failed = |e| Error::io("giving up a reserve of room", e);
    let file = match dir.open_own(NAME, OFlags::WRONLY, "giving up a reserve of room") {
        Err(Error::NotFound { .. }) => return Ok(false),
        opened => opened?,
    };
    let left = file.metadata().map_err(failed)?.len().checked_sub(bytes.into());
    match left.filter(|left| *left >= u64::from(most / 2)) {
        Some(left) => file.set_len(left).map(|()| true).map_err(failed),
        None => Ok(false),
    }
}

/// Gives up the reserve. Returns `true` if there was one.
pub(super) fn release(dir: &StoreDir) -> Result<bool> {
    let was_there = dir.allocated(NAME).is_some();
    dir.remove(NAME).map_err(|e| Error::io("giving up a reserve of room", e))?;
    Ok(was_there)
}

/// Bytes that the reserve takes on the disk.
pub(super) fn bytes(dir: &StoreDir) -> u64 {
    dir.allocated(NAME).unwrap_or(0)
}
