//! Closing: what is written and recorded before the backend lets go of the files, and closing for a moment to replace them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::directory::locks::{Gate, Role};
use super::live::Live;
use super::process::fork::ForkLockGuard;
use super::upkeep::sweep;
use crate::error::{Error, Result};
use crate::waiting::Pauses;

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

/// Waits until no operation of this process uses the environment, which nobody can reach any more. That takes as long as
/// the longest of them. On an error the caller puts it back.
pub(super) fn drain(live: &Arc<Live>) -> Result<()> {
    super::upkeep::housekeeper::let_go(live)?;
    let mut pauses = Pauses::begin();
    while Arc::strong_count(live) > 1 {
        if let Err(error) = pauses.pause(&live.dir) {
            // The background thread has let go of it.
            live.is_kept.store(false, Ordering::Release);
            return Err(error);
        }
    }
    Ok(())
}

/// Writes what is in memory, makes a last checkpoint, and closes. Whatever fails, the environment is closed, and
/// nothing that was committed is lost by it. Nobody uses it any more.
pub(super) fn shut(live: Arc<Live>, may_write: bool) -> Result<()> {
    // Nobody will read what is written to a store that does not lie at its path any more.
    if live.is_read_only() || !may_write || live.check_place().is_err() {
        return Ok(());
    }
    let flushed = sweep::flush_accesses(&live);
    let mut gate = None;
    let settled = settle(&live, &mut gate);
    // Who waits for the gate is to find a store that is closed, and not one that is about to be.
    drop(live);
    drop(gate);
    flushed.and(settled)
}

/// Makes what this process wrote durable. The last one to have the store open leaves nothing in the log.
fn settle(live: &Live, gate: &mut Option<Gate>) -> Result<()> {
    *gate = Some(Gate::close(live.member.dir())?);
    if live.member.is_only(Role::User)? {
        return live.backend.close_alone();
    }
    *gate = None;
    match live.backend.has_unsynced_writes() {
        true => live.checkpoint(),
        false => Ok(()),
    }
}

/// Proof that this process is the only one that has the store open, and that no other can open it now.
pub(super) struct Exclusive {
    _gate: Gate,
}

impl Exclusive {
    /// Makes sure that no other process has the store open, and keeps others from opening it.
    pub(super) fn enter(shared: &Shared, _transition: &ForkLockGuard) -> Result<Exclusive> {
        let Some(live) = shared.current.load_full() else { return Err(Error::Closed) };
        live.writable()?;
        let gate = Gate::close(live.member.dir())?;
        if !live.member.is_only(Role::User)? {
            return Err(Error::Busy {
                path: shared.dir.clone(),
                detail: "other processes have it open; close it there first".into(),
            });
        }
        Ok(Exclusive { _gate: gate })
    }
}
