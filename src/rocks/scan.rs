//! Walks over a range, a chunk at a time.
//!
//! No iterator of RocksDB is kept between chunks: each is made anew behind the last key. So a walk that is left half-way
//! holds no files and no locks, a database can be closed meanwhile, and nothing points into it.

use super::{Database, Range};
use crate::Result;

/// Entries of the first chunk: who wants only the first pays little.
const FIRST: usize = 32;
const MOST: usize = 512;
/// Bytes after which a chunk ends.
const BYTES: usize = 1 << 20;

/// A walk over a range in the order of the keys, or back.
///
/// Each chunk is of one moment, between chunks others may write. What is there all the time is met once, what comes or
/// goes meanwhile is met or not, and nothing is met twice. A key beyond the last of the first moment is not met, so that
/// who writes one more for each that is met comes to an end.
#[derive(Clone, Debug)]
pub struct Scan {
    rest: Range,
    /// Whether the rest ends at the last key of the first chunk's moment.
    has_end: bool,
    is_back: bool,
    is_at_end: bool,
    wants_values: bool,
    entries: usize,
    /// Room for the next chunk, twice what the last one took.
    bytes: usize,
}

/// Entries in memory.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Where the key and the value of each end.
    ends: Vec<(usize, usize)>,
}

impl Scan {
    /// A walk from the least key up.
    #[must_use]
    pub fn new(range: Range) -> Scan {
        let is_at_end = range.is_empty();
        Scan {
            rest: range,
            has_end: false,
            is_back: false,
            is_at_end,
            wants_values: true,
            entries: FIRST,
            bytes: 0,
        }
    }

    /// From the greatest key down.
    #[must_use]
    pub fn back(self) -> Scan {
        Scan { is_back: true, ..self }
    }

    /// Without the values, which are empty then.
    #[must_use]
    pub fn keys_only(self) -> Scan {
        Scan { wants_values: false, ..self }
    }

    /// In chunks of so many entries at first.
    #[must_use]
    pub fn at_most(self, entries: usize) -> Scan {
        Scan { entries: entries.clamp(1, MOST), ..self }
    }

    /// The next entries; none at the end. They are some dozens, later some hundreds, but about 1 MiB at most if they are small.
    ///
    /// # Errors
    /// [`Closed`](crate::Error::Closed); [`Damaged`](crate::Error::Damaged) if a file is; the same chunk can be asked for
    /// again.
    pub fn next_chunk(&mut self, database: &Database) -> Result<Chunk> {
        if self.is_at_end {
            return Ok(Chunk::default());
        }
        let mut chunk = Chunk::with_room(self.entries, self.bytes);
        let is_whole = database.walk(&self.rest, self.is_back, true, |key, value| {
            chunk.push(key, if self.wants_values { value } else { &[] });
            chunk.len() < self.entries && chunk.bytes.len() < BYTES
        })?;
        if !is_whole && !self.has_end {
            self.end(database)?;
        }
        self.bytes = chunk.bytes.len() * 2;
        self.entries = (self.entries * 2).min(MOST);
        match chunk.last_key() {
            Some(last) if !is_whole => {
                if self.is_back {
                    self.rest.stop = Some(last.to_vec());
                } else {
                    let mut next = last.to_vec();
                    next.push(0);
                    self.rest.start = Some(next);
                }
                self.is_at_end = self.rest.is_empty();
            }
            _ => self.is_at_end = true,
        }
        Ok(chunk)
    }

    /// Ends the rest at the last key that is there now.
    fn end(&mut self, database: &Database) -> Result<()> {
        let mut end = None;
        database.walk(&self.rest, !self.is_back, true, |key, _| {
            end = Some(key.to_vec());
            false
        })?;
        match (end, self.is_back) {
            (Some(end), true) => self.rest.start = Some(end),
            (Some(mut end), false) => {
                end.push(0);
                self.rest.stop = Some(end);
            }
            (None, _) => {}
        }
        self.has_end = true;
        Ok(())
    }
}

impl Chunk {
    fn with_room(entries: usize, bytes: usize) -> Chunk {
        Chunk { bytes: Vec::with_capacity(bytes.min(BYTES)), ends: Vec::with_capacity(entries) }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none: the walk is at its end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key and the value at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(&[u8], &[u8])> {
        let start = match place.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before)?.1,
        };
        let (key_end, end) = *self.ends.get(place)?;
        Some((self.bytes.get(start..key_end)?, self.bytes.get(key_end..end)?))
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// Keys alone.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|(key, _)| key)
    }

    fn last_key(&self) -> Option<&[u8]> {
        self.get(self.len().checked_sub(1)?).map(|(key, _)| key)
    }
}
