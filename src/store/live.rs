//! One opened environment and everything that must not be carried over a fork: locks, pins, tables of waiting threads.

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::access::AccessLog;
use super::backend::{Backend, BackendKind, Lmdb};
use super::config::{Config, Durability, Maintenance};
use super::flight::Flights;
use super::housekeeper::{Housekeeper, Rounds};
use super::layout::{KeyHash, KeyHasher, STATE_KEY};
use super::locks::LockFile;
use super::process_lock::ProcessLock;
use super::quiet::{QuietRun, Standing};
use super::records::{Recency, StateRecord};
use super::room::{MakeRoom, RoomTurn};
use super::sync::lock;
use super::transaction::{ReadView, Writer};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::secret::StoreKeys;

/// What unlocking a store yields: how keys are hashed, and the key for values if it is encrypted.
pub(crate) struct Unlocked {
    pub(crate) keys: Option<StoreKeys>,
    pub(crate) hasher: KeyHasher,
}

impl Unlocked {
    pub(crate) fn new(keys: Option<StoreKeys>) -> Unlocked {
        let hasher = match &keys {
            Some(keys) => KeyHasher::Keyed(*keys.names()),
            None => KeyHasher::Plain,
        };
        Unlocked { keys, hasher }
    }
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Live {
    // Dropped in this order: the thread, then what it works on, then the proof of use.
    pub(super) housekeeper: Mutex<Option<Housekeeper>>,
    pub(super) backend: Backend,
    pub(super) users: LockFile,

    /// Held from before a write transaction until the front knows of its commit.
    gate: Mutex<()>,
    pub(crate) unlocked: Arc<Unlocked>,
    pub(crate) config: Arc<Config>,
    pub(crate) dir: PathBuf,
    pub(crate) forks: u64,
    /// Tells this opened environment from any other in this process.
    pub(crate) generation: u64,
    pid: u32,
    /// The size limit in force, in bytes: also the size of the map.
    pub(crate) max_bytes: Option<u64>,
    /// Mirrors the state record, for reads.
    recency: AtomicU8,
    /// As in the state record, which keeps it while the environment is open.
    stamp_base: u64,
    pub(crate) flights: Arc<Flights>,
    pub(crate) access: AccessLog,
    quiet: QuietRun,
    pub(super) sweeper: Option<ProcessLock>,
    pub(super) room: RoomTurn,
    /// For `Maintenance::Inline`: held by the thread that is at it.
    inline: Mutex<Rounds>,
    /// Microseconds; `u64::MAX` while no entry that expires by idleness was seen.
    pub(super) shortest_idle: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) expirations: AtomicU64,
}

/// The parts a [`Live`] is made of by whoever opens it.
pub(crate) struct Parts {
    pub(crate) backend: Backend,
    pub(crate) users: LockFile,
    pub(crate) unlocked: Arc<Unlocked>,
    pub(crate) config: Arc<Config>,
    pub(crate) dir: PathBuf,
    pub(crate) flights: Arc<Flights>,
    pub(crate) state: StateRecord,
}

impl Live {
    /// Behind its `Arc` from the start: the threads that hold pins know the environment by its address.
    pub(crate) fn new(parts: Parts) -> Result<Arc<Live>> {
        let Parts { backend, users, unlocked, config, dir, flights, state } = parts;
        let sweeper = match backend.is_read_only() {
            true => None,
            false => Some(ProcessLock::open(&dir, "sweeper.lock")?),
        };
        Ok(Arc::new(Live {
            housekeeper: Mutex::new(None),
            backend,
            users,
            gate: Mutex::new(()),
            unlocked,
            config,
            dir,
            forks: super::fork::epoch(),
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            pid: std::process::id(),
            max_bytes: (state.max_bytes != 0).then_some(state.max_bytes),
            recency: AtomicU8::new(recency_code(state.recency)),
            stamp_base: state.stamp_base,
            flights,
            access: AccessLog::default(),
            quiet: QuietRun::default(),
            sweeper,
            room: RoomTurn::default(),
            inline: Mutex::new(Rounds::new()),
            shortest_idle: AtomicU64::new(u64::MAX),
            evictions: AtomicU64::new(0),
            expirations: AtomicU64::new(0),
        }))
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
        self.backend.read(&self.dir, |txn| look(&ReadView::new(txn)))
    }

