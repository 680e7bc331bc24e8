//! RocksDB as the backend: one process writes, others follow it, and writes are appended instead of put in place.
//!
//! The database lies in the directory `rocksdb` of the store. The writing process has it open as the primary; the others
//! have *secondaries*, which read the primary's files and log. After each commit the primary writes its sequence number
//! to the file `token`, and a secondary that finds a newer one there than it has seen catches up before it reads: so
//! a read that starts after a write has returned sees it, at the price of a system call.

mod batch;
mod engine;
mod options;
mod records;
mod token;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::time::Instant;

use bumpalo::Bump;
use rocksdb::{DB, Snapshot};

pub(crate) use self::batch::Batch;
pub(crate) use self::records::{Records, View};
use self::token::Token;
pub(crate) use self::token::path as token_path;
use super::{Backend, Opened, ReadTxn, WriteTxn, rocks_path};
use crate::clock::ClockSource;
use crate::error::{Error, Result};
use crate::store::config::Config;
use crate::store::directory::locks::{LockFile, Member, Role as MemberRole};
use crate::store::directory::store_dir::StoreDir;
use crate::store::process::forked_exit;

pub(crate) struct Rocks {
    role: Role,
    db: DB,
    token: Token,
    dir: PathBuf,
}

enum Role {
    Primary {
        /// Whether anything was committed since the log was last synced.
        written: AtomicBool,
        synced: Mutex<Instant>,
    },
    Secondary {
        /// The newest token that this process has caught up with. The lock keeps readers and catching up apart: a
        /// secondary has no snapshots.
        seen: AtomicU64,
        reading: RwLock<()>,
    },
}

/// See [`Backend::open`].
pub(super) fn open(
    config: &Config,
    read_only: bool,
    member: &Member,
    kept: Option<&Arc<LockFile>>,
) -> Result<Opened> {
    let dir = member.dir();
    let is_alone = member.is_only(MemberRole::User)?;
    let rocks = match read_only {
        true => Rocks::follow(dir)?,
        false => Rocks::open(member, config.clock.clone())?,
    };
    let locks = dir.is_writable().then(|| LockFile::open(dir, kept, true)).transpose()?;
    Ok(Opened { backend: Backend::Rocks(rocks), locks, is_alone })
}

impl Rocks {
    /// Opens the database of a store as the only one that writes, and makes it if there is none. The caller has the gate.
    fn open(member: &Member, clock: ClockSource) -> Result<Rocks> {
        let dir = member.dir();
        if !member.is_only(MemberRole::Writer)? {
            return Err(Error::Busy {
                path: dir.path().to_owned(),
                detail:
                    "another process has it open for writing, and a store in RocksDB has one writer; open it \
                         read-only, or use the backend LMDB, which has many"
                        .into(),
            });
        }
        member.become_one(MemberRole::Writer)?;
        forked_exit::prepare();
        let path = rocks_path(dir.path());
        if path.symlink_metadata().is_err() {
            crate::store::directory::making::make_directory(&path)?;
        }
        refuse_strange(&path)?;
        let db =
            DB::open(&options::primary(clock), &path).map_err(|e| rocks_error(e, "opening the store"))?;
        let token = Token::open(dir, true)?;
        token.write(db.latest_sequence_number())?;
        let role = Role::Primary { written: AtomicBool::new(false), synced: Mutex::new(Instant::now()) };
        Ok(Rocks { role, db, token, dir: dir.path().to_owned() })
    }

