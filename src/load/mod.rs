//! Filling a store from large files: read in parallel, sorted within a memory budget, written in the order of the
//! store.
//!
//! A load goes through these steps. Nothing of the store is touched before the last one, and whatever ends a load
//! early (an error, a panic, [`Watch::is_cancelled`]) removes what it has written to its temporary directory.
//!
//! 1. All files are opened and looked into: one that is missing is an error before anything is done.
//! 2. Each file is decompressed and cut into blocks at ends of records; blocks are taken apart by all threads, records
//!    are [encoded](Encode) and sorted. What does not fit into the budget is spilled in sorted runs.
//! 3. [`Sorted`] merges the runs, as a whole or by ranges of keys, and leaves out duplicates by the rule that was
//!    asked for.
//! 4. A [`Sink`] writes.
//!
//! | part | does |
//! |---|---|
//! | `format`, `record` | what files look like; a record, and the bytes it becomes |
//! | `source`, `blocks`, `parse` | decompresses, cuts, takes apart |
//! | `sorting`, `batch`, `spill`, `workspace` | who does what when; records in memory, on the disk, and where that is |
//! | `merge`, `sorted`, `sink` | many runs as one, ranges of keys, where they go |
//! | `watch`, `summary` | how far it is, what it came to |
//!
//! # How a sink is written
//!
//! [`Sink::write`] is called once for each range of keys, by as many threads at once as the load has. It takes
//! records from the [`Merge`] until there are none: keys ascend byte by byte, and no key comes twice. A sink for a
//! store with another order gives its [encoder](Encode) a key that sorts as the store does. What must become visible
//! at once is prepared in the [workspace](Workspace), which lies in the directory given to [`Load::new`], so that
//! files can be renamed or linked into a store beside it. [`Sink::finish`] makes it visible; it is called when all
//! ranges were written. However the load ends, the workspace is gone then. A sink of one transaction in one thread
//! can do without all that, by [`Sorted::merge`].
//!
//! ```
//! use std::sync::Mutex;
//! use cachemere::load::{Format, Load, Merge, Range, RawBytes, Records, Sink};
//!
//! /// Keeps all records, by range.
//! #[derive(Default)]
//! struct Collected(Mutex<Vec<(usize, Vec<u8>, Vec<u8>)>>);
//!
//! impl Sink for Collected {
//!     fn write(&self, range: Range<'_>, records: &mut Merge<'_>) -> cachemere::Result<u64> {
//!         let mut written = 0;
//!         while let Some(entry) = records.next()? {
//!             self.0.lock().unwrap().push((range.number, entry.key.to_vec(), entry.value.to_vec()));
//!             written += 1;
//!         }
//!         Ok(written)
//!     }
//! }
//!
//! # fn main() -> cachemere::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let file = dir.path().join("pairs.tsv");
//! std::fs::write(&file, "b\t1\na\t2\nb\t3\n").unwrap();
//!
//! let sink = Collected::default();
//! let load = Load::new([&file], Format::new(Records::TabSep), dir.path());
//! let summary = load.sort(&RawBytes::default(), &mut ())?.write(&sink, &mut ())?;
//! assert_eq!((summary.records, summary.written, summary.duplicates), (3, 2, 1));
//! let mut kept = sink.0.into_inner().unwrap();
//! kept.sort();
//! let pairs: Vec<_> = kept.into_iter().map(|(_, key, value)| (key, value)).collect();
//! assert_eq!(pairs, [(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), b"3".to_vec())]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod blocks;
mod format;
mod listing;
mod merge;
mod options;
mod parse;
mod place;
mod record;
mod sink;
mod sorted;
mod sorting;
mod source;
mod spill;
mod summary;
mod watch;
mod workspace;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

pub use self::format::{Column, Duplicates, Existing, Format, NumberType, OnError, Records};
pub(crate) use self::listing::Listing;
pub use self::merge::Entry;
pub use self::options::Options;
#[doc(hidden)]
pub use self::parse::finite;
use self::parse::{Columns, Parser, columns_of};
pub(crate) use self::place::Place;
pub use self::record::{Encode, Encoded, Field, Made, RawBytes, Record, Refusal};
pub use self::sink::{Range, Sink};
pub use self::sorted::{KeyRange, Merge, Sorted};
use self::source::Source;
pub use self::summary::Summary;
use self::watch::{Counts, supervise};
pub use self::watch::{Phase, Progress, Watch};
pub use self::workspace::Workspace;
#[cfg(feature = "rocksdb")]
pub(crate) use self::workspace::remove_abandoned;
use crate::error::{Error, Result};

