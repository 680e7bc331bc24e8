//! The sequence number of the last commit, where other processes can read it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::store::backend::kind::TOKEN_NAME as NAME;
use crate::store::directory::place::Place;
use crate::store::directory::store_dir::StoreDir;
use crate::store::process::opened::Opened;

/// Eight bytes, little endian, in a file of their own. Read and written whole, which the kernel does not tear apart.
pub(super) struct Token {
    file: Opened,
    place: Place,
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

impl Token {
    pub(super) fn open(dir: &StoreDir, writable: bool) -> Result<Token> {
        let flags = if writable { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDONLY };
        let file = match dir.open_own(NAME, flags, "opening the file \"token\"") {
            Err(Error::NotFound { .. }) => {
                return Err(Error::damaged("the file \"token\" is missing; open the store once for writing"));
            }
            opened => opened?,
        };
        Ok(Token { place: Place::new(path(dir.path()), &file)?, file: Opened::new(file)? })
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
}
