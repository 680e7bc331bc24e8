//! An open database of RocksDB in one process, and how it becomes one.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rocksdb::{
    ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, IteratorMode, ReadOptions, WriteOptions,
};

use super::existing::Existing;
use super::failure::tell;
use super::mark::{self, Encoding};
use super::options::Options;
use crate::store::fork_epoch;
use crate::{Error, Result};

const READER_TRIES: u32 = 4;
const READER_WAIT: Duration = Duration::from_millis(20);

/// Who else may have the database open, and what can be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads and writes. One handle of one process.
    Primary,
    /// Reads what is there at the opening, whoever else writes.
    ReadOnly,
    /// Reads, and follows the primary by [`Database::catch_up`](super::Database::catch_up).
    Secondary {
        /// A directory for RocksDB's own notes. No two secondaries may share one.
        path: PathBuf,
    },
}

/// What a database is opened from, also in a forked child.
pub(super) struct Opening {
    pub(super) path: PathBuf,
    pub(super) mode: Mode,
    pub(super) options: Options,
    pub(super) encoding: Encoding,
}

/// An open database, which only the process that opened it may touch.
pub(super) struct Live {
    epoch: u64,
    /// Operations read-lock it; those that must be alone, and closing, write-lock it.
    database: RwLock<Option<Open>>,
}

/// RocksDB's own handle, and what each operation would have to make anew.
pub(super) struct Open {
    pub(super) db: DB,
    pub(super) read: ReadOptions,
    pub(super) write: WriteOptions,
}

impl Live {
    pub(super) fn is_of_this_process(&self) -> bool {
        self.epoch == fork_epoch()
    }

    pub(super) fn shared(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alone(&self) -> RwLockWriteGuard<'_, Option<Open>> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            // Closing it here would wait for threads that only the parent has, and could delete files under it.
            std::mem::forget(self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl Opening {
    /// Opens. Nothing is changed before it is known that it is the database that is meant.
    pub(super) fn open(&self) -> Result<Live> {
        crate::store::process::forked_exit::prepare();
        let existing = Existing::find(&self.path)?;
        if self.mode == Mode::Primary && existing.is_some() {
            // What a load was at that was killed.
            crate::load::remove_abandoned(&self.path)?;
        }
        let mut options = self.options.clone();
        match &existing {
            Some(existing) => {
                options.prefix_length = existing.prefix_length(&self.path, options.prefix_length)?;
                self.check_encoding()?;
            }
            None if self.mode == Mode::Primary && options.create_if_missing == Some(true) => {
                self.make_directory()?
            }
            None => return Err(self.missing()),
        }
        let database = self.open_as_asked(&options.to_rocksdb()).inspect_err(|_| {
            if existing.is_none() {
                // Unless something is in it, of this opening or of another process's.
                let _ = fs::remove_dir(&self.path);
            }
        })?;
        if self.mode == Mode::Primary {
            self.settle_mark(&database)?;
        }
        let open = Open { db: database, read: ReadOptions::default(), write: WriteOptions::default() };
        Ok(Live { epoch: fork_epoch(), database: RwLock::new(Some(open)) })
    }

    fn check_encoding(&self) -> Result<()> {
        if let Some(stored) = mark::read(&self.path)? {
            return self.encoding.check(&self.path, &stored);
        }
        if self.encoding.takes_unmarked {
            return Ok(());
        }
        // Whoever made it could have been killed before it was marked. Looking writes nothing.
        let plain = Options::default().to_rocksdb();
        let context = "looking at a database that does not say how it is encoded";
        let database = DB::open_for_read_only(&plain, &self.path, false)
            .map_err(|error| tell(&self.path, context, &error))?;
        match database.iterator(IteratorMode::Start).next() {
            None => Ok(()),
            Some(Ok(_)) => self.encoding.check_unmarked(&self.path),
            Some(Err(error)) => Err(tell(&self.path, context, &error)),
        }
    }

    /// Its writer can delete a file between the reading of the list of files and the opening of them, so who only reads
    /// tries a few times.
    fn open_as_asked(&self, options: &rocksdb::Options) -> Result<DB> {
        // By its name, since many keys can be asked for at once only of a named one.
        let families = || [(DEFAULT_COLUMN_FAMILY_NAME, options.clone())];
        let mut tries = if self.mode == Mode::Primary { 1 } else { READER_TRIES };
        loop {
            tries -= 1;
            let opened = match &self.mode {
                Mode::Primary => DB::open_cf_with_opts(options, &self.path, families()),
                Mode::ReadOnly => DB::open_cf_with_opts_for_read_only(options, &self.path, families(), false),
                Mode::Secondary { path } => {
                    make_private(path)?;
                    // It would leave out files that are missing, and say nothing.
                    let whole = DB::open_cf_with_opts_for_read_only(options, &self.path, families(), false);
                    let families =
                        families().map(|(name, options)| ColumnFamilyDescriptor::new(name, options));
                    whole.and_then(|_| {
                        DB::open_cf_descriptors_as_secondary(options, &self.path, path, families)
                    })
                }
            };
            match opened.map_err(|error| tell(&self.path, "opening it", &error)) {
                Err(Error::Damaged { .. } | Error::Io { .. }) if tries > 0 => std::thread::sleep(READER_WAIT),
                opened => return opened,
            }
        }
    }

    /// Under RocksDB's own lock: marks a new database, or sees that it is still the one that was looked at.
    fn settle_mark(&self, database: &DB) -> Result<()> {
        if database.latest_sequence_number() > 0 {
            return match mark::read(&self.path)? {
                Some(stored) => self.encoding.check(&self.path, &stored),
                None => self.encoding.check_unmarked(&self.path),
            };
        }
        match mark::read(&self.path)? {
            Some(stored) if stored.keys == self.encoding.keys && stored.values == self.encoding.values => {
                Ok(())
            }
            // Files that were ingested have no sequence numbers.
            Some(stored) if !is_empty(database) => self.encoding.check(&self.path, &stored),
            None if !is_empty(database) => self.encoding.check_unmarked(&self.path),
            _ => mark::write(&self.path, &self.encoding),
        }
    }

    fn make_directory(&self) -> Result<()> {
        make_private(&self.path)
    }

    fn missing(&self) -> Error {
        let hint = if self.mode == Mode::Primary { "; to make one, give create_if_missing" } else { "" };
        Error::Io {
            context: format!("there is no database at {}{hint}", self.path.display()).into(),
            source: std::io::ErrorKind::NotFound.into(),
        }
    }
}

fn is_empty(database: &DB) -> bool {
    database.iterator(IteratorMode::Start).next().is_none()
}

fn make_private(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            Error::NotADirectory { path: path.to_owned() }
        }
        _ => match Error::io("making the directory of a RocksDB database", error) {
            Error::Io { context, source } => {
                Error::Io { context: format!("{context} at {}", path.display()).into(), source }
            }
            other => other,
        },
    })
}
