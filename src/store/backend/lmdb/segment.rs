//! One segment of the log: a file that records are appended to, with a table in it by which keys are found.
//!
//! ```text
//! header | records, one behind the other | room | table
//! ```
//!
//! A record is one transaction: changes of keys, under one checksum. What has been appended is never overwritten, and a
//! segment is never used again, so what was found can be read for as long as the segment is mapped. The table and the
//! links between the versions of a key are not trusted after a power loss; they are made anew. `docs/FORMAT.md` has the
//! bytes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use twox_hash::XxHash3_64;

use super::map::{Map, Mode};
use super::position::{Point, Position};
use super::segment_file;
use crate::error::{Error, Result};
use crate::store::backend::merged::Direction;
use crate::store::directory::store_dir::StoreDir;
use crate::sync::lock;

pub(super) const MAGIC: &[u8; 8] = b"CMlogseg";
/// Of the log's format.
pub(super) const VERSION: u32 = 1;
/// The bytes of the header that its checksum covers.
pub(super) const SUMMED: usize = 64;
/// How many keys the table lists: not covered by the checksum, since it grows.
const LISTED_AT: usize = 72;
/// Where the first record is.
pub(super) const HEADER: u32 = 128;
/// Checksum, length and number of changes, in front of the changes.
pub(super) const RECORD: u32 = 16;
/// Link, length of the value and of the key, flags, in front of key and value.
pub(super) const CHANGE: u32 = 12;
pub(super) const DELETED: u16 = 1;
/// What LMDB takes.
pub(super) const MAX_KEY: usize = 511;

/// What one transaction does to a key.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) key: &'a [u8],
    /// `None`: it is removed.
    pub(super) value: Option<&'a [u8]>,
}

/// A change as it lies in a segment.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) change: Change<'a>,
    pub(super) at: u32,
    /// Where the next change of the record is.
    next: u32,
}

/// A segment's size and that of its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Bytes of the file.
    pub(super) size: u32,
    /// Places in the table: a power of two.
    pub(super) slots: u32,
}

impl Shape {
    /// One of about `size` bytes, an eighth of which is the table.
    pub(super) fn of_size(size: u32) -> Shape {
        let size = size.next_power_of_two().clamp(64 << 10, 1 << 30);
        Shape { size, slots: size / 64 }
    }

    /// The least one that a record fits into which is too long for others.
    pub(super) fn for_record(len: u32, changes: usize) -> Option<Shape> {
        let slots = u32::try_from(changes).ok()?.checked_mul(2)?.checked_next_power_of_two()?.max(1024);
        let size =
            HEADER.checked_add(len)?.checked_add(slots.checked_mul(8)?)?.checked_next_multiple_of(4096)?;
        Some(Shape { size, slots })
    }

    fn table(self) -> u32 {
        self.size.saturating_sub(self.slots.saturating_mul(8))
    }

    /// Whether a record finds room in a new segment of this shape.
    pub(super) fn takes(self, len: u32, changes: usize) -> bool {
        HEADER.checked_add(len).is_some_and(|end| end <= self.table()) && changes <= self.most_listed()
    }

    /// Keys that the table lists at most, so that looking for one takes few steps.
    fn most_listed(self) -> usize {
        self.slots as usize / 4 * 3
    }

    fn is_possible(self) -> bool {
        self.slots.is_power_of_two()
            && self.most_listed() > 0
            && u64::from(self.slots) * 8 + u64::from(HEADER) < u64::from(self.size)
            && self.size.is_multiple_of(4096)
    }
}

/// The bytes that a transaction takes in the log; `None` if that is more than a segment can have.
pub(super) fn record_len<'a>(changes: impl Iterator<Item = Change<'a>>) -> Option<u32> {
    let mut len = u64::from(RECORD);
    for change in changes {
        len += u64::from(CHANGE) + change.key.len() as u64 + change.value.map_or(0, <[u8]>::len) as u64;
    }
    u32::try_from(len.next_multiple_of(8)).ok().filter(|len| *len < 1 << 31)
}

/// The checksum that a record's is seeded with.
fn chained(before: u64) -> u64 {
    if super::fault::breaks("checksums are chained") { 0 } else { before }
}

/// A place in a segment with a record that is known to be complete.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) checksum: u64,
}

