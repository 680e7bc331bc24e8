//! Checkpoints: points in time at which the store is safely on the disk, at the speed of never syncing.
//!
//! LMDB commits without syncing, so a killed process loses nothing and a power loss could leave any mixture of pages.
//! A checkpoint makes one snapshot S recoverable: a read transaction pins S, the data file is synced, and S's meta page
//! is recorded in a side file. As long as some living writer's pin is not newer than the recorded snapshot, LMDB
//! overwrites no page of it. After a power loss the first to open the store puts S's meta page back
//! ([`recovery`](super::recovery)).
//!
//! Two rules make this right with several processes: checkpoints are serialized by a lock between processes, so the
//! recorded one never goes back; and a process *joins*, that is, makes a checkpoint and keeps its pin, before it writes.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::boot::BootId;
use super::env::{EnvSlot, lmdb_error};
use super::file::{MetaBody, meta_of};
use super::keeper::Keeper;
use super::record::{Record, RecordFile, State as RecordState};
use crate::error::{Error, Result};
use crate::store::backend::Due;
use crate::store::process_lock::{Locked, ProcessLock};
use crate::store::sync::{lock, wait};

/// Two threads in turn: the new pin is taken before the old one is released.
type Keepers = [Keeper; 2];

pub(crate) struct Checkpoints {
    state: Mutex<State>,
    finished: Condvar,
    /// Serializes checkpoints between processes; within this one, `State::running` does.
    lock: ProcessLock,
    record: RecordFile,
    /// Whether this process committed anything since its last checkpoint began.
    written: AtomicBool,
    /// Estimated pages dirtied by this process since its last checkpoint.
    volume: AtomicU64,
}

#[derive(Default)]
struct State {
    keepers: Option<Keepers>,
    pin: Option<Pin>,
    running: bool,
    /// The newest snapshot known to be recorded by this process.
    durable: u64,
    last: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Pin {
    keeper: usize,
    txn: u64,
}

/// The environment and data file a checkpoint is made of.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) env: &'a EnvSlot,
    pub(crate) data: &'a File,
}

impl Checkpoints {
    pub(crate) fn open(dir: &Path) -> Result<Checkpoints> {
        let record = RecordFile::open(dir, true)?;
        let record = record.ok_or_else(|| Error::damaged("the checkpoint file cannot be made"))?;
        Ok(Checkpoints {
            state: Mutex::default(),
            finished: Condvar::new(),
            lock: ProcessLock::open(dir, "checkpoint.lock")?,
            record,
            written: AtomicBool::new(false),
            volume: AtomicU64::new(0),
        })
    }

    /// Makes sure that this process holds a pin no newer than the recorded snapshot; every writer calls it first.
    ///
    /// Costs a lock and a compare when the pin is there, up to two syncs when not. Returns whether it is a new one.
    pub(crate) fn join(&self, target: Target<'_>) -> Result<bool> {
        if self.is_joined() {
            return Ok(false);
        }
        self.checkpoint(target)
    }

    /// Records the newest snapshot, or a newer one, and moves the pin to it. Returns whether there was none before: then
    /// somebody must see to it that it goes on moving.
    pub(crate) fn checkpoint(&self, target: Target<'_>) -> Result<bool> {
        let mut running = self.begin();
        let joined = !self.is_joined();
        running.keepers(target.env)?;
        running.run(target)?;
        Ok(joined)
    }

    /// Returns when the snapshot of transaction `txn` is recorded. Writers that wait at the same time share one sync.
    pub(crate) fn wait_durable(&self, target: Target<'_>, txn: u64) -> Result<()> {
        loop {
            let mut running = self.begin();
            if running.durable() >= txn {
                return Ok(());
            }
            running.keepers(target.env)?;
            running.run(target)?;
        }
    }

