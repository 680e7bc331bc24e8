//! The LMDB environment: opening it, and dropping it at the one moment when that is right.
#![allow(unsafe_code)]

use std::fs::File;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, MdbError, WithTls};

use crate::error::{Error, Result};
use crate::store::directory::place::Identity;
use crate::store::process::fork::LIBRARY;

/// The one tree that holds everything.
pub(crate) type Tree = Database<'static, Bytes, Bytes>;

/// An environment that is dropped with its owner, or before by [`abandon`](EnvSlot::abandon).
pub(crate) struct EnvSlot {
    env: ManuallyDrop<Env<WithTls>>,
    dropped: AtomicBool,
    /// As it was asked for.
    map_size: usize,
}

/// What an environment is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// By many processes, which keep out of each other's way by the control file. A commit brings its pages to the disk
    /// before it writes the meta page; that one is synced by whoever commits.
    Shared,
    /// For looking at files that nobody writes to.
    ReadOnly,
    /// A copy that nobody else knows of, and that is synced when it is complete.
    Copy,
}

impl EnvSlot {
    /// Opens the environment in `dir`, whose data file was checked before.
    ///
    /// The map is reserved address space, not memory. Where the system refuses so much, half is tried, down to 1 GiB.
    pub(crate) fn open(dir: &Path, map_size: usize, purpose: Use) -> Result<(EnvSlot, Tree)> {
        // Never LMDB's own lock file: its table of readers is by process id, and its mutex can leave others asleep when a
        // process is killed.
        let flags = EnvFlags::NO_LOCK
            | match purpose {
                Use::Shared => EnvFlags::NO_META_SYNC,
                Use::ReadOnly => EnvFlags::READ_ONLY,
                Use::Copy => EnvFlags::NO_SYNC,
            };
        let mut reserved = with_room_to_fold(map_size);
        let env = loop {
            let mut options = EnvOpenOptions::new();
            options.map_size(reserved);
            // SAFETY: with NO_LOCK, whoever writes holds the gate and waits for the pins of readers, or is alone with the
            // files. With NO_META_SYNC a power loss can undo a commit, which the log still has until its meta page was
            // synced. A copy is thrown away unless it was synced.
            unsafe { options.flags(flags) };
            let opened = {
                let _library = LIBRARY.lock_briefly();
                // SAFETY: the file is not changed by other means than LMDB (the directory is ours alone, mode 0700), is on
                // a local file system, and its meta pages were checked.
                unsafe { options.open(dir) }
            };
            match opened {
                Ok(env) => break env,
                Err(heed::Error::Io(e)) if e.raw_os_error() == Some(libc::ENOMEM) && reserved > (1 << 30) => {
                    reserved /= 2;
                }
                Err(e) => return Err(lmdb_error(e, "opening the store")),
            }
        };
        let slot = EnvSlot { env: ManuallyDrop::new(env), dropped: AtomicBool::new(false), map_size };
        slot.close_on_exec()?;
        let tree = open_tree(&slot)?;
        Ok((slot, tree))
    }

    /// The data file as LMDB has it open, whatever lies at its path. Not kept: one descriptor is enough for a store.
    pub(super) fn data(&self) -> Result<File> {
        self.try_clone_inner_file().map_err(|e| lmdb_error(e, "looking at the data file"))
    }

    /// Keeps the data file from programs that this process turns into. LMDB, which says so of its other files, leaves that to
    /// whoever asks it for this one, and `heed` tells a copy of the descriptor only: it is the one with the same place in the
    /// file. (A program that another thread starts just now, by other means than `fork`, can have it still.)
    fn close_on_exec(&self) -> Result<()> {
        const PLACE: u64 = 0x6361_6368;
        let failed = |e: rustix::io::Errno| Error::io("opening the data file", e);
        let copy = self.data()?;
        rustix::fs::seek(&copy, rustix::fs::SeekFrom::Start(PLACE)).map_err(failed)?;
        let own = copy.metadata().map_err(|e| Error::io("opening the data file", e))?;
        let number = copy.as_raw_fd();
        // It was opened a moment ago, so its number is most likely near.
        for candidate in (0..number).rev().chain(number + 1..number + 65_536) {
            // SAFETY: not kept. If the number is of no file, or of one that another thread closes just now, the calls say so;
            // if it is of another file, it is not changed.
            let candidate = unsafe { BorrowedFd::borrow_raw(candidate) };
            let is_it = rustix::fs::fstat(candidate).is_ok_and(|found| {
                Identity::of_stat(&found) == Identity::of(&own) && rustix::fs::tell(candidate) == Ok(PLACE)
            });
            if is_it {
                return rustix::io::fcntl_setfd(candidate, rustix::io::FdFlags::CLOEXEC).map_err(failed);
            }
        }
        Ok(())
    }

