//! The file in a database's directory that says how its keys and values are encoded.
//!
//! RocksDB leaves files alone whose names it does not know. It is written by whoever makes the database, before anything
//! is in it, and never changed. Databases of other programs have none.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::{Error, Result};

pub(super) const FILE: &str = "CACHEMERE";
const TITLE: &str = "cachemere-rocksdb";
const VERSION: u32 = 1;

/// How keys and values were turned into bytes, by names that the user of a [`Database`](super::Database) chooses.
///
/// A database is opened only with the names it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub(super) keys: String,
    pub(super) values: String,
    pub(super) takes_unmarked: bool,
}

impl Encoding {
    /// Names, of letters and digits and what is between words.
    #[must_use]
    pub fn new(keys: impl Into<String>, values: impl Into<String>) -> Encoding {
        Encoding { keys: keys.into(), values: values.into(), takes_unmarked: true }
    }

    /// Refuses databases that have entries but do not say how they are encoded: another program made them.
    #[must_use]
    pub fn known_only(self) -> Encoding {
        Encoding { takes_unmarked: false, ..self }
    }

    fn told(&self) -> String {
        format!("keys {:?} and values {:?}", self.keys, self.values)
    }

    /// Whether a database of the other encoding can be opened with this one.
    pub(super) fn check(&self, path: &Path, stored: &Encoding) -> Result<()> {
        if self.keys == stored.keys && self.values == stored.values {
            return Ok(());
        }
        Err(Error::Incompatible {
            path: path.to_owned(),
            what: "encoding",
            stored: stored.told(),
            asked: self.told(),
        })
    }

    /// What is asked of a database that does not say, and has entries.
    pub(super) fn check_unmarked(&self, path: &Path) -> Result<()> {
        if self.takes_unmarked {
            return Ok(());
        }
        Err(Error::Unmarked { path: path.to_owned(), asked: self.told() })
    }
}

/// What a database's mark says; `None` if it has none.
pub(super) fn read(path: &Path) -> Result<Option<Encoding>> {
    let text = match read_text(&path.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(Error::io("reading how a RocksDB database is encoded", error)),
    };
    let mut lines = text.lines();
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    let broken =
        || super::failure::damaged(path, "the file CACHEMERE does not say how the entries are encoded");
    let version = value(TITLE).and_then(|version| version.parse::<u32>().ok()).ok_or_else(broken)?;
    if version > VERSION {
        return Err(Error::NewerFormat { found: version, supported: VERSION });
    }
    match (value("keys"), value("values")) {
        (Some(keys), Some(values)) => Ok(Some(Encoding::new(keys, values))),
        _ => Err(broken()),
    }
}

/// Text from a file of a database's directory, which should be short: of a longer one what is missing is missed.
pub(super) fn read_text(file: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 20;
    let mut text = String::new();
    File::open(file)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes the mark of a new database, whole or not at all.
pub(super) fn write(path: &Path, encoding: &Encoding) -> Result<()> {
    let text = format!("{TITLE} {VERSION}\nkeys {}\nvalues {}\n", encoding.keys, encoding.values);
    let new = path.join(format!("{FILE}.new"));
    let written = (|| {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path.join(FILE))?;
        File::open(path)?.sync_all()
    })();
    written.map_err(|error: io::Error| {
        // It may not even be there.
        let _ = fs::remove_file(&new);
        Error::io("writing how a RocksDB database is encoded", error)
    })
}
