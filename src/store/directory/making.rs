//! Making a directory, and having it on the disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Where compacted data are made.
pub(in crate::store) const COMPACTED: &str = "compact.tmp";
/// Where data with a new key are made.
pub(in crate::store) const REENCRYPTED: &str = "reencrypt.tmp";
/// Where the data of a repaired store are made, in its directory.
pub(in crate::store) const REPAIRED: &str = "repair.tmp";

/// Makes a directory, and those above it. What lies there already is refused: it could be a link to somewhere else.
pub(in crate::store) fn make_directory(dir: &Path) -> Result<()> {
    try_to_make_directory(dir).map_err(|e| Error::io("making a directory", e))
}

pub(in crate::store) fn try_to_make_directory(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    fs::DirBuilder::new().mode(0o700).create(dir)
}

pub(in crate::store) fn sync_directory(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| Error::io("syncing a directory", e))
}
