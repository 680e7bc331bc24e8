//! Advisory locks on small files beside the data: who uses the store, and whose turn it is.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::backend::lmdb::byte_lock;
use crate::error::{Error, Result};

/// The byte that marked openings have locked together.
const MARK: u64 = 1 << 40;

/// A file that exists only to be locked with `flock`.
///
/// The lock belongs to this one opening of the file: another `LockFile` of the same file, in this process or another,
/// is somebody else. The kernel drops it when the last descriptor of the opening is closed, however the process ends;
/// a forked child holds such a descriptor too.
///
/// Going from shared to exclusive or back is not atomic: the old lock can be lost in between, also when the attempt
/// returns `false` or an error.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

/// How long another process may keep a lock: it opens, closes or replaces the store's files meanwhile, and each of that
/// takes seconds at most, but for the rewriting of a large store.
const LIMIT: Duration = Duration::from_secs(120);
/// When the log tells of it.
const PATIENCE: Duration = Duration::from_secs(2);

impl LockFile {
    /// Opens the lock file `name` in `dir`, unlocked. `None` when there is none and `create` is false.
    ///
    /// A new file is for its owner only. One that may not be written is opened for reading, which is enough to lock it.
    pub(crate) fn open(dir: &Path, name: &str, create: bool) -> Result<Option<LockFile>> {
        let path = dir.join(name);
        let writable = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC)
            .open(&path);
        let opened = match writable {
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                match OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC).open(&path) {
                    // Creating was refused, and that is what the caller asked for.
                    Err(missing) if create && missing.kind() == ErrorKind::NotFound => Err(error),
                    opened => opened,
                }
            }
            opened => opened,
        };
        match opened {
            Ok(file) => Ok(Some(LockFile { file, path })),
            Err(error) if !create && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("opening a lock file of the store", error)),
        }
    }

    /// Takes the lock together with other shared holders; waits for an exclusive one.
    pub(crate) fn shared(&self) -> Result<()> {
        self.wait(FlockOperation::NonBlockingLockShared)
    }

    /// Takes the lock together with other shared holders; `false` when it is held exclusively.
    #[cfg(test)]
    fn try_shared(&self) -> Result<bool> {
        self.lock(FlockOperation::NonBlockingLockShared)
    }

    /// Takes the lock alone; waits for all other holders.
    pub(crate) fn exclusive(&self) -> Result<()> {
        self.wait(FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock alone; `false` when somebody else holds it.
    pub(crate) fn try_exclusive(&self) -> Result<bool> {
        self.lock(FlockOperation::NonBlockingLockExclusive)
    }

    /// Marks this opening as that of a process that shares more than the lock. Returns whether no other one is marked.
    pub(crate) fn mark(&self) -> Result<bool> {
        let first = byte_lock::try_lock(&self.file, MARK)?;
        match byte_lock::try_share(&self.file, MARK)? {
            true => Ok(first),
            false => Err(Error::io("locking the store", ErrorKind::WouldBlock)),
        }
    }

    /// Gives the lock back, also for descriptors that a forked child inherited.
    fn unlock(&self) -> Result<()> {
        self.lock(FlockOperation::Unlock).map(drop)
    }

    /// Tries again and again, since a wait in the kernel has no limit, and hears of no Ctrl-C that another thread is told of.
    fn wait(&self, operation: FlockOperation) -> Result<()> {
        let (since, mut nap, mut told) = (Instant::now(), Duration::from_micros(100), false);
        while !self.lock(operation)? {
            crate::waiting::go_on_waiting()?;
            if since.elapsed() > LIMIT {
                let detail = "another process has been opening, closing or rewriting it for two minutes; it may be \
                              stopped: let it go on, or end it";
                let store = self.path.parent().unwrap_or(&self.path);
                return Err(Error::Busy { path: store.to_owned(), detail: detail.into() });
            }
            if !told && since.elapsed() > PATIENCE {
                told = true;
                tracing::warn!(lock = %self.path.display(), "waiting for a process that opens, closes or rewrites the store");
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(10));
        }
        Ok(())
    }

    fn lock(&self, operation: FlockOperation) -> Result<bool> {
        loop {
            match flock(&self.file, operation) {
                Ok(()) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(error) => return Err(Error::io("locking the store", error)),
            }
        }
    }
}

impl AsRawFd for LockFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Closing the descriptor alone would not do: a forked child that never used it still holds a copy, and with it the lock.
impl Drop for LockFile {
    fn drop(&mut self) {
        byte_lock::unlock(&self.file, MARK);
        if let Err(error) = self.unlock() {
            tracing::warn!(%error, "cannot release a lock");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn two() -> (tempfile::TempDir, LockFile, LockFile) {
        let dir = tempfile::tempdir().unwrap();
        let a = LockFile::open(dir.path(), "lock", true).unwrap().unwrap();
        let b = LockFile::open(dir.path(), "lock", true).unwrap().unwrap();
        (dir, a, b)
    }

    #[test]
    fn exclusive_excludes_all_and_shared_only_exclusive() {
        let (_dir, a, b) = two();
        assert!(a.try_exclusive().unwrap());
        assert!(!b.try_exclusive().unwrap());
        assert!(!b.try_shared().unwrap());
        a.unlock().unwrap();
        a.shared().unwrap();
        assert!(b.try_shared().unwrap());
        assert!(!b.try_exclusive().unwrap());
        a.unlock().unwrap();
        assert!(b.try_exclusive().unwrap());
    }

    #[test]
    fn dropping_the_file_gives_the_lock_back() {
        let (_dir, a, b) = two();
        a.exclusive().unwrap();
        assert!(!b.try_shared().unwrap());
        drop(a);
        assert!(b.try_exclusive().unwrap());
    }

    #[test]
    fn waiting_ends_when_the_holder_unlocks() {
        let (_dir, a, b) = two();
        a.exclusive().unwrap();
        let (send, receive) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            b.exclusive().unwrap();
            send.send(()).unwrap();
        });
        assert!(receive.recv_timeout(Duration::from_millis(50)).is_err());
        a.unlock().unwrap();
        receive.recv_timeout(Duration::from_secs(20)).unwrap();
        waiter.join().unwrap();
    }

    #[test]
    fn a_missing_file_is_none_unless_created_and_private_when_it_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(LockFile::open(dir.path(), "lock", false).unwrap().is_none());
        let made = LockFile::open(dir.path(), "lock", true).unwrap().unwrap();
        assert_eq!(made.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(LockFile::open(dir.path(), "lock", false).unwrap().is_some());
        let nowhere = dir.path().join("nowhere");
        assert!(LockFile::open(&nowhere, "lock", true).is_err());
    }

    #[test]
    fn a_file_that_may_not_be_written_can_still_be_locked() {
        let (dir, a, _) = two();
        std::fs::set_permissions(dir.path().join("lock"), PermissionsExt::from_mode(0o400)).unwrap();
        let reader = LockFile::open(dir.path(), "lock", false).unwrap().unwrap();
        assert!(reader.try_exclusive().unwrap());
        assert!(!a.try_shared().unwrap());
        // As a superuser would, who is never refused.
        let path = dir.path().join("lock");
        let reader = LockFile { file: File::open(&path).unwrap(), path };
        assert!(!reader.try_shared().unwrap());
    }
}
