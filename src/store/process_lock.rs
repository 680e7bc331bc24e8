//! Locks between processes that die with their holder and are not inherited over a fork: POSIX record locks.
//!
//! The kernel forgets them when the process ends, however it ends. They belong to the whole process: threads of one
//! process must exclude each other by other means, and the file must be opened only once in a process, since closing
//! any descriptor of it drops all its locks (`fcntl(2)`).
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// A lock file of which single bytes are locked.
#[derive(Debug)]
pub(crate) struct ProcessLock {
    pub(super) file: File,
}

/// What came of waiting for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Locked {
    Yes,
    GivenUp,
    /// The kernel sees somebody who waits for a byte that this process holds.
    Deadlock,
}

impl ProcessLock {
    pub(crate) fn open(dir: &Path, name: &str) -> Result<ProcessLock> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(dir.join(name)).map_err(|e| Error::io("opening a lock file", e))?;
        Ok(ProcessLock { file })
    }

    /// Waits for the lock on the byte at `offset`. Asks whether to give up when a signal comes.
    pub(crate) fn lock(&self, offset: u64, gives_up: &dyn Fn() -> bool) -> Result<Locked> {
        loop {
            match self.set(libc::F_SETLKW, libc::F_WRLCK, offset) {
                Ok(()) => return Ok(Locked::Yes),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    if gives_up() {
                        return Ok(Locked::GivenUp);
                    }
                }
                Err(e) if e.raw_os_error() == Some(libc::EDEADLK) => return Ok(Locked::Deadlock),
                Err(e) => return Err(Error::io("waiting for a lock", e)),
            }
        }
    }

    /// Takes the lock on the byte at `offset` if no other process has it.
    pub(crate) fn try_lock(&self, offset: u64) -> Result<bool> {
        match self.set(libc::F_SETLK, libc::F_WRLCK, offset) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => Ok(false),
            Err(e) => Err(Error::io("taking a lock", e)),
        }
    }

    pub(crate) fn unlock(&self, offset: u64) {
        // Cannot fail on an open file with a valid range.
        if let Err(error) = self.set(libc::F_SETLK, libc::F_UNLCK, offset) {
            tracing::warn!(%error, "cannot release a lock");
        }
    }

    fn set(&self, command: libc::c_int, kind: libc::c_int, offset: u64) -> io::Result<()> {
        let range = range(kind, offset);
        // SAFETY: the descriptor is open for as long as `self.file`, and `range` outlives the call.
        match unsafe { libc::fcntl(self.file.as_raw_fd(), command, &range) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// One byte.
fn range(kind: libc::c_int, offset: u64) -> libc::flock {
    // SAFETY: all-zero is a valid `flock`, a plain C struct of integers.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = offset as libc::off_t;
    range.l_len = 1;
    range
}
