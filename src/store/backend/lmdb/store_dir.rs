//! The directory of a store as it was opened: what is done to its files is done there, whatever lies at its path by now.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::{Error, Result};

pub(super) struct StoreDir {
    path: PathBuf,
    directory: OwnedFd,
}

impl StoreDir {
    pub(super) fn open(path: &Path) -> Result<StoreDir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty());
        let directory = directory.map_err(|e| Error::io("opening the directory of the store", e))?;
        Ok(StoreDir { path: path.to_owned(), directory })
    }

    /// For messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file, never through a symbolic link. A new one is for its owner only.
    pub(super) fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(file))
    }

    /// Opens a file that is to be mapped: one that somebody else can cut off kills who maps it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Damaged`] when it is not a regular file; [`Error::ForeignOwner`] when it is neither
    /// this user's, nor root's, nor of whom the data file is.
    pub(super) fn open_own(&self, name: &str, flags: OFlags, context: &'static str) -> Result<File> {
        let strange = || Error::damaged(format!("{name:?} is not a file; remove it"));
        // Without waiting: a pipe would let nobody go on.
        let file = self.open_file(name, flags | OFlags::NONBLOCK).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOENT) => Error::NotFound { path: self.path.join(name) },
            Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => strange(),
            _ => Error::io(context, e),
        })?;
        let found = file.metadata().map_err(|e| Error::io(context, e))?;
        if !found.is_file() {
            return Err(strange());
        }
        let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
        let of_the_store = || {
            let data = rustix::fs::statat(&self.directory, super::DATA_NAME, AtFlags::empty());
            data.is_ok_and(|data| data.st_uid == owner)
        };
        if owner != user && owner != 0 && !of_the_store() {
            return Err(Error::ForeignOwner { path: self.path.join(name), owner, user });
        }
        Ok(file)
    }

    /// Removes a file, if it is there. Those who map it go on reading it.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that a file has on the disk; `None` if it is not there.
    pub(super) fn allocated(&self, name: &str) -> Option<u64> {
        let found = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(found.st_blocks).ok().map(|blocks| blocks * 512)
    }

    /// Bytes that are free on the disk.
    pub(super) fn free_bytes(&self) -> u64 {
        let disk = rustix::fs::fstatvfs(&self.directory);
        disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub(super) fn for_each_name(&self, mut each: impl FnMut(&OsStr)) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            each(OsStr::from_bytes(entry?.file_name().to_bytes()));
        }
        Ok(())
    }

    /// Returns when names that were made or removed are so on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        rustix::fs::fsync(&self.directory).map_err(io::Error::from)
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.directory.as_raw_fd()
    }
}

impl AsFd for StoreDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
