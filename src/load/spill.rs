//! Sorted records on the disk: written one behind the other, read through a window.
//!
//! Many runs share a file, so that their number is not limited by that of open files. The files have no name any more
//! when they are written, so the system frees them however the process ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use super::place::Place;
use super::workspace::Workspace;
use crate::error::{Error, Result};

/// Bytes written at once.
const WRITE: usize = 1 << 20;
/// A key is noted for each so many bytes, to begin in the middle and to part runs evenly; for twice as many each time
/// when they have become [`MOST_INDEXED`].
const INDEXED: u64 = 32 << 10;
const MOST_INDEXED: usize = 2048;
/// Lengths of key and value (4 bytes each), place.
const HEAD: usize = 16;

/// A file to write runs into.
pub(super) struct SpillFile {
    file: Arc<File>,
    end: u64,
}

impl SpillFile {
    pub(super) fn create(workspace: &Workspace, name: &str) -> Result<SpillFile> {
        let path = workspace.path().join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
        let file = options.open(&path).map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(SpillFile { file: Arc::new(file), end: 0 })
    }

    /// Begins a run. It is lost if it is not finished.
    pub(super) fn begin(&mut self) -> RunWriter<'_> {
        let (file, start, end) = (self.file.clone(), self.end, self.end);
        let run = DiskRun { file, start, end, indexed: INDEXED, index: Vec::new() };
        RunWriter { next_indexed: run.start, spill: self, run, buffer: Vec::with_capacity(WRITE + WRITE / 4) }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("spilling sorted records to the temporary directory of a load", error)
}

/// A run on the disk.
#[derive(Clone)]
pub(super) struct DiskRun {
    file: Arc<File>,
    start: u64,
    end: u64,
    /// Bytes from a key in the index to the next.
    indexed: u64,
    /// Keys and where their records begin.
    index: Vec<(Box<[u8]>, u64)>,
}

impl DiskRun {
    pub(super) fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Keys, each with about how many bytes come from it on up to the next.
    pub(super) fn samples(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.index.iter().map(|(key, _)| (&**key, self.indexed))
    }

    /// Reads from the first key that is not below `from`.
    pub(super) fn read(&self, from: Option<&[u8]>, window: usize) -> Result<Reader> {
        let behind = from.map_or(0, |from| self.index.partition_point(|(key, _)| **key <= *from));
        let start = behind.checked_sub(1).and_then(|at| self.index.get(at)).map_or(self.start, |(_, at)| *at);
        let mut reader = Reader {
            file: self.file.clone(),
            next: start,
            end: self.end,
            window: window.max(HEAD),
            buffer: Vec::new(),
            at: 0,
            key_len: 0,
            value_len: 0,
            place: Place::from_bytes([0; 8]),
            is_done: false,
        };
        reader.advance()?;
        while let Some(from) = from
            && !reader.is_done
            && reader.key() < from
        {
            reader.advance()?;
        }
        Ok(reader)
    }
}

/// A run being written.
pub(super) struct RunWriter<'a> {
    spill: &'a mut SpillFile,
    run: DiskRun,
    buffer: Vec<u8>,
    next_indexed: u64,
}

impl RunWriter<'_> {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8], place: Place) -> Result<()> {
        let at = self.run.end + self.buffer.len() as u64;
        if at >= self.next_indexed {
            if self.run.index.len() == MOST_INDEXED {
                let mut keeps = false;
                self.run.index.retain(|_| {
                    keeps = !keeps;
                    keeps
                });
                self.run.indexed *= 2;
            }
            self.run.index.push((key.into(), at));
            self.next_indexed = at + self.run.indexed;
        }
        self.buffer.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&place.to_bytes());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        if self.buffer.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.spill.file.write_all_at(&self.buffer, self.run.end).map_err(failed)?;
        self.run.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<DiskRun> {
        self.flush()?;
        self.spill.end = self.run.end;
        Ok(self.run)
    }
}

