//! Locks on single bytes of a file that belong to one opening of it: open file description locks.
//!
//! The kernel drops them with the last descriptor of the opening, however the process ends, and no process id plays a
//! part. A forked child shares its parent's opening until it closes the copy.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::error::{Error, Result};

/// Takes the lock on a byte; `false` when another opening has it.
pub(in crate::store) fn try_lock(file: &File, at: u64) -> Result<bool> {
    try_set(file, libc::F_WRLCK, at)
}

/// Takes the lock on a byte together with others, also in place of having it alone; `false` when another has it alone.
pub(in crate::store) fn try_share(file: &File, at: u64) -> Result<bool> {
    try_set(file, libc::F_RDLCK, at)
}

fn try_set(file: &File, kind: libc::c_int, at: u64) -> Result<bool> {
    match set(file, kind, at) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => Ok(false),
        Err(e) => Err(Error::io("taking a lock", e)),
    }
}

pub(in crate::store) fn unlock(file: &File, at: u64) {
    // Cannot fail on an open file with a valid range.
    if let Err(error) = set(file, libc::F_UNLCK, at) {
        tracing::warn!(%error, "cannot release a lock");
    }
}

fn set(file: &File, kind: libc::c_int, at: u64) -> io::Result<()> {
    // SAFETY: all-zero is a valid `flock`, a plain C struct of integers; these locks require `l_pid` to be zero.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = at as libc::off_t;
    range.l_len = 1;
    loop {
        // SAFETY: the descriptor is open for as long as `file`, and `range` outlives the call.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_belongs_to_one_opening_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).open(dir.path().join("lock")).unwrap()
        };
        let (a, b) = (open(), open());
        assert!(try_lock(&a, 7).unwrap() && try_lock(&a, 7).unwrap());
        assert!(!try_lock(&b, 7).unwrap() && try_lock(&b, 8).unwrap());
        unlock(&a, 7);
        assert!(try_lock(&b, 7).unwrap());
        drop(b);
        assert!(try_lock(&a, 7).unwrap() && try_lock(&a, 8).unwrap());
        // Shared, in place of alone.
        let c = open();
        assert!(!try_share(&c, 7).unwrap());
        assert!(try_share(&a, 7).unwrap() && try_share(&c, 7).unwrap());
        assert!(!try_lock(&c, 7).unwrap());
        unlock(&a, 7);
        assert!(try_lock(&c, 7).unwrap());
    }
}
