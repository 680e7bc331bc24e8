//! Telling the caller how far a load is, and asking whether it is to go on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::error::{Error, Result};

/// What a load is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the files and sorting.
    Reading,
    /// Merging and writing.
    Writing,
}

/// How far a load is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes of the files that were read, compressed as they are.
    pub bytes_read: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Records found so far.
    pub records: u64,
    /// Records written so far, those included that are left out because another of the same key counts.
    pub written: u64,
}

/// Who watches over a load. Called by the thread that called the load, ten times a second.
///
/// ```
/// use cachemere::load::{Progress, Watch};
///
/// struct Impatient(std::time::Instant);
///
/// impl Watch for Impatient {
///     fn progress(&mut self, progress: &Progress) {
///         tracing::info!(bytes = progress.bytes_read, of = progress.bytes_total, "loading");
///     }
///     fn is_cancelled(&mut self) -> bool {
///         self.0.elapsed().as_secs() > 3600
///     }
/// }
/// ```
pub trait Watch {
    /// How far it is.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// Whether it is to end, as if it had never begun, with [`Error::Cancelled`].
    fn is_cancelled(&mut self) -> bool {
        false
    }
}

/// Nobody watches.
impl Watch for () {}

/// What the threads of a load tell.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) bytes_read: Arc<AtomicU64>,
    pub(super) bytes_total: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) phase: AtomicU8,
    pub(super) stop: AtomicBool,
}

impl Counts {
    fn progress(&self) -> Progress {
        let phase = if self.phase.load(Relaxed) == 0 { Phase::Reading } else { Phase::Writing };
        Progress {
            phase,
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_total: self.bytes_total.load(Relaxed),
            records: self.records.load(Relaxed),
            written: self.written.load(Relaxed),
        }
    }

    pub(super) fn go_on(&self) -> Result<()> {
        if self.stop.load(Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Runs `work` in another thread, while this one watches.
pub(super) fn supervise<T: Send>(
    counts: &Counts,
    watch: &mut dyn Watch,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    const INTERVAL: Duration = Duration::from_millis(100);
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel::<()>();
        let worker = scope.spawn(move || {
            // Dropped when the work ends, by a panic, too.
            let _done = done;
            work()
        });
        // Also when the watch panics: the scope waits for its threads.
        let _stop = StopOnPanic(counts);
        while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
            watch.progress(&counts.progress());
            if watch.is_cancelled() {
                counts.stop.store(true, Relaxed);
            }
        }
        let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        watch.progress(&counts.progress());
        result
    })
}

struct StopOnPanic<'a>(&'a Counts);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop.store(true, Relaxed);
        }
    }
}
