//! Many sorted runs as one, and of records of one key the one that counts.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::batch::{Batch, prefix};
use super::place::{Place, Ties};
use super::spill::Reader;
use crate::error::{Error, Result};

/// A run that is being read.
pub(super) enum Cursor<'a> {
    Memory { batch: &'a Batch, rest: Range<usize> },
    Disk(Reader),
}

impl Cursor<'_> {
    fn is_done(&self) -> bool {
        match self {
            Cursor::Memory { rest, .. } => rest.is_empty(),
            Cursor::Disk(reader) => reader.is_done(),
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Cursor::Memory { batch, rest } => batch.key(rest.start),
            Cursor::Disk(reader) => reader.key(),
        }
    }

    /// Of one that is not done.
    fn record(&self) -> Entry<'_> {
        match self {
            Cursor::Memory { batch, rest } => match batch.get(rest.start) {
                Some((key, value, place)) => Entry { key, value, place },
                None => Entry { key: &[], value: &[], place: Place::from_bytes([0; 8]) },
            },
            Cursor::Disk(reader) => Entry { key: reader.key(), value: reader.value(), place: reader.place() },
        }
    }

    fn place(&self) -> Place {
        self.record().place
    }

    fn advance(&mut self) -> Result<()> {
        match self {
            Cursor::Memory { rest, .. } => {
                rest.start += 1;
                Ok(())
            }
            Cursor::Disk(reader) => reader.advance(),
        }
    }
}

/// A record that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The encoded key. Keys come in ascending order, and none twice.
    pub key: &'a [u8],
    /// The encoded value.
    pub value: &'a [u8],
    pub(crate) place: Place,
}

/// What ends a merge early.
pub(super) struct Limits<'a> {
    /// Where it ends, without the key itself.
    pub(super) to: Option<Vec<u8>>,
    pub(super) ties: Ties,
    /// Whether two records of one key are an error, which [`Merge::next`] gives as [`Stopped::Duplicate`].
    pub(super) refuses_duplicates: bool,
    /// Set when the load is cancelled.
    pub(super) stop: &'a AtomicBool,
}

/// Why a merge has no next record.
pub(super) enum Stopped {
    Duplicate(Place, Place),
    Error(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped::Error(error)
    }
}

/// A tournament of runs: each node holds the loser of the match below it, so that the next winner is found by as many
/// comparisons as the tree is high.
pub(super) struct Tournament<'a> {
    cursors: Vec<Cursor<'a>>,
    /// The first bytes of each run's present key, which decide most matches; `None`: it is done.
    heads: Vec<Option<u64>>,
    losers: Vec<usize>,
    winner: usize,
    has_winner: bool,
    /// The key that was given out last.
    last: Vec<u8>,
    last_place: Option<Place>,
    limits: Limits<'a>,
    /// Records left out because another of the same key counts.
    pub(super) duplicates: u64,
    looks: u32,
}

/// The places of a tree's array are made by the tree itself: `indexing` cannot fail.
#[allow(
    clippy::indexing_slicing,
    reason = "all places are below the number of runs, by how a tree is numbered"
)]
impl<'a> Tournament<'a> {
    pub(super) fn new(cursors: Vec<Cursor<'a>>, limits: Limits<'a>) -> Tournament<'a> {
        let runs = cursors.len();
        let mut tree = Tournament {
            heads: cursors.iter().map(head).collect(),
            cursors,
            losers: vec![0; runs],
            winner: 0,
            has_winner: false,
            last: Vec::new(),
            last_place: None,
            limits,
            duplicates: 0,
            looks: 0,
        };
        // Leaves are numbered from `runs` on, and the parent of n is n / 2.
        let mut winners: Vec<usize> = (0..runs).chain(0..runs).collect();
        for node in (1..runs).rev() {
            let (a, b) = (winners[2 * node], winners[2 * node + 1]);
            let (winner, loser) = if tree.is_before(b, a) { (b, a) } else { (a, b) };
            winners[node] = winner;
            tree.losers[node] = loser;
        }
        tree.winner = winners.get(1).copied().unwrap_or(0);
        tree
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let order = match (self.heads[a], self.heads[b]) {
            (None, _) => return false,
            (_, None) => return true,
            (Some(a), Some(b)) => a.cmp(&b),
        };
        let (a, b) = (&self.cursors[a], &self.cursors[b]);
        let whole = || a.key().cmp(b.key()).then_with(|| self.limits.ties.order(a.place(), b.place()));
        order.then_with(whole) == Ordering::Less
    }

    /// Lets the winner's run go on, and finds the next winner.
    fn replay(&mut self) -> Result<()> {
        let leaf = self.winner;
        self.cursors[leaf].advance()?;
        self.heads[leaf] = head(&self.cursors[leaf]);
        let mut winner = leaf;
        let mut node = (leaf + self.cursors.len()) / 2;
        while node > 0 {
            let other = self.losers[node];
            if self.is_before(other, winner) {
                self.losers[node] = winner;
                winner = other;
            }
            node /= 2;
        }
        self.winner = winner;
        Ok(())
    }

    /// The next record that counts.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'_>>, Stopped> {
        loop {
            if std::mem::replace(&mut self.has_winner, true) {
                self.replay()?;
            }
            self.looks = self.looks.wrapping_add(1);
            if self.looks.is_multiple_of(1024) && self.limits.stop.load(Relaxed) {
                return Err(Error::Cancelled.into());
            }
            let Some(cursor) = self.cursors.get(self.winner).filter(|cursor| !cursor.is_done()) else {
                self.has_winner = false;
                return Ok(None);
            };
            let key = cursor.key();
            if self.limits.to.as_ref().is_some_and(|to| key >= to.as_slice()) {
                self.has_winner = false;
                return Ok(None);
            }
            match self.last_place {
                Some(first) if key == self.last.as_slice() => {
                    if self.limits.refuses_duplicates {
                        return Err(Stopped::Duplicate(first, cursor.place()));
                    }
                    self.duplicates += 1;
                }
                _ => {
                    self.last.clear();
                    self.last.extend_from_slice(key);
                    self.last_place = Some(cursor.place());
                    break;
                }
            }
        }
        Ok(Some(self.cursors[self.winner].record()))
    }
}

fn head(cursor: &Cursor<'_>) -> Option<u64> {
    (!cursor.is_done()).then(|| prefix(cursor.key()))
}