pub(super) struct Segment {
    pub(super) number: u32,
    shape: Shape,
    /// The point in the log that this segment goes on from.
    pub(super) previous: Point,
    /// The checksum of the header, which seeds that of the first record.
    seed: u64,
    /// From where its records are to be believed, with the checksum there.
    start: (u32, u64),
    map: Map,
    sorted: Mutex<Sorted>,
}

/// Why a file is not a segment that can be used.
pub(super) enum Unusable {
    /// Its header was never written, or has not reached the disk.
    Blank,
    Refused(Error),
}

impl Segment {
    /// Makes a new file, which is mapped, the segment that goes on from a point. Nobody else uses it yet.
    pub(super) fn begin(
        map: Map,
        number: u32,
        shape: Shape,
        previous: Point,
        store: &[u8; 16],
    ) -> Result<Segment> {
        let mut header = [0u8; SUMMED];
        let mut salt = [0u8; 8];
        getrandom::fill(&mut salt).map_err(|e| Error::Io {
            context: "asking for random bytes".into(),
            source: std::io::Error::other(e),
        })?;
        let fields: [&[u8]; 10] = [
            MAGIC,
            &VERSION.to_le_bytes(),
            &number.to_le_bytes(),
            &shape.size.to_le_bytes(),
            &shape.slots.to_le_bytes(),
            &previous.at.segment.to_le_bytes(),
            &previous.at.offset.to_le_bytes(),
            &previous.checksum.to_le_bytes(),
            &salt,
            store,
        ];
        for (byte, field) in header.iter_mut().zip(fields.concat()) {
            *byte = field;
        }
        let seed = XxHash3_64::oneshot(&header);
        map.write(0, &header);
        super::fault::point("a header is written but for its checksum");
        map.write(SUMMED, &seed.to_le_bytes());
        Ok(Segment { number, shape, previous, seed, start: (HEADER, seed), map, sorted: Mutex::default() })
    }

    /// Opens a segment by its file's name.
    pub(super) fn open(
        dir: &StoreDir,
        number: u32,
        store: &[u8; 16],
        mode: Mode,
    ) -> Result<Segment, Unusable> {
        let map = segment_file::map(dir, number, mode).map_err(Unusable::Refused)?;
        let Some(map) = map.filter(|map| map.len() >= HEADER as usize) else { return Err(Unusable::Blank) };
        let damaged = |what: &str| {
            Unusable::Refused(Error::damaged(format!(
                "the file \"{}\" of the log {what}",
                segment_file::name(number)
            )))
        };
        let header = map.bytes(0, SUMMED).unwrap_or_default();
        let u32_at =
            |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let u64_at =
            |at: usize| header.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let seed = map.word(SUMMED).load(Ordering::Relaxed);
        if header.get(..8) != Some(MAGIC) || seed != XxHash3_64::oneshot(header) {
            return Err(Unusable::Blank);
        }
        match u32_at(8) {
            VERSION => {}
            0 => return Err(damaged("is of version 0, which there never was")),
            found => return Err(Unusable::Refused(Error::NewerFormat { found, supported: VERSION })),
        }
        if header.get(48..64) != Some(store) {
            return Err(damaged("is of another store; if it was put there by hand, remove it"));
        }
        if u32_at(12) != number {
            return Err(damaged(&format!("says it is number {}", u32_at(12))));
        }
        let shape = Shape { size: u32_at(16), slots: u32_at(20) };
        if !shape.is_possible() {
            return Err(damaged("has an impossible size"));
        }
        if map.len() < shape.size as usize {
            return Err(damaged("was cut off"));
        }
        let previous =
            Point { at: Position { segment: u32_at(24), offset: u32_at(28) }, checksum: u64_at(32) };
        Ok(Segment { number, shape, previous, seed, start: (HEADER, seed), map, sorted: Mutex::default() })
    }

    /// The same without the records that LMDB has. They need not have reached the disk before a power loss, since a fold
    /// does not sync the log.
    pub(super) fn behind(mut self, folded: Point) -> Segment {
        if folded.at.segment == self.number && folded.at.offset >= HEADER {
            self.start = (folded.at.offset, folded.checksum);
        }
        self
    }

    /// Where its first record is, with the checksum that this one's is seeded with.
    pub(super) fn first(&self) -> Point {
        Point { at: Position { segment: self.number, offset: HEADER }, checksum: self.seed }
    }

