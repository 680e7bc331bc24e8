//! What a program of version 1 left: its side files, and how its data file is brought to a state that LMDB can start
//! from.
//!
//! Version 1 committed without syncing. Which snapshot of the data file was safely on the disk stood in a record in the
//! file `checkpoint`, together with the id of the boot in which that was so: after a stop of the machine only that
//! snapshot counts, and LMDB must not see the file before it was put back. `docs/FORMAT.md` has the record's layout.
//!
//! The way to version 2, for who is alone with the store: [`settle`], make it version 2, [`forget`]. After
//! a kill or a power loss on the way, the next one starts at the beginning again.

use std::fs::{self, File};

use rustix::fs::{FlockOperation, OFlags, flock};
use twox_hash::XxHash3_64;

use super::file::{self, DataFile, META_BODY, MetaBody, bytes_at};
use super::{DATA_NAME as DATA, data_path};
use crate::error::{Error, Result};
use crate::store::directory::store_dir::StoreDir;

const RECORD: &str = "checkpoint";
const CHECKPOINT_LOCK: &str = "checkpoint.lock";
const LMDB_LOCK: &str = "lock.mdb";
/// Held alone by who opened the store, and shared by all who had it open.
const LOCKS: [&str; 2] = ["open.lock", "users.lock"];
const OTHER_LOCKS: [&str; 3] = [CHECKPOINT_LOCK, "flight.lock", "sweeper.lock"];

/// What version 1 keeps beside the data file, and that means something.
pub(super) const FILES: [&str; 1] = [RECORD];

/// Whether version 1 made something of this name.
pub(super) fn is_own_name(name: &str) -> bool {
    side_files().any(|own| own == name)
}

fn side_files() -> impl Iterator<Item = &'static str> {
    // The record last, which says that there is something to settle.
    OTHER_LOCKS.into_iter().chain(LOCKS).chain([LMDB_LOCK, RECORD])
}

const MAGIC: [u8; 8] = *b"CACHMCKP";
const RECORD_VERSION: u32 = 1;
/// The file has two of these. A record never overwrote the one before it.
const SLOT: usize = 4096;
const CHECKSUM_AT: usize = SLOT - 8;
const BOOT_ID_AT: usize = 28;
const BOOT_ID_MAX: usize = 64;

/// What version 1 last knew of the data file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    state: State,
    /// The boot in which the record was written.
    boot: Option<Vec<u8>>,
    /// The snapshot that is on the disk whatever happened since.
    meta: Option<MetaBody>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The store was being made; nothing in it counts.
    Creating,
    /// Commits newer than the snapshot may exist, synced or not.
    Open,
    /// Everything was synced, and nothing was committed since.
    Clean,
}

enum Slot {
    Blank,
    Invalid,
    Newer(u32),
    Valid { sequence: u64, record: Record },
}

/// Whether version 1 left something to settle here.
pub(in crate::store) fn has_left(dir: &StoreDir) -> bool {
    dir.has(RECORD)
}

/// Keeps programs of version 1 from a store that one of them left, until what is returned is dropped. `None` where none did.
///
/// # Errors
///
/// [`Error::Busy`] when one has it open.
pub(in crate::store) fn lock_out(dir: &StoreDir) -> Result<Option<Vec<File>>> {
    if !has_left(dir) {
        return Ok(None);
    }
    let mut held = Vec::new();
    for name in LOCKS {
        let file = match dir.open_own(name, OFlags::RDONLY, "opening a lock file of version 1") {
            Err(Error::NotFound { .. }) => continue,
            opened => opened?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => held.push(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let detail =
                    "a program of an older version of this library has it open; close it there first";
                return Err(Error::Busy { path: dir.path().to_owned(), detail: detail.into() });
            }
            Err(error) => return Err(Error::io("locking the store", error)),
        }
    }
    Ok(Some(held))
}

