//! LMDB as the backend: many processes write to a log they share, which is moved into LMDB in the background.
//!
//! ```text
//! append -> log (segments, mapped by all) -> fold -> LMDB
//! view   <- changes of the transaction, log, LMDB
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `transaction`: `append`, `whole` | the two kinds of transactions: one record in the log, or one commit of LMDB |
//! | `snapshot`, `view`, `gaps` | what a reader sees, and how nobody disturbs it |
//! | `fold`, `pack`, `durable`, `upkeep` | what is done behind the writers: moving the log into LMDB, syncing, and when |
//! | `room`, `reclaim`, `reserve` | what of the disk each part may take, and giving back what is free |
//! | `segments`, `segment`, `segment_file`, `ahead`, `position`, `replay` | the log: its files, its records, and finding its end |
//! | `control`, `shared_lock`, `map` | what the processes share: words in a mapped file, and locks that outlive nobody |
//! | `env`, `file` | LMDB itself, and what must be known of its format |
//! | `opening`, `engine` | what is brought in order before LMDB has the data file, and what a store asks of it then |
//! | `new_data`, `rewrite` | data files that are made beside the present one, and then put in place |
//! | `version_1` | what stores of the first format version are brought from |

mod ahead;
mod append;
mod control;
mod durable;
mod engine;
mod env;
mod file;
mod fold;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gaps;
mod map;
mod new_data;
mod opening;
mod pack;
mod position;
mod reclaim;
pub(in crate::store) mod remains;
mod replay;
mod reserve;
mod rewrite;
mod room;
mod segment;
mod segment_file;
mod segments;
mod shared_lock;
mod snapshot;
mod transaction;
mod upkeep;
mod version_1;
mod view;
mod whole;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;

use self::ahead::Ahead;
use self::append::Append;
use self::control::{Control, ControlView};
use self::env::{EnvSlot, Tree, Use, lmdb_error};
use self::gaps::Gaps;
use self::map::Mode;
pub(in crate::store::backend) use self::opening::open;
use self::position::{Point, Position};
use self::replay::{Replayed, replay};
pub(crate) use self::rewrite::{Batch, Rewrite};
use self::segments::Segments;
pub(crate) use self::shared_lock::SharedGuard;
use self::shared_lock::{SharedLock, Which};
pub(crate) use self::transaction::Transaction;
use self::upkeep::Upkeep;
pub(crate) use self::view::{Records, View};
use self::whole::Whole;
use super::ReadTxn;
use super::changes::Spare;
use crate::error::{Error, Result};
use crate::store::directory::locks::{LockFile, Member, Role};
use crate::store::directory::place::Place;
use crate::store::directory::store_dir::StoreDir;
use crate::store::fault;
use crate::store::format::layout::{FOLD_KEY, STORE_KEY};
use crate::store::format::records::{LMDB_VERSION, StoreRecord};
use crate::sync::SlowMutex;

pub(in crate::store) const DATA_NAME: &str = "data.mdb";
/// Numbers of segments that nobody comes to: even without a pause it takes centuries.
const LAST_NUMBER: u32 = 0xffff_0000;

pub(crate) struct Lmdb {
    env: EnvSlot,
    tree: Tree,
    dir: Arc<StoreDir>,
    place: Place,
    page_size: u64,
    access: Access,
    /// What of the log this process has mapped. Replaced under `mapping`.
    segments: ArcSwap<Segments>,
    mapping: Mutex<()>,
    ahead: Ahead,
    spare: Spare,
    gaps: Gaps,
    /// Held by the thread that syncs the log.
    syncing: SlowMutex,
    upkeep: Mutex<Upkeep>,
    /// Whether this process has written anything since it last synced the log.
    written: AtomicBool,
    /// A transaction of LMDB that was found complete before whoever committed it said so.
    unpublished: AtomicU64,
    /// Whether something was written since the last look found nothing to do.
    awake: AtomicBool,
    /// Whether the present segment has become half full since the next one was last thought of.
    is_half_full: AtomicBool,
    /// The limit in bytes, 0 for none.
    limit: OnceLock<u64>,
    /// What the parts of the store are measured by, 0 for nothing.
    measure: OnceLock<u64>,
    /// Bytes of the data file that writers may fill.
    map_size: u64,
    /// Whether this process found out what was left.
    is_first: bool,
    /// Whether the file system cannot make holes in files.
    no_holes: AtomicBool,
    store_id: OnceLock<[u8; 16]>,
}

enum Access {
    Shared(Box<Shared>),
    Detached(Detached),
}

/// Taking part in what the processes share.
struct Shared {
    control: Control,
    append: SharedLock,
    gate: SharedLock,
    room: SharedLock,
}

