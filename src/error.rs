//! The one error type of the crate.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// What went wrong, in a form a program can act on and a person can read.
///
/// Each message names the next step. A failed write changed nothing. The `is_*` predicates group the kinds that a
/// caller usually treats alike.
///
/// A message tells its cause, and what that was caused by, so [`source`](std::error::Error::source) is always `None`: who
/// prints a chain of errors prints each once. The cause itself is the field `source` of the variants that have one.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("store");
/// use cachemere::{Cache, Secret};
///
/// let cache: Cache<str, u32> = Cache::builder(&path).encryption(Secret::key([7; 32])).open()?;
/// cache.insert("a", &1)?;
/// cache.close()?;
///
/// let wrong = Cache::<str, u32>::builder(&path).encryption(Secret::key([8; 32])).open();
/// assert!(wrong.unwrap_err().is_wrong_secret());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The secret does not unlock this store.
    #[error("wrong secret for the store at {path}: give the key or passphrase it was made with")]
    WrongSecret {
        /// The store.
        path: PathBuf,
    },
    /// The store is encrypted and was opened without a secret.
    #[error("the store at {path} is encrypted: open it with its key or passphrase")]
    MissingSecret {
        /// The store.
        path: PathBuf,
    },
    /// A secret was given for a store that is not encrypted.
    #[error("the store at {path} is not encrypted: open it without a secret, or encrypt into a new store")]
    NotEncrypted {
        /// The store.
        path: PathBuf,
    },
    /// An entry of an encrypted store, or a record that says what its entries are, is not what was written: altered, moved,
    /// or damaged.
    #[error(
        "an encrypted store was altered or damaged ({detail}): run verify, remove the entry, repair the store, or restore it from a backup"
    )]
    Tampered {
        /// Which check failed.
        detail: Cow<'static, str>,
    },
    /// The store was made with other settings than it was opened with. Nothing was touched.
    #[error(
        "incompatible {what}: the store at {path} has {stored}, this open asked for {asked}; open it with {stored}, or use another path or namespace"
    )]
    Incompatible {
        /// The store.
        path: PathBuf,
        /// Which setting differs.
        what: &'static str,
        /// What the store was made with.
        stored: String,
        /// What this open asked for.
        asked: String,
    },
    /// A database of RocksDB has entries, but no mark that says how they are encoded. Nothing was touched.
    #[error(
        "the database at {path} does not say how its entries are encoded: another program made it, so name their encoding, or use another path (this open expected {asked})"
    )]
    Unmarked {
        /// The database.
        path: PathBuf,
        /// What this open would have taken them for.
        asked: String,
    },
    /// The store, or an entry, names a pipeline stage that this program does not have.
    #[error("unknown {kind} stage {name:?}: register the stage with the builder before opening")]
    UnknownStage {
        /// `serializer`, `compressor` or `cipher`.
        kind: &'static str,
        /// The name, or the id in the entry's header.
        name: String,
    },
    /// The store was written by a newer version of this crate.
    #[error(
        "format version {found} is newer than {supported}, the newest this version reads: upgrade cachemere"
    )]
    NewerFormat {
        /// The version found.
        found: u32,
        /// The newest version this crate reads.
        supported: u32,
    },
    /// There is a database at the path, but it is not one of ours. Nothing was touched.
    #[error("{path} holds something else than a cachemere store ({detail}): choose another directory")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found.
        detail: Cow<'static, str>,
    },
    /// The files, or an entry, are damaged.
    #[error(
        "damaged store ({detail}): run verify, remove the entry, repair the store, or restore it from a backup"
    )]
    Damaged {
        /// What was found.
        detail: Cow<'static, str>,
    },
    /// The key or value could not be serialized. Nothing was written.
    #[error(
        "the {what} cannot be serialized: {}; nothing was written, change its type or give the builder another serializer",
        told(&**source)
    )]
    Serialize {
        /// `key` or `value`.
        what: &'static str,
        /// The serializer's own error.
        r#source: BoxError,
    },
    /// The stored bytes are not a value of the type asked for. The entry is untouched.
    #[error(
        "the stored {what} is not of the type asked for: {}; use another namespace for another type",
        told(&**source)
    )]
    Deserialize {
        /// `key` or `value`.
        what: &'static str,
        /// The serializer's own error.
        r#source: BoxError,
    },
    /// A pipeline stage failed, for a reason of its own.
    #[error(
        "the {stage} stage failed: {}; nothing was written, see what the stage needs and try again",
        told(&**source)
    )]
    Stage {
        /// The stage's name.
        stage: String,
        /// The stage's own error.
        r#source: BoxError,
    },
    /// Key and value together are larger than an entry may be.
    #[error("entry of {size} bytes is over the limit of {limit} bytes: store a reference to a file instead")]
    TooLarge {
        /// The size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A canonical key must have at least one byte.
    #[error("the key is empty: give it at least one byte")]
    EmptyKey,
    /// An option or argument makes no sense.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// The option or argument.
        what: &'static str,
        /// Why it is refused, and what is allowed.
        reason: Cow<'static, str>,
    },
    /// There is no store at the path, and this open may not create one.
    #[error("no store at {path}: check the path; an open that only reads makes none")]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path is a file; a store is a directory.
    #[error("{path} is not a directory: a store is a directory of its own")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Shared memory and locks do not work on this file system.
    #[error(
        "{path} is on {file_system}, where memory maps and locks are not coherent: use a local disk, or allow_unsupported_file_system(true) if only one machine and one process will ever open it"
    )]
    UnsupportedFileSystem {
        /// The path.
        path: PathBuf,
        /// The file system's name.
        file_system: String,
    },
    /// The store's files belong to somebody else, who could make them harm this process.
    #[error(
        "{path} belongs to user {owner}, not to this process's user {user}: a crafted file could crash this process; allow_foreign_owner(true) if you trust it"
    )]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// This process's effective user id.
        user: u32,
    },
    /// The store has reached its size limit and nothing can be evicted to make room.
    #[error("the store is full ({limit} bytes): {detail}")]
    StoreFull {
        /// The limit in bytes.
        limit: u64,
        /// Why no room could be made, and what to do.
        detail: Cow<'static, str>,
    },
    /// The disk is full. Earlier entries are readable; writes work again once there is room.
    #[error(
        "no space left for the store while {context}: free some space on its disk, or raise the quota or the limit of a file's size, and try again"
    )]
    DiskFull {
        /// What was being done.
        context: &'static str,
    },
    /// Another process or thread has the store in a way that does not allow this.
    #[error("the store at {path} is in use: {detail}")]
    Busy {
        /// The store.
        path: PathBuf,
        /// Who or what holds it, and what to do.
        detail: Cow<'static, str>,
    },
    /// The handle was closed.
    #[error("this cache handle is closed: open the store again")]
    Closed,
    /// The store cannot be written to, by this handle or by this process.
    #[error("the store at {path} cannot be written to: {detail}")]
    ReadOnly {
        /// The store.
        path: PathBuf,
        /// Why, and what to do.
        detail: &'static str,
    },
    /// The wait for another process was ended from outside, as
    /// [`ask_while_waiting`](crate::ask_while_waiting) was told to do.
    #[error("interrupted while another process was waited for; nothing was changed")]
    Interrupted,
    /// What was opened does not lie at its path any more.
    #[error(
        "the store that was at {path} was removed, renamed or replaced while it was open here; nothing was written: open it again"
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// A file to be loaded cannot be read. Nothing was changed.
    #[cfg(feature = "load")]
    #[error("{path} cannot be loaded: {detail}; nothing was changed, mend the file or leave it out")]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: Cow<'static, str>,
    },
    /// A file to be loaded has a record that is not in the format that was said. Nothing was changed.
    #[cfg(feature = "load")]
    #[error("{path}, {place}: {detail}; nothing was changed: mend the record, or skip bad records")]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// Its line; its number and the byte where it begins in formats without lines. Counted from 1.
        place: String,
        /// What is wrong.
        detail: Cow<'static, str>,
    },
    /// Two records of one key were loaded, or a key that was there before, which was to be an error. Nothing was changed.
    #[cfg(feature = "load")]
    #[error(
        "the key {key} is there twice: {first} and {second}; nothing was changed, remove one or have one of them chosen"
    )]
    DuplicateKey {
        /// The key as it stands in the file, shortened.
        key: String,
        /// Where it is.
        first: String,
        /// Where it is again.
        second: String,
    },
    /// The load was cancelled. Nothing was changed.
    #[cfg(feature = "load")]
    #[error("the load was cancelled: nothing was changed, start it again")]
    Cancelled,
    /// The server of a store on another machine is not reached, or does not answer. Nothing was changed.
    #[cfg(feature = "valkey")]
    #[error(
        "the server of {address} is not reached ({detail}); nothing was changed, see whether it runs and try again"
    )]
    Unreachable {
        /// The store's address, without a password.
        address: String,
        /// Why not.
        detail: Cow<'static, str>,
    },
    /// The answer to a change was lost, so that it cannot be known whether the server has made it.
    #[cfg(feature = "valkey")]
    #[error(
        "it is not known whether {operation} was done at {address} ({detail}): look at the key, and decide"
    )]
    Uncertain {
        /// The store's address, without a password.
        address: String,
        /// What was being done.
        operation: &'static str,
        /// How the answer was lost.
        detail: Cow<'static, str>,
    },
    /// The server refuses a command, as it is set up or as this user's rights are.
    #[cfg(feature = "valkey")]
    #[error("the server of {address} refuses {operation}: {detail}")]
    Refused {
        /// The store's address, without a password.
        address: String,
        /// What was being done.
        operation: &'static str,
        /// The server's own words.
        detail: String,
    },
    /// The operating system refused something.
    #[error("{context}: {}", told(source))]
    Io {
        /// What was being done.
        context: Cow<'static, str>,
        /// The system's error.
        r#source: io::Error,
    },
}

