//! The kinds of backends: how a store's is recognized, and what each refuses.

use std::path::{Path, PathBuf};

use super::lmdb;
#[cfg(feature = "rocksdb")]
use super::rocks;
use crate::error::{Error, Result};
use crate::store::config::Request;
use crate::store::directory::place::Identity;
use crate::store::format::records::{LMDB_VERSION, ROCKS_VERSION};

/// The engine that keeps a store's records. Chosen when the store is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum BackendKind {
    /// LMDB: many processes write at once, and reads are the fastest.
    #[default]
    Lmdb,
    /// RocksDB: one process writes, and others that open the store read-only follow it. For stores that are written in
    /// bulk, or are much larger than memory. Needs the feature `rocksdb`.
    ///
    /// What is different: there is no limit in bytes ([`max_bytes`](crate::Builder::max_bytes) is refused, and
    /// [`map_size`](crate::Builder::map_size) has no meaning), [`reencrypt`](crate::Cache::reencrypt) is refused,
    /// [`compact`](crate::Cache::compact) works while other processes read, and the handles of a forked child can only
    /// read, after it has opened the store anew.
    RocksDb,
}

/// What a store in RocksDB has in its directory. Known also without the feature, to tell such a store.
const ROCKS_NAME: &str = "rocksdb";
pub(super) const TOKEN_NAME: &str = "token";

/// The directory of a RocksDB database in that of its store.
pub(super) fn rocks_path(dir: &Path) -> PathBuf {
    dir.join(ROCKS_NAME)
}

/// Whether a store of any kind makes something of this name in its directory.
pub(crate) fn is_own_name(name: &str) -> bool {
    lmdb::is_own_name(name) || [ROCKS_NAME, TOKEN_NAME].contains(&name)
}

/// The file or directory that holds the records, of each kind.
pub(crate) fn data_paths(dir: &Path) -> [PathBuf; 2] {
    [lmdb::data_path(dir), rocks_path(dir)]
}

impl BackendKind {
    /// What the store in a directory was made with; `None` if there is no store.
    pub(crate) fn found(dir: &Path) -> Option<BackendKind> {
        // Also what is only a link, which is refused later: it is not to be taken for nothing.
        let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
        if is_there(lmdb::data_path(dir)) {
            return Some(BackendKind::Lmdb);
        }
        is_there(rocks_path(dir)).then_some(BackendKind::RocksDb)
    }

    /// What tells the store in a directory from all others; `None` if there is none.
    pub(crate) fn identity_at(dir: &Path) -> Option<Identity> {
        let rocks = || {
            #[cfg(feature = "rocksdb")]
            return Identity::at(&rocks::token_path(dir));
            #[cfg(not(feature = "rocksdb"))]
            None
        };
        Identity::at(&lmdb::data_path(dir)).or_else(rocks)
    }

    /// The backend that the store in a directory has, or is to be made with. Refuses what it cannot do.
    pub(crate) fn settle(dir: &Path, request: &Request) -> Result<BackendKind> {
        let asked = request.backend;
        let kind = BackendKind::found(dir).or(asked).unwrap_or_default();
        let differs = |asked: String| Error::Incompatible {
            path: dir.to_owned(),
            what: "backend",
            stored: kind.name().into(),
            asked,
        };
        if let Some(asked) = asked.filter(|asked| *asked != kind) {
            return Err(differs(asked.name().into()));
        }
        if kind == BackendKind::RocksDb {
            if cfg!(not(feature = "rocksdb")) {
                let asked = "a build without the feature \"rocksdb\" (for Python: the distribution cachemere-rocksdb)";
                return Err(differs(asked.into()));
            }
            if request.max_bytes.flatten().is_some() {
                let reason =
                    "a store in RocksDB has no limit in bytes; limit its entries, or use the backend LMDB";
                return Err(Error::invalid("max_bytes", reason));
            }
            if request.map_size.is_some() {
                let reason = "a store in RocksDB is not mapped into memory; leave it out";
                return Err(Error::invalid("map_size", reason));
            }
        }
        Ok(kind)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            BackendKind::Lmdb => "LMDB",
            BackendKind::RocksDb => "RocksDB",
        }
    }

    /// The store format that this version writes.
    pub(crate) fn format_version(self) -> u32 {
        match self {
            BackendKind::Lmdb => LMDB_VERSION,
            BackendKind::RocksDb => ROCKS_VERSION,
        }
    }

    /// Whether one process writes, and the others follow it.
    pub(crate) fn has_one_writer(self) -> bool {
        self == BackendKind::RocksDb
    }
}
