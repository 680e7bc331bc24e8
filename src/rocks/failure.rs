//! From what RocksDB tells, which is text, to this crate's errors.

use std::io;
use std::path::Path;

use rocksdb::ErrorKind;

use crate::Error;

/// An error of RocksDB's while `context`.
pub(super) fn tell(path: &Path, context: &'static str, error: &rocksdb::Error) -> Error {
    let text = error.as_ref();
    match error.kind() {
        // "While lock file: …/LOCK", or "lock hold by current process".
        ErrorKind::IOError if text.contains("lock file") || text.contains("lock hold by") => {
            in_use(path, text)
        }
        ErrorKind::IOError if text.contains("No space left") || text.contains("Disk quota") => {
            Error::DiskFull { context }
        }
        ErrorKind::IOError if text.contains("File too large") => Error::DiskFull { context },
        ErrorKind::Corruption => damaged(path, text),
        // A file that the manifest lists, and that is missing.
        ErrorKind::IOError if text.contains("No such file") && text.contains(".sst") => damaged(path, text),
        ErrorKind::InvalidArgument if text.contains("olumn families not opened") => Error::Foreign {
            path: path.to_owned(),
            detail: format!("a database of several column families: {text}").into(),
        },
        ErrorKind::InvalidArgument => {
            Error::Invalid { what: "option of RocksDB", reason: format!("{text}; nothing was done").into() }
        }
        ErrorKind::NotSupported if text.contains("read only") || text.contains("secondary") => {
            Error::reads_only(path.to_owned())
        }
        _ => Error::Io {
            context: format!("RocksDB at {}, {context}", path.display()).into(),
            source: io::Error::other(text.to_owned()),
        },
    }
}

fn in_use(path: &Path, text: &str) -> Error {
    let who = if text.contains("by current process") { "this process has" } else { "another process has" };
    Error::Busy {
        path: path.to_owned(),
        detail: format!(
            "{who} it open for writing, which one handle can: close that, or open this one read-only (it sees what is \
             there now) or as a secondary (it can catch up)"
        )
        .into(),
    }
}

pub(super) fn damaged(path: &Path, found: &str) -> Error {
    Error::Damaged { detail: format!("RocksDB at {}: {found}", path.display()).into() }
}

/// What a forked child is told that uses the database its parent has open for writing.
pub(super) fn forked(path: &Path) -> Error {
    Error::Busy {
        path: path.to_owned(),
        detail: "the process that this one was forked from has it open for writing: close it before the fork and open \
                 it in the child, or open it here read-only or as a secondary"
            .into(),
    }
}
