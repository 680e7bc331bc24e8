//! What a transaction reads: LMDB, under the log behind it, under what the transaction has changed itself.

use std::ops::Bound;

use heed::RoTxn;
use heed::types::Bytes;

use super::env::{Tree, lmdb_error};
use super::gaps::{Gaps, WORTH_NOTING};
use super::segments::{LogRange, LogView, Lookup};
use crate::error::{Error, Result};
use crate::store::backend::changes::{Changed, Changes};
use crate::store::backend::merged::{Direction, Merged};

#[derive(Clone, Copy)]
pub(crate) struct View<'t> {
    txn: &'t RoTxn<'t>,
    tree: Tree,
    /// `None` where LMDB has everything.
    log: Option<(LogView<'t>, &'t Gaps)>,
    changes: Option<&'t Changes>,
    settings: Option<u64>,
}

impl<'t> View<'t> {
    pub(super) fn new(
        txn: &'t RoTxn<'t>,
        tree: Tree,
        log: Option<(LogView<'t>, &'t Gaps)>,
        settings: Option<u64>,
    ) -> View<'t> {
        View { txn, tree, log, changes: None, settings }
    }

    pub(super) fn with(self, changes: &'t Changes) -> View<'t> {
        View { changes: Some(changes), ..self }
    }

    /// The end of the log that is seen, as a number.
    pub(crate) fn id(&self) -> u64 {
        self.log.map_or(0, |(log, _)| log.end().to_word())
    }

    /// A number that is equal in views with the same settings; `None` where that is not known.
    pub(crate) fn settings(&self) -> Option<u64> {
        self.settings.filter(|_| self.changes.is_none_or(|changes| !changes.has_settings()))
    }

    /// Up to where a copy of all that is seen has the log, as it is recorded in LMDB.
    pub(crate) fn log_end(&self) -> Result<Vec<u8>> {
        match self.log {
            Some((log, _)) => Ok(log.end_point()?.encode().to_vec()),
            None => Err(Error::damaged("a transaction that is not committed has no place in the log")),
        }
    }

    /// The transaction of LMDB.
    pub(crate) fn lmdb_txn(&self) -> u64 {
        self.txn.id() as u64
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        if let Some(changed) = self.changes.and_then(|changes| changes.get(key)) {
            return Ok(changed);
        }
        match self.log.map_or(Lookup::Miss, |(log, _)| log.find(key)) {
            Lookup::Found(value) => Ok(Some(value)),
            Lookup::Deleted => Ok(None),
            Lookup::Miss => self.tree.get(self.txn, key).map_err(|e| lmdb_error(e, "reading")),
        }
    }

    /// Records from `from` up to but without `to`.
    pub(crate) fn range(&self, from: &[u8], to: &[u8], direction: Direction) -> Result<Records<'t>> {
        let (mut low, mut high) = (from.to_vec(), to.to_vec());
        let log = self.log.filter(|(log, _)| !log.is_empty());
        if let Some((log, gaps)) = log {
            gaps.narrow(log, &mut low, &mut high, direction);
        }
        let bounds = (Bound::Included(low.as_slice()), Bound::Excluded(high.as_slice()));
        let failed = |e| lmdb_error(e, "reading");
        let tree = match direction {
            Direction::Up => TreeRange::Up(self.tree.range(self.txn, &bounds).map_err(failed)?),
            Direction::Down => TreeRange::Down(self.tree.rev_range(self.txn, &bounds).map_err(failed)?),
        };
        let logged = Logged(log.map(|(log, _)| Box::new(log.range(&low, &high, direction))));
        let merged = Merged::new(tree, logged, direction);
        let committed =
            Committed { merged, search: log.map(|(log, gaps)| Search { log, gaps, low, high, direction }) };
        let changed = Changes::range(self.changes, from, to, direction);
        Ok(Records(Merged::new(committed, changed, direction)))
    }

    /// Looks at the checksums of the log's records.
    pub(super) fn check_log(&self) -> Result<()> {
        let Some((log, _)) = self.log else { return Ok(()) };
        for (segment, _, end) in log.parts() {
            segment.check(end)?;
        }
        Ok(())
    }

    /// Pages that LMDB uses, not counting free ones.
    pub(crate) fn used_pages(&self) -> Result<u64> {
        let stat = self.tree.stat(self.txn).map_err(|e| lmdb_error(e, "reading"))?;
        // A damaged meta page can say anything.
        Ok(stat.branch_pages.saturating_add(stat.leaf_pages).saturating_add(stat.overflow_pages) as u64)
    }
}

enum TreeRange<'t> {
    Up(heed::RoRange<'t, Bytes, Bytes>),
    Down(heed::RoRevRange<'t, Bytes, Bytes>),
}

impl<'t> Iterator for TreeRange<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self {
            TreeRange::Up(records) => records.next(),
            TreeRange::Down(records) => records.next(),
        };
        record.map(|record| record.map_err(|e| lmdb_error(e, "reading")))
    }
}

struct Logged<'t>(Option<Box<LogRange<'t>>>);

impl<'t> Iterator for Logged<'t> {
    type Item = (&'t [u8], Option<&'t [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next()
    }
}

/// Records without what the transaction has changed itself.
struct Committed<'t> {
    merged: Merged<'t, TreeRange<'t>, Logged<'t>>,
    /// Until the first record is found.
    search: Option<Search<'t>>,
}

struct Search<'t> {
    log: LogView<'t>,
    gaps: &'t Gaps,
    low: Vec<u8>,
    high: Vec<u8>,
    direction: Direction,
}

impl<'t> Iterator for Committed<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.merged.next();
        if let Some(search) = self.search.take()
            && self.merged.left_out() >= WORTH_NOTING
        {
            search.note(&next);
        }
        next
    }
}

impl Search<'_> {
    /// Remembers what lay before the first record.
    fn note(self, first: &Option<Result<(&[u8], &[u8])>>) {
        let Search { log, gaps, mut low, mut high, direction } = self;
        match (first, direction) {
            (Some(Err(_)), _) => return,
            (None, _) => {}
            (Some(Ok((key, _))), Direction::Up) => high = key.to_vec(),
            (Some(Ok((key, _))), Direction::Down) => {
                low = key.to_vec();
                low.push(0);
            }
        }
        gaps.note(log, low, high);
    }
}

/// Records on the way through a range.
pub(crate) struct Records<'t>(Merged<'t, Committed<'t>, Changed<'t>>);

impl<'t> Iterator for Records<'t> {
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}