/// Brings the data file of version 1 to a state, on the disk, that LMDB can start from; after a power loss that is the
/// last checkpoint. The caller is alone with the store.
///
/// The side files stay, but the record is emptied, which to version 1 means a store without one. The next commit may
/// overwrite pages of the recorded snapshot, because version 2 has nothing that keeps them: were the record still there
/// after a power loss, a snapshot with holes would be put back. An empty one also leaves alone whatever is committed
/// between this and [`forget`].
///
/// # Errors
///
/// [`Error::Damaged`] when the record is, or when the data file is not the one that it speaks of;
/// [`Error::NewerFormat`] when a later version wrote the record. Both files stay as they are then.
pub(in crate::store) fn settle(dir: &StoreDir) -> Result<()> {
    if !has_left(dir) {
        return Ok(());
    }
    if let Some((record, doubt)) = read(dir)? {
        match record.state {
            State::Creating => [DATA, LMDB_LOCK].into_iter().try_for_each(|name| remove(dir, name))?,
            State::Clean => compare(dir, &record)?,
            State::Open if record.boot == current_boot() => compare(dir, &record)?,
            State::Open => go_back(dir, &record, doubt)?,
        }
    }
    // In this order: without its record, the file must be what it is now, also after a power loss.
    match dir.open_own(DATA, OFlags::RDONLY, "opening the data file") {
        Ok(data) => data.sync_all().map_err(|e| Error::io("syncing the data file", e))?,
        Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    sync_names(dir)?;
    empty_record(dir)
}

/// Refuses a store that has to be settled by going back, for a process that cannot write to the directory.
pub(in crate::store) fn refuse_unsettled(dir: &StoreDir) -> Result<()> {
    match read(dir)? {
        Some((record, _)) if record.state == State::Open && record.boot != current_boot() => Err(Error::Busy {
            path: dir.path().to_owned(),
            detail: "it was not closed before the machine stopped and has to be recovered; open it once from a \
                     process that can write to the directory"
                .into(),
        }),
        _ => Ok(()),
    }
}

/// Removes the side files. The caller is alone with the store, which is version 2 on the disk: a program of version 1
/// then finds no record, and refuses the store by its version.
pub(in crate::store) fn forget(dir: &StoreDir) -> Result<()> {
    // The record last: as long as it is there, this is done again.
    side_files().try_for_each(|name| remove(dir, name))?;
    sync_names(dir)
}

/// Puts the recorded snapshot back, on the disk.
fn go_back(dir: &StoreDir, record: &Record, doubt: bool) -> Result<()> {
    let Some(meta) = &record.meta else {
        return Err(Error::damaged("the checkpoint record has no snapshot"));
    };
    tracing::info!(store = %dir.path().display(), txn = meta.txn_id(), "going back to the last checkpoint");
    let data = match dir.open_own(DATA, OFlags::RDWR, "opening the data file for recovery") {
        Err(Error::NotFound { .. }) => return Err(Error::damaged("the data file is missing")),
        opened => opened?,
    };
    if doubt {
        file::check_trees(&data, meta)?;
    }
    file::restore(&data, meta)
}

/// Makes sure that the data file is the one that the record speaks of, and not an older, empty or damaged one. Meta
/// pages have no checksum of their own. There was no power loss.
fn compare(dir: &StoreDir, record: &Record) -> Result<()> {
    let Some(recorded) = &record.meta else { return Ok(()) };
    let data = match dir.open_own(DATA, OFlags::RDONLY, "opening the data file") {
        Err(Error::NotFound { .. }) => {
            return Err(Error::damaged("the data file is missing, but not the file \"checkpoint\""));
        }
        opened => opened?,
    };
    let DataFile::Lmdb { newest } = file::check(&data_path(dir.path()), &data)? else {
        return Err(Error::damaged("the data file is empty, but a checkpoint of it is recorded"));
    };
    let (found, known) = (newest.txn_id(), recorded.txn_id());
    let is_later = record.state == State::Open && found > known;
    match is_later || newest == *recorded {
        true => Ok(()),
        false => Err(Error::damaged(format!(
            "the data file is at transaction {found}, but transaction {known} is recorded and not in it; if the data \
             file was put there by hand, remove the file \"checkpoint\""
        ))),
    }
}

fn remove(dir: &StoreDir, name: &str) -> Result<()> {
    dir.remove(name).map_err(|e| Error::io("removing a file of version 1", e))
}

fn sync_names(dir: &StoreDir) -> Result<()> {
    dir.sync().map_err(|e| Error::io("syncing the store's directory", e))
}

/// Makes the record one that was never written. Zeros would say the same, but could reach the disk in parts.
fn empty_record(dir: &StoreDir) -> Result<()> {
    let context = "emptying the checkpoint record";
    let file = dir.open_own(RECORD, OFlags::WRONLY, context)?;
    file.set_len(0).and_then(|()| file.sync_all()).map_err(|e| Error::io(context, e))
}

/// The id of the running boot: the page cache outlives a process, but not a boot. `None` where the platform has none.
fn current_boot() -> Option<Vec<u8>> {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return None;
    }
    // No /proc (a bare chroot), or a sandbox that hides it: version 1 did without.
    let id = fs::read("/proc/sys/kernel/random/boot_id").ok()?.trim_ascii().to_vec();
    (1..=BOOT_ID_MAX).contains(&id.len()).then_some(id)
}

