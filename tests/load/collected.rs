//! A sink that keeps what it gets, and files to load.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cachemere::load::{Format, Load, Merge, Range, RawBytes, Records, Sink, Summary, Workspace};

pub(crate) type Pairs = Vec<(String, String)>;

#[derive(Default)]
pub(crate) struct Collected {
    ranges: usize,
    parts: Mutex<Vec<(usize, Pairs)>>,
    finished: AtomicBool,
}

impl Collected {
    pub(crate) fn by_ranges(ranges: usize) -> Collected {
        Collected { ranges, ..Collected::default() }
    }

    /// All pairs in the order of the ranges, which must be that of their keys.
    pub(crate) fn pairs(self) -> Pairs {
        let mut parts = self.parts.into_inner().unwrap();
        parts.sort_by_key(|(number, _)| *number);
        let pairs: Pairs = parts.into_iter().flat_map(|(_, pairs)| pairs).collect();
        assert!(pairs.is_sorted_by(|a, b| a.0 < b.0));
        pairs
    }

    pub(crate) fn parts(&self) -> usize {
        self.parts.lock().unwrap().len()
    }
}

impl Sink for Collected {
    fn ranges(&self, _threads: usize) -> usize {
        self.ranges.max(1)
    }

    fn write(&self, range: Range<'_>, records: &mut Merge<'_>) -> cachemere::Result<u64> {
        std::fs::write(range.workspace.path().join(range.number.to_string()), b"prepared").unwrap();
        let mut pairs = Pairs::new();
        while let Some(entry) = records.next()? {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            pairs.push((text(entry.key), text(entry.value)));
        }
        let written = pairs.len() as u64;
        self.parts.lock().unwrap().push((range.number, pairs));
        Ok(written)
    }

    fn finish(&self, workspace: &Workspace) -> cachemere::Result<()> {
        assert!((0..self.parts()).all(|number| workspace.path().join(number.to_string()).exists()));
        assert!(!self.finished.swap(true, SeqCst));
        Ok(())
    }
}

/// Loads and collects, and asserts that nothing is left in the temporary directory, however it ends.
pub(crate) fn collect(load: impl Fn(&Path) -> Load) -> cachemere::Result<(Summary, Pairs)> {
    collect_by(1, load)
}

pub(crate) fn collect_by(ranges: usize, load: impl Fn(&Path) -> Load) -> cachemere::Result<(Summary, Pairs)> {
    let dir = tempfile::tempdir().unwrap();
    let sink = Collected::by_ranges(ranges);
    let load = load(dir.path());
    let number_type = load.format().number_type;
    let written =
        load.sort(&RawBytes { number_type }, &mut ()).and_then(|sorted| sorted.write(&sink, &mut ()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(sink.finished.load(SeqCst), written.is_ok());
    let summary = written?;
    assert!(sink.parts() <= ranges);
    let pairs = sink.pairs();
    assert_eq!(summary.written, pairs.len() as u64);
    assert_eq!(summary.records, summary.written + summary.duplicates);
    Ok((summary, pairs))
}

/// Loads one file of these bytes.
pub(crate) fn load_bytes(format: &Format, bytes: &[u8]) -> cachemere::Result<(Summary, Pairs)> {
    let file = file("file", bytes);
    collect(|dir| Load::new([&file.1], format.clone(), dir))
}

pub(crate) fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

pub(crate) fn pairs(of: &[(&str, &str)]) -> Pairs {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn tab_separated() -> Format {
    Format::new(Records::TabSep)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    // With checksums, as its own program writes.
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    out.include_checksum(true).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}