/// An error of any type, as pipeline stages return them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error in words with what it was caused by, each once: some tell their source themselves, others do not.
fn told(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut beneath = error.source();
    while let Some(source) = beneath {
        let more = source.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        beneath = source.source();
    }
    words
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The secret is wrong, missing, or given for a store that has none.
    #[must_use]
    pub fn is_wrong_secret(&self) -> bool {
        matches!(self, Error::WrongSecret { .. } | Error::MissingSecret { .. } | Error::NotEncrypted { .. })
    }

    /// Something in an encrypted store is not what was written.
    #[must_use]
    pub fn is_tampered(&self) -> bool {
        matches!(self, Error::Tampered { .. })
    }

    /// The store was made with other settings, stages or a newer version, or is not one of ours.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        matches!(
            self,
            Error::Incompatible { .. }
                | Error::Unmarked { .. }
                | Error::UnknownStage { .. }
                | Error::NewerFormat { .. }
                | Error::Foreign { .. }
        )
    }

    /// A key or value could not be turned into bytes, or back.
    #[must_use]
    pub fn is_serialization(&self) -> bool {
        matches!(self, Error::Serialize { .. } | Error::Deserialize { .. })
    }

    /// The store's own size limit is reached.
    #[must_use]
    pub fn is_store_full(&self) -> bool {
        matches!(self, Error::StoreFull { .. })
    }

    /// The disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::DiskFull { .. })
    }

    /// The disk or the store is full: with more room, the same would succeed.
    pub(crate) fn is_full(&self) -> bool {
        self.is_disk_full() || self.is_store_full()
    }

    /// The handle was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Closed)
    }

    /// The store was removed, renamed or replaced while it was open.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone { .. })
    }

    /// The file system cannot hold a store.
    #[must_use]
    pub fn is_unsupported_file_system(&self) -> bool {
        matches!(self, Error::UnsupportedFileSystem { .. })
    }

    /// The files or an entry are damaged (for encrypted entries see [`is_tampered`](Self::is_tampered)).
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Error::Damaged { .. })
    }

    /// The argument or option was refused before anything was done.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Error::Invalid { .. } | Error::EmptyKey | Error::TooLarge { .. })
    }

    /// What was to be loaded cannot be: a file that cannot be read, a bad record, a key that is there twice.
    #[cfg(feature = "load")]
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Error::Input { .. } | Error::BadRecord { .. } | Error::DuplicateKey { .. })
    }

    /// Somebody else holds the store; trying again later can help.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Error::Busy { .. })
    }

    /// The server of a store on another machine is not reached; nothing was changed.
    #[cfg(feature = "valkey")]
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::Unreachable { .. })
    }

    /// It cannot be known whether the change was made.
    #[cfg(feature = "valkey")]
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Error::Uncertain { .. })
    }

    /// The store or handle is read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Error::ReadOnly { .. })
    }

    /// Of a handle that was asked to read only.
    pub(crate) fn reads_only(path: PathBuf) -> Error {
        Error::ReadOnly { path, detail: "this handle was opened read-only; write through one that was not" }
    }

    /// Of a store in a directory that this process may not write to.
    pub(crate) fn not_permitted(path: PathBuf) -> Error {
        let detail = "this process may not write to its directory or to a file in it; change their permissions, or copy \
                      it to another place with backup";
        Error::ReadOnly { path, detail }
    }

    pub(crate) fn damaged(detail: impl Into<Cow<'static, str>>) -> Error {
        Error::Damaged { detail: detail.into() }
    }

    pub(crate) fn tampered(detail: impl Into<Cow<'static, str>>) -> Error {
        Error::Tampered { detail: detail.into() }
    }

    pub(crate) fn invalid(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::Invalid { what, reason: reason.into() }
    }

    /// An I/O error with what was being done; a full disk becomes its own kind.
    pub(crate) fn io(context: &'static str, source: impl Into<io::Error>) -> Error {
        let source = source.into();
        match source.raw_os_error() {
            Some(libc::ENOSPC) | Some(libc::EDQUOT) | Some(libc::EFBIG) => Error::DiskFull { context },
            _ => Error::Io { context: context.into(), source },
        }
    }
}
