//! The control file: what all processes that have the store open tell each other through memory they share.
//!
//! Nothing in it outlives its users. The first process to open the store makes it anew, from the data file and the log;
//! after a power loss it is not looked at.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::OFlags;

use super::file::bytes_at;
use super::map::{Map, Mode};
use super::position::Position;
use crate::error::{Error, Result};
use crate::store::directory::byte_lock;
use crate::store::directory::locks::LockFile;
use crate::store::directory::store_dir::StoreDir;

pub(super) const NAME: &str = LockFile::NAME;
const MAGIC: u64 = u64::from_le_bytes(*b"CMcontrl");
/// Of the layout of this file, and of the rules by which it is used.
const VERSION: u32 = 3;

/// Processes that can have the store open at once.
pub(super) const SLOTS: usize = 4096;
/// Snapshots that a process can have open at once; who finds no free word waits for one.
pub(super) const PINS: usize = 64;
const HEAD: usize = 4096;
/// Of one process: its id, for messages, and its pins.
const SLOT: usize = 1024;
const PINS_AT: usize = 64;
const LEN: usize = HEAD + SLOTS * SLOT;
/// The first of the bytes whose locks tell which slots are alive. Far behind the end of the file.
const ALIVE: u64 = 1 << 40;

// Where the words are. What is written by different operations is kept on cache lines of its own.
const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 8;
const READY_AT: usize = 12;
const USED_AT: usize = 16;
const POISONED_AT: usize = 20;
const TAIL_AT: usize = 64;
const SETTINGS_AT: usize = 72;
const APPEND_AT: usize = 128;
const APPENDING_AT: usize = 132;
const OPEN_SEGMENT_AT: usize = 136;
const NEXT_NUMBER_AT: usize = 140;
const CHECKSUM_AT: usize = 144;
const LOGGED_AT: usize = 152;
const GROWN_AT: usize = 160;
const GATE_AT: usize = 192;
const STUCK_AT: usize = 196;
const NEWEST_AT: usize = 256;
const NEWEST_SYNCED_AT: usize = 264;
const FOLDED_AT: usize = 272;
const FOLDED_LOGGED_AT: usize = 280;
const BARRIER_AT: usize = 288;
const FOLDED_GROWN_AT: usize = 296;
const TREE_PAGES_AT: usize = 304;
const FULL_AT: usize = 312;
const ROOM_AT: usize = 316;
const SYNCED_AT: usize = 320;
const PREPARED_AT: usize = 384;
const SEGMENT_SIZE_AT: usize = 388;
const BEGUN_AT: usize = 392;

/// In the tail: a transaction is being committed to LMDB directly.
const BARRIER: u64 = 1;

pub(super) struct Control {
    map: Map,
    file: Arc<LockFile>,
    slot: usize,
}

impl Control {
    /// Maps the control file; the caller has the gate. Whoever is `alone` makes it anew and has to call
    /// [`set_ready`](Self::set_ready) once it tells of the store.
    pub(super) fn attach(locks: Arc<LockFile>, alone: bool) -> Result<Control> {
        let failed = |error| Error::io("opening the control file", error);
        let (file, dir) = (locks.file(), locks.dir());
        if alone {
            // Never shorter than that: somebody who only reads may have so much of it mapped.
            file.set_len(HEAD as u64).and_then(|()| file.write_all_at(&[0; HEAD], 0)).map_err(failed)?;
        } else if file.metadata().map_err(failed)?.len() < HEAD as u64 {
            return Err(lost(dir.path()));
        }
        // Through an opening of its own: a mapping keeps alive what it was made of, also in a forked child.
        let mapped = dir.open_own(NAME, OFlags::RDWR, "opening the control file")?;
        let map = Map::new(&mapped, LEN, Mode::Shared)?;
        let mut control = Control { map, file: locks, slot: 0 };
        if alone {
            control.map.word(MAGIC_AT).store(MAGIC, Ordering::Relaxed);
            control.map.half_word(VERSION_AT).store(VERSION, Ordering::Relaxed);
        } else {
            control.check()?;
        }
        super::fault::point("a control file is mapped");
        control.slot = control.claim_slot()?;
        super::fault::point("a slot is taken");
        Ok(control)
    }

    fn check(&self) -> Result<()> {
        let version = self.map.half_word(VERSION_AT).load(Ordering::Acquire);
        if self.map.word(MAGIC_AT).load(Ordering::Acquire) != MAGIC || version == 0 {
            return Err(lost(self.dir()));
        }
        if version != VERSION {
            let detail = "a program of another version of this library has it open; close it there first, or use the \
                          same version";
            return Err(Error::Busy { path: self.dir().to_owned(), detail: detail.into() });
        }
        match self.map.half_word(READY_AT).load(Ordering::Acquire) {
            0 => Err(lost(self.dir())),
            _ => Ok(()),
        }
    }

