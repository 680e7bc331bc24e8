//! What is checked and repaired before LMDB has the files: whose they are, and what a power loss left of them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::boot::BootId;
use super::data_path;
use super::env::{EnvSlot, LmdbSync, lmdb_error, snapshot};
use super::file::{self, DataFile, MetaBody};
use super::record::{Record, RecordFile, State as RecordState};
use crate::error::{Error, Result};
use crate::store::backend::ReadTxn;
use crate::store::config::Request;
use crate::store::layout::STORE_KEY;
use crate::store::transaction::ReadView;

/// Refuses a directory with somebody else's LMDB file, before anything is made in it.
pub(in crate::store) fn refuse_foreign(dir: &Path) -> Result<()> {
    if !data_path(dir).exists() || dir.join(RecordFile::NAME).exists() {
        return Ok(());
    }
    // Our own stores have a checkpoint file before they have a data file; this one could be a copy of ours without it.
    match check_data(dir)? {
        DataFile::Empty => Ok(()),
        DataFile::Lmdb { .. } => {
            let (env, tree) = EnvSlot::open(dir, Request::MAP_SIZE, LmdbSync::Never, true)?;
            let txn = snapshot(&env).map_err(|e| lmdb_error(e, "opening a read transaction"))?;
            match ReadView::new(ReadTxn::Lmdb { txn: &txn, tree }).get(STORE_KEY)? {
                Some(_) => Ok(()),
                None => Err(Error::Foreign {
                    path: dir.to_owned(),
                    detail: "an LMDB database of another program".into(),
                }),
            }
        }
    }
}

pub(in crate::store) fn check_data(dir: &Path) -> Result<DataFile> {
    let path = data_path(dir);
    let file = File::open(&path).map_err(|e| Error::io("opening the data file", e))?;
    file::check(&path, &file)
}

/// Spares the next open a look at all pages of a file that is shorter than its last page. The caller is alone.
pub(in crate::store) fn complete(dir: &Path, newest: &MetaBody) {
    let file = fs::OpenOptions::new().write(true).open(data_path(dir));
    let done = file.map_err(|e| Error::io("opening the data file", e));
    if let Err(error) = done.and_then(|file| file::complete(&file, newest)) {
        tracing::debug!(%error, "the data file stays shorter than its last page");
    }
}

/// Brings the files back to the last checkpoint after a power loss. The caller is alone with the store.
pub(in crate::store) fn recover(dir: &Path, read_only: bool) -> Result<()> {
    let data = data_path(dir);
    let Some(records) = RecordFile::open(dir, !read_only)? else { return Ok(()) };
    match records.read_and_doubt()? {
        None if !data.exists() && !read_only => {
            // Until the first checkpoint is recorded there is nothing of the user's in the store.
            records.write(&Record { state: RecordState::Creating, boot: BootId::current(), meta: None })
        }
        None => Ok(()),
        Some((record, doubt)) => match record.state {
            RecordState::Creating => {
                for name in ["data.mdb", "lock.mdb"] {
                    match fs::remove_file(dir.join(name)) {
                        Err(e) if e.kind() != ErrorKind::NotFound => {
                            return Err(Error::io("starting anew", e));
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            RecordState::Clean => compare(dir, &record),
            RecordState::Open if record.boot == BootId::current() => compare(dir, &record),
            RecordState::Open => {
                let Some(meta) = &record.meta else {
                    return Err(Error::damaged("the checkpoint record has no snapshot"));
                };
                tracing::info!(store = %dir.display(), txn = meta.txn_id(), "going back to the last checkpoint");
                let file = fs::OpenOptions::new().read(true).write(true).open(&data);
                let file = file.map_err(|e| match e.kind() {
                    ErrorKind::NotFound => Error::damaged("the data file is missing"),
                    _ => Error::io("opening the data file for recovery", e),
                })?;
                if doubt {
                    file::check_trees(&file, meta)?;
                }
                file::restore(&file, meta)?;
                records.write(&Record {
                    state: RecordState::Clean,
                    boot: BootId::current(),
                    meta: record.meta,
                })
            }
        },
    }
}

/// Makes sure that the data file is the one that the record speaks of, and not an older, empty or damaged one. Meta pages
/// have no checksum of their own. The caller is alone with the store, and there was no power loss.
fn compare(dir: &Path, record: &Record) -> Result<()> {
    let Some(recorded) = &record.meta else { return Ok(()) };
    let newest = match data_path(dir).exists() {
        true => check_data(dir)?,
        false => return Err(Error::damaged("the data file is missing, but not the file \"checkpoint\"")),
    };
    let DataFile::Lmdb { newest } = newest else {
        return Err(Error::damaged("the data file is empty, but a checkpoint of it is recorded"));
    };
    let (found, known) = (newest.txn_id(), recorded.txn_id());
    let fits = match record.state {
        RecordState::Clean => newest == *recorded,
        _ => found > known || newest == *recorded,
    };
    match fits {
        true => Ok(()),
        false => Err(Error::damaged(format!(
            "the data file is at transaction {found}, but transaction {known} is recorded and not in it; if the data \
             file was put there by hand, remove the file \"checkpoint\""
        ))),
    }
}

/// A store that has to be recovered cannot be read from a directory that cannot be written.
pub(in crate::store) fn refuse_unrecovered(dir: &Path) -> Result<()> {
    let Some(records) = RecordFile::open(dir, false)? else { return Ok(()) };
    match records.read()? {
        Some(record) if record.state == RecordState::Open && record.boot != BootId::current() => Err(Error::Busy {
            path: dir.to_owned(),
            detail: "it was not closed before the machine stopped and has to be recovered; open it once from a \
                     process that can write to the directory"
                .into(),
        }),
        _ => Ok(()),
    }
}
