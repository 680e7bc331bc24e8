//! Locks on single bytes of a file that belong to one opening of it: open file description locks.
//!
//! The kernel drops them with the last descriptor of the opening, however the process ends, and no process id plays a
//! part. Whatever else of the same file a process opens and closes makes no difference. A forked child shares its parent's
//! opening until it closes the copy.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use crate::error::{Error, Result};

type Kind = libc::c_short;

// Of other types on other systems.
const ALONE: Kind = libc::F_WRLCK as Kind;
const TOGETHER: Kind = libc::F_RDLCK as Kind;
const NONE: Kind = libc::F_UNLCK as Kind;

/// Takes the lock on a byte; `false` when another opening has it. The file must be open for writing.
pub(in crate::store) fn try_lock(file: &File, at: u64) -> Result<bool> {
    try_set(file, ALONE, at)
}

/// Takes the lock on a byte together with others, also in place of having it alone; `false` when another has it alone. Works
/// for directories, too.
pub(in crate::store) fn try_share(file: &File, at: u64) -> Result<bool> {
    try_set(file, TOGETHER, at)
}

/// Bytes of a range that another opening has locked, alone or with others; `None` when there are none.
pub(in crate::store) fn locked(file: &File, bytes: Range<u64>) -> Result<Option<Range<u64>>> {
    let mut range = range(ALONE, bytes.start, bytes.end - bytes.start);
    call(file, libc::F_OFD_GETLK, &mut range).map_err(|e| Error::io("looking for a lock", e))?;
    if range.l_type == NONE {
        return Ok(None);
    }
    let (start, len) = (range.l_start as u64, range.l_len as u64);
    // 0 is to the end of all files.
    let end = if len == 0 { bytes.end } else { start.saturating_add(len) };
    Ok(Some(start.max(bytes.start)..end.min(bytes.end)))
}

fn try_set(file: &File, kind: Kind, at: u64) -> Result<bool> {
    match call(file, libc::F_OFD_SETLK, &mut range(kind, at, 1)) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => Ok(false),
        Err(e) => Err(Error::io("taking a lock", e)),
    }
}

pub(in crate::store) fn unlock(file: &File, at: u64) {
    // Cannot fail on an open file with a valid range.
    if let Err(error) = call(file, libc::F_OFD_SETLK, &mut range(NONE, at, 1)) {
        tracing::warn!(%error, "cannot release a lock");
    }
}

fn range(kind: Kind, at: u64, len: u64) -> libc::flock {
    // SAFETY: all-zero is a valid `flock`, a plain C struct of integers; these locks require `l_pid` to be zero.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = at as libc::off_t;
    range.l_len = len as libc::off_t;
    range
}

fn call(file: &File, command: libc::c_int, range: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for as long as `file`, and `range` outlives the call.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut *range) } {
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

    #[test]
    fn what_others_have_locked_is_found_and_ones_own_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = [(); 2].map(|()| File::open(dir.path()).unwrap());
        assert!(try_share(&a, 7).unwrap() && try_share(&a, 8).unwrap() && try_share(&a, 20).unwrap());
        assert_eq!(locked(&a, 0..100).unwrap(), None);
        assert_eq!(locked(&b, 0..7).unwrap(), None);
        assert_eq!(locked(&b, 8..20).unwrap(), Some(8..9));
        assert_eq!(locked(&b, 9..100).unwrap(), Some(20..21));
        // Closing another opening of the file lets go of nothing.
        drop(File::open(dir.path()).unwrap());
        assert_eq!(locked(&b, 20..21).unwrap(), Some(20..21));
    }
}
