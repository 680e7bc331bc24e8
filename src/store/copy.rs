//! Backups, and replacing the data file by a compacted or rewritten one.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "rocksdb")]
use super::backend::Backend;
use super::backend::lmdb::{Rewrite, data_path, fault};
use super::closing::{self, Exclusive};
use super::fork::TRANSITIONS;
use super::live::Live;
use super::transaction::ReadView;
use super::{Shared, Store};
use crate::error::{Error, Result};

/// How many backups this process has begun.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// Copies a snapshot into a new directory, which is complete or absent afterwards.
    pub(crate) fn backup(&self, to: &Path) -> Result<()> {
        let is_free = match fs::read_dir(to) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == ErrorKind::NotFound => true,
            Err(e) if e.kind() == ErrorKind::NotADirectory => false,
            Err(e) => return Err(Error::io("looking at the backup's path", e)),
        };
        let taken = || {
            let reason = "it exists and is not an empty directory; choose a path where nothing is";
            Error::invalid("backup path", reason)
        };
        if !is_free {
            return Err(taken());
        }
        let name = to.file_name().ok_or_else(|| Error::invalid("backup path", "it has no last component"))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Of a name of its own, also beside other threads and other containers, whose processes have the same numbers.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let own = format!(".{}.partial-{}-{since}-{number}", name.to_string_lossy(), std::process::id());
        let partial = parent.join(own);
        let copied = {
            let live = self.live()?;
            if !self.is_read_only() {
                // So that the copy knows as well as this store when its entries were last read.
                super::sweep::flush_accesses(&live)?;
            }
            copy_backend(&live, &partial)
        };
        let placed = copied.and_then(|()| {
            fs::rename(&partial, to).map_err(|e| match e.kind() {
                // Somebody else was faster, with another backup.
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => taken(),
                _ => Error::io("putting the backup in place", e),
            })?;
            sync_directory(parent)
        });
        if placed.is_err() {
            drop(fs::remove_dir_all(&partial));
        }
        placed
    }

    /// Rewrites the data without what is free, in LMDB as a new file: that needs the store to be open in this process only.
    pub(crate) fn compact(&self) -> Result<()> {
        #[cfg(feature = "rocksdb")]
        if let Backend::Rocks(rocks) = &self.live_for_writing()?.backend {
            return rocks.compact();
        }
        match self.replace("compact.tmp", copy_records) {
            // There is no room for two of it. What is free in the one can be given back all the same.
            Err(Error::DiskFull { .. }) => self.live_for_writing()?.backend.make_room(),
            done => done,
        }
    }

    /// Puts the data file that `make` writes into a directory in place of the present one.
    pub(super) fn replace(&self, tmp: &str, make: impl FnOnce(&Live, &Path) -> Result<()>) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::reads_only(self.dir().to_owned()));
        }
        drop(self.live()?);
        let shared = &self.shared;
        let transition = TRANSITIONS.lock();
        shared.revive(&transition)?;
        let exclusive = Exclusive::enter(shared, &transition)?;
        let Some(live) = shared.current.swap(None) else { return Err(Error::Closed) };
        closing::drain(&live);
        let tmp = shared.dir.join(tmp);
        match replace_data(&live, &tmp, make) {
            Ok(()) => {
                drop(live);
                fault::point("a compacted file is to be put in place");
                let placed = put_in_place(shared, &tmp);
                drop(exclusive);
                shared.reopen_environment()?;
                placed
            }
            Err(error) => {
                drop(fs::remove_dir_all(&tmp));
                // The background thread has let go of it.
                live.is_kept.store(false, Ordering::Release);
                shared.current.store(Some(live));
                Err(error)
            }
        }
    }
}

/// Makes the new file, of all that is in the data file and the log now. It says, as the present one does, up to where it has
/// the log, so whichever of the two is found after a power loss is complete.
fn replace_data(live: &Live, tmp: &Path, make: impl FnOnce(&Live, &Path) -> Result<()>) -> Result<()> {
    remove_unfinished(tmp)?;
    super::sweep::flush_accesses(live)?;
    live.writable()?;
    make(live, tmp)
}

/// Removes what a killed process left. Of a link, only the link.
fn remove_unfinished(tmp: &Path) -> Result<()> {
    match fs::remove_dir_all(tmp) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("removing an unfinished copy", e)),
        _ => Ok(()),
    }
}

fn put_in_place(shared: &Shared, tmp: &Path) -> Result<()> {
    fs::rename(data_path(tmp), data_path(&shared.dir))
        .map_err(|e| Error::io("putting the new file in place", e))?;
    fault::point("a compacted file is in place");
    sync_directory(&shared.dir)?;
    fs::remove_dir_all(tmp).map_err(|e| Error::io("removing what is left of the copy", e))
}

fn copy_backend(live: &Live, dir: &Path) -> Result<()> {
    #[cfg(feature = "rocksdb")]
    if let Backend::Rocks(rocks) = &live.backend {
        make_directory(dir)?;
        rocks.copy_to(dir)?;
        return sync_directory(dir);
    }
    copy_records(live, dir)
}

/// Writes all records of the newest snapshot, in their order, as the data file of a store of its own.
fn copy_records(live: &Live, dir: &Path) -> Result<()> {
    make_directory(dir)?;
    live.read(|view| {
        let copy = Rewrite::new(live.lmdb()?, dir)?;
        let mut batch = copy.batch();
        for record in view.range(&[0], &[u8::MAX])? {
            let (key, value) = record?;
            batch.append(key, value)?;
        }
        batch.finish(&point_of(view)?)?;
        copy.sync()
    })?;
    sync_directory(dir)
}

/// Up to where a snapshot has the log: its copy has all of it.
pub(super) fn point_of(view: &ReadView<'_>) -> Result<Vec<u8>> {
    match view.lmdb() {
        Some(view) => view.log_end(),
        None => Err(Error::damaged("a store in RocksDB has no log of ours")),
    }
}

/// Makes a directory, and those above it. What lies there already is refused: it could be a link to somewhere else.
pub(super) fn make_directory(dir: &Path) -> Result<()> {
    let failed = |e| Error::io("making a directory", e);
    if let Some(parent) = dir.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    fs::DirBuilder::new().mode(0o700).create(dir).map_err(failed)
}

pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| Error::io("syncing a directory", e))
}