    /// From now on others may use what is written here.
    pub(super) fn set_ready(&self) {
        self.map.half_word(READY_AT).store(1, Ordering::Release);
    }

    /// Takes a slot that no living process has.
    fn claim_slot(&self) -> Result<usize> {
        for slot in 0..SLOTS {
            if self.file.try_lock(ALIVE + slot as u64)? {
                // Also makes room for it: the map is longer than the file, and to touch what lies behind its end, or finds no
                // room on the disk, kills the process. So nobody looks at slots that were never taken.
                let at = (HEAD + slot * SLOT) as u64;
                let cleared = self.file.file().write_all_at(&[0; SLOT], at);
                cleared.map_err(|e| Error::io("making room in the control file", e))?;
                self.map.word(self.slot_at(slot)).store(std::process::id().into(), Ordering::Relaxed);
                for lock in [self.append_lock(), self.gate(), self.room_lock()] {
                    super::shared_lock::orphan(lock, slot);
                }
                self.map.half_word(USED_AT).fetch_max(slot as u32 + 1, Ordering::SeqCst);
                return Ok(slot);
            }
        }
        let detail = format!("{SLOTS} processes have it open, which is the most; close it in some");
        Err(Error::Busy { path: self.dir().to_owned(), detail: detail.into() })
    }

    pub(super) fn dir(&self) -> &Path {
        self.file.dir().path()
    }

    /// The number of this process among those that have the store open.
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// Above all slots that were ever taken.
    pub(super) fn slots_used(&self) -> usize {
        (self.map.half_word(USED_AT).load(Ordering::SeqCst) as usize).min(SLOTS)
    }

    /// The process id that whoever has a slot knows itself by: for messages, since another container counts for itself.
    pub(super) fn process_of(&self, slot: usize) -> u64 {
        self.map.word(self.slot_at(slot)).load(Ordering::Relaxed)
    }

    fn slot_at(&self, slot: usize) -> usize {
        HEAD + slot.min(SLOTS - 1) * SLOT
    }

    pub(super) fn pin(&self, slot: usize, pin: usize) -> &AtomicU64 {
        self.map.word(self.slot_at(slot) + PINS_AT + pin.min(PINS - 1) * 8)
    }

    /// Runs `bury` if the process of this slot is dead, and clears its pins. Nobody can take the slot meanwhile.
    pub(super) fn if_dead<T>(&self, slot: usize, bury: impl FnOnce() -> T) -> Result<Option<T>> {
        if slot == self.slot || slot >= SLOTS || !self.file.try_lock(ALIVE + slot as u64)? {
            return Ok(None);
        }
        let done = bury();
        for pin in 0..PINS {
            self.pin(slot, pin).store(0, Ordering::SeqCst);
        }
        self.file.unlock(ALIVE + slot as u64);
        Ok(Some(done))
    }

    /// The end of the log, as the token: whoever reads the same twice has seen no commit between.
    #[inline]
    pub(super) fn token(&self) -> u64 {
        self.map.word(TAIL_AT).load(Ordering::Acquire)
    }

    /// The end of the log.
    #[inline]
    pub(super) fn tail(&self) -> Position {
        Position::from_word(self.token() & !BARRIER)
    }

    pub(super) fn set_tail(&self, tail: Position) {
        self.map.word(TAIL_AT).store(tail.to_word(), Ordering::SeqCst);
    }

    /// From now on no token is that of any snapshot, until the tail is set.
    pub(super) fn begin_barrier(&self) {
        self.map.word(TAIL_AT).fetch_or(BARRIER, Ordering::SeqCst);
    }

    /// As [`set_tail`](Self::set_tail), while the barrier goes on.
    pub(super) fn move_barrier(&self, tail: Position) {
        self.map.word(TAIL_AT).store(tail.to_word() | BARRIER, Ordering::SeqCst);
    }

    pub(super) fn is_in_barrier(&self) -> bool {
        self.token() & BARRIER != 0
    }

    /// How often a record was changed that says how the store or a namespace is set: twice for each time, and odd while it
    /// may be seen or not. Whoever reads the same even number before and after a snapshot of the tail has seen the same
    /// settings as with all other snapshots of that number.
    #[inline]
    pub(super) fn settings(&self) -> u64 {
        self.map.word(SETTINGS_AT).load(Ordering::Acquire)
    }

    /// Before the tail is moved behind such a change. The caller holds the append lock.
    pub(super) fn begin_settings(&self) {
        self.map.word(SETTINGS_AT).fetch_or(1, Ordering::SeqCst);
    }