/// Reading a directory that this process cannot write to, while nobody else does.
struct Detached {
    control: Option<ControlView>,
    token: u64,
    /// The last transaction of LMDB.
    txn: u64,
    tail: Position,
}

/// How a process takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// As the only one, but for those that cannot write to the directory: it finds out what was left.
    First,
    Joining,
    /// It cannot write to the directory.
    Detached,
}

impl Part {
    /// What part a process has that can write to the directory, which it takes. The caller has the gate.
    ///
    /// Not all that have the store open are partners: who cannot write to the directory keeps no control file alive, and what
    /// lies there can be from before a power loss. Nor must one be joined that was put there while the others use another.
    pub(in crate::store) fn take(member: &Member) -> Result<Part> {
        for look in 0.. {
            let is_first = member.is_only(Role::Partner)?;
            member.become_one(Role::Partner)?;
            match is_first {
                true => return Ok(Part::First),
                // A process that ends lets go of its locks one after the other.
                false if look < LOOKS && !control::is_in_use(member.dir())? => {
                    std::thread::sleep(BETWEEN_LOOKS);
                }
                false if look < LOOKS => return Ok(Part::Joining),
                false => break,
            }
        }
        Err(control::lost(member.dir().path()))
    }

    /// Opens the control file that the others use.
    pub(in crate::store) fn join(dir: &Arc<StoreDir>, kept: Option<&Arc<LockFile>>) -> Result<Arc<LockFile>> {
        match LockFile::open(dir, kept, false) {
            Err(Error::NotFound { .. }) => Err(control::lost(dir.path())),
            opened => opened,
        }
    }
}

/// Looks at whether a control file is in use, and the time between them.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

impl Lmdb {
    /// Opens the environment in `dir`, whose data file was checked before. The caller has the gate. `locks` is what it has
    /// open of the control file, which is none for who is detached.
    pub(crate) fn open(
        dir: Arc<StoreDir>,
        locks: Option<Arc<LockFile>>,
        map_size: usize,
        part: Part,
    ) -> Result<Lmdb> {
        let (access, (env, tree)) = match locks {
            None => {
                let opened = EnvSlot::open(dir.path(), map_size, Use::ReadOnly)?;
                let control = ControlView::open(&dir)?;
                let token = control.as_ref().map_or(0, ControlView::token);
                let tail = Position { segment: 0, offset: 0 };
                let txn = opened.0.info().last_txn_id as u64;
                (Access::Detached(Detached { control, token, txn, tail }), opened)
            }
            Some(locks) => {
                let control = Control::attach(locks, part == Part::First)?;
                let shared = Shared {
                    control,
                    append: SharedLock::new(Which::Append),
                    gate: SharedLock::new(Which::Gate),
                    room: SharedLock::new(Which::Room),
                };
                // The first to open it may write its meta pages, those who join do not: so nobody who joins has to wait
                // for a fold.
                let opened = EnvSlot::open(dir.path(), map_size, Use::Shared)?;
                (Access::Shared(Box::new(shared)), opened)
            }
        };
        let data = env.data()?;
        // LMDB goes by the path, and follows links.
        if !data.metadata().is_ok_and(|data| dir.is_at(DATA_NAME, &data)) {
            return Err(Error::Gone { path: dir.path().to_owned() });
        }
        let nothing = Point { at: Position { segment: 0, offset: 0 }, checksum: 0 };
        let mut lmdb = Lmdb {
            page_size: u64::from(env.unnamed_database_stat().page_size).max(1),
            env,
            tree,
            place: Place::new(data_path(dir.path()), &data)?,
            dir,
            access,
            // Of no transaction, so that the first snapshot looks.
            segments: ArcSwap::from_pointee(Segments::new(0, nothing, Vec::new())),
            mapping: Mutex::new(()),
            ahead: Ahead::default(),
            spare: Spare::default(),
            gaps: Gaps::default(),
            syncing: SlowMutex::default(),
            upkeep: Mutex::new(Upkeep::new()),
            written: AtomicBool::new(false),
            unpublished: AtomicU64::new(0),
            awake: AtomicBool::new(false),
            is_half_full: AtomicBool::new(false),
            limit: OnceLock::new(),
            measure: OnceLock::new(),
            map_size: map_size as u64,
            is_first: part == Part::First,
            no_holes: AtomicBool::new(false),
            store_id: OnceLock::new(),
        };
        match part {
            Part::First => lmdb.begin()?,
            Part::Joining => lmdb.learn_id(&lmdb.shared()?.control)?,
            Part::Detached => lmdb.look()?,
        }
        Ok(lmdb)
    }

