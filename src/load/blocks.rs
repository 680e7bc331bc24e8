//! Cuts a file into blocks at the ends of records, so that several threads can take records apart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::format::Records;
use super::source::Source;
use crate::error::{Error, Result};

/// Whole records of one file, one behind the other.
pub(super) struct Block {
    /// The file's place among those of the load.
    pub(super) file: usize,
    /// The block's place in the file.
    pub(super) number: u64,
    /// Where it begins in the decompressed file, in bytes.
    pub(super) offset: u64,
    /// The number of its first line, or record where there are no lines, counted from 1.
    pub(super) first: u64,
    pub(super) bytes: Vec<u8>,
}

/// How the end of a record is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    Lines,
    /// Lines, but for those inside quotes.
    Csv {
        delimiter: u8,
    },
    /// By the sizes in front of key and value.
    Sizes,
}

impl Cut {
    pub(super) fn of(records: &Records) -> Cut {
        match records {
            Records::TabSep | Records::NdJson { .. } | Records::Tuple2 { .. } => Cut::Lines,
            Records::Csv { delimiter, .. } => Cut::Csv { delimiter: *delimiter },
            Records::BinKv => Cut::Sizes,
        }
    }

    /// The length of the whole records at the start of `bytes`, and how many lines (or records) they are. At the end
    /// of the file the last line need not be ended.
    fn whole(self, bytes: &[u8], at_end: bool) -> (usize, u64) {
        let whole = match self {
            Cut::Sizes => return whole_pairs(bytes),
            _ if at_end => bytes.len(),
            Cut::Lines => memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            Cut::Csv { delimiter } => whole_rows(bytes, delimiter),
        };
        let lines = bytes.get(..whole).map_or(0, |bytes| memchr::memchr_iter(b'\n', bytes).count());
        (whole, lines as u64)
    }
}

/// The end of the last row that is ended. Quotes mean something only at the start of a field, as the reader of rows
/// has it.
fn whole_rows(bytes: &[u8], delimiter: u8) -> usize {
    let Some(first_quote) = memchr::memchr(b'"', bytes) else {
        return memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    };
    // Up to the line of the first quote nothing is quoted.
    let start = bytes.get(..first_quote).and_then(|head| memchr::memrchr(b'\n', head)).map_or(0, |at| at + 1);
    let (mut whole, mut quoted, mut at_start) = (start, false, true);
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        if quoted {
            // A doubled quote ends the quoting and begins it again.
            quoted = *byte != b'"';
            at_start = !quoted;
            continue;
        }
        match *byte {
            b'"' if at_start => quoted = true,
            b'\n' => whole = at + 1,
            _ => {}
        }
        at_start = *byte == delimiter || matches!(byte, b'\n' | b'\r');
    }
    whole
}

/// The length of the whole pairs, and their number.
fn whole_pairs(bytes: &[u8]) -> (usize, u64) {
    let (mut whole, mut records) = (0, 0);
    let sized = |at: usize| {
        let size = bytes.get(at..)?.first_chunk::<8>().map(|size| u64::from_le_bytes(*size))?;
        let end = usize::try_from(size).ok()?.checked_add(at + 8)?;
        (end <= bytes.len()).then_some(end)
    };
    while let Some(end) = sized(whole).and_then(sized) {
        whole = end;
        records += 1;
    }
    (whole, records)
}

/// A file being cut.
pub(super) struct Blocks {
    source: Source,
    file: usize,
    cut: Cut,
    number: u64,
    offset: u64,
    first: u64,
    /// The start of a record that is not whole yet.
    rest: Vec<u8>,
    block_size: usize,
    most: usize,
    at_end: bool,
}

impl Blocks {
    /// Blocks of about `block_size` bytes; a record may have `most`.
    pub(super) fn open(
        path: &Path,
        file: usize,
        cut: Cut,
        (block_size, most): (usize, usize),
        bytes_read: Arc<AtomicU64>,
    ) -> Result<Blocks> {
        let source = Source::open(path, bytes_read)?;
        Ok(Blocks {
            source,
            file,
            cut,
            number: 0,
            offset: 0,
            first: 1,
            rest: Vec::new(),
            block_size,
            most,
            at_end: false,
        })
    }

    pub(super) fn file(&self) -> usize {
        self.file
    }

    /// Bytes the file has, decompressed, as far as it was read.
    pub(super) fn bytes(&self) -> u64 {
        self.offset + self.rest.len() as u64
    }

