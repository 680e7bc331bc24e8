//! What has to be done for the log from time to time: syncing, folding, and making the next segment ahead.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::fold::{Extent, Folded, reader};
use super::position::Position;
use super::room::backlog;
use super::shared_lock::SharedGuard;
use super::{Access, Lmdb, Shared};
use crate::error::{Error, Result};
use crate::store::backend::Engine;
use crate::sync::lock;

/// How long nothing must have been written before all of the log is folded.
const QUIET: Duration = Duration::from_millis(700);
/// The time between two looks while there is something in the log.
const LOOK: Duration = Duration::from_millis(100);
/// The same, while a fold is put off.
const PUT_OFF: Duration = Duration::from_millis(20);
/// How long the first writer waits for a snapshot that is kept open before one is refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has to be remembered from one look to the next.
pub(super) struct Upkeep {
    synced: Instant,
    tail: Position,
    /// When the tail was seen to move last.
    moved: Instant,
    /// The tail when free room was given back last.
    tidied: Option<Position>,
}

impl Upkeep {
    pub(super) fn new() -> Upkeep {
        let now = Instant::now();
        Upkeep { synced: now, tail: Position { segment: 0, offset: 0 }, moved: now, tidied: None }
    }
}

/// How long a writer waits under a limit for one who folds.
const FOR_THE_GATE: Duration = Duration::from_millis(60);
/// The time between two tries to get it.
const BETWEEN_TRIES: Duration = Duration::from_micros(200);

impl Lmdb {
    /// Does what is due.
    pub(in crate::store::backend) fn upkeep(&self, interval: Duration) -> Result<()> {
        let Access::Shared(shared) = &self.access else { return Ok(()) };
        let control = &shared.control;
        let tail = control.tail();
        let (is_quiet, sync_is_due) = {
            let mut last = lock(&self.upkeep);
            if last.tail != tail {
                (last.tail, last.moved) = (tail, Instant::now());
            }
            let sync_is_due = self.has_unsynced_writes() && last.synced.elapsed() >= interval;
            if sync_is_due {
                last.synced = Instant::now();
            }
            (last.moved.elapsed() >= QUIET, sync_is_due)
        };
        self.prepare_segment(control)?;
        if sync_is_due {
            self.sync()?;
            self.prepare_segment(control)?;
        }
        let folded = control.folded().load(Ordering::Acquire);
        if tail.to_word() > folded {
            self.fold_what_is_due(shared, tail, is_quiet)?;
        }
        self.keep_reserve(control)?;
        if is_quiet {
            self.tidy(shared, tail)?;
        }
        // Lets go of segments that others have folded.
        if self.segments.load().folded.at.to_word() < control.folded().load(Ordering::Acquire) {
            drop(self.snapshot()?);
        }
        Ok(())
    }

    fn fold_what_is_due(&self, shared: &Shared, tail: Position, is_quiet: bool) -> Result<()> {
        let folded = Position::from_word(shared.control.folded().load(Ordering::Acquire));
        if is_quiet {
            self.seal_if_large(shared, tail)?;
        } else if folded.segment == tail.segment {
            return Ok(());
        }
        let extent = if is_quiet { Extent::All } else { Extent::Ended };
        while self.try_fold(extent)? == Folded::Something {
            self.prepare_segment(&shared.control)?;
        }
        Ok(())
    }

    /// Once in each quiet time, when all is folded: gives back what is free.
    fn tidy(&self, shared: &Shared, tail: Position) -> Result<()> {
        let control = &shared.control;
        let is_folded = control.folded().load(Ordering::Acquire) >= tail.to_word();
        if !is_folded || lock(&self.upkeep).tidied == Some(tail) {
            return Ok(());
        }
        let Some(gate) = shared.gate.try_lock(control)? else { return Ok(()) };
        self.forget_folded(control, tail)?;
        self.reclaim_if_worth(control, &gate)?;
        lock(&self.upkeep).tidied = Some(tail);
        Ok(())
    }

    /// How soon something may be due.
    pub(in crate::store::backend) fn rest(&self, interval: Duration) -> Option<Duration> {
        let Access::Shared(shared) = &self.access else { return None };
        let control = &shared.control;
        let is_folded = control.tail().to_word() <= control.folded().load(Ordering::Acquire);
        if is_folded && !self.has_unsynced_writes() {
            // A commit from now on wakes whoever rests; one from before is seen here.
            self.awake.store(false, Ordering::SeqCst);
            if control.tail().to_word() <= control.folded().load(Ordering::SeqCst) {
                return None;
            }
            self.awake.store(true, Ordering::SeqCst);
        }
        match control.stuck().load(Ordering::Relaxed) {
            0 => Some(LOOK.min(interval / 4)),
            _ => Some(PUT_OFF),
        }
    }

    /// Holds a writer up a little while the log is ahead of what can be folded, more the longer it is. Under a limit the
    /// writer folds himself.
    ///
    /// # Errors
    ///
    /// [`Error::StoreFull`] when the limit is reached, and a snapshot that is kept open keeps the log from being folded.
    pub(in crate::store::backend) fn pace(&self) -> Result<()> {
        let Access::Shared(shared) = &self.access else { return Ok(()) };
        let control = &shared.control;
        if control.full().load(Ordering::Relaxed) != 0 {
            // As soon as there is room again everything goes on. Until then an append tells what is wrong.
            ignore_full(self.try_fold(Extent::All))?;
        }
        let (backlog, most) = (backlog(control), self.most_backlog(control));
        if self.is_counted() {
            return if backlog > most { self.catch_up(shared) } else { Ok(()) };
        }
        if backlog < most / 2 || control.stuck().load(Ordering::Relaxed) != 0 {
            return Ok(());
        }
        self.slow_down(backlog, most)
    }