/// The newest record, and whether the other slot is damaged; `None` when no record was ever completed.
///
/// After a stop of the machine a damaged slot is a torn write, and the snapshot of the other record is complete; but if
/// it was written in full and damaged later, then pages of that snapshot may have been used again since.
fn read(dir: &StoreDir) -> Result<Option<(Record, bool)>> {
    let file = match dir.open_own(RECORD, OFlags::RDONLY, "opening the checkpoint record") {
        Err(Error::NotFound { .. }) => return Ok(None),
        opened => opened?,
    };
    let mut newest: Option<(u64, Record)> = None;
    let mut invalid = 0;
    for index in 0..2 {
        let mut bytes = [0; SLOT];
        // Missing bytes count as zeros: the process that made the file can have been killed on the way.
        file::read_up_to(&file, &mut bytes, index * SLOT as u64)
            .map_err(|e| Error::io("reading the checkpoint record", e))?;
        match decode(index, &bytes) {
            Slot::Blank => {}
            Slot::Invalid => invalid += 1,
            Slot::Newer(found) => return Err(Error::NewerFormat { found, supported: RECORD_VERSION }),
            Slot::Valid { sequence, record } => {
                if newest.as_ref().is_none_or(|(other, _)| *other < sequence) {
                    newest = Some((sequence, record));
                }
            }
        }
    }
    // A torn first write leaves the other slot blank: nothing was recorded. Two bad slots are no torn write.
    if invalid == 2 {
        return Err(Error::damaged(
            "both slots of the file \"checkpoint\" are invalid; only if the machine has not stopped since the store \
             was last used, removing that file makes it readable",
        ));
    }
    Ok(newest.map(|(_, record)| (record, invalid > 0)))
}

fn decode(index: u64, slot: &[u8; SLOT]) -> Slot {
    if slot.iter().all(|&byte| byte == 0) {
        return Slot::Blank;
    }
    parse(index, slot).unwrap_or(Slot::Invalid)
}