    /// Waits for a checkpoint of another thread of this process to end, and keeps the next from starting.
    fn begin(&self) -> Running<'_> {
        let mut state = lock(&self.state);
        while state.running {
            state = wait(&self.finished, state);
        }
        state.running = true;
        Running { checkpoints: self }
    }

    /// To be called after each commit of this process, under the write gate.
    pub(crate) fn committed(&self, pages: u64) -> u64 {
        self.written.store(true, Ordering::Release);
        self.volume.fetch_add(pages, Ordering::Relaxed) + pages
    }

    /// Estimated pages dirtied by this process since its last checkpoint began.
    pub(crate) fn volume(&self) -> u64 {
        self.volume.load(Ordering::Relaxed)
    }

    pub(crate) fn due(&self, target: Target<'_>, interval: Duration, pressed: bool) -> Due {
        let state = lock(&self.state);
        let Some(pin) = state.pin else { return Due::Nothing };
        if !pressed && state.last.is_some_and(|last| last.elapsed() < interval) {
            return Due::Nothing;
        }
        if self.written.load(Ordering::Acquire) {
            return Due::Checkpoint;
        }
        // The pin is harmless while it is at the newest snapshot, and saves the next write a sync.
        match target.env.info().last_txn_id as u64 == pin.txn {
            true => Due::Nothing,
            false => Due::Leave,
        }
    }

    /// Releases the pin, if nothing was written since. The caller holds the write gate, so that nothing is being written.
    pub(crate) fn leave(&self) -> Result<()> {
        let running = self.begin();
        if self.written.load(Ordering::Acquire) {
            return Ok(());
        }
        running.unpin()
    }

    /// How far behind the newest snapshot this process's pin is, in transactions; 0 without a pin.
    pub(crate) fn lag(&self, target: Target<'_>) -> u64 {
        let pin = lock(&self.state).pin;
        pin.map_or(0, |pin| (target.env.info().last_txn_id as u64).saturating_sub(pin.txn))
    }

    pub(crate) fn is_joined(&self) -> bool {
        lock(&self.state).pin.is_some()
    }

    pub(crate) fn has_unrecorded_writes(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    /// Marks the store as closed cleanly: nothing will have to be recovered. The caller is alone with the store.
    pub(crate) fn mark_clean(&self, target: Target<'_>) -> Result<()> {
        self.mark(target, |meta| meta)
    }

    /// As [`mark_clean`](Self::mark_clean), for a data file that is about to be replaced by another complete one: the
    /// record then speaks of neither of the two.
    pub(crate) fn mark_replaceable(&self, target: Target<'_>) -> Result<()> {
        self.mark(target, |_| None)
    }

    fn mark(&self, target: Target<'_>, keep: impl Fn(Option<MetaBody>) -> Option<MetaBody>) -> Result<()> {
        let mut running = self.begin();
        running.keepers(target.env)?;
        running.run(target)?;
        self.with_lock(|| {
            let Some(record) = self.record.read()? else { return Ok(()) };
            self.record.write(&Record { state: RecordState::Clean, meta: keep(record.meta), ..record })
        })
    }

    fn with_lock<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // No deadlock is possible: the holder of this lock waits for nothing but the disk. The kernel can see one where
        // other threads of the two processes wait for each other's single flights.
        while self.lock.lock(0, &|| false)? != Locked::Yes {
            std::thread::sleep(Duration::from_millis(1));
        }
        let result = work();
        self.lock.unlock(0);
        result
    }

    /// Forgets what was inherited over a fork, and closes this process's copies of the descriptors.
    pub(crate) fn abandon(&self) -> Vec<std::os::fd::RawFd> {
        use std::os::fd::AsRawFd;
        // The lock may be held by a thread that does not exist here; then the threads' handles leak, which is all.
        if let Ok(mut state) = self.state.try_lock()
            && let Some(keepers) = state.keepers.take()
        {
            keepers.into_iter().for_each(Keeper::abandon);
        }
        vec![self.lock.file.as_raw_fd(), self.record.as_raw_fd()]
    }
}

/// The right to make a checkpoint, of which there is one in a process.
struct Running<'a> {
    checkpoints: &'a Checkpoints,
}

