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
//! [`Cache`] is typed, with serde; [`ByteCache`] takes and gives bytes; [`AsyncCache`] gives futures. With the feature `macros`,
//! `#[cachemere::memoize]` keeps the results of functions.
//!
//! # What can be watched
//!
//! [`stats`](Cache::stats) has the counts of one handle. With the feature `metrics` they go to the recorder that the program has
//! installed for the crate `metrics` when the handle is opened:
//!
//! | counter | labels | counts |
//! |---|---|---|
//! | `cachemere_front_hits_total` | store, namespace | reads answered from memory |
//! | `cachemere_store_hits_total` | store, namespace | reads answered from the store |
//! | `cachemere_misses_total` | store, namespace | reads that found nothing |
//! | `cachemere_undecodable_total` | store, namespace | values that could not be decoded |
//! | `cachemere_loads_total` | store, namespace | functions run for what was missing |
//! | `cachemere_evictions_total` | store | entries this process evicted over a limit |
//! | `cachemere_expirations_total` | store | expired entries this process removed |
//!
//! The log goes to `tracing`. At the level `DEBUG` there are spans, named `cachemere::…`, around all that takes long: `open`,
//! `close`, `load` (of [`Cache`] with the wait for others), `round` (of the background thread), `sweep`, `checkpoint`, `compact`,
//! `backup`, `verify`, `encrypt`. A hit in memory has none.
//!
//! # How it is built
//!
//! Data flows one way, and nothing below knows of anything above:
//!
//! | part | modules | does |
//! |---|---|---|
//! | face | `cache`, `entry`, `loading`, `memoized`, `bytes`, `batch`, `async_cache`, `iter`, `key_form`, `prefix`, `face`, `builder`, `salvage` | types, options, documentation |
//! | cache | `typed`, `keyed`, `schema`, `entries` | lifetimes, conditions, batches, walks, counts; what in memory is still good |
//! | load | `load` | files of records, sorted; the `entries` put them into the store |
//! | front | `front`, `per_environment` | decoded values in memory |
//! | pipeline | `pipeline`, `secret` | serializer, compressor, cipher; keys from secrets |
//! | store | `store` | LMDB, indexes, checkpoints, sweeping, limits, locks |
//! | all | `error`, `clock`, `counter`, `waiting` | what each of them needs |
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
mod counter;
mod entries;
mod entry;
mod error;
mod face;
mod front;
mod iter;
mod key_form;
mod keyed;
#[cfg(feature = "load")]
pub mod load;
mod loading;
#[cfg(feature = "macros")]
mod memoized;
mod per_environment;
mod pipeline;
mod prefix;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod salvage;
mod schema;
mod secret;
mod store;
mod sync;
mod typed;
#[cfg(feature = "valkey")]
pub mod valkey;
mod waiting;

pub use async_cache::AsyncCache;
pub use batch::{Batch, ByteBatch};
pub use builder::{Builder, ByteBuilder};
pub use bytes::{
    ByteCache, Condition, Known, LoadGuard, LoadTurn, LoadWatch, Payload, RawEntry, ScanPosition, Version,
};
pub use cache::Cache;
pub use clock::Clock;
#[cfg(feature = "load")]
pub use entries::ByteEntry;
pub use entries::{EntryInfo, EntryTimes, Held, NamespaceInfo, Stats, StoreInfo, VerifyReport};
pub use entry::Entry;
pub use error::{BoxError, Error, Result};
pub use front::{FrontKind, RemovalCause};
pub use iter::Iter;
pub use key_form::KeyForm;
#[cfg(feature = "macros")]
pub use memoized::CallKey;
#[cfg(feature = "zstd")]
pub use pipeline::Zstd;
pub use pipeline::{BorrowedKey, Cipher, Codec, Compressor, MessagePack, XChaCha20Poly1305};
pub use prefix::Prefix;
pub use salvage::{Repaired, Salvage, Salvaged};
pub use schema::Undecodable;
pub use secret::{Argon2Params, Secret};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use store::fuzzing;
pub use store::{BackendKind, Durability, LoadFailure, Maintenance, about_to_fork, forked};
pub use waiting::ask_while_waiting;

