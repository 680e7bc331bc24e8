//! Loading files into a database: sorted, written as RocksDB's own files, and taken in all at once.
//!
//! Nothing of the database is touched before its files are complete. One that was not there is made beside its place and
//! renamed when it is filled, so that it is there wholly or not at all.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::existing::Existing;
use super::sst::Sst;
use super::{Database, Encoding, Mode, Options};
use crate::load::{Encode, Load, Merge, Sink, Summary, Watch, Workspace};
use crate::sync::lock;
use crate::{Error, Result};

/// Bytes of entries in a file, before compression. RocksDB splits files when it merges them; many small ones would have
/// to be opened until then.
const FILE_BYTES: u64 = 256 << 20;

/// Fills a database from files: all of their records, or none.
///
/// A record whose key the database has replaces its value. The database must not be open. If there is none, one is made
/// if the options say so. What does not fit into the memory budget, and the files to be taken in, are written to the disk of
/// the database: about as much as the records take, twice.
///
/// With `compact`, all that the database has is merged afterwards, which a database that was empty does not need.
///
/// # Errors
///
/// Before anything is read: those of [`Database::open`]. Those of [`Load::sort`].
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::load::{Format, Load, RawBytes, Records};
/// use cachemere::rocks::{self, Database, Encoding, Mode, Options};
///
/// let (file, path) = (dir.path().join("pairs.tsv"), dir.path().join("db"));
/// std::fs::write(&file, "b\t1\na\t2\n").unwrap();
/// let options = Options { create_if_missing: Some(true), ..Options::default() };
/// let raw = Encoding::new("raw", "own");
///
/// let load = Load::new([&file], Format::new(Records::TabSep), dir.path());
/// let summary = rocks::load(&path, &options, &raw, load, &RawBytes::default(), &mut (), false)?;
/// assert_eq!(summary.written, 2);
/// let database = Database::open(&path, Mode::ReadOnly, options, raw)?;
/// assert_eq!(database.get(b"a")?.as_deref(), Some(&b"2"[..]));
/// # Ok(())
/// # }
/// ```
pub fn load(
    path: &Path,
    options: &Options,
    encoding: &Encoding,
    load: Load,
    encode: &dyn Encode,
    watch: &mut dyn Watch,
    compact: bool,
) -> Result<Summary> {
    let place = Place::find(path, options, encoding)?;
    let workspace = Workspace::create(place.directory())?;
    let sink = Files { options, directory: workspace.path(), made: Mutex::default() };
    let summary = load.sort(encode, watch)?.write(&sink, watch)?;
    let files = sink.made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    place.take_in(&files, &workspace, compact)?;
    Ok(summary)
}

/// Where the entries go.
enum Place<'a> {
    /// A database, which nobody else can open while the files are read.
    Database(Database),
    /// Where there is none yet.
    New { path: &'a Path, parent: PathBuf, options: &'a Options, encoding: &'a Encoding },
}

impl<'a> Place<'a> {
    fn find(path: &'a Path, options: &'a Options, encoding: &'a Encoding) -> Result<Place<'a>> {
        if Existing::find(path)?.is_some() || options.create_if_missing != Some(true) {
            let database = Database::open(path, Mode::Primary, options.clone(), encoding.clone())?;
            return Ok(Place::Database(database));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| Error::io("making the directory of a RocksDB database", e))?;
        Ok(Place::New { path, parent: parent.to_owned(), options, encoding })
    }

    /// Where files can be made that are to be moved into it.
    fn directory(&self) -> &Path {
        match self {
            Place::Database(database) => database.path(),
            Place::New { parent, .. } => parent,
        }
    }

    fn take_in(&self, files: &[PathBuf], workspace: &Workspace, compact: bool) -> Result<()> {
        match self {
            Place::Database(database) => {
                fill(database, files, compact)?;
                database.close();
                Ok(())
            }
            Place::New { path, parent, options, encoding } => {
                let made = workspace.path().join("database");
                let database = Database::open(&made, Mode::Primary, (*options).clone(), (*encoding).clone())?;
                fill(&database, files, compact)?;
                database.close();
                put_in_place(&made, path, parent)
            }
        }
    }
}

fn fill(database: &Database, files: &[PathBuf], compact: bool) -> Result<()> {
    database.ingest(files)?;
    match compact {
        true => database.merge(),
        false => Ok(()),
    }
}

/// What is there by now is in the way: an empty directory is not.
fn put_in_place(made: &Path, path: &Path, parent: &Path) -> Result<()> {
    let renamed = fs::rename(made, path).and_then(|()| File::open(parent)?.sync_all());
    renamed.map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => Error::Busy {
            path: path.to_owned(),
            detail:
                "a database was made there while the files were read; nothing was changed, load them again"
                    .into(),
        },
        _ => Error::io("putting a RocksDB database in its place", error),
    })
}

/// Writes each range of keys as one file or more.
struct Files<'a> {
    options: &'a Options,
    directory: &'a Path,
    made: Mutex<Vec<PathBuf>>,
}

impl Sink for Files<'_> {
    fn write(&self, range: crate::load::Range<'_>, records: &mut Merge<'_>) -> Result<u64> {
        let options = self.options.to_rocksdb();
        let (mut written, mut number) = (0, 0);
        let mut open: Option<Sst<'_>> = None;
        while let Some(entry) = records.next()? {
            let mut sst = match open.take() {
                Some(sst) => sst,
                None => {
                    let path = self.directory.join(format!("{}-{number}.sst", range.number));
                    number += 1;
                    lock(&self.made).push(path.clone());
                    Sst::create(&options, &path)?
                }
            };
            sst.put(entry.key, entry.value)?;
            written += 1;
            match sst.bytes() >= FILE_BYTES {
                true => sst.finish()?,
                false => open = Some(sst),
            }
        }
        open.map_or(Ok(()), Sst::finish)?;
        Ok(written)
    }
}
