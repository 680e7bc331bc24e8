//! One opened environment and everything that must not be carried over a fork: locks, maps, tables of waiting threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::backend::{Backend, Room, Size, WriteTxn};
use super::body::Sealing;
use super::config::{Config, Durability, Maintenance};
use super::directory::locks::{LockFile, Member};
use super::flight::Flights;
use super::format::layout::{KeyHash, STATE_KEY};
use super::format::records::{Identity, Recency, StateRecord};
use super::opening::read_state;
use super::quiet::{QuietRun, Standing};
use super::transaction::{Fate, ReadView, Writer};
use super::unlocked::Unlocked;
use super::upkeep::access::AccessLog;
use super::upkeep::housekeeper::{self, Rounds};
use super::upkeep::oldest::Oldest;
use crate::clock::Time;
use crate::counter::{Counter, Of};
use crate::error::{Error, Result};
use crate::sync::{SlowGuard, SlowMutex, lock};

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Live {
    // Dropped in this order: what is worked on, then the proof of use.
    pub(super) backend: Backend,
    pub(super) member: Member,
    /// Whether the background thread looks after it.
    pub(super) is_kept: AtomicBool,

    /// Held from before a write transaction until the ledger knows of its commit.
    gate: SlowMutex,
    pub(crate) unlocked: Arc<Unlocked>,
    pub(crate) config: Arc<Config>,
    pub(crate) dir: PathBuf,
    pub(crate) forks: u64,
    /// Tells this opened environment from any other in this process.
    pub(crate) generation: u64,
    process: u64,
    /// The size limit in force, in bytes.
    pub(crate) max_bytes: Option<u64>,
    /// Mirrors the state record, for reads.
    recency: AtomicU8,
    /// The state record, with the number of the settings that it is of.
    known_state: Mutex<Option<(u64, StateRecord)>>,
    /// As in the state record, which keeps it while the environment is open.
    stamp_base: u64,
    pub(crate) flights: Arc<Flights>,
    pub(crate) access: AccessLog,
    pub(super) oldest: Oldest,
    quiet: QuietRun,
    /// `None` where this process cannot write.
    pub(super) locks: Option<Arc<LockFile>>,
    /// For `Maintenance::Inline`: held by the thread that is at it.
    inline: Mutex<Rounds>,
    /// Microseconds; `u64::MAX` while no entry that expires by idleness was seen.
    pub(super) shortest_idle: AtomicU64,
    pub(crate) evictions: Counter,
    pub(crate) expirations: Counter,
    /// Why it cannot be used any more, or 0.
    unusable: AtomicU8,
}

/// It is not what lies at its path any more.
const GONE: u8 = 1;
/// The backend refuses everything, until it is opened anew.
const FAILED: u8 = 2;

/// The parts a [`Live`] is made of by whoever opens it.
pub(crate) struct Parts {
    pub(crate) backend: Backend,
    pub(crate) member: Member,
    pub(crate) locks: Option<Arc<LockFile>>,
    pub(crate) unlocked: Arc<Unlocked>,
    pub(crate) config: Arc<Config>,
    pub(crate) dir: PathBuf,
    pub(crate) flights: Arc<Flights>,
    pub(crate) state: StateRecord,
}

impl Live {
    pub(crate) fn new(parts: Parts) -> Arc<Live> {
        let Parts { backend, member, locks, unlocked, config, dir, flights, state } = parts;
        let of = Of { store: &dir, namespace: None };
        let evictions = Counter::new("cachemere_evictions_total", of);
        let expirations = Counter::new("cachemere_expirations_total", of);
        Arc::new(Live {
            backend,
            member,
            is_kept: AtomicBool::new(false),
            gate: SlowMutex::default(),
            unlocked,
            config,
            dir,
            forks: super::process::fork::epoch(),
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            process: super::process::fork::process(),
            max_bytes: (state.max_bytes != 0).then_some(state.max_bytes),
            recency: AtomicU8::new(recency_code(state.recency)),
            known_state: Mutex::new(None),
            stamp_base: state.stamp_base,
            flights,
            access: AccessLog::default(),
            oldest: Oldest::new(),
            quiet: QuietRun::default(),
            locks,
            inline: Mutex::new(Rounds::new()),
            shortest_idle: AtomicU64::new(u64::MAX),
            evictions,
            expirations,
            unusable: AtomicU8::new(0),
        })
    }

    /// The last committed transaction, of any process: 3 to 6 ns, no lock, no system call.
    pub(crate) fn token(&self) -> u64 {
        self.token_of(self.last_txn())
    }

