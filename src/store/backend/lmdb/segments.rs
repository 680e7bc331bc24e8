//! The segments that hold what LMDB does not have yet, as one process has them mapped.

use std::ops::Bound;
use std::sync::Arc;

use super::position::{Point, Position};
use super::segment::{Segment, hash};
use crate::error::{Error, Result};
use crate::store::backend::merged::Direction;
use crate::store::format::layout::kind;

/// The log from where a snapshot of LMDB ends. Never changed: what comes later is added in a new one.
pub(super) struct Segments {
    /// The snapshot of LMDB.
    pub(super) txn: u64,
    /// Up to where the snapshot has the log.
    pub(super) folded: Point,
    /// In the order of the log.
    list: Vec<Part>,
}

#[derive(Clone)]
pub(super) struct Part {
    pub(super) segment: Arc<Segment>,
    /// Where the next segment goes on; `u32::MAX` for the newest.
    pub(super) end: u32,
}

/// The part of the log that one reader sees, behind what LMDB has.
#[derive(Clone, Copy)]
pub(super) struct LogView<'t> {
    segments: &'t Segments,
    to: Position,
    barrier: u64,
}

/// What the log says of a key.
pub(super) enum Lookup<'t> {
    /// Nothing: ask LMDB.
    Miss,
    Deleted,
    Found(&'t [u8]),
}

impl Segments {
    pub(super) fn new(txn: u64, folded: Point, list: Vec<Part>) -> Segments {
        Segments { txn, folded, list }
    }

    /// Whether everything up to a place is mapped.
    #[inline]
    pub(super) fn covers(&self, tail: Position) -> bool {
        tail <= self.folded.at || self.list.last().is_some_and(|last| last.segment.number >= tail.segment)
    }

    pub(super) fn view(&self, to: Position) -> LogView<'_> {
        LogView { segments: self, to, barrier: 0 }
    }

    pub(super) fn newest(&self) -> Option<&Arc<Segment>> {
        self.list.last().map(|part| &part.segment)
    }

    fn by_number(&self, number: u32) -> Option<&Arc<Segment>> {
        self.list.iter().map(|part| &part.segment).find(|segment| segment.number == number)
    }

    /// The segments from `folded` to `tail`. Those that are mapped already are taken from here, others opened; `None` if
    /// one has gone, because a fold was faster.
    pub(super) fn up_to(
        &self,
        (txn, folded): (u64, Point),
        tail: Position,
        open: impl Fn(u32) -> Result<Segment>,
    ) -> Result<Option<Segments>> {
        let mut list = Vec::new();
        // What was mapped beyond the tail is newer than the caller knows, and no less right.
        let mut number = self.list.last().map_or(0, |last| last.segment.number).max(tail.segment);
        let mut end = u32::MAX;
        if tail <= folded.at {
            return Ok(Some(Segments::new(txn, folded, list)));
        }
        loop {
            let segment = match self.by_number(number) {
                Some(segment) => segment.clone(),
                None => match open(number) {
                    Ok(segment) => Arc::new(segment),
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                },
            };
            let previous = segment.previous.at;
            list.push(Part { segment, end });
            if previous <= folded.at {
                break;
            }
            if previous.segment >= number {
                return Err(Error::damaged("the parts of the log are not in order"));
            }
            (number, end) = (previous.segment, previous.offset);
        }
        list.reverse();
        Ok(Some(Segments::new(txn, folded, list)))
    }

    /// The same with a segment that goes on from the tail.
    pub(super) fn with(&self, segment: Arc<Segment>) -> Segments {
        let tail = segment.previous.at;
        let mut list = self.list.clone();
        // One that was begun and never used has no place in the log.
        list.retain(|part| part.segment.number <= tail.segment);
        if let Some(last) = list.last_mut() {
            last.end = tail.offset;
        }
        list.push(Part { segment, end: u32::MAX });
        Segments::new(self.txn, self.folded, list)
    }
}

impl<'t> LogView<'t> {
    /// Each segment, with the bounds of the records in it that are seen.
    pub(super) fn parts(self) -> impl DoubleEndedIterator<Item = (&'t Arc<Segment>, u32, u32)> {
        let (from, to) = (self.segments.folded.at, self.to);
        self.segments.list.iter().filter_map(move |part| {
            let number = part.segment.number;
            let start = if number == from.segment { from.offset } else { 0 };
            let end = match number.cmp(&to.segment) {
                std::cmp::Ordering::Less => part.end,
                std::cmp::Ordering::Equal => to.offset.min(part.end),
                std::cmp::Ordering::Greater => return None,
            };
            (number >= from.segment && start < end).then_some((&part.segment, start, end))
        })
    }

