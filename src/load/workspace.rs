//! The temporary directory of one load: gone when the load ends, and known for what it is if the process was killed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};

/// What the names of these directories begin with.
const NAME: &str = "cachemere-load-";
const LOCK: &str = "lock";
/// A directory without a lock file is being made, or was left by a process that was killed just then.
const BEING_MADE: std::time::Duration = std::time::Duration::from_secs(60);

/// A temporary directory for what a load does not keep in memory, and for what a [`Sink`](super::Sink) prepares.
///
/// It is locked while its load runs and removed with this value. What a killed process leaves is removed by the next
/// load with the same parent directory.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    _lock: File,
}

impl Workspace {
    /// Makes one in `parent`, which must exist, after removing what killed processes have left there.
    pub(crate) fn create(parent: &Path) -> Result<Workspace> {
        remove_abandoned(parent)?;
        loop {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| Error::Io {
                context: "naming the temporary directory of a load".into(),
                source: std::io::Error::other(error.to_string()),
            })?;
            let path = parent.join(format!("{NAME}{:016x}", u64::from_le_bytes(random)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(failed)?,
            }
            // Another process can take it for abandoned until it is locked. Then it makes another one.
            match lock_new(&path.join(LOCK)) {
                Ok(Some(lock)) => return Ok(Workspace { path, _lock: lock }),
                Ok(None) => {}
                Err(error) => {
                    let _ = std::fs::remove_dir_all(&path);
                    return Err(failed(error));
                }
            }
        }
    }

    /// The directory. What is in it is removed when the load ends.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the temporary directory of a load was not removed");
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("making the temporary directory of a load", error)
}

/// Makes and locks a lock file; `None` if somebody else was faster.
fn lock_new(path: &Path) -> std::io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    let file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let is_there =
        std::fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()));
    Ok(is_there.then_some(file))
}

/// Removes what loads in `parent` have left that are not running any more.
pub(crate) fn remove_abandoned(parent: &Path) -> Result<()> {
    let entries = std::fs::read_dir(parent)
        .map_err(|error| Error::io("looking at the directory for temporary files of a load", error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) || !is_abandoned(&path) {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "what a killed load left was not removed");
        }
    }
    Ok(())
}

fn is_abandoned(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let age = std::fs::metadata(path).and_then(|of| of.modified()).map(|at| at.elapsed());
            age.is_ok_and(|age| age.is_ok_and(|age| age > BEING_MADE))
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> usize {
        std::fs::read_dir(parent).unwrap().count()
    }

    #[test]
    fn it_is_removed_at_the_end_and_what_nobody_has_locked_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path();
        std::fs::create_dir(parent.join("of somebody else")).unwrap();
        let running = Workspace::create(parent).unwrap();
        std::fs::write(running.path().join("file"), b"x").unwrap();
        let left = parent.join(format!("{NAME}0123"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), b"").unwrap();
        std::fs::write(left.join("spilled"), b"x").unwrap();
        let being_made = parent.join(format!("{NAME}4567"));
        std::fs::create_dir(&being_made).unwrap();

        let next = Workspace::create(parent).unwrap();
        assert!(!left.exists() && running.path().join("file").exists() && being_made.exists());
        drop((running, next));
        assert_eq!(names(parent), 2);
    }
}