    /// When it has been, also by who was killed before saying so.
    pub(super) fn end_settings(&self) {
        if !self.settings().is_multiple_of(2) {
            self.map.word(SETTINGS_AT).fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Where the last transaction that was committed to LMDB directly was in the log: snapshots that were folded less far
    /// lack it.
    pub(super) fn last_barrier(&self) -> &AtomicU64 {
        self.map.word(BARRIER_AT)
    }

    /// The lock under which records are appended.
    pub(super) fn append_lock(&self) -> &AtomicU32 {
        self.map.half_word(APPEND_AT)
    }

    /// Not 0 while a holder of the append lock changes the log.
    pub(super) fn appending(&self) -> &AtomicU32 {
        self.map.half_word(APPENDING_AT)
    }

    /// The segment that the next record goes into; 0 if that has to be a new one.
    pub(super) fn open_segment(&self) -> &AtomicU32 {
        self.map.half_word(OPEN_SEGMENT_AT)
    }

    /// The number of the next new segment: above that of every file there is.
    pub(super) fn next_number(&self) -> &AtomicU32 {
        self.map.half_word(NEXT_NUMBER_AT)
    }

    /// The checksum at the tail.
    pub(super) fn checksum(&self) -> &AtomicU64 {
        self.map.word(CHECKSUM_AT)
    }

    /// Bytes appended since the control file was made.
    pub(super) fn logged(&self) -> &AtomicU64 {
        self.map.word(LOGGED_AT)
    }

    /// What of [`logged`](Self::logged) has been folded.
    pub(super) fn folded_logged(&self) -> &AtomicU64 {
        self.map.word(FOLDED_LOGGED_AT)
    }

    /// Bytes by which the records have grown since the control file was made, as a number with a sign. Counted in stores
    /// with a limit only.
    pub(super) fn grown(&self) -> &AtomicU64 {
        self.map.word(GROWN_AT)
    }

    /// What of [`grown`](Self::grown) has been folded.
    pub(super) fn folded_grown(&self) -> &AtomicU64 {
        self.map.word(FOLDED_GROWN_AT)
    }

    /// Pages that the records take in LMDB, as of the last fold.
    pub(super) fn tree_pages(&self) -> &AtomicU64 {
        self.map.word(TREE_PAGES_AT)
    }

    /// Not 0 while there is no room to fold: [`DISK`](super::room::DISK) or [`MAP`](super::room::MAP).
    pub(super) fn full(&self) -> &AtomicU32 {
        self.map.half_word(FULL_AT)
    }

    /// The lock under which LMDB is written.
    pub(super) fn gate(&self) -> &AtomicU32 {
        self.map.half_word(GATE_AT)
    }

    /// The lock under which room is made for a large entry.
    pub(super) fn room_lock(&self) -> &AtomicU32 {
        self.map.half_word(ROOM_AT)
    }

    /// Not 0 while folds are put off for a snapshot that is kept open; 2 once somebody has waited for it in vain.
    pub(super) fn stuck(&self) -> &AtomicU32 {
        self.map.half_word(STUCK_AT)
    }

    /// The last transaction of LMDB whose commit is complete.
    pub(super) fn newest(&self) -> &AtomicU64 {
        self.map.word(NEWEST_AT)
    }

    /// The last transaction of LMDB that is known to be on the disk.
    pub(super) fn newest_synced(&self) -> &AtomicU64 {
        self.map.word(NEWEST_SYNCED_AT)
    }

    /// Up to where LMDB has the log.
    pub(super) fn folded(&self) -> &AtomicU64 {
        self.map.word(FOLDED_AT)
    }

    /// Up to where the log is on the disk.
    pub(super) fn synced(&self) -> &AtomicU64 {
        self.map.word(SYNCED_AT)
    }

    /// The number of a segment that was made ahead; 0 if there is none.
    pub(super) fn prepared(&self) -> &AtomicU32 {
        self.map.half_word(PREPARED_AT)
    }

    /// The highest number of a segment that was begun: what goes on from a place is in the highest that does.
    pub(super) fn begun(&self) -> &AtomicU32 {
        self.map.half_word(BEGUN_AT)
    }

    /// The size of the next segment; 0 before there was one.
    pub(super) fn segment_size(&self) -> &AtomicU32 {
        self.map.half_word(SEGMENT_SIZE_AT)
    }

    /// Lets nobody write any more: the disk has failed to keep what was written, and what it has is unknown.
    pub(super) fn poison(&self) {
        self.map.half_word(POISONED_AT).store(1, Ordering::SeqCst);
    }

    pub(super) fn check_poison(&self) -> Result<()> {
        match self.map.half_word(POISONED_AT).load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(Error::Io {
                context: "the disk failed to keep what was written to this store, so nothing more is written: check the \
                          disk, and close the store in all processes before it is used again"
                    .into(),
                source: std::io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }
}

/// The file can stay open for other locks.
impl Drop for Control {
    fn drop(&mut self) {
        self.file.unlock(ALIVE + self.slot as u64);
    }
}

/// For looking only, from a directory that this process cannot write to.
pub(super) struct ControlView {
    map: Map,
}

impl ControlView {
    /// `None` where there is no control file to look at.
    pub(super) fn open(dir: &StoreDir) -> Result<Option<ControlView>> {
        let failed = |error| Error::io("opening the control file", error);
        let file = match dir.open_own(NAME, OFlags::RDONLY, "opening the control file") {
            Err(Error::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        if file.metadata().map_err(failed)?.len() < HEAD as u64 {
            return Ok(None);
        }
        Ok(Some(ControlView { map: Map::new(&file, HEAD, Mode::ReadOnly)? }))
    }

    pub(super) fn token(&self) -> u64 {
        self.map.word(TAIL_AT).load(Ordering::Acquire)
    }
}

/// Whether a process that is alive uses the control file that lies in a directory.
pub(super) fn is_in_use(dir: &StoreDir) -> Result<bool> {
    let failed = |error| Error::io("opening the control file", error);
    let file = match dir.open_own(NAME, OFlags::RDWR, "opening the control file") {
        Err(Error::NotFound { .. }) => return Ok(false),
        opened => opened?,
    };
    let mut head = [0; USED_AT + 4];
    if file.read_at(&mut head, 0).map_err(failed)? < head.len() {
        return Ok(false);
    }
    let number = |at: usize| bytes_at(&head, at).map_or(0, u32::from_le_bytes);
    if head.starts_with(&MAGIC.to_le_bytes()) && number(VERSION_AT) != VERSION {
        // Its slots mean something else; joining it is an error that says so.
        return Ok(true);
    }
    for slot in 0..(number(USED_AT) as usize).min(SLOTS) {
        // It goes with the file where it was taken.
        if !byte_lock::try_lock(&file, ALIVE + slot as u64)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn lost(dir: &Path) -> Error {
    let detail = "other processes have it open, but its file \"control\" was removed or replaced; close it in all \
                  processes, then open it again";
    Error::Busy { path: dir.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(dir: &Path, is_first: bool) -> Control {
        let control = try_attach(dir, is_first).unwrap();
        control.set_ready();
        control
    }

    fn try_attach(dir: &Path, is_first: bool) -> Result<Control> {
        let dir = Arc::new(StoreDir::open(dir)?);
        Control::attach(LockFile::open(&dir, None, true)?, is_first)
    }

    #[test]
    fn only_the_pins_of_the_dead_are_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (attach(dir.path(), true), attach(dir.path(), false));
        assert_eq!((first.slot(), second.slot(), first.slots_used()), (0, 1, 2));
        for control in [&first, &second] {
            control.pin(control.slot(), 3).store(7, Ordering::SeqCst);
        }
        assert!(first.if_dead(1, || panic!("it lives")).unwrap().is_none());
        assert!(first.if_dead(0, || panic!("it asks")).unwrap().is_none());
        drop(second);
        assert_eq!(first.if_dead(1, || 5).unwrap(), Some(5));
        assert_eq!(first.pin(1, 3).load(Ordering::SeqCst), 0);
        assert_eq!(first.pin(0, 3).load(Ordering::SeqCst), 7);
    }

    #[test]
    fn a_slot_is_taken_again_without_what_its_former_owner_left() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (attach(dir.path(), true), attach(dir.path(), false));
        let third = attach(dir.path(), false);
        second.pin(1, 0).store(9, Ordering::SeqCst);
        drop(second);
        let fourth = attach(dir.path(), false);
        assert_eq!((third.slot(), fourth.slot(), first.slots_used()), (2, 1, 3));
        assert_eq!(first.pin(1, 0).load(Ordering::SeqCst), 0);
    }

    #[test]
    fn nobody_joins_by_a_file_that_is_not_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |what: &str| {
            let error = try_attach(dir.path(), false).err().unwrap();
            assert!(error.is_busy() && error.to_string().contains(what), "{error}");
        };
        // There is none: then the one that the others have was removed.
        refused("removed or replaced");
        let first = try_attach(dir.path(), true).unwrap();
        refused("removed or replaced");
        first.set_ready();
        drop(try_attach(dir.path(), false).unwrap());
        first.map.half_word(VERSION_AT).store(VERSION + 1, Ordering::SeqCst);
        refused("another version");
        drop(first);
        // Whoever is alone makes it anew.
        attach(dir.path(), true);
    }

    #[test]
    fn a_poisoned_store_is_written_to_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (attach(dir.path(), true), attach(dir.path(), false));
        second.check_poison().unwrap();
        first.poison();
        assert!(second.check_poison().unwrap_err().to_string().contains("check the"));
    }
}