    /// The token, with how long the store has had the values it has.
    pub(crate) fn standing(&self) -> Standing {
        self.quiet.standing(self.token())
    }

    /// The oldest snapshot known to have the values that the one of `token` has.
    pub(super) fn standing_at(&self, token: u64) -> u64 {
        self.quiet.standing(token).since
    }

    /// The token as of a transaction. LMDB numbers the transactions of a compacted file anew; tokens do not come again.
    pub(crate) fn token_of(&self, txn: u64) -> u64 {
        self.stamp_base.saturating_add(txn)
    }

    /// The last committed transaction as the backend numbers it.
    pub(super) fn last_txn(&self) -> u64 {
        self.backend.last_txn()
    }

    /// Opens a read transaction for `look`, which must not run code of the user's: a thread can have one only.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&ReadView<'_>) -> Result<T>) -> Result<T> {
        self.noting_failure(self.backend.read(|txn| look(&ReadView::new(txn))))
    }

    /// After an error: whether the backend goes on.
    #[inline]
    fn noting_failure<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.note_failure();
        }
        result
    }

    #[cold]
    pub(super) fn note_failure(&self) {
        if self.backend.has_failed() {
            self.unusable.store(FAILED, Ordering::Relaxed);
        }
    }

    /// Runs `work` in a write transaction and commits it, unless `work` changed nothing. What it writes takes so many bytes:
    /// under a limit, room is made for them first.
    ///
    /// Calls `committed` with what was committed, before any other writer of this process goes on.
    pub(crate) fn write<T>(
        &self,
        bytes: u64,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T>,
        committed: impl FnOnce(&Commit),
    ) -> Result<T> {
        self.noting_failure(self.write_as(Size::Small, bytes, work, committed))
    }

    /// [`write`](Self::write) for what may fill a whole store. All others wait until it is on the disk.
    #[cfg(feature = "load")]
    pub(crate) fn write_whole<T>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T>,
        committed: impl FnOnce(&Commit),
    ) -> Result<T> {
        self.noting_failure(self.write_as(Size::Whole, 0, work, committed))
    }

    fn write_as<T>(
        &self,
        size: Size,
        bytes: u64,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T>,
        committed: impl FnOnce(&Commit),
    ) -> Result<T> {
        self.writable()?;
        self.check_place()?;
        self.backend.pace()?;
        let _room = self.backend.room_lock(bytes)?;
        let (gate, txn) = self.begin(size, bytes)?;
        let mut writer = Writer::new(txn, self)?;
        let done = work(&mut writer)?;
        let Some(commit) = writer.commit()? else { return Ok(done) };
        let is_due = self.backend.committed();
        self.recency.store(recency_code(commit.recency), Ordering::Relaxed);
        committed(&commit);
        drop(gate);
        self.after_commit(&commit, is_due)?;
        Ok(done)
    }

    fn begin(&self, size: Size, bytes: u64) -> Result<(SlowGuard<'_>, WriteTxn<'_>)> {
        let mut tries = 0;
        loop {
            let gate = self.gate.take(&self.dir)?;
            let txn = self.backend.write_txn(size)?;
            if txn.has_room_for(bytes)? {
                return Ok((gate, txn));
            }
            drop(txn);
            drop(gate);
            self.make_room(bytes, tries)?;
            tries += 1;
        }
    }

    /// A commit of access times, which makes no value in memory another's.
    pub(super) fn write_access_times<T>(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        self.write(0, work, |commit| {
            // Under a limit it can have evicted.
            if commit.written.is_empty() {
                self.quiet.extend(commit.before, commit.token);
            }
        })
    }

    /// A commit that makes nothing public of itself, of the sweeper and the like.
    pub(crate) fn write_quietly<T>(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        self.write(0, work, |_| ())
    }

    fn after_commit(&self, commit: &Commit, is_due: bool) -> Result<()> {
        if self.config.durability == Durability::Sync {
            self.backend.wait_durable(commit.txn)?;
        }
        if is_due {
            // The background thread sleeps for seconds while there is nothing to do.
            self.nudge();
        }
        if self.config.maintenance == Maintenance::Inline {
            // The maintenance's own commits come here too, and find the rounds taken.
            if let Ok(mut rounds) = self.inline.try_lock() {
                rounds.tick_if_due(self);
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn is_usable(&self) -> bool {
        self.unusable.load(Ordering::Relaxed) == 0
    }

    /// Whether the store was found not to be what lies at its path any more.
    pub(super) fn is_gone(&self) -> bool {
        self.unusable.load(Ordering::Relaxed) == GONE
    }

    /// Whether it has to be opened anew, after an error.
    pub(super) fn has_failed(&self) -> bool {
        self.unusable.load(Ordering::Relaxed) == FAILED
    }

    /// Looks whether the store is still what lies at its path; from then on nothing is read from one that is not.
    pub(super) fn check_place(&self) -> Result<()> {
        let checked = self.backend.check_place();
        if checked.is_err() {
            self.unusable.store(GONE, Ordering::Relaxed);
        }
        checked
    }

    /// The error for a process that cannot write, if this is one.
    pub(crate) fn writable(&self) -> Result<()> {
        if super::process::fork::process() != self.process {
            // Forked without the C library's knowledge. Using the parent's environment would corrupt it.
            return Err(Error::Busy {
                path: self.dir.clone(),
                detail: "this process was forked by other means than fork(); open the store again here"
                    .into(),
            });
        }
        match self.backend.is_read_only() {
            true => Err(self.backend.refusal(&self.dir)),
            false => Ok(()),
        }
    }

    /// Brings everything committed so far safely to the disk.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.backend.checkpoint()
    }

    /// The time to note for an access: exact only where entries are put in the order of their accesses.
    pub(crate) fn access_time(&self) -> Time {
        if self.tracks_recency() { self.config.clock.now() } else { self.config.clock.now_coarse() }
    }

    pub(crate) fn tracks_recency(&self) -> bool {
        self.recency.load(Ordering::Relaxed) != recency_code(Recency::Off)
    }

    pub(crate) fn state(&self) -> Result<StateRecord> {
        self.read(|view| read_state(view, &self.unlocked))
    }

    /// What the bodies of a namespace's entries are made with.
    pub(crate) fn sealing<'a>(&'a self, identity: &'a Identity) -> Sealing<'a> {
        Sealing { unlocked: &self.unlocked, cipher: &*self.config.cipher, identity }
    }

    /// The state record in a transaction; the default one while the store is being made.
    pub(super) fn state_in(&self, view: &ReadView<'_>) -> Result<StateRecord> {
        let settings = view.settings();
        let mut known = lock(&self.known_state);
        if let Some((of, state)) = *known
            && settings == Some(of)
        {
            return Ok(state);
        }
        let stored = view.get(STATE_KEY)?.map(|stored| self.unlocked.unchecked(stored));
        let state = stored.map_or(Ok(StateRecord::NEW), StateRecord::decode)?;
        *known = settings.map(|settings| (settings, state));
        Ok(state)
    }

    /// Whether an entry whose time to live is over can vanish before the sweeper finds it.
    pub(crate) fn removes_expired(&self) -> bool {
        self.backend.removes_expired()
    }

    /// Bytes that the store takes on the disk.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.backend.file_bytes()
    }

    /// How that is divided.
    pub(crate) fn room(&self) -> Result<Room> {
        self.backend.room()
    }

    /// Wakes the background thread, if there is one.
    pub(crate) fn nudge(&self) {
        housekeeper::nudge(self);
    }

    /// Refuses [`write_whole`](Self::write_whole), if it cannot be done.
    #[cfg(feature = "load")]
    pub(crate) fn check_whole(&self) -> Result<()> {
        self.backend.check_whole()
    }

    /// Writes all records of now into a directory, as a store of its own.
    pub(super) fn copy_to(&self, dir: &Path) -> Result<()> {
        self.noting_failure(self.backend.copy_to(dir))
    }

    /// Whether this process was let in for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.backend.is_read_only()
    }

    /// Takes everything inherited over a fork out of use.
    ///
    /// # Safety
    ///
    /// `self` is of the parent process, and nobody uses or will use it in this one.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn abandon(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.backend.abandon() };
    }
}

/// A commit that changed something.
pub(crate) struct Commit {
    pub(crate) txn: u64,
    /// The token that it makes.
    pub(crate) token: u64,
    /// The token before it.
    pub(crate) before: u64,
    /// The oldest snapshot known to have the values that it found.
    pub(crate) found: u64,
    /// The entries inserted, replaced or removed, whoever asked for it.
    pub(crate) written: Vec<(KeyHash, Fate)>,
    pub(crate) recency: Recency,
}

fn recency_code(recency: Recency) -> u8 {
    match recency {
        Recency::Off => 0,
        Recency::Building => 1,
        Recency::On => 2,
    }
}
