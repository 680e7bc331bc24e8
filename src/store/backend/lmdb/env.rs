//! The LMDB environment: opening it, and dropping it at the one moment when that is right.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use heed::types::Bytes;
use heed::{
    CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, WithTls,
};

use super::leaving::{self, Closing};
use crate::error::{Error, Result};

/// The one tree that holds everything.
pub(crate) type Tree = Database<'static, Bytes, Bytes>;

/// Reader slots in the lock file; whoever opens the store first decides.
pub(crate) const MAX_READERS: u32 = 1024;
/// The least bytes of LMDB's lock file: a slot of 64 bytes for each reader, behind what all share.
const LOCK_FILE: u64 = (MAX_READERS as u64 + 16) * 64;

/// An environment that is dropped with its owner, or before by [`abandon`](EnvSlot::abandon).
pub(crate) struct EnvSlot {
    env: ManuallyDrop<Env<WithTls>>,
    dropped: AtomicBool,
}

/// How LMDB itself brings commits to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LmdbSync {
    /// Not at all: checkpoints do.
    Never,
    /// The data at each commit, the meta page with the next one: where there is no boot id to tell a power loss by.
    Data,
}

impl EnvSlot {
    /// Opens the environment in `dir`, whose data file was checked before.
    ///
    /// The map is reserved address space, not memory. Where the system refuses so much, half is tried, down to 1 GiB.
    pub(crate) fn open(
        dir: &Path,
        map_size: usize,
        sync: LmdbSync,
        lock_free: bool,
    ) -> Result<(EnvSlot, Tree)> {
        leaving::prepare();
        let mut flags = match sync {
            LmdbSync::Never => EnvFlags::NO_SYNC,
            LmdbSync::Data => EnvFlags::NO_META_SYNC,
        };
        if lock_free {
            flags = EnvFlags::READ_ONLY | EnvFlags::NO_LOCK;
        }
        if !lock_free {
            reserve_reader_slots(dir)?;
        }
        let mut map_size = map_size;
        let env = loop {
            let mut options = EnvOpenOptions::new();
            options.map_size(map_size).max_readers(MAX_READERS);
            // SAFETY: NO_SYNC and NO_META_SYNC can only lose or damage data on power loss, which the checkpoints
            // prevent. NO_LOCK is used only to read a directory where this process cannot write, after making sure
            // that nobody writes; each read checks that nobody began to.
            unsafe { options.flags(flags) };
            // SAFETY: the file is not changed by other means than LMDB (the directory is ours alone, mode 0700), is on
            // a local file system, and its meta pages were checked.
            match unsafe { options.open(dir) } {
                Ok(env) => break env,
                Err(heed::Error::Io(e)) if e.raw_os_error() == Some(libc::ENOMEM) && map_size > (1 << 30) => {
                    map_size /= 2;
                }
                Err(e) => return Err(lmdb_error(e, "opening the store")),
            }
        };
        if !lock_free {
            // Snapshots of killed processes would keep pages from being reused, and slots from being taken.
            env.clear_stale_readers().map_err(|e| lmdb_error(e, "checking readers"))?;
        }
        let tree = open_tree(&env)?;
        Ok((EnvSlot { env: ManuallyDrop::new(env), dropped: AtomicBool::new(false) }, tree))
    }

    /// Drops the environment of a forked child's parent.
    ///
    /// # Safety
    ///
    /// Nothing may use the environment from now on. In a forked child that holds: the threads that used it do not
    /// exist, and the calling thread is not inside an operation.
    pub(crate) unsafe fn abandon(&self) {
        if !self.dropped.swap(true, Ordering::AcqRel) {
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
        if self.dropped.swap(true, Ordering::AcqRel) {
            return;
        }
        let closing = Closing::begin();
        if closing.is_settled() {
            // SAFETY: the flag makes this the only drop, and `&mut self` the last use.
            unsafe { ManuallyDrop::drop(&mut self.env) };
        } else {
            tracing::warn!("a thread that has read does not end; the files it has mapped stay open");
        }
    }
}

/// Opens a read transaction. When all reader slots are taken, those of killed processes are given back first.
pub(in crate::store) fn snapshot(env: &Env<WithTls>) -> heed::Result<RoTxn<'_, WithTls>> {
    leaving::watch_thread();
    match env.read_txn() {
        Err(heed::Error::Mdb(MdbError::ReadersFull)) => {
            env.clear_stale_readers()?;
            env.read_txn()
        }
        opened => opened,
    }
}

/// Copies the newest snapshot into a file.
pub(in crate::store) fn copy_to_file(
    env: &Env<WithTls>,
    file: &mut File,
    option: CompactionOption,
) -> heed::Result<()> {
    leaving::watch_thread();
    env.copy_to_file(file, option)
}

/// Gives the lock file all the room it needs, while this process does not have it open.
///
/// LMDB makes it by setting its length, and writes to it through a map: on a full disk, the first to touch one of its pages
/// would be killed.
fn reserve_reader_slots(dir: &Path) -> Result<()> {
    let failed = |error| Error::io("making room for the reader slots", error);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(dir.join("lock.mdb")).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    if let Some(missing) = LOCK_FILE.checked_sub(len).filter(|missing| *missing > 0) {
        file.write_all_at(&vec![0; missing as usize], len).map_err(failed)?;
    }
    Ok(())
}

