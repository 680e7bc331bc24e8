//! A directory that goes with its store.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::opening::random;
use super::process::fork;
use crate::error::{Error, Result};

/// A new directory, which is removed when this is dropped by the process that made it.
pub(crate) struct Temporary {
    dir: PathBuf,
    /// What a forked child has of it is the parent's.
    process: u64,
}

impl Temporary {
    /// Makes one where the system has its temporary files. Nobody else may look into it.
    pub(crate) fn make() -> Result<Temporary> {
        loop {
            let name = format!("cachemere-{:016x}", u64::from_le_bytes(random()?));
            let dir = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Temporary { dir, process: fork::process() }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("making a temporary directory", e)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.process != fork::process() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, directory = %self.dir.display(), "a temporary store could not be removed");
        }
    }
}
