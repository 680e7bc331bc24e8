//! Backups, and replacing the data file by a compacted or rewritten one.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::closing::Exclusive;
use super::directory::making::{COMPACTED, make_directory, sync_directory, try_to_make_directory};
use super::directory::place::Identity;
use super::live::Live;
use super::process::fork::TRANSITIONS;
use super::{Store, fault};
use crate::address;
use crate::error::{Error, Result};

/// What the place of a backup is called in errors.
const BACKUP: &str = "backup path";

impl Store {
    /// Copies a snapshot into a new directory, which is complete or absent afterwards.
    pub(crate) fn backup(&self, to: &Path) -> Result<()> {
        address::refuse("backup path", to)?;
        let _span = tracing::debug_span!("cachemere::backup", store = %self.dir().display()).entered();
        let partial = Partial::beside(to, BACKUP)?;
        {
            let live = self.live()?;
            if !self.is_read_only() {
                // So that the copy knows as well as this store when its entries were last read.
                super::upkeep::sweep::flush_accesses(&live)?;
            }
            copy(&live, &partial.path)?;
        }
        partial.put_in_place(to)
    }

    /// Rewrites the data without what is free. Where that cannot be done while others have it open, it takes the place of
    /// the present: that needs the store to be open in this process only.
    pub(crate) fn compact(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(self.refusal());
        }
        let _span = tracing::debug_span!("cachemere::compact", store = %self.dir().display()).entered();
        let live = self.live()?;
        live.writable()?;
        if live.backend.compact_in_use()? {
            return Ok(());
        }
        drop(live);
        match self.replace(COMPACTED, copy, || ()) {
            // There is no room for two of it. What is free in the one can be given back all the same.
            Err(Error::DiskFull { .. }) => self.live_for_writing()?.backend.make_room(),
            done => done,
        }
    }

    /// Puts the data that `make` writes into a directory in place of the present; `is_in_place` hears of it before they are
    /// opened.
    pub(super) fn replace(
        &self,
        tmp: &str,
        make: impl FnOnce(&Live, &Path) -> Result<()>,
        is_in_place: impl FnOnce(),
    ) -> Result<()> {
        if self.is_read_only() {
            return Err(self.refusal());
        }
        drop(self.live()?);
        let shared = &self.shared;
        let transition = TRANSITIONS.lock(&shared.dir)?;
        shared.revive(&transition)?;
        let exclusive = Exclusive::enter(shared, &transition)?;
        let Some(live) = shared.take_drained(&transition)? else { return Err(Error::Closed) };
        let tmp = shared.dir.join(tmp);
        let replaced = make_data(&live, &tmp, make).and_then(|()| live.backend.put_in_place(&tmp));
        // Whatever stays of it the next process to open the store removes.
        drop(fs::remove_dir_all(&tmp));
        if let Err(error) = replaced {
            // The background thread has let go of it.
            live.is_kept.store(false, Ordering::Release);
            shared.current.store(Some(live));
            return Err(error);
        }
        drop(live);
        is_in_place();
        fault::point("a compacted file is in place");
        // If that fails, no write of the new file's becomes known before a later sync of the directory, which each new part
        // of the log begins with.
        let synced = sync_directory(&shared.dir);
        drop(exclusive);
        shared.reopen_environment()?;
        synced
    }
}

/// A new store on its way, beside the place where it is to be.
pub(super) struct Partial {
    path: PathBuf,
    /// What the place is called in errors.
    what: &'static str,
    /// Locked, where that can be done, so that nobody takes it for one that was left unfinished.
    directory: File,
    /// Then what lies at its old path is another's.
    is_in_place: bool,
}

impl Partial {
    /// What a killed process left under that name is removed; of a link, only the link.
    pub(super) fn beside(to: &Path, what: &'static str) -> Result<Partial> {
        let is_free = match fs::read_dir(to) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == ErrorKind::NotFound => true,
            Err(e) if e.kind() == ErrorKind::NotADirectory => false,
            Err(e) => return Err(Error::io("looking at the new store's path", e)),
        };
        if !is_free {
            return Err(taken(what));
        }
        let name = to.file_name().ok_or_else(|| Error::invalid(what, "it has no last component"))?;
        let path = parent_of(to).join(format!(".{}.partial", name.to_string_lossy()));
        let failed = |e| Error::io("making a directory", e);
        loop {
            let is_new = match try_to_make_directory(&path) {
                Ok(()) => true,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
                Err(e) => return Err(failed(e)),
            };
            let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let directory = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(_) if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) => {
                    fs::remove_file(&path).map_err(|e| Error::io("removing an unfinished copy", e))?;
                    continue;
                }
                opened => opened.map_err(failed)?,
            };
            if let Err(Errno::WOULDBLOCK) = flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                let detail = "another copy to this path is being made; wait for it, or choose another path";
                return Err(Error::Busy { path: to.to_owned(), detail: detail.into() });
            }
            // It may have been put in place, or removed, since it was opened.
            let locked = directory.metadata().map_err(failed)?;
            let is_there = |found: fs::Metadata| Identity::of(&found) == Identity::of(&locked);
            if !fs::symlink_metadata(&path).is_ok_and(is_there) {
                continue;
            }
            if is_new {
                return Ok(Partial { path, what, directory, is_in_place: false });
            }
            remove_unfinished(&path)?;
        }
    }

    /// A place in it for a store that is opened before it is put in place, which who has this one locked could not be.
    pub(super) fn within(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Puts what is there in place.
    pub(super) fn put_within_in_place(self, to: &Path) -> Result<()> {
        rename(&self.within(), to, self.what)?;
        sync_directory(parent_of(to))
    }

    pub(super) fn put_in_place(mut self, to: &Path) -> Result<()> {
        rename(&self.path, to, self.what)?;
        self.is_in_place = true;
        sync_directory(parent_of(to))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_in_place {
            drop(fs::remove_dir_all(&self.path));
        }
        let _ = flock(&self.directory, FlockOperation::Unlock);
    }
}

fn rename(from: &Path, to: &Path, what: &'static str) -> Result<()> {
    fs::rename(from, to).map_err(|e| match e.kind() {
        // Somebody else has put something there meanwhile.
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => taken(what),
        _ => Error::io("putting the new store in place", e),
    })
}

fn taken(what: &'static str) -> Error {
    Error::invalid(what, "it exists and is not an empty directory; choose a path where nothing is")
}

pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the new data, of all records of now.
fn make_data(live: &Live, tmp: &Path, make: impl FnOnce(&Live, &Path) -> Result<()>) -> Result<()> {
    remove_unfinished(tmp)?;
    super::upkeep::sweep::flush_accesses(live)?;
    live.writable()?;
    make_directory(tmp)?;
    make(live, tmp)
}

/// Removes what a killed process left. Of a link, only the link.
pub(super) fn remove_unfinished(tmp: &Path) -> Result<()> {
    match fs::remove_dir_all(tmp) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("removing an unfinished copy", e)),
        _ => Ok(()),
    }
}

fn copy(live: &Live, dir: &Path) -> Result<()> {
    live.copy_to(dir)?;
    sync_directory(dir)
}