    /// What an error of LMDB while writing is about. It reports a write that was cut short by a full disk as an I/O error.
    pub(super) fn failed(&self, error: heed::Error, context: &'static str) -> Error {
        if let heed::Error::Mdb(MdbError::MapFull) = error {
            return map_full(self.map_size as u64);
        }
        match lmdb_error(error, context) {
            Error::Io { ref source, .. } if source.raw_os_error() == Some(libc::EIO) && self.is_full() => {
                Error::DiskFull { context: "writing" }
            }
            error => error,
        }
    }

    /// Whether there is less room than LMDB writes at once. (The write that was cut short has taken what there was.)
    fn is_full(&self) -> bool {
        const AT_ONCE: u64 = 64 * 4096;
        let Ok(data) = self.data() else { return false };
        let disk = rustix::fs::fstatvfs(&data);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        let len = data.metadata().map_or(0, |data| data.len());
        disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < AT_ONCE)
            || limit.is_some_and(|limit| limit < len.saturating_add(AT_ONCE))
    }

    /// Drops the environment of a forked child's parent.
    ///
    /// # Safety
    ///
    /// Nothing may use the environment from now on. In a forked child that holds: the threads that used it do not
    /// exist, and the calling thread is not inside an operation.
    pub(crate) unsafe fn abandon(&self) {
        if !self.dropped.swap(true, Ordering::AcqRel) {
            let _library = LIBRARY.lock_briefly();
            // SAFETY: the flag makes this the only drop; the caller promises that nothing uses the environment later.
            drop(unsafe { std::ptr::read(&*self.env) });
        }
    }
}

impl Deref for EnvSlot {
    type Target = Env<WithTls>;

    fn deref(&self) -> &Env<WithTls> {
        &self.env
    }
}

impl Drop for EnvSlot {
    fn drop(&mut self) {
        if !self.dropped.swap(true, Ordering::AcqRel) {
            let _library = LIBRARY.lock_briefly();
            // SAFETY: the flag makes this the only drop, and `&mut self` the last use.
            unsafe { ManuallyDrop::drop(&mut self.env) };
        }
    }
}

/// A map that is full of records has room left in which they can be removed, and in which what was written before that was
/// known can be folded.
fn with_room_to_fold(map_size: usize) -> usize {
    map_size.saturating_add((map_size / 4).max(8 << 20)).next_multiple_of(64 << 10)
}

fn open_tree(env: &Env<WithTls>) -> Result<Tree> {
    let context = "opening the store";
    let txn = env.read_txn().map_err(|e| lmdb_error(e, context))?;
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let tree = opened.map_err(|e| lmdb_error(e, context))?.commit().flatten();
    tree.ok_or_else(|| Error::damaged("the main tree is missing"))
}

/// Of a data file that has as many bytes as it may.
pub(super) fn map_full(map_size: u64) -> Error {
    Error::StoreFull {
        limit: map_size,
        detail: "its data file has reached map_size; remove entries, or open it with a larger map_size"
            .into(),
    }
}

/// Turns LMDB's errors while reading into ours.
pub(crate) fn lmdb_error(error: heed::Error, context: &'static str) -> Error {
    match error {
        heed::Error::Io(e) => Error::io(context, e),
        heed::Error::Mdb(e) => match e {
            MdbError::MapResized => Error::Io {
                context: "another process has this store open with a larger map and filled it".into(),
                source: std::io::Error::other("open it again, with as large a map"),
            },
            MdbError::VersionMismatch => Error::damaged("the data file is of another LMDB version"),
            MdbError::Corrupted | MdbError::PageNotFound | MdbError::Invalid | MdbError::CursorFull => {
                Error::damaged(format!("LMDB found an impossible page while {context}"))
            }
            MdbError::Other(code) => Error::io(context, std::io::Error::from_raw_os_error(code)),
            other => {
                Error::Io { context: format!("{context}: LMDB").into(), source: std::io::Error::other(other) }
            }
        },
        other => Error::Io { context: context.into(), source: std::io::Error::other(other) },
    }
}
