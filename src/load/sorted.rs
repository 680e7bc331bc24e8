//! Sorted records, to be merged as often as wanted, wholly or by ranges of keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Setup;
use super::batch::Batch;
use super::blocks::{Blocks, Cut};
use super::format::Duplicates;
use super::merge::{Cursor, Entry, Limits, Stopped, Tournament};
use super::parse::{Parser, Spot};
use super::place::{Place, Ties};
use super::record::{Field, shown};
use super::sink::{Sink, write_ranges};
use super::spill::{DiskRun, SpillFile};
use super::summary::Summary;
use super::watch::{Counts, Watch, supervise};
use super::workspace::Workspace;
use crate::error::{Error, Result};

/// The least bytes of a run on the disk that are read at once.
const LEAST_WINDOW: usize = 16 << 10;
const MOST_WINDOW: usize = 1 << 20;

/// The records of all files, sorted: in memory, or in runs on the disk.
///
/// Of records of one key the one that counts comes out of a merge; see [`Duplicates`].
pub struct Sorted {
    pub(super) setup: Setup,
    pub(super) parser: Parser,
    pub(super) memory: Vec<Batch>,
    pub(super) disk: Vec<DiskRun>,
    pub(super) workspace: Option<Workspace>,
    pub(super) counts: Arc<Counts>,
    pub(super) summary: Summary,
    /// Bytes of each file, decompressed.
    pub(super) lengths: Vec<u64>,
}

/// A range of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyRange {
    /// The first key; `None`: from the beginning.
    pub from: Option<Vec<u8>>,
    /// The first key behind it; `None`: up to the end.
    pub to: Option<Vec<u8>>,
}

/// The records of a range, in ascending order of their keys.
pub struct Merge<'a> {
    sorted: &'a Sorted,
    tree: Tournament<'a>,
    /// Given out, and not counted as written yet.
    given: u64,
    /// Duplicates that are counted.
    told: u64,
    counts_written: bool,
}

