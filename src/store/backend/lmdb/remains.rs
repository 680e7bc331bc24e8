//! What can still be read of a store that is damaged: its data file and its log, without LMDB and without trusting either.
//!
//! A record of the log that does not hold ends the log for whoever opens the store, since nobody can tell it from one that
//! had not reached the disk. Here it is skipped: the checksum of each record is the seed of the next one, so where the log
//! goes on behind it can be found. Where a segment is missing, those behind it are read all the same.

use std::fs::File;
use std::io::Read;

use rustix::fs::OFlags;
use twox_hash::XxHash3_64;

pub(crate) use super::file::{Finder, Origin};
use super::position::{Point, Position};
use super::segment::{CHANGE, Change, DELETED, HEADER, MAGIC, MAX_KEY, RECORD, SUMMED, VERSION};
use super::{DATA_NAME, LAST_NUMBER, file, segment_file};
use crate::error::{Error, Result};
use crate::store::directory::store_dir::StoreDir;

/// Whether there is anything of a store in LMDB.
pub(crate) fn are_there(dir: &StoreDir) -> Result<bool> {
    Ok(dir.has(DATA_NAME) || !segment_file::list(dir)?.is_empty())
}

/// The number of the last file of the log.
pub(crate) fn highest(dir: &StoreDir) -> Result<u32> {
    Ok(segment_file::list(dir)?.last().copied().unwrap_or(0))
}

/// Bytes of the files, as the disk has them.
pub(crate) fn bytes(dir: &StoreDir) -> Result<u64> {
    Ok(dir.allocated(DATA_NAME).unwrap_or(0).saturating_add(segment_file::total_bytes(dir)?))
}

/// Gives all records of the data file to a finder.
pub(crate) fn of_data(dir: &StoreDir, finder: &mut dyn Finder) -> Result<()> {
    match dir.open_own(DATA_NAME, OFlags::RDONLY, "opening the data file") {
        Ok(data) => file::find_records(&data, finder),
        Err(Error::NotFound { .. }) => {
            finder.problem("the data file is missing".into());
            Ok(())
        }
        Err(Error::Damaged { detail }) => {
            finder.problem(detail.into_owned());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A fold record by which a new log begins behind all that there was: behind these files and these tails.
pub(crate) fn new_log(highest: u32, folded: Option<&[u8]>, tail: u64) -> Result<[u8; 24]> {
    let folded = folded.and_then(|record| Point::decode(record).ok()).map_or(0, |point| point.at.segment);
    let last = highest.max(folded).max(Position::from_word(tail).segment);
    match last.checked_add(1).filter(|number| *number <= LAST_NUMBER) {
        Some(segment) => Ok(Point { at: Position { segment, offset: 0 }, checksum: 0 }.encode()),
        None => Err(Error::damaged("the numbers of the log are used up, as they never should be")),
    }
}

/// Who takes the changes of the log.
pub(crate) trait Follower {
    /// What a transaction did to a key. `tail` is where the log ended before it. One that is not `sure` is of a record with
    /// a wrong checksum.
    fn change(&mut self, key: &[u8], value: Option<&[u8]>, tail: u64, sure: bool) -> Result<()>;

    /// Something that is wrong.
    fn problem(&mut self, text: String);
}

/// Gives the changes of the log to a follower, in their order, from the place on that a fold record names; all that there
/// are without one. Returns the number of the last file.
///
/// # Errors
///
/// Those of the follower, of the system, and [`Error::NewerFormat`]. Damage is none.
pub(crate) fn of_log(
    dir: &StoreDir,
    store: Option<[u8; 16]>,
    folded: Option<&[u8]>,
    follower: &mut dyn Follower,
) -> Result<u32> {
    let from = folded.and_then(|record| Point::decode(record).ok());
    if from.is_none() {
        follower.problem("the record of where the log begins is lost".into());
    }
    let numbers = segment_file::list(dir)?;
    let highest = numbers.iter().copied().filter(|number| *number < LAST_NUMBER).max().unwrap_or(0);
    let mut segments = Vec::<Segment>::new();
    for number in numbers {
        match open(dir, number, store) {
            // What lies there under a second name is read once.
            Ok(segment) if segments.iter().any(|other| other.number == segment.number) => {}
            Ok(segment) if from.is_some_and(|from| segment.number < from.at.segment) => {}
            Ok(segment) => {
                if segment.is_cut {
                    follower.problem(format!(
                        "the file {:?} of the log has a wrong size",
                        segment_file::name(number)
                    ));
                }
                segments.push(segment);
            }
            Err(Error::NotFound { .. }) => {}
            Err(Error::Damaged { detail }) => follower.problem(detail.into_owned()),
            Err(error) => return Err(error),
        }
    }
    segments.sort_by_key(|segment| segment.number);
    let mut reading = Reading { segments, follower };
    let mut end = match from {
        Some(from) => reading.first(from)?,
        None => None,
    };
    let mut done = from.map_or(0, |from| from.at.segment);
    loop {
        crate::waiting::go_on_waiting()?;
        let linked = end.and_then(|end| reading.goes_on_from(end));
        let next = linked.or_else(|| reading.segments.iter().position(|s| s.number > done && s.is_used));
        let Some(next) = next else { return Ok(highest) };
        if linked.is_none() && (end.is_some() || from.is_some()) {
            let name = reading.segments.get(next).map_or_else(String::new, |s| segment_file::name(s.number));
            reading.follower.problem(format!("a part of the log before the file {name:?} is missing"));
        }
        let Some(segment) = reading.segments.get(next) else { return Ok(highest) };
        done = segment.number;
        end = reading.whole(next)?;
    }
}

/// A file of the log.
struct Segment {
    number: u32,
    file: File,
    /// The point it goes on from, if its header holds.
    previous: Option<Point>,
    /// What its first record can be seeded with: the checksum of its header, as it says and as it should be.
    seeds: [u64; 2],
    /// Where its records end at the latest.
    limit: usize,
    /// Whether something was written to it.
    is_used: bool,
    /// Whether it has not the size that it says.
    is_cut: bool,
}

fn open(dir: &StoreDir, number: u32, store: Option<[u8; 16]>) -> Result<Segment> {
    let name = segment_file::name(number);
    let mut file = dir.open_own(&name, OFlags::RDONLY, "opening the log")?;
    let mut header = [0; HEADER as usize + RECORD as usize];
    let read = read_up_to(&mut file, &mut header)?;
    let len = file.metadata().map_err(|e| Error::io("looking at the log", e))?.len();
    let (size, slots) = (u32_at(&header, 16), u32_at(&header, 20));
    let (summed, rest) = header.split_at(SUMMED);
    let (stored, computed) = (u64_at(rest, 0), XxHash3_64::oneshot(summed));
    let is_sound = stored == computed && summed.starts_with(MAGIC);
    if is_sound {
        match u32_at(&header, 8) {
            VERSION => {}
            0 => {
                return Err(Error::damaged(format!(
                    "the file {name:?} of the log is of version 0, which there never was"
                )));
            }
            found => return Err(Error::NewerFormat { found, supported: VERSION }),
        }
        if store.is_some_and(|store| header.get(48..64) != Some(&store)) {
            return Err(Error::damaged(format!("the file {name:?} of the log is of another store")));
        }
    }
    let number = if is_sound { u32_at(&header, 12) } else { number };
    let previous = is_sound.then(|| Point {
        at: Position { segment: u32_at(&header, 24), offset: u32_at(&header, 28) },
        checksum: u64_at(&header, 32),
    });
    let table = u64::from(size).saturating_sub(u64::from(slots) * 8);
    let is_possible = size.is_multiple_of(4096) && slots.is_power_of_two() && table > u64::from(HEADER);
    let is_cut = is_sound && (!is_possible || u64::from(size) > len);
    let limit = if is_sound && is_possible { table.min(len) } else { len };
    let is_used = read == header.len() && u32_at(&header, HEADER as usize + 8) != 0;
    let limit = usize::try_from(limit).unwrap_or(0);
    Ok(Segment { number, file, previous, seeds: [stored, computed], limit, is_used, is_cut })
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("reading the log", error)),
        }
    }
    Ok(read)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

struct Reading<'a> {
    segments: Vec<Segment>,
    follower: &'a mut dyn Follower,
}

