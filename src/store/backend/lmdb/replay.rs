//! Finding the end of the log from its files alone, when nobody is there to tell.

use std::sync::Arc;

use super::map::Mode;
use super::position::{Point, Position};
use super::segment::{HEADER, Segment, Unusable};
use super::segment_file;
use super::segments::Part;
use crate::error::{Error, Result};
use crate::store::directory::store_dir::StoreDir;

/// The log as far as its checksums hold together.
pub(super) struct Replayed {
    pub(super) parts: Vec<Part>,
    pub(super) end: Point,
    /// Bytes of the records found.
    pub(super) bytes: u64,
    /// The number of the last file, whether it is a part of the log or not.
    pub(super) highest: u32,
    /// Files that are no part of it.
    pub(super) others: Vec<u32>,
}

impl Replayed {
    /// Whether there are files, or parts of them, that are not needed because LMDB has what is in them.
    pub(super) fn has_what_is_folded(&self, folded: Position) -> bool {
        !self.others.is_empty() || self.parts.iter().any(|part| part.segment.number == folded.segment)
    }

    /// Where no file is a part of the log.
    pub(super) fn nothing(dir: &StoreDir, from: Point) -> Result<Replayed> {
        let others = segment_file::list(dir)?;
        let highest = others.last().copied().unwrap_or(0);
        Ok(Replayed { parts: Vec::new(), end: from, bytes: 0, highest, others })
    }
}

/// Goes on from a point as long as there are records, and into a further segment only if its header names exactly the
/// point where that ended. What is found is listed in the tables of the segments that are `taken`, which nobody else uses.
///
/// # Errors
///
/// What a file of the log is that no power loss can have made of it: of another store, a newer version, cut off.
pub(super) fn replay(
    dir: &StoreDir,
    from: Point,
    store: &[u8; 16],
    mode: Mode,
    taken: bool,
) -> Result<Replayed> {
    let numbers = segment_file::list(dir)?;
    let highest = numbers.last().copied().unwrap_or(0);
    let mut segments = Vec::new();
    for number in numbers.iter().copied().filter(|number| *number >= from.at.segment) {
        match Segment::open(dir, number, store, mode) {
            Ok(segment) => segments.push(Arc::new(segment.behind(from))),
            Err(Unusable::Blank | Unusable::Refused(Error::NotFound { .. })) => {}
            Err(Unusable::Refused(error)) => return Err(error),
        }
    }
    let (mut parts, mut end, mut bytes) = (Vec::<Part>::new(), from, 0);
    let mut read = |segment: &Arc<Segment>, from: Point| -> Result<Option<Point>> {
        let mut end = from;
        if taken {
            segment.unlist();
        }
        while let Some((len, checksum)) = segment.record_at(end.at.offset, end.checksum) {
            if taken {
                segment.list_record(end.at.offset, len)?;
            }
            end = Point { at: Position { offset: end.at.offset + len, ..end.at }, checksum };
            bytes += u64::from(len);
        }
        // One without records is none that anything goes on from.
        Ok((end != from).then(|| {
            parts.push(Part { segment: segment.clone(), end: end.at.offset });
            end
        }))
    };
    let first = segments.iter().find(|segment| segment.number == from.at.segment);
    if let Some(first) = first.filter(|_| from.at.offset >= HEADER) {
        end = read(first, from)?.unwrap_or(from);
    }
    // One that was begun and given up names the same point as the one that was used, and has the lower number.
    while let Some(next) = segments.iter().rfind(|segment| {
        segment.number > end.at.segment && (segment.previous == end || super::fault::breaks("headers link"))
    }) {
        match read(next, next.first())? {
            Some(ended) => end = ended,
            None => break,
        }
    }
    let is_missing = |number: u32| numbers.binary_search(&number).is_err();
    let lacks_its_start = |segment: &&Arc<Segment>| {
        let previous = segment.previous;
        previous != from && previous.at.segment >= from.at.segment && is_missing(previous.at.segment)
    };
    // A segment is removed only when LMDB has all of it.
    if let Some(segment) = segments.iter().find(lacks_its_start) {
        return Err(Error::damaged(format!(
            "the log goes on in the file {:?} from a place that the data file has not come to; if an older data file was put \
             there by hand, remove the files \"log-*\"",
            segment_file::name(segment.number)
        )));
    }
    let is_part = |number: &u32| parts.iter().any(|part| part.segment.number == *number);
    let others = numbers.iter().copied().filter(|number| !is_part(number)).collect();
    Ok(Replayed { parts, end, bytes, highest, others })
}
