//! Which store lies at a path: the same path can have another one later, and a store can have several paths.

use std::ffi::CString;
use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};

/// What tells a file from all others, as long as somebody has it open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of the file at a path, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Identity> {
        std::fs::metadata(path).ok().map(|file| Identity::of(&file))
    }

    pub(crate) fn of(file: &Metadata) -> Identity {
        Identity { device: file.dev(), inode: file.ino() }
    }

    pub(crate) fn of_stat(found: &rustix::fs::Stat) -> Identity {
        // As `Metadata` has it, whatever its type on this system.
        #[allow(clippy::unnecessary_cast)]
        Identity { device: found.st_dev as u64, inode: found.st_ino }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::MonotonicCoarse;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

/// A file of a store that is open, and the path where it was found.
#[derive(Debug)]
pub(crate) struct Place {
    file: PathBuf,
    name: CString,
    identity: Identity,
    seen: Seen,
}

/// When its directory was seen to be where it was, and when that was last changed.
#[derive(Debug, Default)]
struct Seen {
    /// Nanoseconds of the monotonic clock.
    at: AtomicU64,
    /// The directory's time of change in nanoseconds; 0 while that may stay the same over another change.
    changed: AtomicU64,
}

/// How long a directory that has not changed itself is believed to be where it was: its parents can be renamed.
const MOMENT: Duration = Duration::from_millis(4);
/// A change that is older than this has another time than one that comes now: the kernel's clock ticks 100 times a second
/// or more often.
const TICK: Duration = Duration::from_millis(12);
/// The same where the file system notes no parts of seconds.
const COARSE_TICK: Duration = Duration::from_millis(2100);

impl Place {
    pub(crate) fn new(path: PathBuf, file: &File) -> Result<Place> {
        let failed = |e| Error::io("looking at the files of the store", e);
        let found = file.metadata().map_err(failed)?;
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid("path", "it has a zero byte"))?;
        Ok(Place { file: path, name, identity: Identity::of(&found), seen: Seen::default() })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the file is still what lies at the path: one system call that takes longer the deeper that is.
    fn is_current(&self) -> bool {
        let found = rustix::fs::stat(&self.name);
        found.is_ok_and(|found| Identity::of_stat(&found) == self.identity)
    }

    /// The error for who would write to a store that is not there any more.
    pub(crate) fn check(&self) -> Result<()> {
        match self.is_current() {
            true => Ok(()),
            false => Err(Error::Gone { path: self.file.parent().unwrap_or(&self.file).to_owned() }),
        }
    }

    /// The same, told by the file's `directory`. Whatever is done to that itself, to be removed or renamed or to have a file
    /// of it replaced, changes its time of change; so the path is followed only after that, or after some milliseconds.
    pub(crate) fn check_in(&self, directory: impl AsFd) -> Result<()> {
        let changed = rustix::fs::fstat(directory)
            .map_or(0, |found| nanoseconds(found.st_ctime.into(), found.st_ctime_nsec.into()));
        let now = rustix::time::clock_gettime(CLOCK);
        let now = nanoseconds(now.tv_sec.into(), now.tv_nsec.into());
        let is_recent = now.saturating_sub(self.seen.at.load(Ordering::Relaxed)) < MOMENT.as_nanos() as u64;
        if changed != 0 && is_recent && changed == self.seen.changed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.check()?;
        let wall =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |wall| wall.as_nanos() as u64);
        let tick = if changed.is_multiple_of(1_000_000_000) { COARSE_TICK } else { TICK };
        let is_settled = wall > changed.saturating_add(tick.as_nanos() as u64);
        self.seen.changed.store(if is_settled { changed } else { 0 }, Ordering::Relaxed);
        self.seen.at.store(now, Ordering::Relaxed);
        Ok(())
    }
}

fn nanoseconds(seconds: i128, part: i128) -> u64 {
    u64::try_from(seconds * 1_000_000_000 + part).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Store {
        _parent: tempfile::TempDir,
        parent: PathBuf,
        dir: PathBuf,
        directory: File,
        place: Place,
    }

    /// A directory in a directory, unchanged for long enough to be believed.
    fn settled() -> Store {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("parent");
        let dir = parent.join("store");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("data"), "1").unwrap();
        let file = File::open(dir.join("data")).unwrap();
        let place = Place::new(dir.join("data"), &file).unwrap();
        let directory = File::open(&dir).unwrap();
        std::thread::sleep(TICK * 2);
        let store = Store { _parent: root, parent, dir, directory, place };
        store.check().unwrap();
        assert_ne!(store.place.seen.changed.load(Ordering::Relaxed), 0, "it is believed now");
        store.check().unwrap();
        store
    }

    impl Store {
        fn check(&self) -> Result<()> {
            self.place.check_in(&self.directory)
        }
    }

    #[test]
    fn what_is_done_to_the_directory_is_noticed_at_once() {
        let change: [fn(&Store); 4] = [
            |store| fs::remove_dir_all(&store.dir).unwrap(),
            |store| fs::rename(&store.dir, store.parent.join("aside")).unwrap(),
            |store| fs::remove_file(store.dir.join("data")).unwrap(),
            |store| {
                fs::write(store.dir.join("new"), "2").unwrap();
                fs::rename(store.dir.join("new"), store.dir.join("data")).unwrap();
            },
        ];
        for (n, change) in change.into_iter().enumerate() {
            let store = settled();
            change(&store);
            assert!(matches!(store.check(), Err(Error::Gone { .. })), "change {n}");
        }
    }

    #[test]
    fn changes_right_after_one_another_are_noticed_however_coarse_the_clock_is() {
        for round in 0..50 {
            let store = settled();
            // Another file, as the log makes them, and the check that follows.
            fs::write(store.dir.join("other"), "").unwrap();
            store.check().unwrap();
            fs::rename(&store.dir, store.parent.join("aside")).unwrap();
            assert!(matches!(store.check(), Err(Error::Gone { .. })), "round {round}");
        }
    }

    #[test]
    fn a_parent_that_is_renamed_is_noticed_after_a_moment() {
        let store = settled();
        fs::rename(&store.parent, store.parent.with_file_name("aside")).unwrap();
        std::thread::sleep(MOMENT * 3);
        assert!(matches!(store.check(), Err(Error::Gone { .. })));
    }
}