impl Reading<'_> {
    /// The segment that goes on from a point.
    fn goes_on_from(&self, end: Point) -> Option<usize> {
        self.segments.iter().rposition(|s| s.number > end.at.segment && s.previous == Some(end) && s.is_used)
    }

    /// Reads what the segment of the fold record has behind it.
    fn first(&mut self, from: Point) -> Result<Option<Point>> {
        let first = self.segments.iter().position(|segment| segment.number == from.at.segment);
        match first.filter(|_| from.at.offset >= HEADER) {
            Some(first) => self.records(first, from.at.offset as usize, [from.checksum; 2]).map(Some),
            None => Ok(Some(from)),
        }
    }

    fn whole(&mut self, segment: usize) -> Result<Option<Point>> {
        let Some(seeds) = self.segments.get(segment).map(|segment| segment.seeds) else { return Ok(None) };
        self.records(segment, HEADER as usize, seeds).map(Some)
    }

    /// Reads the records of a segment from a place on, over those that do not hold. Returns where they end.
    fn records(&mut self, index: usize, from: usize, seeds: [u64; 2]) -> Result<Point> {
        let nothing = Point { at: Position { segment: 0, offset: 0 }, checksum: 0 };
        let Some(segment) = self.segments.get_mut(index) else { return Ok(nothing) };
        let number = segment.number;
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut segment.file)
            .and_then(|()| (&segment.file).take(segment.limit as u64).read_to_end(&mut bytes))
            .map_err(|e| Error::io("reading the log", e))?;
        let point = |at: usize, checksum| Point {
            at: Position { segment: number, offset: u32::try_from(at).unwrap_or(u32::MAX) },
            checksum,
        };
        let (mut at, mut seeds) = (from, seeds);
        loop {
            let tail = point(at, 0).at.to_word();
            let held = seeds.into_iter().find_map(|seed| record_at(&bytes, at, seed));
            if let Some((len, checksum)) = held {
                self.changes(&bytes, at, tail, true)?;
                (at, seeds) = (at + len, [checksum; 2]);
                continue;
            }
            let end = point(at, seeds.first().copied().unwrap_or(0));
            // A writer that was killed leaves one that does not hold, and the next segment goes on from before it.
            if self.goes_on_from(end).is_some() || is_blank(&bytes, at) {
                return Ok(end);
            }
            let name = segment_file::name(number);
            self.follower.problem(format!("a record of the file {name:?} at {at} is damaged"));
            match behind(&bytes, at, seeds) {
                Some((next, seed, is_whole)) => {
                    self.changes(&bytes, at, tail, is_whole)?;
                    (at, seeds) = (next, [seed; 2]);
                }
                None => {
                    self.changes(&bytes, at, tail, false)?;
                    // The next segment may say where this one ended.
                    let linked = self.segments.iter().filter_map(|segment| segment.previous);
                    let linked = linked.filter(|to| to.at.segment == number && to.at.offset as usize > at);
                    return Ok(linked.max_by_key(|to| to.at.offset).unwrap_or(end));
                }
            }
        }
    }

    /// The changes of a record, as far as their lengths lead.
    fn changes(&mut self, bytes: &[u8], at: usize, tail: u64, sure: bool) -> Result<()> {
        let end = at + u32_at(bytes, at + 8) as usize;
        let mut next = at + RECORD as usize;
        for _ in 0..u32_at(bytes, at + 12) {
            let Some((change, after)) = change_at(bytes, next).filter(|(_, after)| !sure || *after <= end)
            else {
                break;
            };
            self.follower.change(change.key, change.value, tail, sure)?;
            next = after;
        }
        Ok(())
    }
}