    /// Opens the database to follow whoever writes it.
    fn follow(dir: &StoreDir) -> Result<Rocks> {
        forked_exit::prepare();
        refuse_strange(&rocks_path(dir.path()))?;
        let token = Token::open(dir, false)?;
        let seen = token.read()?;
        let scratch = tempfile::Builder::new().prefix("cachemere-secondary-").tempdir();
        let scratch = scratch.map_err(|e| Error::io("making a directory for RocksDB's log", e))?;
        let opened = DB::open_as_secondary(
            &options::secondary(),
            &rocks_path(dir.path()),
            &scratch.path().to_path_buf(),
        );
        let db = opened.map_err(|e| rocks_error(e, "opening the store"))?;
        // It keeps its log open there and makes no other file, so nobody has to clear up after a killed process.
        scratch.close().map_err(|e| Error::io("removing the directory of RocksDB's log", e))?;
        let role = Role::Secondary { seen: AtomicU64::new(seen), reading: RwLock::new(()) };
        Ok(Rocks { role, db, token, dir: dir.path().to_owned() })
    }

    pub(super) fn last_txn(&self) -> u64 {
        match &self.role {
            Role::Primary { .. } => self.db.latest_sequence_number(),
            // What cannot be read makes every value in memory doubtful, and the read that follows tells why.
            Role::Secondary { .. } => self.token.read().unwrap_or(u64::MAX),
        }
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(ReadTxn<'_>) -> Result<T>) -> Result<T> {
        let arena = Bump::new();
        match &self.role {
            Role::Primary { .. } => {
                let snapshot = Snapshot::new(&self.db);
                let id = snapshot.sequence_number();
                look(ReadTxn::Rocks(View::new(&self.db, Some(&snapshot), None, &arena, id)))
            }
            Role::Secondary { seen, reading, .. } => {
                let (_reading, id) = self.caught_up(seen, reading)?;
                look(ReadTxn::Rocks(View::new(&self.db, None, None, &arena, id)))
            }
        }
    }

    /// Waits until this secondary has what the token promises, and keeps it there while the guard lives.
    fn caught_up<'a>(
        &self,
        seen: &AtomicU64,
        reading: &'a RwLock<()>,
    ) -> Result<(RwLockReadGuard<'a, ()>, u64)> {
        let promised = self.token.read()?;
        if seen.load(Ordering::Acquire) < promised {
            let _alone = reading.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            if seen.load(Ordering::Acquire) < promised {
                self.db
                    .try_catch_up_with_primary()
                    .map_err(|e| rocks_error(e, "catching up with the writer"))?;
                seen.store(promised, Ordering::Release);
            }
        }
        let guard = reading.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        // What another thread has caught up with meanwhile is newer still: then the snapshot is called older than it is.
        Ok((guard, promised))
    }

    pub(super) fn write_txn(&self) -> Result<WriteTxn<'_>> {
        match &self.role {
            Role::Primary { .. } => Ok(WriteTxn::Rocks(Batch::new(self))),
            Role::Secondary { .. } => Err(Error::reads_only(self.dir.clone())),
        }
    }
}

/// Refuses a database with anything in it that is no file: RocksDB would write where a link leads.
fn refuse_strange(path: &Path) -> Result<()> {
    let failed = |e| Error::io("looking at the store's files", e);
    if !path.symlink_metadata().map_err(failed)?.is_dir() {
        return Err(Error::damaged(format!("{path:?} is not a directory; remove it")));
    }
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A file that a compaction has removed meanwhile is none.
        if entry.file_type().is_ok_and(|kind| !kind.is_file()) {
            return Err(Error::damaged(format!("{:?} is not a file; remove it", entry.path())));
        }
    }
    Ok(())
}

/// Turns RocksDB's errors into ours.
pub(crate) fn rocks_error(error: rocksdb::Error, context: &'static str) -> Error {
    use rocksdb::ErrorKind;
    match error.kind() {
        ErrorKind::Corruption => Error::damaged(format!("RocksDB, while {context}: {error}")),
        // RocksDB tells the system's error in words only.
        _ if error.as_ref().contains("No space left on device") => Error::DiskFull { context },
        ErrorKind::IOError if error.as_ref().contains("File too large") => Error::DiskFull { context },
        _ => {
            Error::Io { context: format!("{context}: RocksDB").into(), source: std::io::Error::other(error) }
        }
    }
}
