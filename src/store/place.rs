//! Which store lies at a path: the same path can have another one later, and a store can have several paths.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What tells a file from all others, as long as somebody has it open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of the file at a path, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Identity> {
        std::fs::metadata(path).ok().map(|file| Identity { device: file.dev(), inode: file.ino() })
    }
}

/// A file of a store that is open, and the path where it was found.
#[derive(Debug)]
pub(crate) struct Place {
    file: PathBuf,
    name: CString,
    identity: Identity,
}

impl Place {
    pub(crate) fn new(path: PathBuf, file: &File) -> Result<Place> {
        let failed = |e| Error::io("looking at the files of the store", e);
        let found = file.metadata().map_err(failed)?;
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid("path", "it has a zero byte"))?;
        Ok(Place { file: path, name, identity: Identity { device: found.dev(), inode: found.ino() } })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the file is still what lies at the path: half a microsecond, for one system call.
    pub(crate) fn is_current(&self) -> bool {
        let found = rustix::fs::stat(&self.name);
        found.is_ok_and(|found| Identity { device: found.st_dev, inode: found.st_ino } == self.identity)
    }

    /// The error for who would write to a store that is not there any more.
    pub(crate) fn check(&self) -> Result<()> {
        match self.is_current() {
            true => Ok(()),
            false => Err(Error::Gone { path: self.file.parent().unwrap_or(&self.file).to_owned() }),
        }
    }
}