/// Keeps the results of a function, for all threads and processes that share the cache, and from run to run.
///
/// For functions, methods and `async fn`. A result is found by the function and its arguments. Of all threads, tasks and
/// processes that miss one at once, one runs the function, and the others wait for its result. Of a `Result<T, E>` only `Ok` is
/// kept. Needs the feature `macros`.
///
/// ```
/// use cachemere::{Cache, CallKey, memoize};
/// use std::sync::OnceLock;
/// use std::time::Duration;
///
/// // The type of the cache's values is that of the results.
/// static ANSWERS: OnceLock<Cache<CallKey, String>> = OnceLock::new();
///
/// fn answers() -> &'static Cache<CallKey, String> {
///     ANSWERS.get().expect("opened by main")
/// }
///
/// #[memoize(cache = answers(), ttl = Duration::from_secs(86_400), cache_if = |answer| !answer.is_empty())]
/// fn ask(model: &str, question: &str) -> Result<String, Box<dyn std::error::Error>> {
///     // A request that takes seconds.
///     Ok(format!("{model} does not know {question}"))
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("store");
/// let cache = Cache::builder(path).open()?;
/// ANSWERS.set(cache).unwrap();
/// assert_eq!(ask("m-1", "why")?, "m-1 does not know why");
/// assert_eq!(ask("m-1", "why")?, "m-1 does not know why");
/// assert_eq!(answers().stats()?.hits, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Options
///
/// - `cache = EXPRESSION` (needed): where the results are: a static, an argument, a field (`self.answers`), or what a function
///   gives. A [`Cache<CallKey, V>`](Cache), of an `async fn` an [`AsyncCache<CallKey, V>`](AsyncCache); see [`CallKey`].
/// - `key = EXPRESSION`: stands in the key for all arguments: `key = (model, prompt.trim())`.
/// - `ignore(NAMES)`: arguments, `self` among them, that the result does not depend on. An argument that is the cache is left out
///   by itself.
/// - `ttl = EXPRESSION`: how long a result lives: a `Duration` or an `Option` of one. As the cache says unless set.
/// - `version = EXPRESSION`: takes the place of the code in the key, see below.
/// - `name = "NAME"`: takes the place of the function's path in the key, so that the function can be moved and renamed.
/// - `cache_if = FUNCTION`: called with a reference to each result (of a `Result`, to what is in `Ok`); if it returns `false`, the
///   result is returned but not kept.
/// - `on_error = "raise"` or `"bypass"`: whether an error of the cache is returned, for which the function's error has to be
///   `From<cachemere::Error>`, or the function is called without it, with a warning in the log. `"raise"` unless set, and
///   `"bypass"` for functions that return no `Result`. A result that cannot be kept (it cannot be serialized, is too large, or
///   disk or store are full) is returned in either case, with a warning.
/// - `key_fn = NAME`: makes a function beside it that takes the same arguments and returns the [`CallKey`]: to look for a
///   result, or to remove it.
///
/// # What is in the key
///
/// The function's path with the types it is called with; its code; what [`serde::Serialize`] makes of the arguments, `self` among
/// them. What serde skips is not in it. Arguments that are equal have to be serialized alike; hash maps are put in order.
///
/// The code is the tokens of the body and the arguments, without attributes of the function, comments and spaces: a function that
/// was edited computes its results anew, and finds the old ones if the edit is undone. The functions that it calls do not count.
/// Paid results are better kept by a `version`, which the programmer changes when results are to be new. The path is told by
/// the compiler; one that spells it in another way would find no results, unless there is a `name`.
///
/// # Results
///
/// A hit clones the result. That of a function which returns an `Arc<V>` or a `Result<Arc<V>, E>` is shared with what is in
/// memory; its cache is one of `V`. `Result` and `Arc` are known by their names.
///
/// # What cannot be memoized
///
/// It is a compile error that says why: `&mut` arguments, since a hit would not change them; results that are borrowed or `impl
/// Trait`, or no results; arguments that have no key (not `Serialize`, of a type parameter without bounds, addresses, hash sets)
/// unless `key` or `ignore` take care of them; `const` and `unsafe` functions.
///
/// ```compile_fail
/// # use cachemere::{Cache, CallKey, memoize};
/// struct Client;
///
/// impl Client {
///     // error: `Client` cannot be in the key of a memoized call, as it is not `serde::Serialize`
///     #[memoize(cache = cache)]
///     fn ask(&self, question: &str, cache: &Cache<CallKey, String>) -> String {
///         question.to_uppercase()
///     }
/// }
/// ```
///
/// # Async
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("store");
/// use cachemere::{AsyncCache, Cache, CallKey, Error, memoize};
///
/// struct Client {
///     url: String,
///     answers: AsyncCache<CallKey, String>,
/// }
///
/// impl Client {
///     #[memoize(cache = self.answers, key = (&self.url, question), version = 1)]
///     async fn ask(&self, question: &str) -> Result<String, Error> {
///         // Some request to a server.
///         Ok(question.to_uppercase())
///     }
/// }
///
/// let answers = Cache::builder(path).open()?.into();
/// let client = Client { url: "https://example.org".to_owned(), answers };
/// assert_eq!(client.ask("why").await?, "WHY");
/// assert_eq!(client.ask("why").await?, "WHY");
/// assert_eq!(client.answers.stats().await?.hits, 1);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "macros")]
pub use cachemere_macros::memoize;

/// What the code that `memoize` writes calls. Not for programs: it changes without notice.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __memoized {
    pub use crate::memoized::{
        Function, Name, NoResult, Part, Plan, Raised, Returned, key, never, part, raise, sure,
    };
}
