//! Where sorted records go.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::sorted::{KeyRange, Merge, Sorted};
use super::workspace::Workspace;
use crate::error::{Error, Result};

/// Takes sorted records, by ranges of keys. See the [module](super) for how one is written.
pub trait Sink: Sync {
    /// How many ranges it wants, given the number of threads. It may get fewer, if there are few keys.
    fn ranges(&self, threads: usize) -> usize {
        threads
    }

    /// Writes the records of one range; returns how many it wrote.
    ///
    /// Called once for each range, by several threads at once. Ranges are numbered in the order of their keys and do
    /// not overlap. A range can be empty. What it makes in the workspace is removed when the load ends.
    ///
    /// # Errors
    ///
    /// Any, which ends the load. Errors of [`Merge::next`] are to be handed on.
    fn write(&self, range: Range<'_>, records: &mut Merge<'_>) -> Result<u64>;

    /// Makes visible, all at once, what was prepared. Called once, when all ranges were written without an error and
    /// the load was not cancelled; the workspace is still there.
    ///
    /// # Errors
    ///
    /// Any, which ends the load.
    fn finish(&self, workspace: &Workspace) -> Result<()> {
        let _ = workspace;
        Ok(())
    }
}

/// The range that is to be written.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Range<'a> {
    /// Counted from 0 in the order of keys.
    pub number: usize,
    /// Its keys.
    pub keys: &'a KeyRange,
    /// The temporary directory of the load.
    pub workspace: &'a Workspace,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) written: u64,
    pub(super) duplicates: u64,
}

/// Writes all ranges, by as many threads as the load has.
pub(super) fn write_ranges(sorted: &Sorted, sink: &dyn Sink) -> Result<Written> {
    let threads = sorted.threads();
    let ranges = sorted.ranges(sink.ranges(threads).max(1));
    let Some(workspace) = sorted.made_workspace() else {
        return Err(Error::invalid("load", "it has no temporary directory"));
    };
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Ok(Written::default())));
    let work = || {
        loop {
            let number = next.fetch_add(1, Relaxed);
            let Some(keys) = ranges.get(number) else { return };
            let written = sorted.merge(keys, threads).and_then(|mut records| {
                let written = sink.write(Range { number, keys, workspace }, &mut records)?;
                Ok(Written { written, duplicates: records.duplicates() })
            });
            let mut sum = crate::sync::lock(&sum);
            match (&mut *sum, written) {
                (Ok(sum), Ok(written)) => {
                    sum.written += written.written;
                    sum.duplicates += written.duplicates;
                }
                (Ok(_), Err(error)) => {
                    // The others need not finish what will be thrown away.
                    sorted.counts.stop.store(true, Relaxed);
                    *sum = Err(error);
                }
                // The first error is the cause of later ones.
                (Err(_), _) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(ranges.len()) {
            scope.spawn(work);
        }
        work();
    });
    let written = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
    sorted.go_on()?;
    sink.finish(workspace)?;
    Ok(written)
}
