//! Ordered mappings of bytes in RocksDB, for more pairs than a cache has: loaded once, read by many.
//!
//! A [`Database`] is a directory that one process writes. Others open it read-only ([`Mode::ReadOnly`]: as it is at that
//! moment) or follow it ([`Mode::Secondary`]). Keys are in the order of their bytes.
//!
//! It is independent of the cache: no headers, no lifetimes, no pipeline. What it has in common with it are the
//! [`Error`](crate::Error)s, and that a forked child notices that it is one.
//!
//! ```
//! # fn main() -> cachemere::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! use cachemere::rocks::{Database, Encoding, Mode, Options, Range, Scan};
//!
//! let options = Options { create_if_missing: Some(true), ..Options::default() };
//! let database = Database::open(dir.path().join("db"), Mode::Primary, options, Encoding::new("raw", "raw"))?;
//! database.put(b"P17", b"country")?;
//! database.put(b"P19", b"place of birth")?;
//! assert_eq!(database.get(b"P17")?.as_deref(), Some(&b"country"[..]));
//!
//! let mut scan = Scan::new(Range::prefix(b"P1"));
//! let found = scan.next_chunk(&database)?;
//! assert_eq!(found.keys().collect::<Vec<_>>(), [b"P17", b"P19"]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod database;
mod existing;
mod failure;
mod live;
mod load;
mod mark;
mod options;
mod range;
mod scan;
mod sst;

pub use batch::Batch;
pub use database::Database;
pub use live::Mode;
pub use load::load;
pub use mark::Encoding;
pub use options::{Compaction, Compression, CompressionOptions, Options};
pub use range::Range;
pub use scan::{Chunk, Scan};
pub use sst::write_sst;
