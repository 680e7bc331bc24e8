//! Input files: opened, decompressed by what is in them, and counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

const BUFFER: usize = 256 << 10;

/// What a file begins with, if it is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compression {
    None,
    Gzip,
    Bzip2,
    Zstd,
    Xz,
}

impl Compression {
    fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            // Text can begin like that; then comes the magic of a block, or of the end.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Compression::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A frame that is skipped: some writers of zstd put one first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            _ => Compression::None,
        }
    }
}

/// The decompressed bytes of one file, wherever its members, streams or frames end.
pub(super) struct Source {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
}

impl Source {
    /// Opens a file. `bytes_read` counts what is read of it, before it is decompressed.
    pub(super) fn open(path: &Path, bytes_read: Arc<AtomicU64>) -> Result<Source> {
        let failed = |error| unreadable(path, error);
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Error::Input { path: path.to_owned(), detail: "it is a directory".into() });
        }
        // It is read once, from its start to its end. The kernel may not care.
        #[cfg(not(target_vendor = "apple"))]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        let mut file = BufReader::with_capacity(BUFFER, Counted { file, bytes_read });
        let compression = Compression::of(file.fill_buf().map_err(failed)?);
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(failed)?),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new(file, true)),
        };
        Ok(Source { path: path.to_owned(), reader })
    }

    /// Fills the buffer as far as the file goes, and says how far that is.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.path, error)),
            }
        }
        Ok(filled)
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let detail = match error.kind() {
        io::ErrorKind::UnexpectedEof => "its compressed data ends too early: it is truncated".into(),
        _ => error.to_string().into(),
    };
    Error::Input { path: path.to_owned(), detail }
}

struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let mut source = Source::open(file.path(), count.clone())?;
        let mut out = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            let filled = source.fill(&mut buffer)?;
            out.extend_from_slice(&buffer[..filled]);
            if filled < buffer.len() {
                assert_eq!(count.load(Ordering::Relaxed), bytes.len() as u64);
                return Ok(out);
            }
        }
    }

    #[test]
    fn all_members_streams_and_frames_are_read() {
        let (a, b) = (b"first\n".repeat(10_000), b"second\n".repeat(10_000));
        let both = [a.clone(), b.clone()].concat();
        assert_eq!(read(&both).unwrap(), both);
        for compress in [gzip, bzip2, zstd] {
            assert_eq!(read(&compress(&both)).unwrap(), both);
            assert_eq!(read(&[compress(&a), compress(&b)].concat()).unwrap(), both);
            assert_eq!(read(&[compress(&a), compress(b""), compress(&b)].concat()).unwrap(), both);
            assert_eq!(read(&compress(b"")).unwrap(), b"");
        }
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(&[0x1f]).unwrap(), [0x1f]);
        assert_eq!(read(b"BZh9 is a key\t1\n").unwrap(), b"BZh9 is a key\t1\n");
    }

    #[test]
    fn what_is_truncated_or_broken_is_an_error_that_names_the_file() {
        let noise: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for compress in [gzip, bzip2, zstd] {
            let whole = compress(&noise);
            for cut in [whole.len() / 2, whole.len() - 1] {
                let error = read(&whole[..cut]).unwrap_err();
                assert!(matches!(error, Error::Input { .. }), "{error}");
            }
            let mut broken = whole.clone();
            broken[whole.len() / 2] ^= 0x55;
            // The checksum of zstd is off unless asked for; a broken one may give other bytes.
            assert!(read(&broken).map_or(true, |bytes| bytes != noise));
        }
    }
}
