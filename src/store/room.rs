//! Making room in a full map: what a write does that finds no free page, and who goes first.
//!
//! Pages that were freed can be used again once no snapshot has them, so a writer in need waits for the other
//! processes to move their pins, and evicts where that is not enough. Meanwhile nobody else may write: what is freed
//! would be taken by whoever comes next, and one writer could be unlucky again and again. So there is one turn, among
//! all processes, which a writer in need takes; the others stop before their next transaction until it has ended.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::backend::Lmdb;
use super::config::Maintenance;
use super::live::Live;
use super::sync::{lock, wait_timeout};
use crate::error::{Error, Result};

/// How long a write waits for other processes to let go of old snapshots, beside the time that takes.
const PATIENCE: Duration = Duration::from_secs(3);
/// They sync the disk for it, one after the other: about as long as this process does, times so many.
const SYNCS: u32 = 10;
/// How long it waits for the turn, or for the turn of others to end.
const IN_LINE: Duration = Duration::from_secs(9);
/// Transactions by which the pin of a process may be behind in a store that is near its limit.
const MOST_LAG: u64 = 8;
/// The byte of `sweeper.lock` that is locked during the turn.
const TURN: u64 = 1;

/// The turn, as this process knows it: locks between processes do not tell its threads apart.
#[derive(Default)]
pub(crate) struct RoomTurn {
    taken: Mutex<bool>,
    ended: Condvar,
}

/// What a write does about a full map, a step at a time.
pub(crate) struct MakeRoom<'a> {
    live: &'a Live,
    /// Whether it takes turns with others.
    in_line: bool,
    has_turn: bool,
    since: Option<Instant>,
    tries: u32,
    slowest_sync: Duration,
}

impl<'a> MakeRoom<'a> {
    pub(crate) fn new(live: &'a Live, in_line: bool) -> MakeRoom<'a> {
        MakeRoom { live, in_line, has_turn: false, since: None, tries: 0, slowest_sync: Duration::ZERO }
    }

    /// Waits while it is the turn of another writer in need. Costs nothing while the file is below its limit, and a
    /// system call when it is not.
    pub(crate) fn let_others_first(&self) -> Result<()> {
        if self.in_line && !self.has_turn && self.live.is_pressed() {
            self.wait_in_line(|live| live.turn_is_free())?;
        }
        Ok(())
    }

    /// Tries until the turn is taken, or gives up: then the write does what it can beside the others.
    fn take_turn(&mut self) -> Result<()> {
        if self.in_line && !self.has_turn && self.live.max_bytes.is_some() {
            self.has_turn = self.wait_in_line(|live| live.take_turn())?;
        }
        Ok(())
    }

    fn wait_in_line(&self, ready: impl Fn(&Live) -> Result<bool>) -> Result<bool> {
        let since = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            if ready(self.live)? {
                return Ok(true);
            }
            if since.elapsed() > IN_LINE {
                return Ok(false);
            }
            self.live.let_go_of_old_pages()?;
            let turn = &self.live.room;
            let taken = lock(&turn.taken);
            // Woken at once when a thread of this process ends its turn.
            drop(wait_timeout(&turn.ended, taken, pause));
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }

    /// Makes it likelier that the next try finds free pages, or gives up with [`Error::StoreFull`].
    pub(crate) fn make(&mut self) -> Result<()> {
        self.take_turn()?;
        let since = *self.since.get_or_insert_with(Instant::now);
        let patience = if self.live.max_bytes.is_some() { PATIENCE } else { PATIENCE / 10 };
        if since.elapsed() > patience + self.slowest_sync * SYNCS {
            return Err(self.full());
        }
        // A new pin at the newest snapshot lets go of the pages freed since the last checkpoint.
        let begun = Instant::now();
        self.live.checkpoint()?;
        self.slowest_sync = self.slowest_sync.max(begun.elapsed());
        if self.tries > 0 {
            // Other processes let go of theirs within their next round of maintenance.
            std::thread::sleep(Duration::from_millis(5 << self.tries.min(4)));
            self.live.backend.tidy()?;
        }
        if self.live.max_bytes.is_some() && self.tries > 2 {
            // Where old snapshots keep the pages, eviction frees none, and would only empty the store. It helps where a
            // large entry finds no room in one piece.
            let keep_half = since.elapsed() > patience / 2;
            match self.live.evict_batch(if keep_half { 2 } else { 3 }) {
                Ok(()) | Err(Error::StoreFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.tries += 1;
        Ok(())
    }

    fn full(&self) -> Error {
        let lmdb = self.live.backend.lmdb();
        let readers = lmdb.map_or(0, Lmdb::reader_slots);
        let limit = lmdb.map_or(0, |lmdb| lmdb.map_size() as u64);
        let detail = match self.live.max_bytes {
            Some(_) => format!(
                "eviction frees nothing that can be reused, because a snapshot is kept open by one of {readers} \
                 reader slots (a backup, or another program's read transaction), or because the write is too large; \
                 nothing was written, try again when it has ended, or raise max_bytes"
            ),
            None => "the map has no free page; open the store with a larger map_size, or remove entries"
                .to_owned(),
        };
        Error::StoreFull { limit, detail: detail.into() }
    }
}

impl Drop for MakeRoom<'_> {
    fn drop(&mut self) {
        if self.has_turn {
            self.live.end_turn();
        }
    }
}

impl Live {
    /// Whether no other thread of any process has the turn.
    fn turn_is_free(&self) -> Result<bool> {
        let Some(turn) = self.sweeper.as_ref() else { return Ok(true) };
        Ok(!*lock(&self.room.taken) && !turn.is_locked_elsewhere(TURN)?)
    }

    fn take_turn(&self) -> Result<bool> {
        let Some(turn) = self.sweeper.as_ref() else { return Ok(false) };
        let mut taken = lock(&self.room.taken);
        if !*taken && turn.try_lock(TURN)? {
            *taken = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn end_turn(&self) {
        if let Some(turn) = self.sweeper.as_ref() {
            let mut taken = lock(&self.room.taken);
            turn.unlock(TURN);
            *taken = false;
            drop(taken);
            self.room.ended.notify_all();
        }
    }

    /// Whether this process's pin keeps pages that a writer of another process may be waiting for.
    pub(super) fn is_in_the_way(&self) -> bool {
        // While somebody waits for pages there may be no commits, so that the lag does not grow.
        let lag = self.backend.lmdb().map_or(0, Lmdb::lag);
        lag > 0 && self.is_pressed() && (lag > MOST_LAG || !self.turn_is_free().unwrap_or(true))
    }

    /// Where no background thread does, the one that waits moves the pin, which may be what the turn waits for.
    fn let_go_of_old_pages(&self) -> Result<()> {
        match self.config.maintenance != Maintenance::Background && self.is_in_the_way() {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }
}