/// Whether nothing was written from a place on.
fn is_blank(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0))
}

/// The change at a place, and where the next one is.
fn change_at(bytes: &[u8], at: usize) -> Option<(Change<'_>, usize)> {
    let head = bytes.get(at..at + CHANGE as usize)?;
    let value_len = u32_at(head, 4) as usize;
    let [key_len, flags] =
        [8, 10].map(|at| u32_at(&[head.get(at..at + 2).unwrap_or_default(), &[0, 0]].concat(), 0));
    let key_at = at + CHANGE as usize;
    let value_at = key_at + key_len as usize;
    let key = bytes.get(key_at..value_at).filter(|key| (1..=MAX_KEY).contains(&key.len()))?;
    let value = bytes.get(value_at..value_at.checked_add(value_len)?)?;
    let value = (flags & u32::from(DELETED) == 0).then_some(value);
    Some((Change { key, value }, value_at + value_len))
}

/// The length of what can be a record, whatever its checksum.
fn shape_at(bytes: &[u8], at: usize) -> Option<usize> {
    let len = u32_at(bytes, at + 8) as usize;
    if len < RECORD as usize || !len.is_multiple_of(8) || at.checked_add(len)? > bytes.len() {
        return None;
    }
    let (mut next, end) = (at + RECORD as usize, at + len);
    for _ in 0..u32_at(bytes, at + 12) {
        next = change_at(bytes, next).map(|(_, next)| next).filter(|next| *next <= end)?;
    }
    (end - next < 8).then_some(len)
}

fn checksum_of(bytes: &[u8], at: usize, len: usize, seed: u64) -> Option<u64> {
    Some(XxHash3_64::oneshot_with_seed(seed, bytes.get(at + 8..at + len)?))
}

/// The length and checksum of the record at a place, if it goes on from a checksum.
fn record_at(bytes: &[u8], at: usize, seed: u64) -> Option<(usize, u64)> {
    let len = shape_at(bytes, at)?;
    let checksum = checksum_of(bytes, at, len, seed)?;
    (u64_at(bytes, at) == checksum).then_some((len, checksum))
}

/// Where the log goes on behind a record that does not hold, with the seed there; and whether only the record's checksum was
/// damaged.
fn behind(bytes: &[u8], at: usize, seeds: [u64; 2]) -> Option<(usize, u64, bool)> {
    let stored = u64_at(bytes, at);
    if let Some(len) = shape_at(bytes, at) {
        for seed in seeds {
            let computed = checksum_of(bytes, at, len, seed)?;
            if record_at(bytes, at + len, computed).is_some() {
                return Some((at + len, computed, true));
            }
        }
    }
    let places = || (at + RECORD as usize..bytes.len()).step_by(8);
    if let Some(next) = places().find(|next| record_at(bytes, *next, stored).is_some()) {
        return Some((next, stored, false));
    }
    // Of the next one nothing is known, either, but that another goes on from it.
    let leads_on = |next: &usize| {
        shape_at(bytes, *next).is_some_and(|len| record_at(bytes, next + len, u64_at(bytes, *next)).is_some())
    };
    places().find(leads_on).map(|next| (next, stored, false))
}
