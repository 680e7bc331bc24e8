//! Backups, and replacing the data file by a compacted or rewritten one.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use heed::CompactionOption;

use super::backend::lmdb::boot::BootId;
use super::backend::lmdb::data_path;
use super::backend::lmdb::env::{EnvSlot, LmdbSync, Tree, copy_to_file, lmdb_error};
use super::backend::lmdb::file::meta_of;
use super::backend::lmdb::record::{Record, RecordFile, State as RecordState};
use super::backend::{Backend, Lmdb};
use super::closing::{self, Exclusive};
use super::fork::TRANSITIONS;
use super::layout::STATE_KEY;
use super::live::Live;
use super::records::StateRecord;
use super::{Shared, Store};
use crate::error::{Error, Result};

impl Store {
    /// Copies a snapshot into a new directory, which is complete or absent afterwards.
    pub(crate) fn backup(&self, to: &Path) -> Result<()> {
        let is_free = match fs::read_dir(to) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == ErrorKind::NotFound => true,
            Err(e) if e.kind() == ErrorKind::NotADirectory => false,
            Err(e) => return Err(Error::io("looking at the backup's path", e)),
        };
        if !is_free {
            let reason = "it exists and is not an empty directory; choose a path where nothing is";
            return Err(Error::invalid("backup path", reason));
        }
        let name = to.file_name().ok_or_else(|| Error::invalid("backup path", "it has no last component"))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let partial = parent.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
        let copied = {
            let live = self.live()?;
            if !self.is_read_only() {
                // So that the copy knows as well as this store when its entries were last read.
                super::sweep::flush_accesses(&live)?;
            }
            copy_backend(&live, &partial)
        };
        let placed = copied.and_then(|()| {
            fs::rename(&partial, to).map_err(|e| Error::io("putting the backup in place", e))?;
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
        self.replace("compact.tmp", |live, dir| copy_into(live.lmdb()?, dir))
    }

    /// Puts the data file that `make` writes into a directory in place of the present one.
    pub(super) fn replace(&self, tmp: &str, make: impl FnOnce(&Live, &Path) -> Result<()>) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { path: self.dir().to_owned() });
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
                let placed = put_in_place(shared, &tmp);
                drop(exclusive);
                shared.reopen_environment()?;
                placed
            }
            Err(error) => {
                drop(fs::remove_dir_all(&tmp));
                shared.current.store(Some(live));
                Err(error)
            }
        }
    }
}

/// Makes the new file, and marks the store clean: from here on either file is complete and needs no recovery.
fn replace_data(live: &Live, tmp: &Path, make: impl FnOnce(&Live, &Path) -> Result<()>) -> Result<()> {
    match fs::remove_dir_all(tmp) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("removing an unfinished copy", e)),
        _ => {}
    }
    super::sweep::flush_accesses(live)?;
    make(live, tmp)?;
    live.writable()?;
    live.lmdb()?.mark_replaceable()
}

fn put_in_place(shared: &Shared, tmp: &Path) -> Result<()> {
    fs::rename(data_path(tmp), data_path(&shared.dir))
        .map_err(|e| Error::io("putting the new file in place", e))?;
    sync_directory(&shared.dir)?;
    fs::remove_dir_all(tmp).map_err(|e| Error::io("removing what is left of the copy", e))
}

fn copy_backend(live: &Live, dir: &Path) -> Result<()> {
    match &live.backend {
        Backend::Lmdb(lmdb) => copy_into(lmdb, dir),
        #[cfg(feature = "rocksdb")]
        Backend::Rocks(rocks) => {
            make_directory(dir)?;
            rocks.copy_to(dir)?;
            sync_directory(dir)
        }
    }
}

/// Writes a compacted copy of the newest snapshot, as a store of its own that is marked clean.
fn copy_into(from: &Lmdb, dir: &Path) -> Result<()> {
    make_directory(dir)?;
    let path = data_path(dir);
    let open = || {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.map_err(|e| Error::io("making the copy", e))
    };
    let context = "copying the store";
    let compacted = copy_to_file(from.env(), &mut open()?, CompactionOption::Enabled);
    match compacted.map_err(|e| lmdb_error(e, context)) {
        Ok(()) => {}
        Err(full @ Error::DiskFull { .. }) => return Err(full),
        // LMDB refuses to compact a file that has lost track of some pages; a plain copy is as good.
        Err(_) => {
            copy_to_file(from.env(), &mut open()?, CompactionOption::Disabled)
                .map_err(|e| lmdb_error(e, context))?;
        }
    }
    let newest = from.last_txn();
    let (env, tree) = EnvSlot::open(dir, from.map_size(), LmdbSync::Never, false)?;
    // The copy counts transactions anew. Stamps must not repeat.
    let mut txn = env.write_txn().map_err(|e| lmdb_error(e, context))?;
    let state = tree.get(&txn, STATE_KEY).map_err(|e| lmdb_error(e, context))?;
    let state = StateRecord::decode(state.ok_or_else(|| Error::damaged("the state record is missing"))?)?;
    let state = StateRecord { stamp_base: state.stamp_base.saturating_add(newest + 1), ..state };
    tree.put(&mut txn, STATE_KEY, &state.encode()).map_err(|e| lmdb_error(e, context))?;
    txn.commit().map_err(|e| lmdb_error(e, context))?;
    finish_copy(dir, env, tree)
}

/// Syncs a new environment, closes it, and records it as clean.
pub(super) fn finish_copy(dir: &Path, env: EnvSlot, _tree: Tree) -> Result<()> {
    env.force_sync().map_err(|e| lmdb_error(e, "syncing the copy"))?;
    let newest = env.info().last_txn_id as u64;
    drop(env);
    let file = File::open(data_path(dir)).map_err(|e| Error::io("opening the copy", e))?;
    let meta = meta_of(&file, newest)?;
    let records =
        RecordFile::open(dir, true)?.ok_or_else(|| Error::damaged("the copy has no checkpoint file"))?;
    records.write(&Record { state: RecordState::Clean, boot: BootId::current(), meta })?;
    match fs::remove_file(dir.join("lock.mdb")) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("finishing the copy", e)),
        _ => {}
    }
    sync_directory(dir)
}

pub(super) fn make_directory(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Error::io("making a directory", e))
}

fn sync_directory(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| Error::io("syncing a directory", e))
}
