//! Locks among processes: who has a store open, whose turn it is to open it, and what one process does for all.
//!
//! | where | what |
//! |---|---|
//! | the directory, `flock` | the gate |
//! | the directory, shared locks on bytes | members: who has the store open, and in which role |
//! | the file `control`, locks on bytes | whose slot it is, who sweeps, who loads which key |
//!
//! A directory cannot be opened for writing, so nobody can have a byte of it alone. That is not needed: nobody becomes a
//! member without the gate, so who has it and sees no other member is alone.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::byte_lock;
use super::holder;
use super::store_dir::StoreDir;
use crate::error::{Error, Result};
use crate::store::process::opened::Opened;

/// How long another process may keep the gate: it opens, closes or replaces the store's files meanwhile, and each of that
/// takes seconds at most, but for the rewriting of a large store.
const LIMIT: Duration = Duration::from_secs(120);
/// When the log tells of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The right to open a store, close it or replace its files. Waited for by all others who want that.
#[derive(Debug)]
pub(crate) struct Gate {
    dir: Arc<StoreDir>,
}

impl Gate {
    /// Waits for the gate. It belongs to this one opening of the directory.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when somebody has it for two minutes.
    pub(crate) fn close(dir: &Arc<StoreDir>) -> Result<Gate> {
        let (since, mut nap, mut told) = (Instant::now(), Duration::from_micros(100), false);
        // Again and again, since a wait in the kernel has no limit, and hears of no Ctrl-C that another thread is told of.
        loop {
            match flock(&*dir.directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Gate { dir: dir.clone() }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(Error::io("locking the store", error)),
            }
            crate::waiting::go_on_waiting()?;
            if since.elapsed() > LIMIT {
                let detail = format!(
                    "another process{} has been opening, closing or rewriting it for two minutes; it may be stopped: let \
                     it go on, or end it",
                    holder::named(&dir.directory)
                );
                return Err(Error::Busy { path: dir.path().to_owned(), detail: detail.into() });
            }
            if !told && since.elapsed() > PATIENCE {
                told = true;
                let process = holder::of(&dir.directory);
                tracing::warn!(process, store = %dir.path().display(), "waiting for a process that opens, closes or rewrites the store");
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(10));
        }
    }

    /// Waits for the gate of the directory that lies at a path, which is opened unless it is the one that is open already.
    pub(crate) fn of(path: &Path, present: Option<&Arc<StoreDir>>) -> Result<(Gate, Arc<StoreDir>)> {
        loop {
            let dir = match present.filter(|present| present.is_current()) {
                Some(present) => present.clone(),
                None => Arc::new(StoreDir::open(path)?),
            };
            let gate = Gate::close(&dir)?;
            // Else it was moved away or replaced while somebody else had the gate.
            if dir.is_current() {
                return Ok((gate, dir));
            }
        }
    }
}

/// Closing the descriptor alone would not do, also below: somebody who was forked without the C library's knowledge may hold
/// a copy.
impl Drop for Gate {
    fn drop(&mut self) {
        if let Err(error) = flock(&*self.dir.directory, FlockOperation::Unlock) {
            tracing::warn!(%error, "cannot release a lock");
        }
    }
}

/// What a member of a store does with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It has the store open.
    User,
    /// It takes part in what the processes share in memory. Who cannot write to the directory does not.
    Partner,
    /// It is the one that writes, with RocksDB.
    #[cfg(feature = "rocksdb")]
    Writer,
}

impl Role {
    fn at(self) -> u64 {
        self as u64
    }
}

/// That this process has a store open.
#[derive(Debug)]
pub(crate) struct Member {
    dir: Arc<StoreDir>,
}

impl Member {
    /// The caller has the gate, also below.
    pub(crate) fn join(dir: &Arc<StoreDir>) -> Result<Member> {
        let member = Member { dir: dir.clone() };
        member.become_one(Role::User)?;
        Ok(member)
    }

    /// Whether no other process has this role.
    pub(crate) fn is_only(&self, role: Role) -> Result<bool> {
        Ok(byte_lock::locked(&self.dir.directory, role.at()..role.at() + 1)?.is_none())
    }

    pub(crate) fn become_one(&self, role: Role) -> Result<()> {
        match byte_lock::try_share(&self.dir.directory, role.at())? {
            true => Ok(()),
            false => Err(Error::io("locking the store", std::io::ErrorKind::WouldBlock)),
        }
    }