    /// Finds the end of the log, and tells it to those who will join.
    fn begin(&self) -> Result<()> {
        let shared = self.shared()?;
        let control = &shared.control;
        let gate = shared.gate.lock(control)?;
        fault::point("an opening begins alone");
        let newest = self.env.info().last_txn_id as u64;
        let data = self.env.data()?;
        if let Some(meta) = file::meta_of(&data, newest)? {
            file::check_free(&data, &meta)?;
        }
        control.newest().store(newest, Ordering::SeqCst);
        let (folded, store) = self.recorded()?;
        self.set_id(store.as_ref().map(|record| record.id));
        let folded = match folded {
            Some(folded) => folded,
            None => {
                // One of version 1: from here on it is of this version, which programs of that one refuse.
                let folded = Point::origin(self.env.info().last_txn_id as u64);
                let store = store.map(|record| StoreRecord { version: LMDB_VERSION, ..record });
                let mut records = vec![(FOLD_KEY, folded.encode().to_vec())];
                records.extend(store.map(|record| (STORE_KEY, record.encode())));
                self.commit_alone(control, &records)?;
                folded
            }
        };
        let found = self.replayed(folded, Mode::Shared)?;
        // The last commit to LMDB may not be on the disk, if its writer was killed. What is not needed any more according
        // to it goes only once it is; who finds nothing like that need not wait.
        if found.has_what_is_folded(folded.at) && !fault::breaks("what is open is settled") {
            self.settle(control)?;
        }
        drop(gate);
        fault::point("an opening has found the log");
        let next = found.highest.max(found.end.at.segment).saturating_add(1);
        if next > LAST_NUMBER {
            return Err(Error::damaged("the numbers of the log are used up, as they never should be"));
        }
        // The last first, each for good: one that came back after a power loss would seem to go on from what is missing.
        for number in found.others.iter().rev() {
            segment_file::remove(&self.dir, *number)?;
            let synced = self.dir.sync();
            synced.map_err(|e| Error::io("syncing the store's directory", e))?;
        }
        let next = match fault::breaks("numbers are new") {
            true => found.end.at.segment + u32::from(!found.parts.is_empty()),
            false => next,
        };
        control.next_number().store(next, Ordering::SeqCst);
        control.set_tail(found.end.at);
        control.checksum().store(found.end.checksum, Ordering::SeqCst);
        control.folded().store(folded.at.to_word(), Ordering::SeqCst);
        // After a kill without a power loss what was found may not be on the disk.
        let synced = if fault::breaks("what is found is not synced") { found.end.at } else { folded.at };
        control.synced().store(synced.to_word(), Ordering::SeqCst);
        control.logged().store(found.bytes, Ordering::SeqCst);
        control.last_barrier().store(0, Ordering::SeqCst);
        self.written.store(found.bytes > 0, Ordering::SeqCst);
        if fault::breaks("what is found is not appended to") && !found.parts.is_empty() {
            control.open_segment().store(found.end.at.segment, Ordering::SeqCst);
        }
        let txn = self.env.read_txn().map_err(|e| lmdb_error(e, "opening the store"))?;
        self.note_tree(control, &self.tree.stat(&txn).map_err(|e| lmdb_error(e, "opening the store"))?);
        let txn = txn.id() as u64;
        self.segments.store(Arc::new(Segments::new(txn, folded, found.parts)));
        fault::point("an opening has told of the log");
        control.set_ready();
        Ok(())
    }

    /// Makes a list of what is in the log for this process alone.
    fn look(&mut self) -> Result<()> {
        let (folded, store) = self.recorded()?;
        self.set_id(store.map(|record| record.id));
        let txn = self.env.info().last_txn_id as u64;
        let folded = folded.unwrap_or_else(|| Point::origin(txn));
        let found = self.replayed(folded, Mode::Private)?;
        if let Access::Detached(detached) = &mut self.access {
            detached.tail = found.end.at;
        }
        self.segments.store(Arc::new(Segments::new(txn, folded, found.parts)));
        Ok(())
    }

    /// Up to where LMDB has the log, and its record of the store, while nobody writes.
    fn recorded(&self) -> Result<(Option<Point>, Option<StoreRecord>)> {
        let failed = |e| lmdb_error(e, "opening the store");
        let txn = self.env.read_txn().map_err(failed)?;
        let folded = self.tree.get(&txn, FOLD_KEY).map_err(failed)?.map(Point::decode).transpose()?;
        let store = self.tree.get(&txn, STORE_KEY).map_err(failed)?.map(StoreRecord::decode).transpose()?;
        Ok((folded, store))
    }

