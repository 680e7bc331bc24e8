//! The checkpoint record: which snapshot of the data file is on the disk, and in which boot that was so.
//!
//! # Layout of the file `checkpoint`
//!
//! 8192 bytes: slot 0 at 0 and slot 1 at 4096. The record with sequence number *n* is in slot *n* mod 2, so that a write
//! never touches the record before it. The valid slot with the higher sequence number counts. A slot of zeros was never
//! written. The meta body is in the byte order of the machine, as LMDB writes it; all other integers are little-endian.
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `CACHMCKP` |
//! | 8 | 4 | format version: 1 |
//! | 12 | 4 | state: 1 creating, 2 open, 3 clean |
//! | 16 | 8 | sequence number, from 1 |
//! | 24 | 4 | length of the boot id, 0 to 64; 0 when there is none |
//! | 28 | 64 | boot id, then zeros |
//! | 92 | 4 | page size of the data file; 0 without a meta body |
//! | 96 | 8 | transaction id of the snapshot; 0 without a meta body |
//! | 104 | 4 | length of the meta body: 136, or 0 when there is none |
//! | 108 | 136 | the body of LMDB's meta page of that snapshot, then zeros |
//! | 244 | 3844 | zeros |
//! | 4088 | 8 | XXH3-64 (seed 0) of the bytes 0 to 4087 |
//!
//! Every later version keeps the magic, the version, the sequence number and the checksum in these places.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::XxHash3_64;

use super::boot::{BOOT_ID_MAX, BootId};
use super::file::{META_BODY, MetaBody};
use crate::error::{Error, Result};

/// The newest version of the record that this crate reads, and the one it writes.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"CACHMCKP";
const SLOT: usize = 4096;
const CHECKSUM_AT: usize = SLOT - 8;

/// What the store's files were last known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// How far a process got.
    pub(crate) state: State,
    /// The boot in which the record was written.
    pub(crate) boot: Option<BootId>,
    /// The snapshot that is on the disk whatever happens; `None` as long as there is none.
    pub(crate) meta: Option<MetaBody>,
}

/// How far a process got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The store is being made; nothing in it counts yet.
    Creating,
    /// Commits newer than the snapshot may exist, synced or not.
    Open,
    /// Everything was synced, and nothing was committed since.
    Clean,
}

/// The open file of the record.
///
/// Writes by several `RecordFile`s of one file, in one process or many, must exclude each other by a lock; reads too.
#[derive(Debug)]
pub(crate) struct RecordFile {
    file: File,
    writable: bool,
    /// The sequence number of a record known to be on the disk; 0 for none.
    synced: AtomicU64,
}

#[expect(clippy::large_enum_variant, reason = "there are two of them, on the stack, once a checkpoint")]
enum Slot {
    Blank,
    Invalid,
    Newer(u32),
    Valid { sequence: u64, record: Record },
}

impl AsRawFd for RecordFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl RecordFile {
    /// The name of the file in the store's directory.
    pub(crate) const NAME: &str = "checkpoint";

    /// Opens the record of the store in `dir`. `None` when there is none and `create` is false.
    ///
    /// A new file is for its owner only, holds two blank slots, and is on the disk together with its name. A file that
    /// may not be written is opened for reading.
    pub(crate) fn open(dir: &Path, create: bool) -> Result<Option<RecordFile>> {
        let path = dir.join(Self::NAME);
        let failed = |error| Error::io("opening the checkpoint record", error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let existing = match options.open(&path) {
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                File::open(&path).map(|file| (file, false))
            }
            opened => opened.map(|file| (file, true)),
        };
        let file = match existing {
            Ok((file, writable)) => {
                return Ok(Some(RecordFile { file, writable, synced: AtomicU64::new(0) }));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            Err(_) if !create => return Ok(None),
            Err(_) => options.create(true).truncate(false).open(&path).map_err(failed)?,
        };
        let creating = |error| Error::io("creating the checkpoint record", error);
        file.write_all_at(&[0; 2 * SLOT], 0).map_err(creating)?;
        file.sync_all().map_err(creating)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(creating)?;
        Ok(Some(RecordFile { file, writable: true, synced: AtomicU64::new(0) }))
    }

    /// The newest record; `None` when no record was ever completed.
    ///
    /// The record is on the disk when this returns, unless the file was opened for reading only.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] when both slots were written and neither is valid, [`Error::NewerFormat`] when a newer version
    /// of this crate wrote one.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(self.read_and_doubt()?.map(|(record, _)| record))
    }