    pub(crate) fn dir(&self) -> &Arc<StoreDir> {
        &self.dir
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for at in 0..3 {
            byte_lock::unlock(&self.dir.directory, at);
        }
    }
}

/// The file of a store whose bytes are locked, as this process has it open: one opening, for as long as the store is open or
/// somebody in it loads a value. In a store in LMDB it is the control file, too.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: Opened,
    dir: Arc<StoreDir>,
}

/// Locked by who removes what has expired.
pub(crate) const SWEEPER: u64 = 1 << 41;

impl LockFile {
    pub(crate) const NAME: &str = "control";

    /// Opens it, unless what is open already is still what lies there.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is none and `create` is false, and those of [`StoreDir::open_own`].
    pub(crate) fn open(
        dir: &Arc<StoreDir>,
        present: Option<&Arc<LockFile>>,
        create: bool,
    ) -> Result<Arc<LockFile>> {
        let is_there = |file: &File| file.metadata().is_ok_and(|file| dir.is_at(LockFile::NAME, &file));
        if let Some(present) = present.filter(|present| is_there(&present.file)) {
            return Ok(present.clone());
        }
        let flags = if create { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDWR };
        let file = dir.open_own(LockFile::NAME, flags, "opening the control file")?;
        Ok(Arc::new(LockFile { file: Opened::new(file)?, dir: dir.clone() }))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn dir(&self) -> &Arc<StoreDir> {
        &self.dir
    }

    pub(crate) fn try_lock(&self, at: u64) -> Result<bool> {
        byte_lock::try_lock(&self.file, at)
    }

    pub(crate) fn unlock(&self, at: u64) {
        byte_lock::unlock(&self.file, at);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn two() -> (tempfile::TempDir, Arc<StoreDir>, Arc<StoreDir>) {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = [(); 2].map(|()| Arc::new(StoreDir::open(dir.path()).unwrap()));
        (dir, a, b)
    }

    #[test]
    fn one_has_the_gate_and_the_next_gets_it() {
        let (_dir, a, b) = two();
        let gate = Gate::close(&a).unwrap();
        let (send, receive) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            send.send(Gate::close(&b).unwrap()).unwrap();
        });
        assert!(receive.recv_timeout(Duration::from_millis(50)).is_err());
        drop(gate);
        receive.recv_timeout(Duration::from_secs(20)).unwrap();
        waiter.join().unwrap();
    }

    #[test]
    fn the_gate_is_that_of_what_lies_at_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        std::fs::create_dir(&path).unwrap();
        let (gate, old) = Gate::of(&path, None).unwrap();
        let opener = std::thread::spawn({
            let path = path.clone();
            move || Gate::of(&path, None).unwrap()
        });
        std::thread::sleep(Duration::from_millis(50));
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        std::fs::create_dir(&path).unwrap();
        drop(gate);
        let (_gate, new) = opener.join().unwrap();
        assert!(new.is_current() && !old.is_current());
    }

    #[test]
    fn members_see_each_other_until_they_go() {
        let (_dir, a, b) = two();
        let first = Member::join(&a).unwrap();
        assert!(first.is_only(Role::User).unwrap() && first.is_only(Role::Partner).unwrap());
        first.become_one(Role::Partner).unwrap();
        let second = Member::join(&b).unwrap();
        assert!(!second.is_only(Role::User).unwrap() && !second.is_only(Role::Partner).unwrap());
        assert!(!first.is_only(Role::User).unwrap() && first.is_only(Role::Partner).unwrap());
        drop(first);
        assert!(second.is_only(Role::User).unwrap() && second.is_only(Role::Partner).unwrap());
        // The directory is still open.
        assert!(a.is_current());
    }

    #[test]
    fn the_lock_file_is_opened_once_and_anew_when_it_was_replaced() {
        let (dir, a, _) = two();
        assert!(matches!(LockFile::open(&a, None, false), Err(Error::NotFound { .. })));
        let first = LockFile::open(&a, None, true).unwrap();
        assert!(Arc::ptr_eq(&LockFile::open(&a, Some(&first), false).unwrap(), &first));
        std::fs::remove_file(dir.path().join(LockFile::NAME)).unwrap();
        assert!(LockFile::open(&a, Some(&first), false).is_err());
        assert!(!Arc::ptr_eq(&LockFile::open(&a, Some(&first), true).unwrap(), &first));
    }
}