fn parse(index: u64, slot: &[u8; SLOT]) -> Option<Slot> {
    let number = |at| bytes_at(slot, at).map(u32::from_le_bytes);
    let long = |at| bytes_at(slot, at).map(u64::from_le_bytes);
    let checked = XxHash3_64::oneshot(slot.first_chunk::<CHECKSUM_AT>()?);
    if bytes_at(slot, 0)? != MAGIC || long(CHECKSUM_AT)? != checked {
        return None;
    }
    let version = number(8)?;
    if version > RECORD_VERSION {
        return Some(Slot::Newer(version));
    }
    let state = match number(12)? {
        1 => State::Creating,
        2 => State::Open,
        3 => State::Clean,
        _ => return None,
    };
    let sequence = long(16)?;
    let boot: [u8; BOOT_ID_MAX] = bytes_at(slot, BOOT_ID_AT)?;
    let boot = match number(24)? as usize {
        0 => None,
        len => Some(boot.get(..len)?.to_vec()),
    };
    let meta = match number(104)? as usize {
        0 => None,
        META_BODY => Some(MetaBody::from_bytes(bytes_at(slot, 108)?)),
        _ => return None,
    };
    let agrees = (number(92)?, long(96)?) == meta.map_or((0, 0), |meta| (meta.page_size(), meta.txn_id()));
    let valid = version == RECORD_VERSION && sequence > 0 && sequence % 2 == index && agrees;
    valid.then_some(Slot::Valid { sequence, record: Record { state, boot, meta } })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::file::{PAGE_HEADER, check_snapshot};
    use super::*;

    fn at(dir: &Path) -> StoreDir {
        StoreDir::open(dir).unwrap()
    }

    fn has_left(dir: &Path) -> bool {
        super::has_left(&at(dir))
    }

    fn settle(dir: &Path) -> Result<()> {
        super::settle(&at(dir))
    }

    fn refuse_unsettled(dir: &Path) -> Result<()> {
        super::refuse_unsettled(&at(dir))
    }

    fn forget(dir: &Path) -> Result<()> {
        super::forget(&at(dir))
    }

    fn read(dir: &Path) -> Result<Option<(Record, bool)>> {
        super::read(&at(dir))
    }

    const PAGE: usize = 4096;
    const TXN_ID_AT: usize = 128;
    const MAIN_ROOT_AT: usize = 72 + 40;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/plain")
    }

    /// A copy of a store that version 1 closed, and its newest snapshot.
    fn store() -> (tempfile::TempDir, MetaBody) {
        let dir = tempfile::tempdir().unwrap();
        for name in [DATA, RECORD] {
            fs::write(dir.path().join(name), fs::read(fixture().join(name)).unwrap()).unwrap();
        }
        let newest = newest(dir.path());
        (dir, newest)
    }

    fn data(dir: &Path) -> Vec<u8> {
        fs::read(dir.join(DATA)).unwrap()
    }

    fn newest(dir: &Path) -> MetaBody {
        let path = dir.join(DATA);
        match file::check(&path, &File::open(&path).unwrap()).unwrap() {
            DataFile::Lmdb { newest } => newest,
            DataFile::Empty => panic!("empty"),
        }
    }

    fn changed(meta: &MetaBody, at: usize, value: u64) -> MetaBody {
        let mut bytes = *meta.as_bytes();
        bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        MetaBody::from_bytes(bytes)
    }

    /// The snapshot of the transaction after this one, which changed nothing.
    fn next(meta: &MetaBody) -> MetaBody {
        changed(meta, TXN_ID_AT, meta.txn_id() + 1)
    }

    fn commit(dir: &Path, meta: &MetaBody) {
        let mut bytes = data(dir);
        let at = (meta.txn_id() % 2) as usize * PAGE + PAGE_HEADER;
        bytes[at..at + META_BODY].copy_from_slice(meta.as_bytes());
        fs::write(dir.join(DATA), bytes).unwrap();
    }

    fn other_boot() -> Option<Vec<u8>> {
        Some(b"another boot".to_vec())
    }

    fn record(state: State, boot: Option<Vec<u8>>, meta: Option<MetaBody>) -> Record {
        Record { state, boot, meta }
    }

    fn checked(mut slot: Vec<u8>) -> Vec<u8> {
        slot.resize(CHECKSUM_AT, 0);
        let checksum = XxHash3_64::oneshot(&slot);
        [slot, checksum.to_le_bytes().to_vec()].concat()
    }

    fn encode(sequence: u64, record: &Record) -> Vec<u8> {
        let mut slot = MAGIC.to_vec();
        let state = match record.state {
            State::Creating => 1u32,
            State::Open => 2,
            State::Clean => 3,
        };
        let boot = record.boot.clone().unwrap_or_default();
        slot.extend(RECORD_VERSION.to_le_bytes());
        slot.extend(state.to_le_bytes());
        slot.extend(sequence.to_le_bytes());
        slot.extend((boot.len() as u32).to_le_bytes());
        slot.extend(&boot);
        slot.resize(BOOT_ID_AT + BOOT_ID_MAX, 0);
        slot.extend(record.meta.map_or(0, |meta| meta.page_size()).to_le_bytes());
        slot.extend(record.meta.map_or(0, |meta| meta.txn_id()).to_le_bytes());
        slot.extend(record.meta.map_or(0, |_| META_BODY as u32).to_le_bytes());
        slot.extend(record.meta.iter().flat_map(|meta| *meta.as_bytes()));
        checked(slot)
    }

    /// Writes a record as the only one; the other slot is blank.
    fn write(dir: &Path, record: &Record) {
        fs::write(dir.join(RECORD), [encode(2, record), vec![0; SLOT]].concat()).unwrap();
    }

    fn damage(dir: &Path, name: &str, at: usize) {
        let mut bytes = fs::read(dir.join(name)).unwrap();
        bytes[at] ^= 0x55;
        fs::write(dir.join(name), bytes).unwrap();
    }

    fn assert_settled(dir: &Path) {
        assert!(has_left(dir));
        assert_eq!(read(dir).unwrap(), None);
    }

    /// Settling fails as damage, and changes neither of the files.
    fn assert_refused(dir: &Path) {
        let before = (fs::read(dir.join(DATA)).ok(), fs::read(dir.join(RECORD)).unwrap());
        let error = settle(dir).unwrap_err();
        assert!(error.is_damaged(), "{error}");
        assert_eq!((fs::read(dir.join(DATA)).ok(), fs::read(dir.join(RECORD)).unwrap()), before);
    }

    #[test]
    fn a_store_that_version_1_closed_stays_as_it_is() {
        for name in ["plain", "key", "passphrase"] {
            let dir = tempfile::tempdir().unwrap();
            let fixture = fixture().with_file_name(name);
            for name in [DATA, RECORD] {
                fs::write(dir.path().join(name), fs::read(fixture.join(name)).unwrap()).unwrap();
            }
            let (record, doubt) = read(dir.path()).unwrap().unwrap();
            assert_eq!((record.state, doubt), (State::Clean, false));
            refuse_unsettled(dir.path()).unwrap();
            settle(dir.path()).unwrap();
            assert_settled(dir.path());
            assert_eq!(data(dir.path()), fs::read(fixture.join(DATA)).unwrap());
        }
    }

    #[test]
    fn without_a_record_nothing_is_done() {
        let (dir, _) = store();
        fs::remove_file(dir.path().join(RECORD)).unwrap();
        assert!(!has_left(dir.path()));
        settle(dir.path()).unwrap();
        refuse_unsettled(dir.path()).unwrap();
        assert!(!has_left(dir.path()));
        // One that was made, but not written to; that of a program of version 1 that refused the store, too.
        for blank in [0, 100, 2 * SLOT] {
            fs::write(dir.path().join(RECORD), vec![0; blank]).unwrap();
            settle(dir.path()).unwrap();
            assert_settled(dir.path());
        }
        assert_eq!(data(dir.path()), fs::read(fixture().join(DATA)).unwrap());
    }

    #[test]
    fn every_kind_of_record_is_read() {
        let (dir, newest) = store();
        for state in [State::Creating, State::Open, State::Clean] {
            for boot in [None, Some(vec![b'x']), Some(vec![200; 64])] {
                for meta in [None, Some(newest)] {
                    let record = record(state, boot.clone(), meta);
                    write(dir.path(), &record);
                    assert_eq!(read(dir.path()).unwrap(), Some((record, false)));
                }
            }
        }
    }

    #[test]
    fn the_newer_of_two_records_counts_and_a_damaged_one_is_in_doubt() {
        let (dir, newest) = store();
        let path = dir.path().join(RECORD);
        let old = record(State::Open, other_boot(), Some(newest));
        let new = record(State::Clean, None, None);
        fs::write(&path, [encode(2, &old), encode(3, &new)].concat()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some((new.clone(), false)));
        fs::write(&path, [encode(4, &old), encode(3, &new)].concat()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some((old.clone(), false)));
        for at in (0..260).chain(4080..4096) {
            damage(dir.path(), RECORD, at);
            assert_eq!(read(dir.path()).unwrap(), Some((new.clone(), true)), "byte {at}");
            damage(dir.path(), RECORD, at);
        }
        // In the wrong slot, as no version 1 writes it.
        fs::write(&path, [encode(3, &new), encode(3, &new)].concat()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some((new.clone(), true)));
        // A torn first write.
        fs::write(&path, [vec![0; SLOT], encode(1, &new)].concat()).unwrap();
        damage(dir.path(), RECORD, SLOT + 100);
        assert_eq!(read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_record_with_senseless_fields_is_invalid() {
        let (_dir, newest) = store();
        let good = encode(2, &record(State::Open, other_boot(), Some(newest)));
        let parsed = |at: usize, value: u32| {
            let mut slot = good[..CHECKSUM_AT].to_vec();
            slot[at..at + 4].copy_from_slice(&value.to_le_bytes());
            parse(0, checked(slot).first_chunk().unwrap())
        };
        assert!(parsed(92, newest.page_size()).is_some());
        // Version, state, sequence number, length of the boot id, page size, transaction, length of the meta body.
        for (at, value) in
            [(8, 0), (12, 0), (12, 4), (16, 0), (16, 3), (24, 65), (92, 0), (96, 0), (104, 135)]
        {
            assert!(parsed(at, value).is_none(), "{value} at {at}");
        }
    }

    #[test]
    fn two_bad_records_are_damage_and_a_later_version_is_named() {
        let (dir, newest) = store();
        let open = record(State::Open, other_boot(), Some(newest));
        fs::write(dir.path().join(RECORD), [encode(2, &open), encode(1, &open)].concat()).unwrap();
        damage(dir.path(), RECORD, 100);
        damage(dir.path(), RECORD, SLOT + 100);
        assert!(refuse_unsettled(dir.path()).unwrap_err().is_damaged());
        assert_refused(dir.path());
        let mut later = encode(2, &open)[..CHECKSUM_AT].to_vec();
        later[8] = 9;
        let later = [checked(later), encode(1, &open)].concat();
        fs::write(dir.path().join(RECORD), &later).unwrap();
        assert!(matches!(settle(dir.path()), Err(Error::NewerFormat { found: 9, supported: 1 })));
        assert_eq!(fs::read(dir.path().join(RECORD)).unwrap(), later);
    }

    #[test]
    fn a_store_that_was_being_made_is_removed_once() {
        let (dir, _) = store();
        let creating = record(State::Creating, other_boot(), None);
        write(dir.path(), &creating);
        fs::write(dir.path().join(LMDB_LOCK), "").unwrap();
        refuse_unsettled(dir.path()).unwrap();
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
        assert!(!dir.path().join(DATA).exists() && !dir.path().join(LMDB_LOCK).exists());
        // Killed before the record was emptied.
        write(dir.path(), &creating);
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
        // What is made in its place is not removed.
        fs::copy(fixture().join(DATA), dir.path().join(DATA)).unwrap();
        settle(dir.path()).unwrap();
        assert!(dir.path().join(DATA).exists());
    }

    #[test]
    fn a_clean_record_fits_only_the_very_snapshot() {
        let (dir, newest) = store();
        for boot in [None, current_boot(), other_boot()] {
            write(dir.path(), &record(State::Clean, boot, Some(newest)));
            refuse_unsettled(dir.path()).unwrap();
            settle(dir.path()).unwrap();
            assert_settled(dir.path());
        }
        write(dir.path(), &record(State::Clean, None, Some(next(&newest))));
        assert_refused(dir.path());
        write(dir.path(), &record(State::Clean, None, Some(newest)));
        commit(dir.path(), &next(&newest));
        assert_refused(dir.path());
        // About to be replaced: it speaks of no snapshot.
        write(dir.path(), &record(State::Clean, None, None));
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
        assert_eq!(super::tests::newest(dir.path()), next(&newest));
    }

    #[test]
    fn a_killed_process_of_the_same_boot_loses_nothing() {
        let (dir, old) = store();
        let open = record(State::Open, current_boot(), Some(old));
        write(dir.path(), &open);
        refuse_unsettled(dir.path()).unwrap();
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
        write(dir.path(), &open);
        commit(dir.path(), &next(&old));
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
        assert_eq!(newest(dir.path()), next(&old));
        // An older data file in its place.
        write(dir.path(), &record(State::Open, current_boot(), Some(next(&next(&old)))));
        assert_refused(dir.path());
        // Another one at the same transaction.
        write(dir.path(), &record(State::Open, current_boot(), Some(changed(&next(&old), MAIN_ROOT_AT, 2))));
        assert_refused(dir.path());
    }

    #[test]
    fn a_missing_or_empty_data_file_is_damage() {
        let (dir, newest) = store();
        for (state, boot) in
            [(State::Clean, None), (State::Open, current_boot()), (State::Open, other_boot())]
        {
            write(dir.path(), &record(state, boot, Some(newest)));
            fs::remove_file(dir.path().join(DATA)).unwrap();
            assert_refused(dir.path());
            fs::write(dir.path().join(DATA), "").unwrap();
            assert_refused(dir.path());
        }
        write(dir.path(), &record(State::Open, other_boot(), None));
        assert_refused(dir.path());
    }

    /// A store whose machine stopped while it was written to: the meta page is on the disk, its root is not.
    fn after_power_loss() -> (tempfile::TempDir, MetaBody, Record) {
        let (dir, newest) = store();
        commit(dir.path(), &changed(&next(&newest), MAIN_ROOT_AT, 1 << 40));
        let path = dir.path().join(DATA);
        assert!(file::check(&path, &File::open(&path).unwrap()).unwrap_err().is_damaged());
        (dir, newest, record(State::Open, other_boot(), Some(newest)))
    }

    #[test]
    fn a_power_loss_is_undone_also_when_killed_at_it() {
        let (dir, old, open) = after_power_loss();
        let before = data(dir.path());
        write(dir.path(), &open);
        assert!(refuse_unsettled(dir.path()).unwrap_err().is_busy());
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
        refuse_unsettled(dir.path()).unwrap();
        assert_eq!(newest(dir.path()), old);
        let settled = data(dir.path());
        assert_eq!(settled[2 * PAGE..], before[2 * PAGE..]);
        // Killed before the record was emptied, with any part of the meta pages written.
        for cut in [0, 100, PAGE, PAGE + 50, 2 * PAGE] {
            fs::write(dir.path().join(DATA), [&settled[..cut], &before[cut..]].concat()).unwrap();
            write(dir.path(), &open);
            settle(dir.path()).unwrap();
            assert_settled(dir.path());
            assert_eq!(data(dir.path()), settled, "cut at {cut}");
        }
        settle(dir.path()).unwrap();
        assert_eq!(data(dir.path()), settled);
    }

    #[test]
    fn a_snapshot_in_doubt_is_checked_in_full() {
        let (dir, old, open) = after_power_loss();
        let both = [encode(4, &open), encode(3, &open)].concat();
        let record_file = dir.path().join(RECORD);
        let before = data(dir.path());
        fs::write(&record_file, &both).unwrap();
        damage(dir.path(), RECORD, SLOT + 100);
        settle(dir.path()).unwrap();
        assert_eq!(newest(dir.path()), old);
        // The place of the root's first node, which only a look at all pages finds to be wrong.
        fs::write(dir.path().join(DATA), &before).unwrap();
        damage(dir.path(), DATA, old.main().root.unwrap() as usize * PAGE + PAGE_HEADER + 1);
        let data = File::open(dir.path().join(DATA)).unwrap();
        check_snapshot(&data, &old).unwrap();
        assert!(file::check_trees(&data, &old).is_err());
        fs::write(&record_file, &both).unwrap();
        damage(dir.path(), RECORD, SLOT + 100);
        assert_refused(dir.path());
        // Not looked for after a plain power loss: it would take a look at all pages each time.
        fs::write(&record_file, &both).unwrap();
        settle(dir.path()).unwrap();
        assert_settled(dir.path());
    }

    #[test]
    fn what_is_committed_after_settling_stays() {
        for boot in [None, current_boot(), other_boot()] {
            for state in [State::Clean, State::Open] {
                let (dir, old) = store();
                write(dir.path(), &record(state, boot.clone(), Some(old)));
                settle(dir.path()).unwrap();
                let mut last = old;
                for _ in 0..5 {
                    last = next(&last);
                    commit(dir.path(), &last);
                    settle(dir.path()).unwrap();
                    assert_eq!(newest(dir.path()), last);
                }
            }
        }
    }

    #[test]
    fn forgetting_removes_the_side_files_and_nothing_else() {
        let (dir, old) = store();
        settle(dir.path()).unwrap();
        for name in [CHECKPOINT_LOCK, LMDB_LOCK, "open.lock", "users.lock"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        for _ in 0..2 {
            forget(dir.path()).unwrap();
            assert!(!has_left(dir.path()));
            let mut left: Vec<_> =
                fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, [DATA]);
        }
        assert_eq!(newest(dir.path()), old);
    }
}
