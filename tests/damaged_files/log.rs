//! The log of the sound stores: what is in it, what a store is after a part of it, and damage to its segments.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cachemere::ByteCache;
use twox_hash::XxHash3_64;

use crate::damage_support::Dice;
use crate::damage_support::lmdb::Snapshot;
use crate::disturb;

/// What was done to the store through the log, in parts: what was folded, and then what each process left that was killed.
pub(crate) const PARTS: [Range<usize>; 4] = [0..10, 10..25, 25..40, 40..60];
pub(crate) const OPS: usize = 60;
/// More than can be in use.
const NO_NUMBER: u32 = 0x00ff_ffff;
const HEADER: usize = 128;
const KEYS: usize = 12;

fn key(op: usize) -> Vec<u8> {
    format!("log {}", op % KEYS).into_bytes()
}

fn value(op: usize) -> Vec<u8> {
    let mut dice = Dice::new(op as u64 + 77_000);
    let len = if op.is_multiple_of(6) { dice.between(4_000, 12_000) } else { dice.between(10, 2_000) };
    dice.bytes(len)
}

/// Every fifth operation removes a key, so that no two states are the same.
fn removed(op: usize) -> Option<Vec<u8>> {
    (op % 5 == 4).then(|| key(op - 3))
}

pub(crate) fn write(cache: &ByteCache, ops: Range<usize>) {
    for op in ops {
        match removed(op) {
            Some(key) => assert!(cache.remove(&key).unwrap()),
            None => cache.insert(&key(op), &value(op), 0, None).unwrap(),
        }
    }
}

fn state_after(ops: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state = BTreeMap::new();
    for op in 0..ops {
        match removed(op) {
            Some(key) => drop(state.remove(&key)),
            None => drop(state.insert(key(op), value(op))),
        }
    }
    state
}

/// After how many operations the store was as it is; `None` if it never was.
pub(crate) fn ops_in(cache: &ByteCache) -> Result<Option<usize>, cachemere::Error> {
    let mut found = BTreeMap::new();
    for n in 0..KEYS {
        if let Some(value) = cache.get(&key(n))? {
            found.insert(key(n), value.payload);
        }
    }
    Ok((0..=OPS).rev().find(|ops| state_after(*ops) == found))
}

/// How many of the keys are there.
pub(crate) fn entries_in(cache: &ByteCache) -> usize {
    (0..KEYS).filter(|n| cache.get(&key(*n)).unwrap().is_some()).count()
}

/// What has to come of a damaged log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// The store is as it was after so many operations.
    Ops(usize),
    Refused(&'static str),
}

pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    records: Vec<Range<usize>>,
    /// The operation in its first record.
    first: usize,
}

pub(crate) struct Log {
    pub(crate) segments: Vec<Segment>,
    folded_segment: u32,
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Log {
    /// The log of a sound store. Each record is one operation.
    pub(crate) fn of(dir: &Path, snapshot: &Snapshot, data: &[u8]) -> Log {
        let folded = snapshot.records.iter().find(|record| record.key == b"f").unwrap();
        let folded_segment = number_at(data, folded.value.start);
        let mut segments = Vec::new();
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some(digits) = name.strip_prefix("log-") else { continue };
            let number = u32::from_str_radix(digits, 16).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let mut records = Vec::new();
            let mut at = HEADER;
            while number_at(&bytes, at + 8) != 0 {
                let end = at + number_at(&bytes, at + 8) as usize;
                records.push(at..end);
                at = end;
            }
            segments.push(Segment { number, path, bytes, records, first: 0 });
        }
        segments.sort_by_key(|segment| segment.number);
        let mut next = OPS - segments.iter().map(|segment| segment.records.len()).sum::<usize>();
        for segment in &mut segments {
            segment.first = next;
            next += segment.records.len();
        }
        Log { segments, folded_segment }
    }
}

impl Segment {
    fn table(&self) -> usize {
        (number_at(&self.bytes, 16) - number_at(&self.bytes, 20) * 8) as usize
    }

    fn end(&self) -> usize {
        self.records.last().map_or(HEADER, |record| record.end)
    }

    fn previous(&self) -> &[u8] {
        &self.bytes[24..40]
    }

    /// What comes of other bytes in it, with the file as long as it was.
    fn with(&self, bytes: &[u8]) -> Expected {
        if bytes[..72] != self.bytes[..72] {
            return Expected::Ops(self.first);
        }
        let damaged =
            self.records.iter().position(|record| bytes[record.clone()] != self.bytes[record.clone()]);
        match damaged {
            Some(record) => Expected::Ops(self.first + record),
            None => Expected::Ops(OPS),
        }
    }
}

fn with_checksum(bytes: &mut [u8]) {
    let checksum = XxHash3_64::oneshot(&bytes[..64]);
    bytes[64..72].copy_from_slice(&checksum.to_le_bytes());
}

