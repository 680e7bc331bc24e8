//! The background thread of a process, for all stores it has open: checkpoints, access times, expired entries, limits.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use super::sweep;
use crate::error::{Error, Result};
use crate::store::config::Maintenance;
use crate::store::live::Live;
use crate::store::process::per_process::PerProcess;
use crate::sync::{lock, wait_timeout};

/// How often accesses are written at most. Each flush moves the token for every process.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time between two looks for expired entries. Sweeping late costs disk space only.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How often who waits for the end of a round asks whether to give up.
const ASKING_INTERVAL: Duration = Duration::from_millis(20);
/// The time until the first look.
const FIRST_SLEEP: Duration = Duration::from_millis(50);
/// Writers that do the maintenance themselves do it so often at most.
const INLINE_INTERVAL: Duration = Duration::from_millis(50);

/// The stores of this process that are looked after, by one thread for all of them.
#[derive(Default)]
struct Process {
    state: Mutex<State>,
    changed: Condvar,
}

static PROCESS: PerProcess<Process> = PerProcess::empty();

#[derive(Default)]
struct State {
    stores: Vec<Kept>,
    /// The store that has its round.
    in_round: Option<u64>,
    /// Whether it was nudged meanwhile.
    nudged: bool,
    /// Whether it no longer needs looking after.
    leaves: bool,
    /// Whether the thread is there. It ends when there is nothing to look after.
    runs: bool,
}

struct Kept {
    generation: u64,
    live: Weak<Live>,
    rounds: Rounds,
    due: Instant,
}

impl Process {
    fn keep(self: &Arc<Self>, live: &Arc<Live>) -> Result<()> {
        let mut state = lock(&self.state);
        let (generation, live) = (live.generation, Arc::downgrade(live));
        state.stores.push(Kept {
            generation,
            live,
            rounds: Rounds::new(),
            due: Instant::now() + FIRST_SLEEP,
        });
        if !state.runs {
            let process = self.clone();
            let thread = std::thread::Builder::new().name("cachemere".into()).stack_size(512 << 10);
            let started = thread.spawn(move || process.run());
            if let Err(error) = started {
                state.stores.retain(|kept| kept.generation != generation);
                return Err(Error::io("starting a thread", error));
            }
            state.runs = true;
        }
        self.changed.notify_all();
        Ok(())
    }

    fn nudge(&self, generation: u64) {
        let mut state = lock(&self.state);
        match state.stores.iter_mut().find(|kept| kept.generation == generation) {
            Some(kept) => {
                kept.due = Instant::now();
                self.changed.notify_all();
            }
            None => state.nudged |= state.in_round == Some(generation),
        }
    }

    /// Returns when the store is not looked after any more, and will not be.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`]: it will not be either, but may have its last round.
    fn let_go(&self, generation: u64) -> Result<()> {
        let mut state = lock(&self.state);
        state.stores.retain(|kept| kept.generation != generation);
        while state.in_round == Some(generation) {
            state.leaves = true;
            state = wait_timeout(&self.changed, state, ASKING_INTERVAL);
            if state.in_round == Some(generation) {
                // A round can wait for another process.
                drop(state);
                crate::waiting::go_on_waiting()?;
                state = lock(&self.state);
            }
        }
        Ok(())
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            state.stores.retain(|kept| kept.live.strong_count() > 0);
            let now = Instant::now();
            let next =
                (0..).zip(&state.stores).min_by_key(|(_, kept)| kept.due).map(|(at, kept)| (at, kept.due));
            let Some((at, due)) = next else {
                state.runs = false;
                return;
            };
            if due > now {
                state = wait_timeout(&self.changed, state, due - now);
                continue;
            }
            let mut kept = state.stores.swap_remove(at);
            (state.in_round, state.nudged, state.leaves) = (Some(kept.generation), false, false);
            drop(state);
            let pause = std::panic::catch_unwind(AssertUnwindSafe(|| kept.round()));
            state = lock(&self.state);
            state.in_round = None;
            match pause {
                Ok(Some(pause)) if !state.leaves => {
                    kept.due = Instant::now() + if state.nudged { Duration::ZERO } else { pause };
                    state.stores.push(kept);
                }
                _ => {}
            }
            // Somebody may wait for it to be let go.
            self.changed.notify_all();
        }
    }
}