    #[cold]
    fn slow_down(&self, backlog: u64, most: u64) -> Result<()> {
        let shared = self.shared()?;
        if let Some(gate) = shared.gate.try_lock(&shared.control)? {
            // Nobody is at it, and nobody may ever be: then to wait would be in vain.
            if backlog > most {
                ignore_full(self.fold(shared, &gate, Extent::Little))?;
            }
            return Ok(());
        }
        // From nothing at half of the backlog to a fiftieth of a second at all of it.
        let over = (backlog - most / 2) as f64 / (most / 2) as f64;
        let pause = Duration::from_secs_f64(0.02 * (over * over).min(1.0));
        if pause > Duration::from_micros(50) {
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Folds until the log is as short as it may be under a limit.
    #[cold]
    fn catch_up(&self, shared: &Shared) -> Result<()> {
        let control = &shared.control;
        let since = Instant::now();
        loop {
            // Nobody waits long for one who folds and may be stopped, and nobody after the first who has.
            let is_stuck = control.stuck().load(Ordering::Relaxed) != 0;
            let most = if is_stuck { Duration::ZERO } else { FOR_THE_GATE };
            let Some(gate) = self.wait_for_turn(shared, most)? else { return Ok(()) };
            let is_held = gate.is_none();
            let folded = match gate {
                Some(gate) => loop {
                    if backlog(control) <= self.most_backlog(control) {
                        break Folded::Nothing;
                    }
                    match ignore_full(self.fold(shared, &gate, Extent::All))? {
                        Folded::Something => self.let_go_of_large(shared)?,
                        done => break done,
                    }
                },
                None => {
                    control.stuck().fetch_max(1, Ordering::Relaxed);
                    Folded::PutOff
                }
            };
            let Some(limit) = self.limit() else { return Ok(()) };
            if folded != Folded::PutOff || self.has_room_unfolded(control, limit)? {
                return Ok(());
            }
            let has_waited = !is_held && control.stuck().load(Ordering::Relaxed) == 2;
            if has_waited || since.elapsed() > PATIENCE {
                control.stuck().store(2, Ordering::Relaxed);
                // Whoever has the gate can be one who waits for a reader as well.
                let why = match (reader(control, control.newest().load(Ordering::SeqCst)), is_held) {
                    (Some(process), _) => format!(
                        "process {process} keeps a snapshot open, for a backup or because it was stopped while it read"
                    ),
                    (None, true) => "a process was stopped while it moved the log into the data file".into(),
                    (None, false) => "a snapshot was kept open, by a process that has gone since".into(),
                };
                let detail = format!("{why}, so nothing can be evicted; try again when that has ended");
                return Err(Error::StoreFull { limit, detail: detail.into() });
            }
            std::thread::sleep(PUT_OFF);
            crate::waiting::go_on_waiting()?;
        }
    }

    /// Waits for the gate, for so long at most: `Some(None)` if it was not to be had. `None` if another writer has folded
    /// meanwhile: of many, each waits for one fold, and the log does not get much longer by what they write then.
    fn wait_for_turn<'a>(
        &self,
        shared: &'a Shared,
        most: Duration,
    ) -> Result<Option<Option<SharedGuard<'a>>>> {
        let control = &shared.control;
        let folded = control.folded_logged().load(Ordering::Relaxed);
        let until = Instant::now() + most;
        loop {
            if let Some(gate) = shared.gate.try_lock(control)? {
                return Ok(Some(Some(gate)));
            }
            let has_folded = control.folded_logged().load(Ordering::Relaxed) != folded;
            if has_folded && backlog(control) <= self.most_backlog(control) * 5 / 4 {
                return Ok(None);
            }
            if Instant::now() >= until {
                return Ok(Some(None));
            }
            crate::waiting::go_on_waiting()?;
            std::thread::sleep(BETWEEN_TRIES);
        }
    }

    /// Ends a segment that was made for a large record, and is in LMDB now.
    fn let_go_of_large(&self, shared: &Shared) -> Result<()> {
        let control = &shared.control;
        let tail = control.tail();
        let largest = self.largest_segment();
        let is_large = self.segments.load().newest().is_some_and(|segment| segment.size() > largest);
        if is_large && control.folded().load(Ordering::Acquire) >= tail.to_word() {
            self.seal_if_above(shared, tail, largest)?;
            self.forget_folded(control, tail)?;
        }
        Ok(())
    }

    /// Folds everything, and gives back what is free then.
    pub(in crate::store) fn make_room(&self) -> Result<()> {
        let shared = self.shared()?;
        let control = &shared.control;
        let gate = shared.gate.lock(control)?;
        self.fold_all(shared, &gate)?;
        self.let_go_of_large(shared)?;
        self.reclaim(control, u64::MAX)
    }

    /// The same on a full disk, as far as it can be done.
    #[cold]
    pub(super) fn make_room_on_disk(&self, shared: &Shared) -> Result<()> {
        self.drop_prepared(&shared.control)?;
        match self.make_room() {
            Err(error) if error.is_full() => Ok(()),
            done => done,
        }
    }
}

fn ignore_full(folded: Result<Folded>) -> Result<Folded> {
    match folded {
        Err(error) if error.is_full() => Ok(Folded::Nothing),
        folded => folded,
    }
}