/// Damages the log of a store; says what was done, and what has to come of it.
pub(crate) fn damage(log: &Log, dice: &mut Dice) -> (String, Expected) {
    let index = dice.below(log.segments.len());
    let segment = &log.segments[index];
    let mut bytes = segment.bytes.clone();
    let len = bytes.len();
    let is_last = index + 1 == log.segments.len();
    let (told, expected) = match dice.below(20) {
        0 => {
            let new = if dice.chance(30) { dice.below(2 * HEADER) } else { dice.below(len) };
            bytes.truncate(new);
            let expected =
                if new < HEADER { Expected::Ops(segment.first) } else { Expected::Refused("damaged") };
            (format!("cut to {new} bytes"), expected)
        }
        1 => {
            bytes.extend_from_slice(&dice.bytes(dice.clone().below(9_000)));
            (format!("grown to {} bytes", bytes.len()), Expected::Ops(OPS))
        }
        2 => {
            bytes[..HEADER].fill(0);
            ("without a header".into(), segment.with(&bytes))
        }
        3 => {
            bytes.fill(0);
            ("zeroed".into(), segment.with(&bytes))
        }
        4 => {
            // As pages that have not reached the disk.
            let from = dice.below(segment.end() / 4096 + 1) * 4096;
            let to = (from + 4096 * (1 + dice.below(4))).min(len);
            bytes[from..to].fill(0);
            (format!("zeroed from {from} to {to}"), segment.with(&bytes))
        }
        5 => {
            let from = dice.below(len);
            bytes[from..].fill(0);
            (format!("zeroed from {from}"), segment.with(&bytes))
        }
        6 | 7 => {
            disturb(&mut bytes, 0..HEADER, dice);
            ("header disturbed".into(), segment.with(&bytes))
        }
        8 => {
            let record = segment.records[dice.below(segment.records.len())].clone();
            disturb(&mut bytes, record.start..record.start + 16, dice);
            (format!("head of the record at {} disturbed", record.start), segment.with(&bytes))
        }
        9 => {
            let record = segment.records[dice.below(segment.records.len())].clone();
            disturb(&mut bytes, record.start + 16..record.start + 28, dice);
            (format!("first change at {} disturbed", record.start), segment.with(&bytes))
        }
        10 | 11 => {
            let record = segment.records[dice.below(segment.records.len())].clone();
            disturb(&mut bytes, record.clone(), dice);
            (format!("the record at {} disturbed", record.start), segment.with(&bytes))
        }
        12 => {
            if dice.chance(30) {
                let noise = dice.bytes(len - segment.table());
                bytes[segment.table()..].copy_from_slice(&noise);
            } else {
                disturb(&mut bytes, segment.table()..len, dice);
            }
            ("table disturbed".into(), segment.with(&bytes))
        }
        13 => {
            let room = segment.end()..segment.table();
            let noise = dice.bytes(room.len());
            bytes[room].copy_from_slice(&noise);
            ("noise in the room behind the end".into(), segment.with(&bytes))
        }
        14 => {
            std::fs::remove_file(&segment.path).unwrap();
            // What goes on from a file that is gone belongs to a data file that had it.
            let expected = if is_last { Expected::Ops(segment.first) } else { Expected::Refused("damaged") };
            return (format!("segment {} removed", segment.number), expected);
        }
        15 => {
            let at = segment.path.with_file_name(format!("log-{:08x}", NO_NUMBER));
            if log.segments.len() > 1 && dice.chance(50) {
                let other = &log.segments[(index + 1) % log.segments.len()];
                std::fs::write(&other.path, &bytes).unwrap();
                bytes = other.bytes.clone();
                ("swapped with another".into(), Expected::Refused("damaged"))
            } else {
                std::fs::write(at, &bytes).unwrap();
                ("copied under another number".into(), Expected::Refused("damaged"))
            }
        }
        16 => {
            bytes[48 + dice.below(16)] ^= 1 << dice.below(8);
            with_checksum(&mut bytes);
            ("of another store".into(), Expected::Refused("damaged"))
        }
        17 => {
            let version = [0, 2, 3, 1 << 20][dice.below(4)];
            bytes[8..12].copy_from_slice(&u32::to_le_bytes(version));
            with_checksum(&mut bytes);
            let kind = if version == 0 { "damaged" } else { "newer" };
            (format!("of version {version}"), Expected::Refused(kind))
        }
        18 => {
            let lies =
                [0, 1, 8, 96, 4095, 4096, 8192, 65_536, len as u32 / 2, len as u32 + 4096, 1 << 30, !0];
            let field = [16, 20][dice.below(2)];
            let lie = lies[dice.below(lies.len())];
            bytes[field..field + 4].copy_from_slice(&lie.to_le_bytes());
            with_checksum(&mut bytes);
            let (size, slots) = (number_at(&bytes, 16), number_at(&bytes, 20));
            let possible = slots.is_power_of_two()
                && slots >= 4
                && u64::from(slots) * 8 + (HEADER as u64) < u64::from(size)
                && size.is_multiple_of(4096);
            let expected = match possible && size as usize <= len {
                true => segment.with(&bytes),
                false => Expected::Refused("damaged"),
            };
            (format!("of size {size} with {slots} places"), expected)
        }
        _ => {
            disturb(&mut bytes, 24..40, dice);
            with_checksum(&mut bytes);
            let number = number_at(&bytes, 24);
            let is_there = log.segments.iter().any(|other| other.number == number);
            let expected = match number >= log.folded_segment && !is_there {
                // Of the first one, what it went on from is in the data file.
                true => Expected::Refused("damaged"),
                false => segment.with(&bytes),
            };
            assert_ne!(segment.previous(), &bytes[24..40]);
            ("of another place in the log".into(), expected)
        }
    };
    std::fs::write(&segment.path, &bytes).unwrap();
    (format!("segment {} of {} {told}", index + 1, log.segments.len()), expected)
}