impl Kept {
    /// A round, and the time until the next; `None` if the store was closed.
    fn round(&mut self) -> Option<Duration> {
        let live = self.live.upgrade()?;
        self.rounds.tick(&live);
        Some(self.rounds.pause(&live))
    }
}

/// What has to be remembered from one round of maintenance to the next.
pub(crate) struct Rounds {
    last: Instant,
    flushed: Instant,
}

impl Rounds {
    pub(crate) fn new() -> Rounds {
        Rounds { last: Instant::now(), flushed: Instant::now() }
    }

    /// A round, unless there has been one just before.
    pub(crate) fn tick_if_due(&mut self, live: &Live) {
        if self.last.elapsed() >= INLINE_INTERVAL {
            self.last = Instant::now();
            self.tick(live);
        }
    }

    /// Does what is due. Nobody waits for the result, so errors are logged; the next round tries again.
    pub(crate) fn tick(&mut self, live: &Live) {
        if live.check_place().is_err() {
            return;
        }
        let _span = tracing::debug_span!("cachemere::round", store = %live.dir.display()).entered();
        let report = |what: &str, result: Result<()>| {
            if let Err(error) = result {
                live.note_failure();
                tracing::warn!(%error, store = %live.dir.display(), "{what} failed");
            }
        };
        report("upkeep of the log", live.backend.upkeep(live.config.checkpoint_interval));
        if !live.access.is_empty()
            && (self.flushed.elapsed() >= flush_interval(live) || live.access.is_pressing())
        {
            self.flushed = Instant::now();
            report("writing access times", sweep::flush_accesses(live));
        }
        report("sweeping", sweep::sweep_if_due(live));
    }

    /// How long nothing will be due, as far as is known.
    pub(crate) fn pause(&self, live: &Live) -> Duration {
        let mut pause = LONGEST_SLEEP;
        if let Some(rest) = live.backend.rest(live.config.checkpoint_interval) {
            pause = pause.min(rest);
        }
        if let Some(until) = sweep::time_to_next(live) {
            pause = pause.min(until);
        }
        if !live.access.is_empty() {
            pause = pause.min(flush_interval(live));
        }
        pause.max(Duration::from_millis(5))
    }
}

fn flush_interval(live: &Live) -> Duration {
    match sweep::shortest_idle(live) {
        Some(idle) => FLUSH_INTERVAL.min(idle / 8),
        None => FLUSH_INTERVAL,
    }
}

/// Has a store looked after that wants it and is not yet.
pub(crate) fn ensure(live: &Arc<Live>) -> Result<()> {
    if live.config.maintenance != Maintenance::Background || live.is_read_only() {
        return Ok(());
    }
    if live.is_kept.load(Ordering::Relaxed) || live.is_kept.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let kept = PROCESS.get().keep(live);
    if kept.is_err() {
        live.is_kept.store(false, Ordering::Release);
    }
    kept
}

/// Returns when the background thread does not hold the store any more, and will not.
pub(crate) fn let_go(live: &Live) -> Result<()> {
    if !live.is_kept.load(Ordering::Acquire) {
        return Ok(());
    }
    let gone = PROCESS.get().let_go(live.generation);
    gone.inspect_err(|_| live.is_kept.store(false, Ordering::Release))
}

/// Has a store looked at now, if it is looked after.
pub(crate) fn nudge(live: &Live) {
    if live.is_kept.load(Ordering::Acquire) {
        PROCESS.get().nudge(live.generation);
    }
}