    /// The next block; `None` at the end.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Block>> {
        let mut bytes = std::mem::take(&mut self.rest);
        while !self.at_end {
            // A record that is longer than a block is looked for in steps that double, not again for each block.
            let held = bytes.len();
            let step = self.block_size.max(held);
            bytes.resize(held + step, 0);
            let filled = self.source.fill(bytes.get_mut(held..).unwrap_or_default())?;
            bytes.truncate(held + filled);
            self.at_end = filled < step;
            let (whole, lines) = self.cut.whole(&bytes, self.at_end);
            if whole > 0 {
                return Ok(Some(self.split(bytes, whole, lines)));
            }
            if bytes.len() > self.most {
                return Err(self.bad(path, format!("it is longer than {} bytes", self.most)));
            }
        }
        match bytes.is_empty() {
            true => Ok(None),
            // Of pairs alone: what is left of a file of lines is a line.
            false => Err(self.bad(path, "the file ends before the record does".to_owned())),
        }
    }

    fn split(&mut self, mut bytes: Vec<u8>, whole: usize, lines: u64) -> Block {
        self.rest = bytes.split_off(whole);
        let block =
            Block { file: self.file, number: self.number, offset: self.offset, first: self.first, bytes };
        self.number += 1;
        self.offset += whole as u64;
        self.first += lines;
        block
    }

    fn bad(&self, path: &Path, detail: String) -> Error {
        let place = match self.cut {
            Cut::Sizes => format!("record {}, byte {}", self.first, self.offset),
            _ => format!("line {}", self.first),
        };
        Error::BadRecord { path: path.to_owned(), place, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
        let size = |bytes: &[u8]| (bytes.len() as u64).to_le_bytes();
        [&size(key)[..], key, &size(value), value].concat()
    }

    #[test]
    fn rows_are_cut_outside_quotes_only() {
        let whole = |text: &str| whole_rows(text.as_bytes(), b',');
        assert_eq!(whole("a,b\nc"), 4);
        assert_eq!(whole("a,\"b\nc"), 0);
        assert_eq!(whole("a,\"b\nc\"\nd"), 8);
        assert_eq!(whole("x,y\na,\"b\"\"\nc\"\nd"), 14);
        // A quote inside a field is a character as any.
        assert_eq!(whole("a\"b,c\nd,e\"\nf"), 11);
        assert_eq!(whole("\"a\"b\"\nc"), 6);
        assert_eq!(whole("no end"), 0);
    }

    #[test]
    fn pairs_are_cut_by_their_sizes_and_impossible_sizes_are_no_pair() {
        let pairs = [pair(b"a", b"1"), pair(b"", b"")].concat();
        assert_eq!(whole_pairs(&pairs), (pairs.len(), 2));
        assert_eq!(whole_pairs(&pairs[..pairs.len() - 1]), (18, 1));
        assert_eq!(whole_pairs(&[0xff; 20]), (0, 0));
    }

    fn cut(bytes: &[u8], cut: Cut, block: usize) -> Result<Vec<Block>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let mut blocks = Blocks::open(&path, 0, cut, (block, 1000), Arc::default()).unwrap();
        let mut all = Vec::new();
        while let Some(block) = blocks.next(&path)? {
            all.push(block);
        }
        assert_eq!(blocks.bytes(), bytes.len() as u64);
        Ok(all)
    }

    #[test]
    fn blocks_are_the_file_in_order_and_know_their_lines() {
        let text: String = (0..100).map(|n| format!("{}\n", "x".repeat(n % 37))).collect::<String>() + "last";
        for size in [1, 2, 7, 50, 5000] {
            let blocks = cut(text.as_bytes(), Cut::Lines, size).unwrap();
            let mut line = 1;
            let mut offset = 0;
            for (number, block) in blocks.iter().enumerate() {
                assert_eq!((block.number, block.first, block.offset), (number as u64, line, offset));
                line += block.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                offset += block.bytes.len() as u64;
            }
            let joined: Vec<u8> = blocks.into_iter().flat_map(|block| block.bytes).collect();
            assert_eq!(joined, text.as_bytes());
        }
    }

    #[test]
    fn pairs_that_end_too_early_and_lines_without_end_are_errors_with_their_place() {
        let pairs = [pair(b"a", b"1"), pair(b"bb", b"2")].concat();
        for size in [1, 10, 100] {
            assert_eq!(cut(&pairs, Cut::Sizes, size).unwrap().len().min(2), if size == 100 { 1 } else { 2 });
            let error = cut(&pairs[..pairs.len() - 1], Cut::Sizes, size).err().unwrap().to_string();
            assert!(error.contains("record 2, byte 18"), "{error}");
        }
        let error = cut(&[b'x'; 5000], Cut::Lines, 64).err().unwrap().to_string();
        assert!(error.contains("line 1") && error.contains("longer"), "{error}");
    }
}
