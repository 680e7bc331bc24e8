//! What can be known of a database before it is opened.

use std::fs;
use std::io;
use std::path::Path;

use super::mark::read_text;
use crate::{Error, Result};

/// The comparator that all databases here have: by bytes.
const COMPARATOR: &str = "leveldb.BytewiseComparator";

/// A database's settings that its files tell.
pub(super) struct Existing {
    /// As RocksDB names it, `nullptr` for none; `None` if the file that tells it is not there.
    prefix_extractor: Option<String>,
    comparator: Option<String>,
}

impl Existing {
    /// `None`: there is no database.
    ///
    /// # Errors
    /// There is something else, or a database that has lost its first file: making a new one would delete its data.
    pub(super) fn find(path: &Path) -> Result<Option<Existing>> {
        crate::address::refuse("path", path)?;
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::NotADirectory { path: path.to_owned() });
            }
            Err(error) => return Err(told(path, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(|error| told(path, error))?.file_name().to_string_lossy().into_owned());
        }
        if names.iter().any(|name| name == "CURRENT") {
            return Existing::read(path, &names).map(Some);
        }
        match names.iter().find(|name| !is_of_a_beginning(name)) {
            None => Ok(None),
            Some(name) if is_data(name) => Err(super::failure::damaged(
                path,
                &format!("there is {name}, but not CURRENT, the file with which a database begins"),
            )),
            Some(name) => Err(Error::Foreign {
                path: path.to_owned(),
                detail: format!("no database of RocksDB, but {name}").into(),
            }),
        }
    }

    fn read(path: &Path, names: &[String]) -> Result<Existing> {
        let mut found = Existing { prefix_extractor: None, comparator: None };
        let number = |name: &str| name.strip_prefix("OPTIONS-")?.parse::<u64>().ok();
        let Some((_, newest)) = names.iter().filter_map(|name| Some((number(name)?, name))).max() else {
            return Ok(found);
        };
        let text = match read_text(&path.join(newest)) {
            Ok(text) => text,
            // Its writer has just replaced it; RocksDB itself does not need it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(told(path, error)),
        };
        let of_default = text.split("[CFOptions \"default\"]").nth(1).unwrap_or_default();
        for line in of_default.lines().skip(1).map(str::trim).take_while(|line| !line.starts_with('[')) {
            if let Some(value) = line.strip_prefix("prefix_extractor=") {
                found.prefix_extractor = Some(value.to_owned());
            } else if let Some(value) = line.strip_prefix("comparator=") {
                found.comparator = Some(value.to_owned());
            }
        }
        Ok(found)
    }

    /// The prefix length to open it with, which must be its own.
    pub(super) fn prefix_length(&self, path: &Path, asked: Option<usize>) -> Result<Option<usize>> {
        let differs = |what, stored: String, asked: String| {
            Err(Error::Incompatible { path: path.to_owned(), what, stored, asked })
        };
        if let Some(comparator) = self.comparator.as_deref().filter(|name| !is_by_bytes(name)) {
            return differs("comparator", comparator.to_owned(), COMPARATOR.to_owned());
        }
        let Some(name) = &self.prefix_extractor else { return Ok(asked) };
        let own = fixed_prefix(name);
        match asked {
            None => Ok(own),
            Some(length) if own == Some(length) => Ok(own),
            Some(length) => {
                let stored = match own {
                    Some(own) => format!("a fixed prefix of {own} bytes"),
                    None if name == "nullptr" => "none".to_owned(),
                    None => name.clone(),
                };
                differs("prefix extractor", stored, format!("a fixed prefix of {length} bytes"))
            }
        }
    }
}

fn is_by_bytes(comparator: &str) -> bool {
    comparator == COMPARATOR || comparator == format!("{{id={COMPARATOR};}}") || comparator == "nullptr"
}

/// From `rocksdb.FixedPrefix.3` or `{id=rocksdb.FixedPrefix.3;…}`.
fn fixed_prefix(name: &str) -> Option<usize> {
    let (_, length) = name.split_once("rocksdb.FixedPrefix.")?;
    let digits = length.find(|c: char| !c.is_ascii_digit()).unwrap_or(length.len());
    length.get(..digits)?.parse().ok()
}

/// What is there when a process was killed while it made a database, before it had one.
fn is_of_a_beginning(name: &str) -> bool {
    ["LOCK", "IDENTITY", "LOG"].contains(&name)
        || ["LOG.old.", "MANIFEST-", "OPTIONS-", super::mark::FILE]
            .iter()
            .any(|start| name.starts_with(start))
        || name.ends_with(".dbtmp")
}

fn is_data(name: &str) -> bool {
    [".sst", ".log", ".blob"].iter().any(|end| name.ends_with(end))
}

fn told(path: &Path, error: io::Error) -> Error {
    Error::Io { context: format!("cannot read the directory {}", path.display()).into(), source: error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_extractors_are_read_in_the_ways_that_versions_write_them() {
        assert_eq!(fixed_prefix("rocksdb.FixedPrefix.3"), Some(3));
        assert_eq!(fixed_prefix("{id=rocksdb.FixedPrefix.12;}"), Some(12));
        assert_eq!(fixed_prefix("nullptr"), None);
        assert_eq!(fixed_prefix("rocksdb.CappedPrefix.3"), None);
    }

    #[test]
    fn data_without_its_first_file_is_not_taken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Existing::find(&dir.path().join("missing")).unwrap().is_none());
        fs::write(dir.path().join("LOCK"), "").unwrap();
        fs::write(dir.path().join("MANIFEST-000001"), "").unwrap();
        assert!(Existing::find(dir.path()).unwrap().is_none());
        fs::write(dir.path().join("000007.sst"), "").unwrap();
        assert!(Existing::find(dir.path()).err().unwrap().is_damaged());
        fs::remove_file(dir.path().join("000007.sst")).unwrap();
        fs::write(dir.path().join("data.mdb"), "").unwrap();
        assert!(Existing::find(dir.path()).err().unwrap().is_incompatible());
    }
}
