//! Opening: what is checked and brought in order before LMDB has the data file.

use std::sync::Arc;

use rustix::fs::OFlags;

use super::env::{EnvSlot, Use, lmdb_error};
use super::file::{self, DataFile};
use super::new_data::{forget_unfinished, make_data};
use super::{DATA_NAME, Lmdb, Part, control, data_path, segment_file, version_1};
use crate::error::{Error, Result};
use crate::store::backend::{Backend, Opened};
use crate::store::config::Config;
use crate::store::directory::locks::{LockFile, Member, Role};
use crate::store::directory::store_dir::StoreDir;
use crate::store::format::layout::{FOLD_KEY, STORE_KEY};

/// See [`Backend::open`].
pub(in crate::store::backend) fn open(
    config: &Config,
    read_only: bool,
    member: &Member,
    kept: Option<&Arc<LockFile>>,
) -> Result<Opened> {
    let dir = member.dir().clone();
    let busy = |detail: &'static str| Error::Busy { path: dir.path().to_owned(), detail: detail.into() };
    refuse_foreign(&dir, config.map_size)?;
    if read_only && dir.is_empty_file(DATA_NAME) {
        // LMDB would make a database of an empty file.
        return Err(Error::NotFound { path: dir.path().to_owned() });
    }
    let is_detached = !dir.is_writable();
    if is_detached && !member.is_only(Role::Partner)? {
        return Err(busy(
            "another process writes to it, and this one cannot take part because the directory is not writable; make it \
             writable, or copy the store with backup",
        ));
    }
    let is_alone = member.is_only(Role::User)? && !is_detached;
    // Until it is settled, no program of that version may come to it.
    let version_1 = version_1::lock_out(&dir)?;
    if version_1.is_some() && !is_detached && !is_alone && member.is_only(Role::Partner)? {
        return Err(busy("it is of version 1 still, and another process reads it; close it there first"));
    }
    if is_detached {
        version_1::refuse_unsettled(&dir)?;
    } else if version_1.is_some() && is_alone {
        version_1::settle(&dir)?;
    }
    let is_new = !dir.has(DATA_NAME);
    if is_new && read_only {
        return Err(Error::NotFound { path: dir.path().to_owned() });
    }
    let found = if is_new { DataFile::Empty } else { check_data(&dir)? };
    if matches!(found, DataFile::Empty) {
        refuse_lone_log(&dir)?;
    }
    if is_alone && !read_only {
        forget_unfinished(dir.path());
    }
    match (is_alone && !read_only, found) {
        (true, DataFile::Empty) => make_data(&dir, config.map_size)?,
        (true, DataFile::Lmdb { newest }) => complete(&dir, &newest),
        (false, _) => {}
    }
    let part = if is_detached { Part::Detached } else { Part::take(member)? };
    let locks = match part {
        Part::Detached => None,
        Part::First => Some(LockFile::open(&dir, kept, true)?),
        Part::Joining => Some(Part::join(&dir, kept)?),
    };
    let backend = Backend::Lmdb(Lmdb::open(dir.clone(), locks.clone(), config.map_size, part)?);
    if version_1.is_some() && is_alone {
        version_1::forget(&dir)?;
    }
    Ok(Opened { backend, locks, is_alone })
}

/// Refuses a directory with somebody else's LMDB file, before anything is made in it.
fn refuse_foreign(dir: &StoreDir, map_size: usize) -> Result<()> {
    if !dir.has(DATA_NAME) || dir.has(control::NAME) || version_1::has_left(dir) {
        return Ok(());
    }
    // This one could be a copy of ours without its side files.
    match check_data(dir)? {
        DataFile::Empty => Ok(()),
        DataFile::Lmdb { .. } => {
            let failed = |e| lmdb_error(e, "opening a read transaction");
            let (env, tree) = EnvSlot::open(dir.path(), map_size, Use::ReadOnly)?;
            let txn = env.read_txn().map_err(failed)?;
            // One that was being made when the power failed has but the second.
            let is_ours =
                [STORE_KEY, FOLD_KEY].into_iter().map(|key| tree.get(&txn, key).map(|found| found.is_some()));
            match is_ours.collect::<heed::Result<Vec<bool>>>().map_err(failed)?.contains(&true) {
                true => Ok(()),
                false => Err(Error::Foreign {
                    path: dir.path().to_owned(),
                    detail: "an LMDB database of another program".into(),
                }),
            }
        }
    }
}

/// Refuses a log whose data file is not there, or empty: what it goes on from is lost, and it must not be, too.
fn refuse_lone_log(dir: &StoreDir) -> Result<()> {
    match segment_file::list(dir)?.first() {
        Some(number) => Err(Error::damaged(format!(
            "the data file is missing or empty, but not its log; put it back, or remove the files \"log-*\" (the first is \
             {:?}) to begin anew",
            segment_file::name(*number)
        ))),
        None => Ok(()),
    }
}

fn check_data(dir: &StoreDir) -> Result<DataFile> {
    let file = dir.open_own(DATA_NAME, OFlags::RDONLY, "opening the data file")?;
    file::check(&data_path(dir.path()), &file)
}

/// Spares the next open a look at all pages of a file that is shorter than its last page. The caller is alone.
fn complete(dir: &StoreDir, newest: &file::MetaBody) {
    let file = dir.open_own(DATA_NAME, OFlags::WRONLY, "opening the data file");
    if let Err(error) = file.and_then(|file| file::complete(&file, newest)) {
        tracing::debug!(%error, "the data file stays shorter than its last page");
    }
}
