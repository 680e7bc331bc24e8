//! An embedded persistent cache: LMDB on disk, a memory front that is never stale, entries that know their age,
//! optional compression and encryption. One directory, no server, any number of threads and processes.
//!
//! ```
//! # fn main() -> cachemere::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! use cachemere::{Cache, Secret, Zstd};
//! use std::time::Duration;
//!
//! #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct Answer { text: String, tokens: u32 }
//!
//! let cache: Cache<str, Answer> = Cache::builder(dir.path().join("answers"))
//!     .time_to_live(Duration::from_secs(30 * 86_400))
//!     .compression(Zstd::default())
//!     .encryption(Secret::key([7; 32]))
//!     .open()?;
//!
//! // Of all threads and processes that ask at once, one runs the closure.
//! let ask = || Answer { text: "42".to_owned(), tokens: 9 };
//! assert_eq!(cache.get_or_insert_with("the question", ask)?.tokens, 9);
//! assert!(cache.contains("the question")?);
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **Never stale.** A read that starts after any process's write has returned sees that write or a later one, also
//!   when it is answered from memory.
//! - **Never expired.** An expired entry is never returned, listed or counted.
//! - **Never another's value.** The full key decides, not its hash.
//! - **Nothing lost.** A killed process loses nothing that was written. A power loss brings the store back to the last
//!   checkpoint, at most a second old unless set otherwise, and never damages it. [`Durability::Sync`] loses nothing.
//! - **Nothing deleted behind your back.** No limit unless asked for; opening with another secret or pipeline than the
//!   store was made with is an error that names both.
//! - **Reads never write.** Access times are collected in memory and written in batches.
//! - **Forks are noticed.** A forked child opens the store anew by itself.
//!
//! # Faces
//!
//! [`Cache`] is typed, with serde; [`ByteCache`] takes and gives bytes; [`AsyncCache`] gives futures.
//!
//! # How it is built
//!
//! Data flows one way, and nothing below knows of anything above:
//!
//! | part | modules | does |
//! |---|---|---|
//! | face | `cache`, `loading`, `bytes`, `batch`, `async_cache`, `iter`, `face`, `builder` | types, options, documentation |
//! | cache | `typed`, `schema`, `entries` | lifetimes, conditions, batches, walks, counts; what in memory is still good |
//! | load | `load` | files of records, sorted; the `entries` put them into the store |
//! | front | `front`, `per_environment` | decoded values in memory |
//! | pipeline | `pipeline`, `secret` | serializer, compressor, cipher; keys from secrets |
//! | store | `store` | LMDB, indexes, checkpoints, sweeping, limits, locks |
//!
//! Beside it stand `rocks` (feature `rocksdb`), ordered mappings in RocksDB, and `valkey` (feature `valkey`), entries in a
//! server, which share pipeline, headers and keys with it.
//!
//! `docs/ARCHITECTURE.md` in the repository follows a write, a hit and a miss from file to file; `docs/DESIGN.md` explains
//! the decisions, `docs/FORMAT.md` the bytes, `docs/SECURITY.md` what is and what is not protected.

// Nothing in the library may panic on what it reads or is given, nor print. Tests may.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

#[cfg(not(unix))]
compile_error!(
    "cachemere needs a Unix: its locks among processes are those of open file descriptions, its files are found by device and \
     inode, and it takes part in fork()"
);

mod address;
mod async_cache;
mod batch;
mod builder;
mod bytes;
mod cache;
mod clock;
mod entries;
mod error;
mod face;
mod front;
mod iter;
#[cfg(feature = "load")]
pub mod load;
mod loading;
mod per_environment;
mod pipeline;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod schema;
mod secret;
mod store;
mod typed;
#[cfg(feature = "valkey")]
pub mod valkey;
mod waiting;

pub use async_cache::AsyncCache;
pub use batch::{Batch, ByteBatch};
pub use builder::{Builder, ByteBuilder};
pub use bytes::{ByteCache, Condition, Known, LoadGuard, Payload, RawEntry, ScanPosition, Version};
pub use cache::Cache;
pub use clock::Clock;
#[cfg(feature = "load")]
pub use entries::ByteEntry;
pub use entries::{EntryInfo, EntryTimes, Held, NamespaceInfo, Stats, StoreInfo, VerifyReport};
pub use error::{BoxError, Error, Result};
pub use front::FrontKind;
pub use iter::Iter;
#[cfg(feature = "zstd")]
pub use pipeline::Zstd;
pub use pipeline::{Cipher, Codec, Compressor, MessagePack, XChaCha20Poly1305};
pub use schema::Undecodable;
pub use secret::{Argon2Params, Secret};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use store::fuzzing;
pub use store::{BackendKind, Durability, Maintenance, about_to_fork, forked};
pub use waiting::ask_while_waiting;