/// What an error of LMDB while writing is about. It reports a write that was cut short by a full disk as an I/O error.
pub(crate) fn explain_short_write(error: Error, data: &File) -> Error {
    match error {
        Error::Io { ref source, .. } if source.raw_os_error() == Some(libc::EIO) && is_full(data) => {
            Error::DiskFull { context: "writing" }
        }
        error => error,
    }
}

/// Whether there is less room than LMDB writes at once. (The write that was cut short has taken what there was.)
fn is_full(data: &File) -> bool {
    const AT_ONCE: u64 = 64 * 4096;
    let disk = rustix::fs::fstatvfs(data);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    let len = data.metadata().map_or(0, |data| data.len());
    disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < AT_ONCE)
        || limit.is_some_and(|limit| limit < len.saturating_add(AT_ONCE))
}

fn open_tree(env: &Env<WithTls>) -> Result<Tree> {
    let context = "opening the store";
    let txn = snapshot(env).map_err(|e| lmdb_error(e, context))?;
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let tree = opened.map_err(|e| lmdb_error(e, context))?.commit().flatten();
    tree.ok_or_else(|| Error::damaged("the main tree is missing"))
}

/// Turns LMDB's errors into ours.
pub(crate) fn lmdb_error(error: heed::Error, context: &'static str) -> Error {
    match error {
        heed::Error::Io(e) => Error::io(context, e),
        heed::Error::Mdb(e) => match e {
            MdbError::MapFull => Error::StoreFull { limit: 0, detail: "no page is free".into() },
            MdbError::ReadersFull => Error::ReadersFull { slots: MAX_READERS },
            MdbError::MapResized => Error::Io {
                context: "another process opened this store with a larger map and filled it: open it again"
                    .into(),
                source: std::io::ErrorKind::OutOfMemory.into(),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn opened() -> (tempfile::TempDir, EnvSlot, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let (env, tree) = EnvSlot::open(dir.path(), 16 << 20, LmdbSync::Never, false).unwrap();
        (dir, env, tree)
    }

    fn commit(env: &EnvSlot, tree: Tree, value: &[u8]) -> u64 {
        let mut txn = env.write_txn().unwrap();
        tree.put(&mut txn, b"key", value).unwrap();
        let id = txn.id() as u64;
        txn.commit().unwrap();
        id
    }

    #[test]
    fn the_token_is_the_last_committed_transaction_and_the_snapshot_of_the_next_read() {
        let (_dir, env, tree) = opened();
        for n in 0..10u8 {
            let id = commit(&env, tree, &[n]);
            assert_eq!(env.info().last_txn_id as u64, id);
            let txn = env.read_txn().unwrap();
            assert_eq!(txn.id() as u64, id);
            assert_eq!(tree.get(&txn, b"key").unwrap(), Some(&[n][..]));
            drop(txn);
            // An abandoned transaction moves nothing.
            env.write_txn().unwrap().abort();
            assert_eq!(env.info().last_txn_id as u64, id);
        }
    }

    /// Why the front tags what it holds with the snapshot's own number: LMDB publishes a commit's meta page, from which
    /// the token is read, before the number from which readers take their snapshot. Between the two a read that begins
    /// sees the older snapshot although the token is the newer one already.
    #[test]
    #[allow(clippy::print_stdout)]
    fn the_token_can_be_ahead_of_a_snapshot_opened_after_it_was_read_but_never_behind() {
        let (_dir, env, tree) = opened();
        let done = AtomicBool::new(false);
        // The newest transaction whose commit has returned.
        let returned = AtomicU64::new(commit(&env, tree, b"0"));
        // The snapshot that was read last. One that is kept open, by a thread that does not get to run, keeps pages from
        // being reused, and about 1400 commits fill the map: so the writer stays less than 100 ahead.
        let seen = AtomicU64::new(returned.load(Ordering::SeqCst));
        let (mut reads, mut ahead) = (0u64, 0u64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    if returned.load(Ordering::SeqCst) < seen.load(Ordering::SeqCst) + 100 {
                        returned.store(commit(&env, tree, b"value"), Ordering::SeqCst);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
            while std::time::Instant::now() < until || reads < 1000 {
                let promised = returned.load(Ordering::SeqCst);
                let before = env.info().last_txn_id as u64;
                let txn = env.read_txn().unwrap();
                let snapshot = txn.id() as u64;
                drop(txn);
                seen.store(snapshot, Ordering::SeqCst);
                let after = env.info().last_txn_id as u64;
                // A write that has returned is seen, by the token as by a snapshot, and no snapshot is newer than the
                // token is afterwards: so an item whose tag is the token holds what was committed last.
                assert!(before >= promised && snapshot >= promised, "{promised} {before} {snapshot}");
                assert!(snapshot <= after, "{snapshot} {after}");
                reads += 1;
                ahead += u64::from(before > snapshot);
            }
            done.store(true, Ordering::SeqCst);
        });
        // Whether the window is hit is up to the scheduler. A tag from the token would have been wrong so often.
        println!("{reads} reads; in {ahead} of them the token was ahead of the snapshot");
    }
}