impl Merge<'_> {
    /// The next record. (Not an iterator: a record is good until the next is asked for.)
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateKey`], if that was asked for; [`Error::Cancelled`]; an I/O error of the temporary directory.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>> {
        if self.given >= 1024 {
            self.tell();
        }
        match self.tree.next() {
            Ok(Some(entry)) => {
                self.given += 1;
                Ok(Some(entry))
            }
            Ok(None) => Ok(None),
            Err(Stopped::Error(error)) => Err(error),
            Err(Stopped::Duplicate(first, second)) => Err(self.sorted.duplicate(first, second)),
        }
    }

    /// For a merge whose records are not written: they do not count for the progress.
    pub(crate) fn uncounted(&mut self) {
        self.counts_written = false;
    }

    fn tell(&mut self) {
        let given = std::mem::take(&mut self.given) + self.tree.duplicates - self.told;
        self.told = self.tree.duplicates;
        if self.counts_written {
            self.sorted.counts.written.fetch_add(given, Relaxed);
        }
    }

    /// Records left out so far because another of the same key counts.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.tree.duplicates
    }
}

impl Drop for Merge<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Sorted {
    /// All records of the range, in order. May be called again, and by several threads at once; each merge reads the
    /// runs through windows of its own, `at_once` of which share a quarter of the memory budget.
    ///
    /// # Errors
    ///
    /// An I/O error of the temporary directory.
    pub fn merge(&self, range: &KeyRange, at_once: usize) -> Result<Merge<'_>> {
        let window = self.window(self.disk.len() * at_once.max(1));
        let (from, to) = (range.from.as_deref(), range.to.as_deref());
        let memory =
            self.memory.iter().map(|batch| Ok(Cursor::Memory { batch, rest: batch.range(from, to) }));
        let disk = self.disk.iter().map(|run| Ok(Cursor::Disk(run.read(from, window)?)));
        let cursors = memory.chain(disk).collect::<Result<Vec<_>>>()?;
        let limits = Limits {
            to: range.to.clone(),
            ties: Ties::of(self.setup.options.duplicates),
            refuses_duplicates: self.setup.options.duplicates == Duplicates::Error,
            stop: &self.counts.stop,
        };
        Ok(Merge {
            sorted: self,
            tree: Tournament::new(cursors, limits),
            given: 0,
            told: 0,
            counts_written: true,
        })
    }

    fn window(&self, readers: usize) -> usize {
        (self.setup.options.memory_budget / 4 / readers.max(1)).clamp(LEAST_WINDOW, MOST_WINDOW)
    }

    /// Up to so many ranges with about as many bytes each, which together are all keys.
    #[must_use]
    pub fn ranges(&self, most: usize) -> Vec<KeyRange> {
        let disk = self.disk.iter().flat_map(DiskRun::samples);
        let mut samples: Vec<(&[u8], u64)> = disk.collect();
        for batch in &self.memory {
            let step = (batch.len() / 256).max(1);
            let weight = (batch.size() / (batch.len() / step).max(1)) as u64;
            samples.extend((0..batch.len()).step_by(step).map(|place| (batch.key(place), weight)));
        }
        samples.sort_unstable();
        let total: u64 = samples.iter().map(|(_, weight)| weight).sum();
        let (mut ranges, mut from, mut sum) = (Vec::new(), None, 0);
        for (key, weight) in samples {
            let part = ranges.len() as u64 + 1;
            if part < most as u64
                && sum * most as u64 >= total * part
                && from.as_deref() < Some(key)
                && !key.is_empty()
            {
                ranges.push(KeyRange { from: from.replace(key.to_vec()), to: Some(key.to_vec()) });
            }
            sum += weight;
        }
        ranges.push(KeyRange { from, to: None });
        ranges
    }

    /// Writes all records to the sink, in as many ranges as it wants, by as many threads as there are.
    ///
    /// # Errors
    ///
    /// Those of the sink and of [`Merge::next`]. What the sink prepared in the workspace is gone then.
    pub fn write(mut self, sink: &dyn Sink, watch: &mut dyn Watch) -> Result<Summary> {
        self.workspace()?;
        let begun = Instant::now();
        let written = self.supervised(watch, |sorted| write_ranges(sorted, sink))?;
        let mut summary = self.into_summary();
        summary.duplicates += written.duplicates;
        summary.written = written.written;
        summary.writing = begun.elapsed();
        Ok(summary)
    }

    /// Runs `work`, which writes, in another thread while this one watches.
    pub(crate) fn supervised<T: Send>(
        &self,
        watch: &mut dyn Watch,
        work: impl FnOnce(&Sorted) -> Result<T> + Send,
    ) -> Result<T> {
        self.counts.phase.store(1, Relaxed);
        supervise(&self.counts, watch, || work(self))
    }

    /// What is known before anything is written.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn into_summary(self) -> Summary {
        self.summary
    }

    /// The temporary directory of the load, which is made if there was no need for it yet.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn workspace(&mut self) -> Result<&Workspace> {
        let made = match self.workspace.take() {
            Some(workspace) => workspace,
            None => Workspace::create(&self.setup.options.directory)?,
        };
        Ok(self.workspace.insert(made))
    }

    /// Makes the temporary directory if a [`Listing`](super::Listing) of all records would need it.
    pub(crate) fn prepare_listing(&mut self) -> Result<()> {
        if self.summary.records.saturating_mul(24) as usize > self.memory_budget() / 8 {
            self.workspace()?;
        }
        Ok(())
    }

    pub(super) fn made_workspace(&self) -> Option<&Workspace> {
        self.workspace.as_ref()
    }

    pub(super) fn memory_budget(&self) -> usize {
        self.setup.options.memory_budget
    }

    /// For each file, how many bytes the files before it have, decompressed; and then how many all have. With a place
    /// in the file that makes a number for each record in the order of all.
    pub(crate) fn starts(&self) -> Vec<u64> {
        let ends = self.lengths.iter().scan(0u64, |sum, length| {
            *sum = sum.saturating_add(*length);
            Some(*sum)
        });
        std::iter::once(0).chain(ends).collect()
    }

    /// The key of a record as it stands in its file, and its file and line in words. Reads the file up to there.
    pub(crate) fn describe(&self, place: Place) -> Result<(String, String)> {
        describe(&self.setup, &self.parser, place)
    }

    /// Whether the load is to go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.counts.go_on()
    }

    pub(crate) fn threads(&self) -> usize {
        self.setup.options.threads
    }

    /// Merges runs until so few are left that each can be read through a window of its own.
    pub(super) fn reduce(&mut self) -> Result<()> {
        let most = (self.setup.options.memory_budget / 4 / LEAST_WINDOW / self.threads()).max(2);
        let mut spill: Option<SpillFile> = None;
        while self.disk.len() > most {
            let group = self.disk.drain(..most).collect::<Vec<_>>();
            let part = Part { disk: &group, memory: &[], setup: &self.setup, counts: &self.counts };
            let file = match &mut spill {
                Some(file) => file,
                None => {
                    let made = Workspace::create(&self.setup.options.directory);
                    let workspace = match self.workspace.take() {
                        Some(workspace) => workspace,
                        None => made?,
                    };
                    let name = "merged".to_owned();
                    let file = SpillFile::create(self.workspace.insert(workspace), &name)?;
                    spill.insert(file)
                }
            };
            let (run, duplicates) = match part.spill(file, self.window(most)) {
                Ok(done) => done,
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Duplicate(first, second)) => return Err(self.duplicate(first, second)),
            };
            self.summary.duplicates += duplicates;
            self.summary.bytes_spilled += run.bytes();
            self.disk.push(run);
        }
        Ok(())
    }

    pub(super) fn duplicate(&self, first: Place, second: Place) -> Error {
        let describe = |place| describe(&self.setup, &self.parser, place);
        match (describe(first), describe(second)) {
            (Ok((key, first)), Ok((_, second))) => Error::DuplicateKey { key, first, second },
            (Err(error), _) | (_, Err(error)) => error,
        }
    }
}

/// Runs that are to become one.
pub(super) struct Part<'a> {
    pub(super) memory: &'a [Batch],
    pub(super) disk: &'a [DiskRun],
    pub(super) setup: &'a Setup,
    pub(super) counts: &'a Counts,
}

impl Part<'_> {
    /// Writes them as one run; also tells how many records of the same keys were left out.
    pub(super) fn spill(&self, file: &mut SpillFile, window: usize) -> Result<(DiskRun, u64), Stopped> {
        let memory = self.memory.iter().map(|batch| Ok(Cursor::Memory { batch, rest: 0..batch.len() }));
        let disk = self.disk.iter().map(|run| Ok(Cursor::Disk(run.read(None, window)?)));
        let cursors = memory.chain(disk).collect::<Result<Vec<_>>>()?;
        let limits = Limits {
            to: None,
            ties: Ties::of(self.setup.options.duplicates),
            refuses_duplicates: self.setup.options.duplicates == Duplicates::Error,
            stop: &self.counts.stop,
        };
        let mut tree = Tournament::new(cursors, limits);
        let mut run = file.begin();
        while let Some(entry) = tree.next()? {
            run.add(entry.key, entry.value, entry.place)?;
        }
        Ok((run.finish()?, tree.duplicates))
    }
}

/// The key of the record at a place, and the place in words, by reading the file once more.
pub(super) fn describe(setup: &Setup, parser: &Parser, place: Place) -> Result<(String, String)> {
    let path: PathBuf = setup.files.get(place.file()).cloned().unwrap_or_default();
    let sizes = setup.block_sizes();
    let cut = Cut::of(&setup.format.records);
    let mut blocks = Blocks::open(&path, place.file(), cut, sizes, Default::default())?;
    let mut found = None;
    while found.is_none()
        && let Some(block) = blocks.next(&path)?
    {
        if block.offset + (block.bytes.len() as u64) <= place.offset() {
            continue;
        }
        parser.each(&block, |spot: Spot, record| {
            if spot.offset == place.offset()
                && let Ok(record) = record
            {
                let key = match record.key {
                    Field::Bytes(bytes) => shown(&String::from_utf8_lossy(bytes)),
                    Field::Json(text) | Field::Line(text) => shown(text),
                };
                found = Some((key, parser.name(spot)));
            }
            Ok(())
        })?;
    }
    let (key, spot) = found.ok_or_else(|| Error::Input {
        path: path.clone(),
        detail: "it was changed while it was loaded".into(),
    })?;
    Ok((key, format!("{}, {spot}", path.display())))
}
