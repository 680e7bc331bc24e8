//! Sorted files, as RocksDB keeps them: writing some apart from a database, to be taken into one.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::SstFileWriter;

use super::Options;
use super::failure::tell;
use crate::{Error, Result};

/// Writes a file of entries whose keys ascend, to be [ingested](super::Database::ingest) by a database with the same
/// options. Whether there is a file: without entries there is none.
///
/// `next` gives the entries until it gives `None`. If it fails, or a key is not behind the one before, there is no file.
///
/// # Errors
/// Those of `next`; [`Invalid`](Error::Invalid) or [`Io`](Error::Io) for such a key; [`DiskFull`](Error::DiskFull).
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::rocks::{Options, write_sst};
///
/// let mut entries = [("a", "1"), ("b", "2")].into_iter();
/// let file = dir.path().join("entries.sst");
/// assert!(write_sst(&Options::default(), &file, || Ok(entries.next()))?);
/// # Ok(())
/// # }
/// ```
pub fn write_sst<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    options: &Options,
    file: &Path,
    mut next: impl FnMut() -> Result<Option<(K, V)>>,
) -> Result<bool> {
    let Some((key, value)) = next()? else { return Ok(false) };
    let written = (|| {
        let options = options.to_rocksdb();
        let mut writer = Sst::create(&options, file)?;
        writer.put(key.as_ref(), value.as_ref())?;
        while let Some((key, value)) = next()? {
            writer.put(key.as_ref(), value.as_ref())?;
        }
        writer.finish()
    })();
    if written.is_err() {
        // What is said of the cause matters more.
        let _ = fs::remove_file(file);
    }
    written.map(|()| true)
}

/// A file that is being written.
pub(super) struct Sst<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    last: Vec<u8>,
    bytes: u64,
}

impl<'a> Sst<'a> {
    pub(super) fn create(options: &'a rocksdb::Options, path: &Path) -> Result<Sst<'a>> {
        let writer = SstFileWriter::create(options);
        let opened = writer.open(path);
        opened.map_err(|error| tell(path, "making a file of entries", &error))?;
        Ok(Sst { writer, path: path.to_owned(), last: Vec::new(), bytes: 0 })
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        // RocksDB notices, too, and tells neither key nor which rule.
        if self.bytes > 0 && self.last.as_slice() >= key {
            return Err(Error::Invalid {
                what: "order",
                reason: format!(
                    "the key {} comes after {}: keys must ascend byte by byte, each once; sort the entries first",
                    key.escape_ascii(),
                    self.last.escape_ascii()
                )
                .into(),
            });
        }
        self.writer.put(key, value).map_err(|error| tell(&self.path, "writing a file of entries", &error))?;
        self.last.clear();
        self.last.extend_from_slice(key);
        // One more, so that an empty first entry counts.
        self.bytes += (key.len() + value.len() + 1) as u64;
        Ok(())
    }

    /// About how many bytes were put.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file and syncs it.
    pub(super) fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(|error| tell(&self.path, "writing a file of entries", &error))
    }
}
