//! Closing: what is written and recorded before the backend lets go of the files, and closing for a moment to replace them.

use std::sync::Arc;

use super::fork::ForkLockGuard;
use super::live::Live;
use super::locks::LockFile;
use super::opening::OPEN_LOCK;
use super::{Shared, sweep};
use crate::error::{Error, Result};

/// Takes an environment inherited over a fork out of use, for good.
pub(super) fn abandon(inherited: Arc<Live>) {
    // SAFETY: we hold the transition lock in a forked child, so this thread is the only one that can get at the
    // inherited environment; it is not inside an operation, since no operation runs the user's code, which forked.
    #[allow(unsafe_code)]
    unsafe {
        inherited.abandon();
    }
    std::mem::forget(inherited);
}

/// Waits until no operation of this process uses the environment, which nobody can reach any more.
pub(super) fn drain(live: &Arc<Live>) {
    super::housekeeper::let_go(live);
    while Arc::strong_count(live) > 1 {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

/// Writes what is in memory, makes a last checkpoint, and closes. Whatever fails, the environment is closed, and
/// nothing that was committed is lost by it.
pub(super) fn shut(live: Arc<Live>, may_write: bool) -> Result<()> {
    drain(&live);
    // Nobody will read what is written to a store that does not lie at its path any more.
    if live.is_read_only() || !may_write || live.check_place().is_err() {
        return Ok(());
    }
    let flushed = sweep::flush_accesses(&live);
    let checkpointed = settle(&live);
    flushed.and(checkpointed)
}

/// Makes what this process wrote durable. The last one to have the store open leaves nothing in the log.
fn settle(live: &Live) -> Result<()> {
    if let Some(gate) = LockFile::open(&live.dir, OPEN_LOCK, false)? {
        gate.exclusive()?;
        if live.users.try_exclusive()? {
            return live.backend.close_alone();
        }
        // The try gave up the shared lock, and until this process is done nobody may think to be alone.
        live.users.shared()?;
    }
    match live.backend.has_unsynced_writes() {
        true => live.checkpoint(),
        false => Ok(()),
    }
}

/// Proof that this process is the only one that has the store open, and that no other can open it now.
pub(super) struct Exclusive {
    _gate: LockFile,
}

impl Exclusive {
    /// Makes sure that no other process has the store open, and keeps others from opening it.
    pub(super) fn enter(shared: &Shared, _transition: &ForkLockGuard) -> Result<Exclusive> {
        let Some(live) = shared.current.load_full() else { return Err(Error::Closed) };
        live.writable()?;
        let gate = LockFile::open(&shared.dir, OPEN_LOCK, true)?.ok_or(Error::Closed)?;
        gate.exclusive()?;
        let alone = live.users.try_exclusive()?;
        // A failed try gives up the shared lock; nobody can have become alone meanwhile, because we hold the gate.
        live.users.shared()?;
        if !alone {
            return Err(Error::Busy {
                path: shared.dir.clone(),
                detail: "other processes have it open; close it there first".into(),
            });
        }
        Ok(Exclusive { _gate: gate })
    }
}
