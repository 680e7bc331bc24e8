//! A way out of a damaged store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builder::store_request;
use crate::error::Result;
use crate::pipeline::Cipher;
use crate::secret::Secret;
use crate::store::{self, Request};

/// Copies what can be read of a damaged store into a new one.
///
/// Every entry that proves to be what was written is copied as it is, with its times, its tag and its place in the order, and
/// so are the namespaces and settings. The damaged files are read as files, not mapped, and are not changed. The new store is
/// verified before anybody can open it. Meanwhile nobody can open the damaged one, and it is refused with
/// [`Error::Busy`](crate::Error::Busy) while any process has it open. Only for stores in LMDB.
///
/// An encrypted store needs its secret; what is not authentic counts as lost.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::{ByteCache, Salvage};
///
/// let path = dir.path().join("store");
/// let cache = ByteCache::builder(&path).open()?;
/// cache.insert(b"tea", b"250", 0, None)?;
/// cache.close()?;
///
/// let copied = Salvage::of(&path).to(dir.path().join("new"))?;
/// assert_eq!((copied.entries, copied.lost), (1, 0));
///
/// let repaired = Salvage::of(&path).repair()?;
/// assert_eq!(repaired.kept, dir.path().canonicalize().unwrap().join("store.damaged"));
/// assert!(ByteCache::builder(&path).open()?.get(b"tea")?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is copied before `to` or `repair`"]
pub struct Salvage {
    request: Request,
}

impl Salvage {
    /// Of the store at a path.
    pub fn of(path: impl AsRef<Path>) -> Salvage {
        Salvage { request: store_request(path.as_ref().to_owned()) }
    }

    /// The key or passphrase of an encrypted store.
    pub fn encryption(mut self, secret: Secret) -> Self {
        self.request.secret = Some(secret);
        self
    }

    /// The stage that the store is encrypted with, instead of XChaCha20-Poly1305.
    pub fn cipher(mut self, cipher: impl Cipher) -> Self {
        self.request.cipher = Some(Arc::new(cipher));
        self
    }

    /// Goes on in a file system where memory maps or locks are not coherent between machines.
    pub fn allow_unsupported_file_system(mut self, allow: bool) -> Self {
        self.request.allow_unsupported_file_system = allow;
        self
    }

    /// Goes on if the files belong to another user.
    pub fn allow_foreign_owner(mut self, allow: bool) -> Self {
        self.request.allow_foreign_owner = allow;
        self
    }

    /// Copies what can be read into a new directory, which is complete or absent afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) while the store is open anywhere; [`Error::Damaged`](crate::Error::Damaged) when
    /// nothing can be read, because the key of an encrypted store is lost; those of opening the store that do not come from
    /// damage; [`Error::Invalid`](crate::Error::Invalid) when there is something at `to`, or the store is in RocksDB.
    pub fn to(self, to: impl AsRef<Path>) -> Result<Salvaged> {
        store::salvage::salvage(&self.request, to.as_ref()).map(Salvaged::new)
    }

    /// Puts what can be read in the place of the store, and keeps the damaged files in a directory beside it. Whoever is
    /// killed in the middle of it leaves the damaged store or the new one. A store that is not damaged is made anew.
    ///
    /// # Errors
    ///
    /// Those of [`to`](Self::to); then the store is as it was.
    pub fn repair(self) -> Result<Repaired> {
        let (report, kept) = store::salvage::repair(&self.request)?;
        Ok(Repaired { salvaged: Salvaged::new(report), kept })
    }

    /// Lets the next open make a new store in the place of one that cannot be opened because it is damaged. Its files are kept
    /// in a directory beside it, which is returned; `None`: it can be opened, as when another process has seen to it. For
    /// caches that are to go on whatever happened: what can be read may be salvaged later.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) while the store is open anywhere; those of opening it that do not come from damage.
    pub fn set_aside(self) -> Result<Option<PathBuf>> {
        store::salvage::set_aside(&self.request)
    }
}

impl std::fmt::Debug for Salvage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salvage").field("path", &self.request.path).finish_non_exhaustive()
    }
}

/// What was copied of a damaged store, and what was not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Salvaged {
    /// Entries that were copied, in all namespaces.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that are known to have been there and could not be read. There can have been more, if what lists them is lost
    /// with them.
    pub lost: u64,
    /// Namespaces and canonical keys of the first thousand of them whose key could be told.
    pub lost_keys: Vec<(String, Vec<u8>)>,
    /// Whether changes are missing, so that some entries may be as they were before they were last written or removed: a part
    /// of the log is lost, or it could not be told which pages were in use.
    pub may_be_old: bool,
    /// How many places were found damaged.
    pub problems: u64,
    /// The first hundred of them, described.
    pub described: Vec<String>,
}

impl Salvaged {
    fn new(report: store::salvage::Report) -> Salvaged {
        let store::salvage::Report { entries, bytes, lost, lost_keys, may_be_old, problems, described } =
            report;
        Salvaged { entries, bytes, lost, lost_keys, may_be_old, problems, described }
    }
}

/// What [`Salvage::repair`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// What the store has now.
    pub salvaged: Salvaged,
    /// The directory where the damaged files are.
    pub kept: PathBuf,
}
