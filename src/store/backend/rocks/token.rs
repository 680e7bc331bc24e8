//! The sequence number of the last commit, where other processes can read it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::place::Place;

const NAME: &str = "token";

/// Eight bytes, little endian, in a file of their own. Read and written whole, which the kernel does not tear apart.
pub(super) struct Token {
    file: File,
    place: Place,
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

impl Token {
    pub(super) fn open(dir: &Path, writable: bool) -> Result<Token> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable).create(writable).truncate(false).mode(0o600);
        let opened = options.custom_flags(libc::O_CLOEXEC).open(dir.join(NAME));
        let file = opened.map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::damaged("the file \"token\" is missing; open the store once for writing")
            }
            _ => Error::io("opening the file \"token\"", e),
        })?;
        Ok(Token { place: Place::new(path(dir), &file)?, file })
    }

    pub(super) fn read(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).map_err(|e| Error::io("reading the file \"token\"", e))?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn write(&self, token: u64) -> Result<()> {
        let written = self.file.write_all_at(&token.to_le_bytes(), 0);
        written.map_err(|e| Error::io("writing the file \"token\"", e))
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
