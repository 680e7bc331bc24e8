//! Data files that are made beside the present one, in directories of their own, until they are put in place.
//!
//! That of a new store, too, gets its name when all of it is on the disk. LMDB would write its first pages under that name,
//! and of these a power loss can leave any part, which nothing could tell from damage.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::data_path;
use super::position::Point;
use super::rewrite::Rewrite;
use crate::error::{Error, Result};
use crate::store::directory::making::{COMPACTED, REENCRYPTED, REPAIRED};
use crate::store::directory::store_dir::StoreDir;

/// Where the file of a new store is made.
const CREATED: &str = "create.tmp";
/// What can be left of those that were not put in place.
pub(super) const UNFINISHED: [&str; 4] = [CREATED, COMPACTED, REENCRYPTED, REPAIRED];

/// Removes what was not finished. The caller is the only process, and nothing depends on whether it can.
pub(super) fn forget_unfinished(dir: &Path) {
    for name in UNFINISHED {
        if let Err(error) = forget(&dir.join(name)) {
            tracing::debug!(%error, store = %dir.display(), "{name} stays beside the data file");
        }
    }
}

/// Puts a data file into a directory that says nothing but where the log begins. The caller is the only process.
pub(super) fn make_data(dir: &StoreDir, map_size: usize) -> Result<()> {
    make(dir, &dir.path().join(CREATED), map_size)?;
    forget_unfinished(dir.path());
    Ok(())
}

fn make(dir: &StoreDir, making: &Path, map_size: usize) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |e| Error::io("making the data file", e);
    fs::DirBuilder::new().mode(0o700).create(making).map_err(failed)?;
    let new = Rewrite::with_map_size(making, map_size)?;
    new.batch().finish(&Point::origin(0).encode())?;
    new.sync()?;
    fs::rename(data_path(making), data_path(dir.path())).map_err(failed)?;
    dir.sync().map_err(failed)
}

fn forget(making: &Path) -> Result<()> {
    match fs::remove_dir_all(making) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("removing an unfinished data file", e)),
        _ => Ok(()),
    }
}