    /// Runs `work` in a write transaction and commits it, unless `work` changed nothing.
    ///
    /// `committed` is told what was committed before any other writer of this process goes on. When the map is full,
    /// room is made and `work` runs again, so it must not have effects of its own.
    pub(crate) fn write<T>(
        &self,
        work: impl FnMut(&mut Writer<'_>) -> Result<T>,
        committed: impl FnOnce(&Commit),
    ) -> Result<T> {
        self.write_in_turn(true, work, committed)
    }

    fn write_in_turn<T>(
        &self,
        in_turn: bool,
        mut work: impl FnMut(&mut Writer<'_>) -> Result<T>,
        committed: impl FnOnce(&Commit),
    ) -> Result<T> {
        self.writable()?;
        let mut committed = Some(committed);
        let mut room = MakeRoom::new(self, in_turn);
        loop {
            room.let_others_first()?;
            let gate = lock(&self.gate);
            self.watch_pin(self.backend.join()?);
            let attempt = self.attempt(&mut work);
            match attempt {
                Ok((done, None)) => return Ok(done),
                Ok((done, Some(commit))) => {
                    let volume = self.backend.committed(commit.pages);
                    self.recency.store(recency_code(commit.recency), Ordering::Relaxed);
                    if let Some(committed) = committed.take() {
                        committed(&commit);
                    }
                    drop(gate);
                    drop(room);
                    self.after_commit(&commit, volume)?;
                    return Ok(done);
                }
                Err(Error::StoreFull { limit: 0, .. }) => {
                    drop(gate);
                    room.make()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A commit of access times, which makes no value in memory another's.
    pub(super) fn write_access_times<T>(&self, work: impl FnMut(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        self.write_in_turn(false, work, |commit| {
            // Under a limit it can have evicted.
            if commit.written.is_empty() {
                self.quiet.extend(commit.before, commit.token);
            }
        })
    }

    fn attempt<T>(&self, work: &mut impl FnMut(&mut Writer<'_>) -> Result<T>) -> Result<(T, Option<Commit>)> {
        let mut writer = Writer::new(self.backend.write_txn()?, self)?;
        let attempt = work(&mut writer).and_then(|done| Ok((done, writer.commit()?)));
        attempt.map_err(|error| self.backend.explain(error))
    }

    /// [`write`](Self::write) without a second try when the map is full.
    pub(super) fn write_once<T>(&self, mut work: impl FnMut(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        self.writable()?;
        let _gate = lock(&self.gate);
        self.watch_pin(self.backend.join()?);
        let (done, commit) = self.attempt(&mut work)?;
        if let Some(commit) = commit {
            self.backend.committed(commit.pages);
        }
        Ok(done)
    }

    /// A commit that makes nothing public of itself, of the sweeper and the like. It waits for nobody's turn to find
    /// room, because the background thread must go on moving this process's pin.
    pub(crate) fn write_quietly<T>(&self, work: impl FnMut(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        self.write_in_turn(false, work, |_| ())
    }

    fn after_commit(&self, commit: &Commit, volume: u64) -> Result<()> {
        if self.config.durability == Durability::Sync {
            return self.backend.wait_durable(commit.txn);
        }
        let (soft, hard) = self.volume_limits();
        if volume >= hard {
            self.checkpoint()?;
        } else if volume >= soft && volume.saturating_sub(commit.pages) < soft {
            // Once is enough: the thread stays awake until it has made the checkpoint.
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

    /// Pages this process may dirty before a checkpoint is asked for, and before writers wait for one: pages freed
    /// since the checkpoint cannot be reused, so the file would grow.
    pub(super) fn volume_limits(&self) -> (u64, u64) {
        match self.max_bytes {
            None => (16 << 10, 128 << 10),
            Some(max) => {
                let pages = max / self.page_size();
                ((pages / 16).max(16), (pages / 8).max(32))
            }
        }
    }

    pub(crate) fn gate(&self) -> std::sync::MutexGuard<'_, ()> {
        lock(&self.gate)
    }

    /// The error for a process that cannot write, if this is one.
    pub(crate) fn writable(&self) -> Result<()> {
        if std::process::id() != self.pid {
            // Forked without the C library's knowledge. Using the parent's environment would corrupt it.
            return Err(Error::Busy {
                path: self.dir.clone(),
                detail: "this process was forked by other means than fork(); open the store again here"
                    .into(),
            });
        }
        if !self.backend.is_read_only() {
            return Ok(());
        }
        match self.backend.kind() {
            BackendKind::Lmdb => Err(Error::ReadOnly { path: self.dir.clone() }),
            // Of a handle that may write, in a forked child.
            BackendKind::RocksDb => Err(Error::Busy {
                path: self.dir.clone(),
                detail: "another process has it open for writing, and a store in RocksDB has one writer; this one can \
                         read until that has closed it and it is opened here again"
                    .into(),
            }),
        }
    }

    /// Brings everything committed so far safely to the disk.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.watch_pin(self.backend.checkpoint()?);
        Ok(())
    }

    /// Wakes the background thread where there is a pin again: it sleeps for seconds when there is none, while other
    /// processes wait for the pages.
    fn watch_pin(&self, is_new: bool) {
        if is_new {
            self.nudge();
        }
    }

    /// The time to note for an access: exact only where entries are put in the order of their accesses.
    pub(crate) fn access_time(&self) -> Time {
        if self.tracks_recency() { self.config.clock.now() } else { self.config.clock.now_coarse() }
    }

    pub(crate) fn tracks_recency(&self) -> bool {
        self.recency.load(Ordering::Relaxed) != recency_code(Recency::Off)
    }

    pub(crate) fn state(&self) -> Result<StateRecord> {
        self.read(|view| match view.get(STATE_KEY)? {
            Some(bytes) => StateRecord::decode(bytes),
            None => Err(Error::damaged("the state record is missing")),
        })
    }

    /// Whether an entry whose time to live is over can vanish before the sweeper finds it.
    pub(crate) fn removes_expired(&self) -> bool {
        self.backend.removes_expired()
    }

    /// Bytes that the store takes on the disk.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.backend.file_bytes()
    }

    /// Wakes the background thread, if there is one.
    pub(crate) fn nudge(&self) {
        if let Some(housekeeper) = &*lock(&self.housekeeper) {
            housekeeper.nudge();
        }
    }

    /// For what only LMDB can do.
    pub(crate) fn lmdb(&self) -> Result<&Lmdb> {
        self.backend.only_lmdb()
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
        if let Ok(mut housekeeper) = self.housekeeper.try_lock() {
            std::mem::forget(housekeeper.take());
        }
        let mut inherited = vec![self.users.as_raw_fd()];
        inherited.extend(self.sweeper.as_ref().map(|lock| lock.file.as_raw_fd()));
        inherited.extend(self.flights.as_raw_fd());
        // SAFETY: passed on to the caller.
        inherited.extend(unsafe { self.backend.abandon() });
        for descriptor in inherited {
            // SAFETY: the owners of these descriptors are never dropped: the caller leaks `self`.
            unsafe { libc::close(descriptor) };
        }
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
    pub(crate) written: Vec<KeyHash>,
    /// Estimated pages dirtied.
    pub(crate) pages: u64,
    pub(crate) recency: Recency,
}

fn recency_code(recency: Recency) -> u8 {
    match recency {
        Recency::Off => 0,
        Recency::Building => 1,
        Recency::On => 2,
    }
}
