//! The face: what a program has of the entries in a server, in whatever process it is.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::entries::{Entries, Opening};
use crate::bytes::{Condition, RawEntry, Version};
use crate::entries::EntryInfo;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::store::KeyHash;

/// The entries of one namespace of a store in Valkey or Redis: canonical keys and payload bytes in, the same out. From
/// [`Remote::builder`].
///
/// What it promises: this process reads what it has written as soon as the write has returned; what others write it reads
/// [`max_stale`](super::RemoteBuilder::max_stale) later at the latest, whatever the network does. Nothing is promised across a
/// failover of the server, nor of what the server evicts.
///
/// ```no_run
/// # fn main() -> cachemere::Result<()> {
/// use cachemere::valkey::Remote;
///
/// let remote = Remote::builder("valkey://cache.local:6379/0?store=app").open()?;
/// remote.insert(b"key", b"payload", 7, None)?;
/// let found = remote.get(b"key")?.unwrap();
/// assert_eq!((&*found.payload, found.tag), (&b"payload"[..], 7));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Beside those that are named, all operations have [`Error::Unreachable`] and [`Error::Refused`], and those that change
/// something [`Error::Uncertain`]: then it cannot be known whether it was done.
pub struct Remote {
    opening: Opening,
    current: ArcSwap<Entries>,
}

/// A payload that was found in a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The bytes that were inserted.
    pub payload: Arc<[u8]>,
    /// The tag that was inserted with them.
    pub tag: u8,
    /// Which writing of the key this is.
    pub version: Version,
}

/// How far a walk over all entries has come.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub(super) cursor: u64,
    pub(super) is_over: bool,
    /// The server may give a key several times.
    pub(super) seen: HashSet<KeyHash>,
}

impl Remote {
    pub(super) fn new(opening: Opening, entries: Entries) -> Remote {
        Remote { opening, current: ArcSwap::from_pointee(entries) }
    }

    /// Those of this very process. A forked child has a connection of its own, and a memory that is empty.
    fn entries(&self) -> Result<Arc<Entries>> {
        let present = self.current.load();
        if present.is_of_this_process() {
            return Ok(Arc::clone(&present));
        }
        let new = Arc::new(present.again(&self.opening)?);
        self.current.compare_and_swap(&present, new);
        Ok(self.current.load_full())
    }

    /// The payload of a key: from memory, if it is known to be no older than it may be, else from the server.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] or [`Error::Tampered`] if the entry is not what was written. It stays untouched.
    pub fn get(&self, key: &[u8]) -> Result<Option<Found>> {
        self.entries()?.get(key)
    }

    /// The payloads of several keys, in their order, read in one go. Those that are in memory are read again.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), of the first that cannot be read.
    pub fn get_many<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<Vec<Option<Found>>> {
        self.entries()?.get_many(keys)
    }

    /// Writes a payload for a key; with `ttl`, in place of the time to live of this handle.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`], [`Error::TooLarge`], and [`Error::Stage`] of compressor or cipher.
    pub fn insert(&self, key: &[u8], payload: &[u8], tag: u8, ttl: Option<Duration>) -> Result<()> {
        self.entries()?.insert(key, payload, tag, ttl)
    }

    /// Writes a payload if the condition holds; whether it did.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert). [`Error::Uncertain`] where the answer was lost: it is not tried again.
    pub fn insert_if(
        &self,
        key: &[u8],
        payload: &[u8],
        tag: u8,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool> {
        self.entries()?.insert_if(key, payload, tag, ttl, condition)
    }

    /// Removes a key; whether there was an entry.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.entries()?.remove(key)
    }

    /// Removes a key if its entry still is of this version; whether it was.
    ///
    /// # Errors
    ///
    /// [`Error::Uncertain`] where the answer was lost: it is not tried again.
    pub fn remove_if(&self, key: &[u8], version: Version) -> Result<bool> {
        self.entries()?.remove_if(key, version)
    }

    /// Gives the entry of a key another time to live from now on, `None` for ever; whether there is one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Error::Uncertain`].
    pub fn touch(&self, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        self.entries()?.touch(key, ttl)
    }

    /// What the header of a key's entry tells.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn info(&self, key: &[u8]) -> Result<Option<EntryInfo>> {
        self.entries()?.info(key)
    }

    /// How many entries there are. Looks at all keys of the server's database, in small steps.
    pub fn len(&self) -> Result<u64> {
        self.entries()?.len()
    }

    /// Whether there are no entries. Costs as much as [`len`](Self::len) if there are none.
    pub fn is_empty(&self) -> Result<bool> {
        self.entries()?.is_empty()
    }

    /// The next entries of a walk over all, in no order; `None` at its end. What is there from its beginning to its end is
    /// met once; of what is written or removed meanwhile nothing is promised.
    ///
    /// An entry that cannot be read is an error in its place.
    pub fn walk(&self, walk: &mut Walk) -> Result<Option<Vec<Result<RawEntry>>>> {
        self.entries()?.walk(walk)
    }

    /// Removes all entries of the namespace: at once for everybody, then the server's memory is freed in small steps.
    pub fn clear(&self) -> Result<()> {
        self.entries()?.clear()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.opening.address().to_string()).finish_non_exhaustive()
    }
}
