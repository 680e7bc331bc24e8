//! The directory of a store as it was opened: what is done to its files is done there, whatever lies at its path by now.
//!
//! Locks on the directory itself show who has the store open. A file that is only locked could be removed, as an
//! empty one often is by those who clear up, and whoever made it anew would think to be alone.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::place::Identity;
use crate::error::{Error, Result};
use crate::store::process::opened::Opened;

#[derive(Debug)]
pub(crate) struct StoreDir {
    path: PathBuf,
    pub(in crate::store) directory: Opened,
}

impl StoreDir {
    pub(crate) fn open(path: &Path) -> Result<StoreDir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty());
        let directory = directory.map_err(|e| Error::io("opening the directory of the store", e))?;
        Ok(StoreDir { path: path.to_owned(), directory: Opened::new(File::from(directory))? })
    }

    /// For messages, and for what takes no directory that is open.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still what lies at its path.
    pub(in crate::store) fn is_current(&self) -> bool {
        let own = self.directory.metadata().map(|own| Identity::of(&own));
        own.is_ok_and(|own| Identity::at(&self.path) == Some(own))
    }

    pub(in crate::store) fn is_writable(&self) -> bool {
        rustix::fs::access(&self.path, rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// Opens a file, never through a symbolic link. A new one is for its owner only.
    pub(in crate::store) fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&*self.directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(file))
    }

    /// Opens a file of the store that can be trusted to be one: somebody else's kills whoever maps it by being cut off.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Damaged`] when it is not a regular file; [`Error::ForeignOwner`] when it is neither
    /// this user's, nor root's, nor of whom the directory or the data file is.
    pub(crate) fn open_own(&self, name: &str, flags: OFlags, context: &'static str) -> Result<File> {
        // Without waiting: a pipe would let nobody go on.
        let file = self.open_file(name, flags | OFlags::NONBLOCK).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOENT) => Error::NotFound { path: self.path.join(name) },
            Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => strange(name),
            _ => Error::io(context, e),
        })?;
        let found = file.metadata().map_err(|e| Error::io(context, e))?;
        if !found.is_file() {
            return Err(strange(name));
        }
        let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
        let of_the_store = || {
            let [data, _] = crate::store::backend::data_paths(Path::new(""));
            let data = rustix::fs::statat(&*self.directory, &data, AtFlags::SYMLINK_NOFOLLOW);
            self.directory.metadata().is_ok_and(|own| own.uid() == owner)
                || data.is_ok_and(|data| data.st_uid == owner)
        };
        if owner != user && owner != 0 && !of_the_store() {
            return Err(Error::ForeignOwner { path: self.path.join(name), owner, user });
        }
        Ok(file)
    }

    /// What lies there, be it a link.
    fn stat(&self, name: &str) -> Option<rustix::fs::Stat> {
        rustix::fs::statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Whether something lies there, be it a link.
    pub(in crate::store) fn has(&self, name: &str) -> bool {
        self.stat(name).is_some()
    }

    pub(in crate::store) fn is_empty_file(&self, name: &str) -> bool {
        self.stat(name).is_some_and(|found| {
            rustix::fs::FileType::from_raw_mode(found.st_mode).is_file() && found.st_size == 0
        })
    }

    /// Whether a file that is open is what lies there.
    pub(in crate::store) fn is_at(&self, name: &str, file: &Metadata) -> bool {
        self.stat(name).is_some_and(|found| Identity::of_stat(&found) == Identity::of(file))
    }

    /// Removes a file, if it is there. Those who map it go on reading it.
    pub(in crate::store) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&*self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that a file has on the disk; `None` if it is not there.
    pub(in crate::store) fn allocated(&self, name: &str) -> Option<u64> {
        u64::try_from(self.stat(name)?.st_blocks).ok().map(|blocks| blocks * 512)
    }

    /// Bytes that are free on the disk.
    pub(in crate::store) fn free_bytes(&self) -> u64 {
        let disk = rustix::fs::fstatvfs(&*self.directory);
        disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub(in crate::store) fn for_each_name(&self, mut each: impl FnMut(&OsStr)) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(&*self.directory)? {
            each(OsStr::from_bytes(entry?.file_name().to_bytes()));
        }
        Ok(())
    }

    /// Returns when names that were made or removed are so on the disk.
    pub(in crate::store) fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

impl AsFd for StoreDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn strange(name: &str) -> Error {
    Error::damaged(format!("{name:?} is not a file; remove it"))
}
