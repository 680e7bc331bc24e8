//! The background thread: checkpoints, access times, expired entries, limits.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::backend::Due;
use super::config::Maintenance;
use super::live::Live;
use super::sweep;
use super::sync::{lock, wait_timeout};
use crate::error::{Error, Result};

/// How often accesses are written at most. Each flush moves the token for every process.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time between two looks for expired entries. Sweeping late costs disk space only.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// Writers that do the maintenance themselves do it so often at most.
const INLINE_INTERVAL: Duration = Duration::from_millis(50);
/// Readers of killed processes keep pages from being reused, so the file grows at the speed of writing: by 1.2 GB within
/// ten seconds, measured. A look costs a system call for each process that has the store open.
const STALE_READERS_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Housekeeper {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    stop: bool,
    nudged: bool,
}

impl Housekeeper {
    fn start(live: &Arc<Live>) -> Result<Housekeeper> {
        let signal = Arc::new(Signal::default());
        let (inner, live) = (signal.clone(), Arc::downgrade(live));
        let thread = std::thread::Builder::new().name("cachemere".into()).stack_size(512 << 10);
        let thread =
            thread.spawn(move || run(&inner, &live)).map_err(|e| Error::io("starting a thread", e))?;
        Ok(Housekeeper { signal, thread: Some(thread) })
    }

    pub(crate) fn nudge(&self) {
        lock(&self.signal.state).nudged = true;
        self.signal.changed.notify_one();
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        lock(&self.signal.state).stop = true;
        self.signal.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread itself can be the last to hold the store.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

fn run(signal: &Signal, live: &Weak<Live>) {
    let mut rounds = Rounds::new();
    let mut sleep = Duration::from_millis(50);
    loop {
        let mut state = lock(&signal.state);
        if !state.stop && !state.nudged {
            state = wait_timeout(&signal.changed, state, sleep);
        }
        if state.stop {
            return;
        }
        state.nudged = false;
        drop(state);
        let Some(live) = live.upgrade() else { return };
        rounds.tick(&live);
        sleep = rounds.pause(&live);
    }
}

/// What has to be remembered from one round of maintenance to the next.
pub(crate) struct Rounds {
    last: Instant,
    flushed: Instant,
    readers_checked: Instant,
}

impl Rounds {
    pub(crate) fn new() -> Rounds {
        Rounds { last: Instant::now(), flushed: Instant::now(), readers_checked: Instant::now() }
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
        let report = |what: &str, result: Result<()>| {
            if let Err(error) = result {
                tracing::warn!(%error, store = %live.dir.display(), "{what} failed");
            }
        };
        if self.readers_checked.elapsed() >= STALE_READERS_INTERVAL || live.is_pressed() {
            self.readers_checked = Instant::now();
            report("clearing stale readers", live.backend.tidy());
        }
        report("a checkpoint", checkpoint_if_due(live));
        if !live.access.is_empty()
            && (self.flushed.elapsed() >= flush_interval(live) || live.access.is_pressing())
        {
            self.flushed = Instant::now();
            report("writing access times", sweep::flush_accesses(live));
        }
        report("sweeping", sweep::sweep_if_due(live));
    }

    /// How long nothing will be due, as far as can be told.
    pub(crate) fn pause(&self, live: &Live) -> Duration {
        let interval = live.config.checkpoint_interval;
        let mut pause = LONGEST_SLEEP;
        if live.backend.is_joined() {
            // Under a limit, old pins of this process must not keep others from reusing pages.
            pause =
                pause.min(if live.max_bytes.is_some() { Duration::from_millis(20) } else { interval / 4 });
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

fn checkpoint_if_due(live: &Live) -> Result<()> {
    let (soft, _) = live.volume_limits();
    let pressed = live.backend.volume() >= soft || live.is_in_the_way();
    match live.backend.checkpoint_due(live.config.checkpoint_interval, pressed) {
        Due::Nothing => Ok(()),
        Due::Checkpoint => live.checkpoint(),
        Due::Leave => {
            let _gate = live.gate();
            live.backend.leave()
        }
    }
}

/// Starts the background thread of a store that wants one and has none.
pub(crate) fn ensure(live: &Arc<Live>) -> Result<()> {
    if live.config.maintenance != Maintenance::Background || live.is_read_only() {
        return Ok(());
    }
    let mut housekeeper = lock(&live.housekeeper);
    if housekeeper.is_none() {
        *housekeeper = Some(Housekeeper::start(live)?);
    }
    Ok(())
}