    /// Learns the id of a store that others have open.
    fn learn_id(&self, control: &Control) -> Result<()> {
        // The record is written before anybody else can open the store, and its id never changes; so whatever transaction is
        // the newest has it.
        let pinned = self.pin(control)?;
        let record =
            self.tree.get(pinned.txn(), STORE_KEY).map_err(|e| lmdb_error(e, "opening the store"))?;
        self.set_id(record.and_then(StoreRecord::peek_id));
        Ok(())
    }

    /// A store that is not even made yet has no id.
    fn set_id(&self, id: Option<[u8; 16]>) {
        if let Some(id) = id {
            self.store_id.get_or_init(|| id);
        }
    }

    /// Looks for the log behind a place, and lists what is in it. Nobody else uses it, or no table of this process's.
    fn replayed(&self, folded: Point, mode: Mode) -> Result<Replayed> {
        match self.store_id.get() {
            Some(id) => replay(&self.dir, folded, id, mode, true),
            // Not even made yet: whatever lies there is not its log.
            None => Replayed::nothing(&self.dir, folded),
        }
    }

    fn store_id(&self) -> Result<&[u8; 16]> {
        self.store_id.get().ok_or_else(|| Error::damaged("the store record is missing"))
    }

    fn commit_alone(&self, control: &Control, records: &[(&[u8], Vec<u8>)]) -> Result<()> {
        let mut txn = self.env.write_txn().map_err(|e| self.env.failed(e, "opening a write transaction"))?;
        for (key, value) in records {
            self.tree.put(&mut txn, key, value).map_err(|e| self.env.failed(e, "writing"))?;
        }
        let id = txn.id() as u64;
        txn.commit().map_err(|e| self.env.failed(e, "committing"))?;
        self.publish(control, id)
    }

    fn shared(&self) -> Result<&Shared> {
        match &self.access {
            Access::Shared(shared) => Ok(shared),
            Access::Detached(_) => Err(Error::not_permitted(self.dir.path().to_owned())),
        }
    }

    /// The end of the log.
    #[inline]
    pub(crate) fn last_txn(&self) -> u64 {
        match &self.access {
            Access::Shared(shared) => shared.control.token(),
            Access::Detached(detached) => detached.tail.to_word(),
        }
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(ReadTxn<'_>) -> Result<T>) -> Result<T> {
        let snapshot = self.snapshot()?;
        let result = look(ReadTxn::Lmdb(snapshot.view()));
        drop(snapshot);
        match &self.access {
            Access::Detached(detached) if detached.is_disturbed(&self.env) => Err(Error::Busy {
                path: self.dir.path().to_owned(),
                detail: "it was written to while read without locks, from a directory this process cannot write to; \
                         open it again when the writers have closed it"
                    .into(),
            }),
            _ => result,
        }
    }
}

impl Detached {
    /// Whether somebody has begun to write since.
    fn is_disturbed(&self, env: &EnvSlot) -> bool {
        env.info().last_txn_id as u64 != self.txn
            || self.control.as_ref().is_some_and(|control| control.token() != self.token)
    }
}

/// Whether a store in LMDB makes something of this name in its directory, or made it in version 1.
pub(in crate::store::backend) fn is_own_name(name: &str) -> bool {
    [DATA_NAME, LockFile::NAME, reserve::NAME].contains(&name)
        || segment_file::number(name).is_some()
        || new_data::UNFINISHED.contains(&name)
        || version_1::is_own_name(name)
}

/// The names of the files that a store in LMDB consists of, as far as they are there.
pub(in crate::store) fn files(dir: &StoreDir) -> Result<Vec<String>> {
    let log = segment_file::list(dir)?.into_iter().map(segment_file::name);
    let others = [DATA_NAME, LockFile::NAME].into_iter().chain(version_1::FILES).map(str::to_owned);
    Ok(others.filter(|name| dir.has(name)).chain(log).collect())
}

/// Removes what version 1 left, if it did: a new data file has nothing to do with it.
pub(in crate::store) fn forget_version_1(dir: &StoreDir) -> Result<()> {
    match version_1::has_left(dir) {
        true => version_1::forget(dir),
        false => Ok(()),
    }
}

/// Removes all files of the log, from the last on, each for good before the next.
pub(in crate::store) fn remove_log(dir: &StoreDir) -> Result<()> {
    for number in segment_file::list(dir)?.into_iter().rev() {
        segment_file::remove(dir, number)?;
        dir.sync().map_err(|e| Error::io("syncing the store's directory", e))?;
    }
    Ok(())
}

/// The path of the data file in a store's directory.
pub(crate) fn data_path(dir: &Path) -> PathBuf {
    dir.join(DATA_NAME)
}