    pub(super) fn size(&self) -> u32 {
        self.shape.size
    }

    /// Whether a record finds room behind `end`, and the table is not too full then.
    pub(super) fn has_room(&self, end: u32, len: u32, changes: usize) -> bool {
        let listed = self.map.half_word(LISTED_AT).load(Ordering::Relaxed) as usize;
        end.checked_add(len).is_some_and(|to| to <= self.shape.table())
            && listed + changes <= self.shape.most_listed()
    }

    /// Whether more than half of it is used up.
    pub(super) fn is_half_full(&self, end: u32) -> bool {
        let listed = self.map.half_word(LISTED_AT).load(Ordering::Relaxed);
        end > self.shape.table() / 2 || listed > self.shape.slots / 8 * 3
    }

    /// Writes a record that [finds room](Self::has_room), and lists its changes. Returns its checksum. The caller holds
    /// the append lock; nobody looks at the record before the tail has been moved behind it.
    pub(super) fn append<'a>(
        &self,
        at: u32,
        len: u32,
        seed: u64,
        changes: impl Iterator<Item = Change<'a>>,
    ) -> u64 {
        let mut count = 0u32;
        let mut to = at + RECORD;
        for change in changes {
            count += 1;
            to = self.write_change(to, change);
            super::fault::point("a change is written");
        }
        self.map.write(at as usize + 8, &len.to_le_bytes());
        self.map.write(at as usize + 12, &count.to_le_bytes());
        // The rest was never written to, so it is zero.
        let summed = self.map.bytes(at as usize + 8, len as usize - 8).unwrap_or_default();
        let checksum = XxHash3_64::oneshot_with_seed(chained(seed), summed);
        super::fault::point("a record is written but for its checksum");
        self.map.write(at as usize, &checksum.to_le_bytes());
        super::fault::point("a record is written");
        checksum
    }

    fn write_change(&self, at: u32, change: Change<'_>) -> u32 {
        let value = change.value.unwrap_or_default();
        let (hash, start) = (hash(change.key), at as usize);
        let (slot, older) = self.slot_for(hash, change.key);
        let flags = if change.value.is_none() { DELETED } else { 0 };
        let mut head = [0u8; CHANGE as usize];
        let fields = [
            &older.to_le_bytes()[..],
            &(value.len() as u32).to_le_bytes(),
            &(change.key.len() as u16).to_le_bytes(),
            &flags.to_le_bytes(),
        ];
        for (byte, field) in head.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *field;
        }
        self.map.write(start, &head);
        let key_at = start + CHANGE as usize;
        self.map.write(key_at, change.key);
        self.map.write(key_at + change.key.len(), value);
        self.list(slot, hash, at, older == 0);
        at + CHANGE + change.key.len() as u32 + value.len() as u32
    }

    /// The change at `at`; `None` where there can be none.
    #[inline]
    pub(super) fn change_at(&self, at: u32) -> Option<Listed<'_>> {
        let head: &[u8; CHANGE as usize] = self.map.bytes(at as usize, CHANGE as usize)?.try_into().ok()?;
        let [_, _, _, _, v0, v1, v2, v3, k0, k1, f0, f1] = *head;
        let (value_len, key_len) = (u32::from_le_bytes([v0, v1, v2, v3]), u16::from_le_bytes([k0, k1]));
        let key = self.map.bytes(at as usize + CHANGE as usize, key_len.into())?;
        let value_at = at as usize + CHANGE as usize + key.len();
        let value = self.map.bytes(value_at, value_len as usize)?;
        let value = (u16::from_le_bytes([f0, f1]) & DELETED == 0).then_some(value);
        let next = u32::try_from(value_at + value_len as usize).ok()?;
        Some(Listed { change: Change { key, value }, at, next })
    }

    /// The length and checksum of the record at `at`, if there is one that goes on from a checksum and is what it says.
    pub(super) fn record_at(&self, at: u32, seed: u64) -> Option<(u32, u64)> {
        let len = self.map.number(at as usize + 8)?;
        let fits = at.checked_add(len).is_some_and(|end| end <= self.shape.table());
        if len < RECORD || !len.is_multiple_of(8) || !fits {
            return None;
        }
        let summed = self.map.bytes(at as usize + 8, len as usize - 8)?;
        let checksum = XxHash3_64::oneshot_with_seed(chained(seed), summed);
        let written = self.map.bytes(at as usize, 8)?;
        let holds = written == checksum.to_le_bytes() && self.changes_fill(at, len)?;
        holds.then_some((len, checksum))
    }

    /// Whether the changes of a record, of whatever lengths, end where it does.
    fn changes_fill(&self, record: u32, len: u32) -> Option<bool> {
        let (mut at, end) = (record + RECORD, record + len);
        for _ in 0..self.map.number(record as usize + 12)? {
            let listed = self.change_at(at).filter(|listed| listed.next <= end)?;
            if !(1..=MAX_KEY).contains(&listed.change.key.len()) {
                return Some(false);
            }
            at = listed.next;
        }
        Some(end - at < 8)
    }

    /// The checksum of the record that ends at `end`, by the lengths of those before it. They are known to be right.
    pub(super) fn checksum_at(&self, end: u32) -> Option<u64> {
        let (mut at, mut checksum) = self.start;
        while at < end {
            checksum = u64::from_le_bytes(*self.map.bytes(at as usize, 8)?.first_chunk()?);
            at = at.checked_add(self.map.number(at as usize + 8)?.max(RECORD))?;
        }
        (at == end).then_some(checksum)
    }

    /// Looks at the checksums of all records before `end`.
    pub(super) fn check(&self, end: u32) -> Result<()> {
        let (mut at, mut checksum) = self.start;
        while at < end {
            let Some((len, next)) = self.record_at(at, checksum) else {
                let name = segment_file::name(self.number);
                return Err(Error::damaged(format!(
                    "a record of the file {name:?} at {at} has a wrong checksum"
                )));
            };
            (at, checksum) = (at + len, next);
        }
        Ok(())
    }

    /// All changes of the records from `from` up to `to`, both between records.
    pub(super) fn changes(&self, from: u32, to: u32) -> Changes<'_> {
        Changes { segment: self, record: from.max(self.start.0), to, next: 0, left: 0 }
    }

    /// The records from `from` up to `to`, both between records.
    pub(super) fn records(&self, from: u32, to: u32) -> impl Iterator<Item = Record> {
        let mut at = from.max(self.start.0);
        std::iter::from_fn(move || {
            if at >= to {
                return None;
            }
            let checksum = u64::from_le_bytes(*self.map.bytes(at as usize, 8)?.first_chunk()?);
            let start = at;
            at = at.checked_add(self.map.number(at as usize + 8)?.max(RECORD))?;
            Some(Record { start, end: at, checksum })
        })
    }

    fn slots(&self) -> u32 {
        self.shape.slots - 1
    }

    #[inline]
    fn slot(&self, index: u32) -> &std::sync::atomic::AtomicU64 {
        self.map.word(self.shape.table() as usize + (index & self.slots()) as usize * 8)
    }

    fn has_key(&self, at: u32, key: &[u8]) -> bool {
        self.change_at(at).is_some_and(|listed| listed.change.key == key)
    }

    /// The newest version of a key before `limit`, a place between records.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8], limit: u32) -> Option<Listed<'_>> {
        let mut index = hash;
        for _ in 0..self.shape.slots {
            let slot = self.slot(index).load(Ordering::Acquire);
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                // Versions behind the limit have the same key; so the key is compared where it is needed only.
                let mut at = slot as u32;
                while at >= limit {
                    // Links lead back. One that does not would have no end.
                    at = self.map.number(at as usize).filter(|older| *older < at)?;
                }
                match self.change_at(at).filter(|_| at != 0) {
                    Some(found) if found.change.key == key => return Some(found),
                    // All versions are behind the limit, or it is another key of the same hash.
                    _ => {}
                }
            }
            index = index.wrapping_add(1);
        }
        None
    }

    /// The slot of a key, and its newest version; 0 if it has none.
    fn slot_for(&self, hash: u32, key: &[u8]) -> (u32, u32) {
        let mut index = hash;
        loop {
            let slot = self.slot(index).load(Ordering::Relaxed);
            if slot == 0 {
                return (index, 0);
            }
            if (slot >> 32) as u32 == hash && self.has_key(slot as u32, key) {
                return (index, slot as u32);
            }
            index = index.wrapping_add(1);
        }
    }

    fn list(&self, slot: u32, hash: u32, at: u32, is_new: bool) {
        self.slot(slot).store(u64::from(hash) << 32 | u64::from(at), Ordering::Release);
        if is_new {
            self.map.half_word(LISTED_AT).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Empties the table, to be made anew. Nobody else uses the segment.
    pub(super) fn unlist(&self) {
        let (at, len) = (self.shape.table() as usize, self.shape.slots as usize * 8);
        self.map.touch(at, len);
        self.map.clear(at, len);
        self.map.half_word(LISTED_AT).store(0, Ordering::Relaxed);
    }

    /// Lists the changes of a record that is complete.
    pub(super) fn list_record(&self, record: u32, len: u32) -> Result<()> {
        for listed in self.changes(record, record + len) {
            let hash = hash(listed.change.key);
            let (slot, older) = self.slot_for(hash, listed.change.key);
            self.list(slot, hash, listed.at, older == 0);
            // In a full one nobody would come to an end.
            if self.map.half_word(LISTED_AT).load(Ordering::Relaxed) as usize > self.shape.most_listed() {
                let name = segment_file::name(self.number);
                return Err(Error::damaged(format!("the file {name:?} has more keys than it has room for")));
            }
        }
        Ok(())
    }

    /// Returns when the records before `end` are on the disk.
    pub(super) fn sync(&self, end: u32) -> std::io::Result<()> {
        self.map.sync(end as usize)
    }

    /// The first key that the records before `limit` change, going from a bound in a direction, of the kind that keys with
    /// this first byte are of. Sorts what was not sorted yet.
    pub(super) fn next_key(
        &self,
        kind: u8,
        (low, high): (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        limit: u32,
    ) -> Option<&[u8]> {
        let mut sorted = lock(&self.sorted);
        let of_kind = sorted.of_kind(kind);
        if of_kind.upto < limit {
            for listed in self.changes(of_kind.upto, limit) {
                if listed.change.key.first() == Some(&kind) && !of_kind.keys.contains_key(listed.change.key) {
                    of_kind.keys.insert(listed.change.key.into(), listed.at);
                }
            }
            of_kind.upto = limit;
        }
        let mut range = of_kind.keys.range::<[u8], _>((low, high));
        let at = match direction {
            Direction::Up => range.next(),
            Direction::Down => range.next_back(),
        };
        at.and_then(|(_, at)| self.change_at(*at)).map(|listed| listed.change.key)
    }
}

/// The keys of a segment in their order, of each kind that was ever asked for.
#[derive(Default)]
struct Sorted(Vec<(u8, Kind)>);

#[derive(Default)]
struct Kind {
    /// With a place where the key is changed.
    keys: BTreeMap<Box<[u8]>, u32>,
    upto: u32,
}

impl Sorted {
    fn of_kind(&mut self, kind: u8) -> &mut Kind {
        let index = self.0.iter().position(|(other, _)| *other == kind).unwrap_or_else(|| {
            self.0.push((kind, Kind::default()));
            self.0.len() - 1
        });
        match self.0.get_mut(index) {
            Some((_, found)) => found,
            None => unreachable!("it was found or pushed"),
        }
    }
}

pub(super) struct Changes<'a> {
    segment: &'a Segment,
    record: u32,
    to: u32,
    next: u32,
    left: u32,
}

impl<'a> Iterator for Changes<'a> {
    type Item = Listed<'a>;

    fn next(&mut self) -> Option<Listed<'a>> {
        while self.left == 0 {
            if self.record >= self.to {
                return None;
            }
            let at = self.record as usize;
            let len = self.segment.map.number(at + 8)?;
            self.left = self.segment.map.number(at + 12)?;
            self.next = self.record + RECORD;
            self.record = self.record.checked_add(len.max(RECORD))?;
        }
        let listed = self.segment.change_at(self.next)?;
        self.next = listed.next;
        self.left -= 1;
        Some(listed)
    }
}

/// The hash under which a segment's table lists a key. Keys of entries are hashes already; the others differ in few bytes.
#[inline]
pub(super) fn hash(key: &[u8]) -> u32 {
    let mut hash = key.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let mixed = u128::from(hash ^ word) * 0xa076_1d64_78bd_642f;
        (mixed >> 64) as u64 ^ mixed as u64
    };
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(mix(hash, u64::from_le_bytes(last)), 0xe703_7ed1_a0b4_28db) as u32
}