    /// Notes the last transaction that was committed to LMDB directly.
    pub(super) fn after(self, barrier: u64) -> LogView<'t> {
        LogView { barrier, ..self }
    }

    pub(super) fn barrier(self) -> u64 {
        self.barrier
    }

    /// Where LMDB ends.
    pub(super) fn start(self) -> Position {
        self.segments.folded.at
    }

    pub(super) fn end(self) -> Position {
        self.to
    }

    /// Whether LMDB has everything.
    pub(super) fn is_empty(self) -> bool {
        self.segments.list.is_empty()
    }

    /// The end, with the checksum there.
    pub(super) fn end_point(self) -> Result<Point> {
        let last = self.parts().next_back();
        match last.filter(|(segment, ..)| segment.number == self.to.segment) {
            Some((segment, _, end)) => {
                let at = Position { segment: segment.number, offset: end };
                let checksum = segment.checksum_at(end);
                let checksum = checksum
                    .ok_or_else(|| Error::damaged("a segment's records do not end where they should"))?;
                Ok(Point { at, checksum })
            }
            None => Ok(self.segments.folded),
        }
    }

    #[inline]
    pub(super) fn find(self, key: &[u8]) -> Lookup<'t> {
        if self.segments.list.is_empty() {
            return Lookup::Miss;
        }
        let hash = hash(key);
        for (segment, start, end) in self.parts().rev() {
            if let Some(found) = segment.find(hash, key, end) {
                // What is older than the snapshot of LMDB is in it.
                return match found.change.value {
                    _ if found.at < start => Lookup::Miss,
                    Some(value) => Lookup::Found(value),
                    None => Lookup::Deleted,
                };
            }
        }
        Lookup::Miss
    }

    /// The keys that were changed, from `from` up to but without `to`, with what they are now.
    pub(super) fn range(self, from: &[u8], to: &[u8], direction: Direction) -> LogRange<'t> {
        let parts: Vec<_> = self.parts().map(|(segment, _, end)| (segment, end)).collect();
        let mut kinds: Vec<u8> = match (parts.is_empty(), from.first(), to.first()) {
            (false, Some(first), Some(last)) => {
                kind::ALL.iter().copied().filter(|kind| (first..=last).contains(&kind)).collect()
            }
            _ => Vec::new(),
        };
        // Taken from the end.
        if direction == Direction::Up {
            kinds.reverse();
        }
        let candidates = vec![Candidate::Unknown; parts.len()];
        let place = Place { low: Bound::Included(from.to_vec()), high: Bound::Excluded(to.to_vec()) };
        LogRange { view: self, parts, candidates, kinds, place, direction }
    }
}

/// The bounds of what is left of a range.
struct Place {
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
}

impl Place {
    /// Whether there can be anything between the bounds: else a map panics.
    fn is_open(&self) -> bool {
        match (&self.low, &self.high) {
            (Bound::Included(low), Bound::Included(high)) => low <= high,
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
                low < high
            }
            _ => true,
        }
    }
}

#[derive(Clone, Copy)]
enum Candidate<'t> {
    Unknown,
    Known(Option<&'t [u8]>),
}

pub(super) struct LogRange<'t> {
    view: LogView<'t>,
    parts: Vec<(&'t Arc<Segment>, u32)>,
    /// The next key of each part.
    candidates: Vec<Candidate<'t>>,
    /// Those that are to be gone through, the present one last.
    kinds: Vec<u8>,
    place: Place,
    direction: Direction,
}

impl<'t> LogRange<'t> {
    fn next_key(&mut self) -> Option<&'t [u8]> {
        let kind = *self.kinds.last()?;
        let mut best: Option<&'t [u8]> = None;
        if !self.place.is_open() {
            self.kinds.clear();
            return None;
        }
        for ((segment, end), candidate) in self.parts.iter().zip(&mut self.candidates) {
            let key = match candidate {
                Candidate::Known(key) => *key,
                Candidate::Unknown => {
                    let bounds = (
                        self.place.low.as_ref().map(Vec::as_slice),
                        self.place.high.as_ref().map(Vec::as_slice),
                    );
                    let key = segment.next_key(kind, bounds, self.direction, *end);
                    *candidate = Candidate::Known(key);
                    key
                }
            };
            let is_better = match (key, best, self.direction) {
                (None, ..) => false,
                (Some(_), None, _) => true,
                (Some(key), Some(best), Direction::Up) => key < best,
                (Some(key), Some(best), Direction::Down) => key > best,
            };
            if is_better {
                best = key;
            }
        }
        let Some(best) = best else {
            self.kinds.pop();
            self.candidates.fill(Candidate::Unknown);
            return None;
        };
        match self.direction {
            Direction::Up => self.place.low = Bound::Excluded(best.to_vec()),
            Direction::Down => self.place.high = Bound::Excluded(best.to_vec()),
        }
        for candidate in &mut self.candidates {
            if matches!(candidate, Candidate::Known(Some(key)) if *key == best) {
                *candidate = Candidate::Unknown;
            }
        }
        Some(best)
    }
}

impl<'t> Iterator for LogRange<'t> {
    type Item = (&'t [u8], Option<&'t [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.kinds.is_empty() {
            let Some(key) = self.next_key() else { continue };
            match self.view.find(key) {
                Lookup::Miss => {}
                Lookup::Deleted => return Some((key, None)),
                Lookup::Found(value) => return Some((key, Some(value))),
            }
        }
        None
    }
}
