//! What keeps the records of a store: one ordered map from bytes to bytes, with snapshots and atomic commits.
//!
//! This is the seam at which a store can be of another engine. Above it are entries, indexes, limits and sweeping, all
//! made of records; below it are files, locks between processes and what makes commits durable. An engine is a type that is
//! an [`Engine`], with transactions of its own ([`transaction`]) and an opening.

mod changes;
mod engine;
mod kind;
pub(crate) mod lmdb;
mod merged;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocks;
mod transaction;

use std::ops::Deref;
use std::sync::Arc;

pub(crate) use self::engine::{Engine, Room};
pub use self::kind::BackendKind;
#[cfg(feature = "rocksdb")]
use self::kind::rocks_path;
pub(crate) use self::kind::{data_paths, is_own_name};
use self::lmdb::Lmdb;
pub(crate) use self::lmdb::{Rewrite as NewData, SharedGuard as RoomGuard};
#[cfg(feature = "rocksdb")]
use self::rocks::Rocks;
pub(crate) use self::transaction::{ReadTxn, Records, Size, WriteTxn};
use super::config::Config;
use super::directory::locks::{LockFile, Member};
use crate::error::{Error, Result};

/// What was opened for a process that uses a store.
pub(crate) struct Opened {
    pub(crate) backend: Backend,
    /// `None`: this process cannot write here.
    pub(crate) locks: Option<Arc<LockFile>>,
    /// Whether no other process has the store open.
    pub(crate) is_alone: bool,
}

/// The engine of an open store. It is asked for what each operation needs by what it is, and for the rest as an [`Engine`].
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each opened environment, and it is never moved"
)]
pub(crate) enum Backend {
    Lmdb(Lmdb),
    #[cfg(feature = "rocksdb")]
    Rocks(Rocks),
}

impl Backend {
    /// Opens the store of a process that holds the gate and has told the others that it uses the store. `kept`: what it has
    /// open already of the file for locks.
    pub(crate) fn open(
        config: &Config,
        read_only: bool,
        member: &Member,
        kept: Option<&Arc<LockFile>>,
    ) -> Result<Opened> {
        match config.backend {
            BackendKind::Lmdb => lmdb::open(config, read_only, member, kept),
            #[cfg(feature = "rocksdb")]
            BackendKind::RocksDb => rocks::open(config, read_only, member, kept),
            #[cfg(not(feature = "rocksdb"))]
            BackendKind::RocksDb => Err(Error::Closed),
        }
    }

    /// The last committed transaction, of any process.
    #[inline]
    pub(crate) fn last_txn(&self) -> u64 {
        match self {
            Backend::Lmdb(lmdb) => lmdb.last_txn(),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.last_txn(),
        }
    }

    /// Opens a snapshot for `look`.
    pub(crate) fn read<T>(&self, look: impl FnOnce(ReadTxn<'_>) -> Result<T>) -> Result<T> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.read(look),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.read(look),
        }
    }

    pub(crate) fn write_txn(&self, size: Size) -> Result<WriteTxn<'_>> {
        match self {
            Backend::Lmdb(lmdb) => lmdb.write_txn(size).map(WriteTxn::Lmdb),
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.write_txn(),
        }
    }
}

impl Deref for Backend {
    type Target = dyn Engine;

    fn deref(&self) -> &Self::Target {
        match self {
            Backend::Lmdb(lmdb) => lmdb,
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks,
        }
    }
}

/// The error where only LMDB can do something.
pub(crate) fn not_in_rocks() -> Error {
    Error::invalid("backend", "only a store in LMDB can do this, and this one is in RocksDB")
}