/// A run being read.
pub(super) struct Reader {
    file: Arc<File>,
    /// What is not in the buffer yet.
    next: u64,
    end: u64,
    window: usize,
    buffer: Vec<u8>,
    /// Where the present record begins in the buffer.
    at: usize,
    key_len: usize,
    value_len: usize,
    place: Place,
    is_done: bool,
}

impl Reader {
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(super) fn key(&self) -> &[u8] {
        let start = self.at + HEAD;
        self.buffer.get(start..start + self.key_len).unwrap_or_default()
    }

    pub(super) fn value(&self) -> &[u8] {
        let start = self.at + HEAD + self.key_len;
        self.buffer.get(start..start + self.value_len).unwrap_or_default()
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Goes to the next record.
    pub(super) fn advance(&mut self) -> Result<()> {
        if self.key_len != 0 || self.value_len != 0 || !self.buffer.is_empty() {
            self.at += HEAD + self.key_len + self.value_len;
        }
        if self.at >= self.buffer.len() && self.next >= self.end {
            self.is_done = true;
            return Ok(());
        }
        self.need(HEAD)?;
        let head = self.buffer.get(self.at..).and_then(|rest| rest.first_chunk::<HEAD>());
        let Some([k0, k1, k2, k3, v0, v1, v2, v3, place @ ..]) = head.copied() else {
            return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
        };
        self.key_len = u32::from_le_bytes([k0, k1, k2, k3]) as usize;
        self.value_len = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        self.place = Place::from_bytes(place);
        self.need(HEAD + self.key_len + self.value_len)
    }

    /// Sees to it that so many bytes of the present record are in the buffer.
    fn need(&mut self, bytes: usize) -> Result<()> {
        let held = self.buffer.len() - self.at;
        if held >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let wanted = self.window.max(bytes) - held;
        let step = wanted.min(usize::try_from(self.end - self.next).unwrap_or(usize::MAX));
        self.buffer.resize(held + step, 0);
        let space = self.buffer.get_mut(held..).unwrap_or_default();
        self.file.read_exact_at(space, self.next).map_err(failed)?;
        self.next += step as u64;
        if self.buffer.len() < bytes { Err(failed(std::io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Vec<u8> {
        format!("key {n:06}").into_bytes()
    }

    fn value(n: u64) -> Vec<u8> {
        vec![n as u8; (n as usize * 7) % 500]
    }

    #[test]
    fn runs_read_back_as_written_from_any_key_on_and_through_any_window() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(dir.path()).unwrap();
        let mut spill = SpillFile::create(&workspace, "spill").unwrap();
        let mut runs = Vec::new();
        for parity in 0..2 {
            let mut run = spill.begin();
            for n in (0..20_000).filter(|n| n % 2 == parity) {
                run.add(&key(n), &value(n), Place::new(3, n).unwrap()).unwrap();
            }
            runs.push(run.finish().unwrap());
        }
        assert!(runs[0].samples().count() > 1);
        for window in [1, 300, 1 << 20] {
            for (parity, run) in runs.iter().enumerate() {
                for from in [None, Some(0), Some(1), Some(9999), Some(19_997), Some(20_001)] {
                    let from_key = from.map(key);
                    let mut reader = run.read(from_key.as_deref(), window).unwrap();
                    let mut expected = (0..20_000).filter(|n| *n % 2 == parity as u64 && Some(*n) >= from);
                    while !reader.is_done() {
                        let n = expected.next().unwrap();
                        assert_eq!((reader.key(), reader.value()), (&key(n)[..], &value(n)[..]));
                        assert_eq!((reader.place().file(), reader.place().offset()), (3, n));
                        reader.advance().unwrap();
                    }
                    assert_eq!(expected.next(), None);
                }
            }
        }
    }

    #[test]
    fn an_empty_run_is_done_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(dir.path()).unwrap();
        let mut spill = SpillFile::create(&workspace, "spill").unwrap();
        let run = spill.begin().finish().unwrap();
        assert!(run.read(None, 100).unwrap().is_done() && run.bytes() == 0);
    }
}