/// A load that is about to begin: which files, in which format, with which [options](Options).
#[derive(Clone, Debug)]
#[must_use = "nothing is loaded before it is run"]
pub struct Load {
    setup: Setup,
}

/// What does not change while a load runs.
#[derive(Clone, Debug)]
struct Setup {
    files: Vec<PathBuf>,
    format: Format,
    options: Options,
}

impl Setup {
    fn path(&self, file: usize) -> &Path {
        self.files.get(file).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Bytes of a block, and the most that a record may have.
    fn block_sizes(&self) -> (usize, usize) {
        let budget = self.options.memory_budget;
        let block = (budget / 64 / self.options.threads).clamp(32 << 10, 1 << 20);
        (block, (budget / 8).min(1 << 30))
    }
}

impl Load {
    /// Describes a load of `files`, whose order says which of two records of a key is the last. `directory` is where
    /// sorted records are spilled when they do not fit into memory: on a disk with room for all of them.
    pub fn new<P: Into<PathBuf>>(
        files: impl IntoIterator<Item = P>,
        format: Format,
        directory: impl Into<PathBuf>,
    ) -> Load {
        let files = files.into_iter().map(Into::into).collect();
        Load { setup: Setup { files, format, options: Options::new(directory.into()) } }
    }

    /// Replaces the options.
    pub fn options(mut self, change: impl FnOnce(Options) -> Options) -> Load {
        self.setup.options = change(self.setup.options);
        self
    }

    /// How the records lie in the files.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.setup.format
    }

    /// Reads all files and sorts their records by encoded key.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that make no sense, [`Error::Input`] for a file that is missing, unreadable or
    /// whose compression is broken, [`Error::BadRecord`], [`Error::DiskFull`] for the temporary directory,
    /// [`Error::Cancelled`].
    pub fn sort(self, encode: &dyn Encode, watch: &mut dyn Watch) -> Result<Sorted> {
        let Load { setup } = self;
        let begun = Instant::now();
        let counts = Arc::new(Counts::default());
        let columns = check(&setup, &counts)?;
        let parser = Parser::new(&setup.format, columns);
        let runs = supervise(&counts, watch, || sorting::sort(&setup, &parser, encode, &counts))?;
        let mut bad = runs.bad;
        bad.sort_unstable();
        let summary = Summary {
            records: counts.records.load(Relaxed),
            duplicates: runs.duplicates,
            skipped: runs.skipped,
            bad: bad.into_iter().map(|(_, described)| described).take(10).collect(),
            bytes_read: counts.bytes_read.load(Relaxed),
            bytes_spilled: runs.bytes_spilled,
            ..Summary::default()
        };
        let mut sorted = Sorted {
            setup,
            parser,
            memory: runs.memory,
            disk: runs.disk,
            workspace: runs.workspace,
            counts: counts.clone(),
            summary,
            lengths: runs.lengths,
        };
        supervise(&counts, watch, || sorted.reduce())?;
        // As far as progress goes, what was left out while spilling is done with.
        sorted.counts.written.store(sorted.summary.duplicates, Relaxed);
        sorted.summary.reading = begun.elapsed();
        Ok(sorted)
    }
}

/// Looks into all files, and finds the columns of those that have some.
fn check(setup: &Setup, counts: &Counts) -> Result<Vec<Columns>> {
    setup.options.check()?;
    setup.format.check()?;
    if setup.files.len() > place::MOST_FILES {
        return Err(Error::invalid("files", format!("a load takes {} files at most", place::MOST_FILES)));
    }
    let (mut total, mut all) = (0, Vec::with_capacity(setup.files.len()));
    let has_columns = matches!(setup.format.records, Records::Csv { .. });
    // The first row of a file must be within this.
    let mut start = vec![0; if has_columns { 1 << 20 } else { 512 }];
    for path in &setup.files {
        let failed = |detail: String| Error::Input { path: path.clone(), detail: detail.into() };
        let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if !about.is_file() {
            return Err(failed("it is not a file, which can be read twice".to_owned()));
        }
        total += about.len();
        let filled = Source::open(path, Default::default())?.fill(&mut start)?;
        all.push(columns_of(&setup.format.records, start.get(..filled).unwrap_or_default()).map_err(failed)?);
    }
    counts.bytes_total.store(total, Relaxed);
    Ok(all)
}
