//! A second implementation of reading the log, by `docs/FORMAT.md` alone: it shares no code with the crate.

use std::fs;
use std::path::Path;

use twox_hash::XxHash3_64;

use crate::reader::Fields;

/// A place between two records, with the checksum there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) checksum: u64,
}

/// What a record does to a key: gives it a value, or removes it.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) size: u32,
    pub(crate) slots: u32,
    /// The point of the log that it goes on from.
    pub(crate) previous: Point,
    /// The checksum of its header.
    pub(crate) seed: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The log behind a point: its records, each with the segment and the offset where it begins.
pub(crate) struct Log {
    pub(crate) records: Vec<(u32, u32, Vec<Change>)>,
    pub(crate) end: Point,
    /// The files that are a part of it.
    pub(crate) parts: Vec<u32>,
}

impl Point {
    /// The record under the key `f`.
    pub(crate) fn decode(record: &[u8]) -> Point {
        let mut fields = Fields(record);
        let point = Point { segment: fields.u32(), offset: fields.u32(), checksum: fields.u64() };
        assert_eq!(fields.u64(), XxHash3_64::oneshot(&record[..16]));
        fields.end();
        point
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let place = [self.segment, self.offset].map(u32::to_le_bytes).concat();
        let point = [place, self.checksum.to_le_bytes().to_vec()].concat();
        let checksum = XxHash3_64::oneshot(&point);
        [point, checksum.to_le_bytes().to_vec()].concat()
    }
}

impl Segment {
    /// `None`: its header was never written.
    fn open(number: u32, bytes: Vec<u8>, store: [u8; 16]) -> Option<Segment> {
        if bytes.len() < 128 || !bytes.starts_with(b"CMlogseg") {
            return None;
        }
        let seed = XxHash3_64::oneshot(&bytes[..64]);
        if bytes[64..72] != seed.to_le_bytes() {
            return None;
        }
        let mut fields = Fields(&bytes[8..]);
        assert_eq!(fields.u32(), 1, "the version of the log");
        assert_eq!(fields.u32(), number);
        let (size, slots) = (fields.u32(), fields.u32());
        assert!(size.is_multiple_of(4096) && slots.is_power_of_two() && bytes.len() >= size as usize);
        let previous = Point { segment: fields.u32(), offset: fields.u32(), checksum: fields.u64() };
        let _salt = fields.u64();
        assert_eq!(fields.array(), store);
        Some(Segment { number, size, slots, previous, seed, bytes })
    }

    pub(crate) fn table(&self) -> usize {
        (self.size - self.slots * 8) as usize
    }

    /// The changes, length and checksum of the record that goes on from a point; `None` where there is none.
    fn record(&self, from: Point) -> Option<(Vec<Change>, Point)> {
        let at = from.offset as usize;
        if at + 16 > self.table() {
            return None;
        }
        let mut head = Fields(&self.bytes[at..]);
        let (checksum, len, count) = (head.u64(), head.u32(), head.u32());
        let end = at + len as usize;
        if len < 16 || !len.is_multiple_of(8) || end > self.table() {
            return None;
        }
        if checksum != XxHash3_64::oneshot_with_seed(from.checksum, &self.bytes[at + 8..end]) {
            return None;
        }
        let mut rest = Fields(&self.bytes[at + 16..end]);
        let changes = (0..count).map(|_| {
            let (_link, value_len) = (rest.u32(), rest.u32() as usize);
            let [key_low, key_high, flags, zero] = rest.array();
            assert_eq!((flags & !1, zero), (0, 0));
            let key = rest.take(u16::from_le_bytes([key_low, key_high]).into());
            let value = rest.take(value_len);
            assert!(flags == 0 || value.is_empty());
            (key, (flags == 0).then_some(value))
        });
        let changes = changes.collect();
        assert!(rest.0.len() < 8 && rest.0.iter().all(|byte| *byte == 0), "filled up with zeros");
        Some((changes, Point { offset: end as u32, checksum, ..from }))
    }
}

/// All segments of a directory that have a header, in the order of their numbers.
pub(crate) fn segments(dir: &Path, store: [u8; 16]) -> Vec<Segment> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let digits = name.strip_prefix("log-").filter(|digits| digits.len() == 8);
        numbers.extend(digits.map(|digits| u32::from_str_radix(digits, 16).unwrap()));
    }
    numbers.sort_unstable();
    let open = |number| {
        let bytes = fs::read(dir.join(format!("log-{number:08x}"))).unwrap();
        Segment::open(number, bytes, store)
    };
    numbers.into_iter().filter_map(open).collect()
}

/// Reads the log from where the data file has it.
pub(crate) fn read(dir: &Path, folded: Point, store: [u8; 16]) -> Log {
    let segments = segments(dir, store);
    let mut log = Log { records: Vec::new(), end: folded, parts: Vec::new() };
    let mut go_on = |segment: &Segment, from: Point| {
        let mut end = from;
        while let Some((changes, next)) = segment.record(end) {
            log.records.push((segment.number, end.offset, changes));
            end = next;
        }
        if end != from {
            log.parts.push(segment.number);
            log.end = end;
        }
        log.end
    };
    let begun = |segment: &&Segment| segment.number == folded.segment && folded.offset >= 128;
    let mut end = segments.iter().find(begun).map_or(folded, |segment| go_on(segment, folded));
    // Of several the highest number.
    let follows =
        |end: Point| segments.iter().rfind(|next| next.number > end.segment && next.previous == end);
    while let Some(next) = follows(end) {
        let start = Point { segment: next.number, offset: 128, checksum: next.seed };
        let ended = go_on(next, start);
        if ended == end {
            break;
        }
        end = ended;
    }
    log
}

/// A new segment with records in it. Its table is empty: nobody may trust it.
pub(crate) fn segment(number: u32, previous: Point, store: [u8; 16], records: &[Vec<Change>]) -> Vec<u8> {
    let (size, slots) = (65_536u32, 1024u32);
    let mut bytes = b"CMlogseg".to_vec();
    for field in [1, number, size, slots, previous.segment, previous.offset] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&previous.checksum.to_le_bytes());
    bytes.extend_from_slice(b"any salt");
    bytes.extend_from_slice(&store);
    let mut checksum = XxHash3_64::oneshot(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.resize(128, 0);
    for changes in records {
        let mut record = vec![0; 4];
        record.extend_from_slice(&(changes.len() as u32).to_le_bytes());
        for (key, value) in changes {
            record.extend_from_slice(&0u32.to_le_bytes());
            record.extend_from_slice(&(value.as_ref().map_or(0, Vec::len) as u32).to_le_bytes());
            record.extend_from_slice(&(key.len() as u16).to_le_bytes());
            record.extend_from_slice(&u16::from(value.is_none()).to_le_bytes());
            record.extend_from_slice(key);
            record.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        record.resize(record.len().next_multiple_of(8), 0);
        let len = record.len() as u32 + 8;
        record[..4].copy_from_slice(&len.to_le_bytes());
        checksum = XxHash3_64::oneshot_with_seed(checksum, &record);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&record);
    }
    bytes.resize(size as usize, 0);
    bytes
}