impl Running<'_> {
    fn durable(&self) -> u64 {
        lock(&self.checkpoints.state).durable
    }

    /// Starts the keepers at the first checkpoint.
    fn keepers(&mut self, env: &EnvSlot) -> Result<()> {
        let mut state = lock(&self.checkpoints.state);
        if state.keepers.is_none() {
            // SAFETY: the environment belongs to the same `Live` as these checkpoints. A `Live` stays behind its `Arc`
            // until it is dropped, and drops its checkpoints, with the keepers, before its environment.
            #[allow(unsafe_code)]
            let keepers = unsafe { [Keeper::start(env)?, Keeper::start(env)?] };
            state.keepers = Some(keepers);
        }
        Ok(())
    }

    fn with_keeper<T>(&self, keeper: usize, use_it: impl FnOnce(&Keeper) -> Result<T>) -> Result<T> {
        let state = lock(&self.checkpoints.state);
        let keeper = state.keepers.as_ref().and_then(|keepers| keepers.get(keeper));
        use_it(keeper.ok_or(Error::Closed)?)
    }

    fn run(&mut self, target: Target<'_>) -> Result<()> {
        let all = self.checkpoints;
        let old = lock(&all.state).pin;
        let keeper = old.map_or(0, |old| 1 - old.keeper);
        let written = all.written.swap(false, Ordering::AcqRel);
        let volume = all.volume.swap(0, Ordering::Relaxed);
        let recorded = all.with_lock(|| self.record_newest(target, keeper));
        match recorded {
            Ok(txn) => {
                let mut state = lock(&all.state);
                state.pin = Some(Pin { keeper, txn });
                state.durable = txn;
                state.last = Some(Instant::now());
                drop(state);
                match old {
                    Some(old) => self.with_keeper(old.keeper, Keeper::release),
                    None => Ok(()),
                }
            }
            Err(error) => {
                // The old pin stays, and with it the recorded checkpoint.
                all.written.fetch_or(written, Ordering::AcqRel);
                all.volume.fetch_add(volume, Ordering::Relaxed);
                self.with_keeper(keeper, Keeper::release)?;
                Err(error)
            }
        }
    }

    /// Pins the newest snapshot, syncs it and records it.
    fn record_newest(&self, target: Target<'_>, keeper: usize) -> Result<u64> {
        let all = self.checkpoints;
        let boot = BootId::current();
        // Between pinning a snapshot and reading its meta page two commits can overwrite that page. Then pin anew.
        // Where others commit too fast for that, they are locked out for the moment it takes.
        let mut tries = 0;
        let mut locked_out = None;
        let (txn, meta) = loop {
            let txn = self.with_keeper(keeper, Keeper::pin)?;
            if let Some(meta) = meta_of(target.data, txn)? {
                break (txn, meta);
            }
            tries += 1;
            if tries == 50 {
                let locked =
                    target.env.write_txn().map_err(|e| lmdb_error(e, "waiting for a quiet moment"))?;
                locked_out = Some(locked);
            }
        };
        drop(locked_out);
        let last = all.record.read()?;
        let same = last.as_ref().is_some_and(|last| {
            last.boot == boot && last.meta.as_ref().is_some_and(|meta| meta.txn_id() == txn)
        });
        if same && last.as_ref().is_some_and(|last| last.state == RecordState::Open) {
            return Ok(txn);
        }
        if !same {
            target.env.force_sync().map_err(|e| lmdb_error(e, "syncing the store"))?;
        }
        all.record.write(&Record { state: RecordState::Open, boot, meta: Some(meta) })?;
        Ok(txn)
    }

    fn unpin(&self) -> Result<()> {
        let pin = lock(&self.checkpoints.state).pin.take();
        match pin {
            Some(pin) => self.with_keeper(pin.keeper, Keeper::release),
            None => Ok(()),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.checkpoints.state).running = false;
        self.checkpoints.finished.notify_all();
    }
}