    /// As [`read`](Self::read), and whether the other slot is damaged.
    ///
    /// After a stop of the machine that is a torn write, and the snapshot of this record is complete; but if the other
    /// record was written in full and damaged later, then pages of this snapshot may have been used again since.
    pub(crate) fn read_and_doubt(&self) -> Result<Option<(Record, bool)>> {
        let slots = self.slots()?;
        // A torn first write leaves the other slot blank: nothing was recorded. Two bad slots are no torn write.
        if matches!(slots, [Slot::Invalid, Slot::Invalid]) {
            return Err(Error::damaged(
                "both slots of the file \"checkpoint\" are invalid; only if the machine has not stopped since the store \
                 was last used, removing that file makes it readable",
            ));
        }
        let doubt = slots.iter().any(|slot| matches!(slot, Slot::Invalid));
        let newest = newest(&slots)?;
        self.settle(newest.map_or(0, |(sequence, _)| sequence))?;
        Ok(newest.map(|(_, record)| (record, doubt)))
    }

    /// Writes the record and returns when it is on the disk.
    ///
    /// On an error the record before it still counts, but after a power loss this one may: both snapshots must be kept
    /// until a later write has succeeded. A pin of the older keeps both.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let failed = |error| Error::io("writing the checkpoint record", error);
        if !self.writable {
            return Err(failed(std::io::Error::from(ErrorKind::PermissionDenied)));
        }
        let last = newest(&self.slots()?)?.map_or(0, |(sequence, _)| sequence);
        // The slot to be overwritten holds the record before the last, which may be the only one on the disk.
        self.settle(last)?;
        let sequence = last.saturating_add(1);
        let at = slot_offset(sequence);
        if let Err(error) =
            self.file.write_all_at(&encode(sequence, record), at).and_then(|()| self.file.sync_data())
        {
            // What is not known to be on the disk must not count as the last record: the next write would then replace
            // the one that is. Nothing more can be done when this fails too.
            let _ = self.file.write_all_at(&[0; SLOT], at).and_then(|()| self.file.sync_data());
            return Err(failed(error));
        }
        self.synced.store(sequence, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that the newest record, which has this sequence number, is on the disk. Somebody may have been killed
    /// between writing it and syncing it.
    fn settle(&self, newest: u64) -> Result<()> {
        if self.writable && newest != self.synced.load(Ordering::Relaxed) {
            self.file.sync_data().map_err(|e| Error::io("syncing the checkpoint record", e))?;
            self.synced.store(newest, Ordering::Relaxed);
        }
        Ok(())
    }

    fn slots(&self) -> Result<[Slot; 2]> {
        let mut bytes = [[0; SLOT]; 2];
        for (i, slot) in (0u64..).zip(&mut bytes) {
            // Missing bytes count as zeros: the process that made the file can have been killed on the way.
            super::file::read_up_to(&self.file, slot, slot_offset(i))
                .map_err(|e| Error::io("reading the checkpoint record", e))?;
        }
        let [first, second] = &bytes;
        Ok([decode(0, first), decode(1, second)])
    }
}

fn slot_offset(sequence: u64) -> u64 {
    sequence % 2 * SLOT as u64
}

fn newest(slots: &[Slot; 2]) -> Result<Option<(u64, Record)>> {
    let mut newest: Option<(u64, Record)> = None;
    for slot in slots {
        match slot {
            Slot::Newer(found) => return Err(Error::NewerFormat { found: *found, supported: VERSION }),
            Slot::Valid { sequence, record } if newest.is_none_or(|(other, _)| other < *sequence) => {
                newest = Some((*sequence, *record));
            }
            _ => {}
        }
    }
    Ok(newest)
}

fn encode(sequence: u64, record: &Record) -> [u8; SLOT] {
    let state: u32 = match record.state {
        State::Creating => 1,
        State::Open => 2,
        State::Clean => 3,
    };
    let boot = record.boot.as_ref().map_or(&[][..], BootId::as_bytes);
    let mut boot_bytes = [0; BOOT_ID_MAX];
    for (to, from) in boot_bytes.iter_mut().zip(boot) {
        *to = *from;
    }
    let meta = record.meta.as_ref();
    let fields: [&[u8]; 10] = [
        &MAGIC,
        &VERSION.to_le_bytes(),
        &state.to_le_bytes(),
        &sequence.to_le_bytes(),
        &(boot.len() as u32).to_le_bytes(),
        &boot_bytes,
        &meta.map_or(0, MetaBody::page_size).to_le_bytes(),
        &meta.map_or(0, MetaBody::txn_id).to_le_bytes(),
        &meta.map_or(0, |_| META_BODY as u32).to_le_bytes(),
        meta.map_or(&[], |meta| meta.as_bytes()),
    ];
    let mut slot = [0; SLOT];
    for (to, from) in slot.iter_mut().zip(fields.into_iter().flatten()) {
        *to = *from;
    }
    let checksum = checksum(&slot).to_le_bytes();
    for (to, from) in slot.iter_mut().skip(CHECKSUM_AT).zip(checksum) {
        *to = from;
    }
    slot
}

fn checksum(slot: &[u8; SLOT]) -> u64 {
    XxHash3_64::oneshot(slot.first_chunk::<CHECKSUM_AT>().map_or(&[], |bytes| bytes))
}

fn decode(index: u64, slot: &[u8; SLOT]) -> Slot {
    if slot.iter().all(|&byte| byte == 0) {
        return Slot::Blank;
    }
    parse(index, slot).unwrap_or(Slot::Invalid)
}

fn parse(index: u64, slot: &[u8; SLOT]) -> Option<Slot> {
    let mut rest: &[u8] = slot;
    let stored = u64::from_le_bytes(*slot.last_chunk()?);
    if take::<8>(&mut rest)? != MAGIC || stored != checksum(slot) {
        return None;
    }
    let version = u32::from_le_bytes(take(&mut rest)?);
    if version > VERSION {
        return Some(Slot::Newer(version));
    }
    let state = match u32::from_le_bytes(take(&mut rest)?) {
        1 => State::Creating,
        2 => State::Open,
        3 => State::Clean,
        _ => return None,
    };
    let sequence = u64::from_le_bytes(take(&mut rest)?);
    let boot_len = u32::from_le_bytes(take(&mut rest)?) as usize;
    let boot_bytes: [u8; BOOT_ID_MAX] = take(&mut rest)?;
    let boot = match boot_len {
        0 => None,
        len => Some(BootId::new(boot_bytes.get(..len)?)?),
    };
    let page_size = u32::from_le_bytes(take(&mut rest)?);
    let txn_id = u64::from_le_bytes(take(&mut rest)?);
    let meta_len = u32::from_le_bytes(take(&mut rest)?) as usize;
    let meta = match meta_len {
        0 => None,
        META_BODY => Some(MetaBody::from_bytes(take(&mut rest)?)),
        _ => return None,
    };
    let agrees = (page_size, txn_id) == meta.map_or((0, 0), |meta| (meta.page_size(), meta.txn_id()));
    let valid = version == VERSION && sequence > 0 && sequence % 2 == index && agrees;
    valid.then_some(Slot::Valid { sequence, record: Record { state, boot, meta } })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn meta(txn_id: u64) -> MetaBody {
        let mut bytes = [0; META_BODY];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = i as u8;
        }
        bytes[24..28].copy_from_slice(&4096u32.to_ne_bytes());
        bytes[128..].copy_from_slice(&txn_id.to_ne_bytes());
        MetaBody::from_bytes(bytes)
    }

    fn record(txn_id: u64) -> Record {
        Record { state: State::Open, boot: BootId::new(b"a boot"), meta: Some(meta(txn_id)) }
    }

    fn create() -> (tempfile::TempDir, RecordFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = RecordFile::open(dir.path(), true).unwrap().unwrap();
        (dir, file)
    }

    fn damage(dir: &tempfile::TempDir, at: usize, change: impl Fn(u8) -> u8) {
        let path = dir.path().join(RecordFile::NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] = change(bytes[at]);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_new_file_is_private_and_holds_no_record() {
        let (dir, file) = create();
        let metadata = file.file.metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(metadata.len(), 8192);
        assert_eq!(file.read().unwrap(), None);
        let other = tempfile::tempdir().unwrap();
        assert!(RecordFile::open(other.path(), false).unwrap().is_none());
        assert!(!other.path().join(RecordFile::NAME).exists());
        assert!(RecordFile::open(dir.path(), false).unwrap().is_some());
    }

    #[test]
    fn every_kind_of_record_comes_back() {
        let (_dir, file) = create();
        for state in [State::Creating, State::Open, State::Clean] {
            for boot in [None, BootId::new(b"x"), BootId::new(&[200; 64])] {
                for meta in [None, Some(meta(7)), Some(meta(u64::MAX))] {
                    let record = Record { state, boot, meta };
                    file.write(&record).unwrap();
                    assert_eq!(file.read().unwrap(), Some(record));
                }
            }
        }
    }

    #[test]
    fn the_layout_is_as_documented() {
        let (dir, file) = create();
        file.write(&Record { state: State::Creating, boot: None, meta: None }).unwrap();
        file.write(&record(0x0102)).unwrap();
        let bytes = std::fs::read(dir.path().join(RecordFile::NAME)).unwrap();
        let slot = &bytes[..4096];
        assert_eq!(&slot[..8], b"CACHMCKP");
        assert_eq!(slot[8..16], [1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(slot[16..24], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(slot[24..28], [6, 0, 0, 0]);
        assert_eq!(&slot[28..34], b"a boot");
        assert!(slot[34..92].iter().all(|&b| b == 0));
        assert_eq!(slot[92..96], [0, 16, 0, 0]);
        assert_eq!(slot[96..104], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(slot[104..108], [136, 0, 0, 0]);
        assert_eq!(&slot[108..244], meta(0x0102).as_bytes());
        assert!(slot[244..4088].iter().all(|&b| b == 0));
        assert_eq!(slot[4088..], XxHash3_64::oneshot(&slot[..4088]).to_le_bytes());
        assert_eq!(bytes[4096 + 16], 1);
    }

    #[test]
    fn a_write_never_touches_the_record_before_it() {
        let (dir, file) = create();
        for txn in 1..20 {
            let before = std::fs::read(dir.path().join(RecordFile::NAME)).unwrap();
            file.write(&record(txn)).unwrap();
            let after = std::fs::read(dir.path().join(RecordFile::NAME)).unwrap();
            let same = [0, 1].map(|i| before[i * SLOT..][..SLOT] == after[i * SLOT..][..SLOT]);
            assert_eq!(same, if txn % 2 == 0 { [false, true] } else { [true, false] });
        }
    }

    #[test]
    fn a_torn_write_at_any_byte_leaves_the_old_record_or_the_new_one() {
        let (dir, file) = create();
        let path = dir.path().join(RecordFile::NAME);
        for txn in 1..4 {
            file.write(&record(txn)).unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        file.write(&record(4)).unwrap();
        let after = std::fs::read(&path).unwrap();
        for cut in (0..SLOT).step_by(7).chain([SLOT]) {
            let torn = [&after[..cut], &before[cut..]].concat();
            std::fs::write(&path, &torn).unwrap();
            let read = file.read().unwrap();
            assert!(
                read == Some(record(3)) || (torn == after && read == Some(record(4))),
                "cut at {cut}: {read:?}"
            );
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let (dir, file) = create();
        file.write(&record(1)).unwrap();
        file.write(&record(2)).unwrap();
        for at in (0..260).chain(4080..4096) {
            damage(&dir, at, |byte| byte ^ 0x10);
            assert_eq!(file.read().unwrap(), Some(record(1)), "byte {at}");
            damage(&dir, at, |byte| byte ^ 0x10);
        }
        assert_eq!(file.read().unwrap(), Some(record(2)));
    }

    #[test]
    fn two_bad_slots_are_damage_and_a_torn_first_write_is_no_record() {
        let (dir, file) = create();
        file.write(&record(1)).unwrap();
        damage(&dir, SLOT + 100, |byte| !byte);
        assert_eq!(file.read().unwrap(), None);
        file.write(&record(1)).unwrap();
        file.write(&record(2)).unwrap();
        assert_eq!(file.read().unwrap(), Some(record(2)));
        damage(&dir, SLOT + 100, |byte| !byte);
        damage(&dir, 100, |byte| !byte);
        assert!(file.read().unwrap_err().is_damaged());
        file.write(&record(9)).unwrap();
        assert_eq!(file.read().unwrap(), Some(record(9)));
    }

    #[test]
    fn a_newer_version_is_named_and_not_overwritten() {
        let (dir, file) = create();
        file.write(&record(1)).unwrap();
        let mut slot = encode(2, &record(2));
        slot[8] = 9;
        let sum = checksum(&slot).to_le_bytes();
        slot[CHECKSUM_AT..].copy_from_slice(&sum);
        file.file.write_all_at(&slot, 0).unwrap();
        let before = std::fs::read(dir.path().join(RecordFile::NAME)).unwrap();
        assert!(matches!(file.read(), Err(Error::NewerFormat { found: 9, supported: 1 })));
        assert!(matches!(file.write(&record(3)), Err(Error::NewerFormat { .. })));
        assert_eq!(std::fs::read(dir.path().join(RecordFile::NAME)).unwrap(), before);
    }

    #[test]
    fn two_openings_see_and_follow_each_other() {
        let (dir, a) = create();
        let b = RecordFile::open(dir.path(), true).unwrap().unwrap();
        for txn in (1..30).step_by(3) {
            a.write(&record(txn)).unwrap();
            assert_eq!(b.read().unwrap(), Some(record(txn)));
            b.write(&record(txn + 1)).unwrap();
            b.write(&record(txn + 2)).unwrap();
            assert_eq!(a.read().unwrap(), Some(record(txn + 2)));
        }
    }

    #[test]
    fn a_short_file_is_completed_by_the_next_write() {
        let (dir, file) = create();
        std::fs::write(dir.path().join(RecordFile::NAME), [0; 100]).unwrap();
        assert_eq!(file.read().unwrap(), None);
        file.write(&record(1)).unwrap();
        assert_eq!(file.read().unwrap(), Some(record(1)));
    }

    #[test]
    fn a_record_opened_for_reading_cannot_be_written() {
        let (_dir, mut file) = create();
        file.write(&record(1)).unwrap();
        file.writable = false;
        assert!(matches!(file.write(&record(2)), Err(Error::Io { .. })));
        assert_eq!(file.read().unwrap(), Some(record(1)));
    }

    #[test]
    fn a_failed_write_leaves_the_old_record() {
        let (dir, file) = create();
        file.write(&record(1)).unwrap();
        let reader = RecordFile {
            file: File::open(dir.path().join(RecordFile::NAME)).unwrap(),
            writable: true,
            synced: AtomicU64::new(0),
        };
        assert!(reader.write(&record(2)).is_err());
        assert_eq!(file.read().unwrap(), Some(record(1)));
    }
}
