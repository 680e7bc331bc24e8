//! Inserts and removals that are made together.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use crate::entries::{Age, Bytes, Change, Changes, EntryTimes};
use crate::error::Result;
use crate::store::KeyBuffer;
use crate::typed::{Inner, serialize};

/// Inserts and removals that [`Cache::write`](crate::Cache::write) makes in one transaction: all of them or none.
///
/// They come to what they would in their order, one by one: of several inserts of one key the last counts, and a key that
/// is inserted after it was removed is new, with its own creation time at the end of the order of insertion. Limits
/// are enforced after the last. Held in memory until they are written; a batch can be written again.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::{Batch, Cache};
///
/// let accounts: Cache<str, i64> = Cache::builder(dir.path().join("store")).open()?;
/// accounts.insert("pending", &30)?;
///
/// let mut batch = Batch::new();
/// batch.insert("from", 70).insert("to", 30).remove("pending");
/// accounts.write(&batch)?;
/// assert_eq!(accounts.get_many(["from", "to", "pending"])?, [Some(70), Some(30), None]);
/// # Ok(())
/// # }
/// ```
pub struct Batch<K: ?Sized + ToOwned, V> {
    changes: Vec<(K::Owned, Change<V>)>,
}

impl<K: ?Sized + ToOwned, V> Batch<K, V> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Batch { changes: Vec::new() }
    }

    /// Adds an insert, with the cache's own time to live. As [`Cache::insert`](crate::Cache::insert), a replaced value
    /// hands on its creation time and its place in the order of insertion.
    pub fn insert(&mut self, key: &K, value: V) -> &mut Self {
        self.add(key, Change::Insert(value, Age::New))
    }

    /// Adds an insert of a value that expires `ttl` after it was written. A `ttl` of zero is an error then.
    pub fn insert_with_ttl(&mut self, key: &K, value: V, ttl: Duration) -> &mut Self {
        self.add(key, Change::Insert(value, Age::Ttl(ttl)))
    }

    /// Adds an insert of a value that comes from elsewhere, with the times it had there.
    ///
    /// It is created, read and due to expire when `times` say, whatever the cache's own time to live; a time to idle
    /// counts from when it was read. A replaced value hands on its place in the order, not its creation time. Times of
    /// the future become the present (but for the expiry, of course), those before 1970 are an error when the batch is
    /// written. If the value is expired by then, it is not written, and the key is removed.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::{Batch, Cache, EntryTimes};
    /// use std::time::{Duration, SystemTime};
    ///
    /// let cache: Cache<str, u32> = Cache::builder(dir.path().join("store")).open()?;
    /// let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    /// let mut batch = Batch::new();
    /// batch.insert_with_times("a", 1, EntryTimes { created: yesterday, accessed: yesterday, expires: None });
    /// cache.write(&batch)?;
    /// let age = cache.info("a")?.unwrap().created.elapsed().unwrap();
    /// assert!(age >= Duration::from_secs(86_400));
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_with_times(&mut self, key: &K, value: V, times: EntryTimes) -> &mut Self {
        self.add(key, Change::Insert(value, Age::Given(times)))
    }

    /// Adds a removal, of a key that need not be there.
    pub fn remove(&mut self, key: &K) -> &mut Self {
        self.add(key, Change::Remove)
    }

    /// The number of inserts and removals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn add(&mut self, key: &K, change: Change<V>) -> &mut Self {
        self.changes.push((key.to_owned(), change));
        self
    }
}

impl<K, V> Batch<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn encode(&self, inner: &Inner<K, V>) -> Result<Changes<'static>> {
        let encode = |(key, change): &(K::Owned, Change<V>)| {
            let mut buffer = KeyBuffer::default();
            inner.keys.encode_canonical(key.borrow(), buffer.start()).map_err(|e| serialize("key", e))?;
            Ok(match change {
                Change::Insert(value, age) => (buffer, inner.insertion(value, *age)?),
                Change::Remove => (buffer, Change::Remove),
            })
        };
        self.changes.iter().map(encode).collect()
    }
}

impl<K: ?Sized + ToOwned, V> Default for Batch<K, V> {
    fn default() -> Self {
        Batch::new()
    }
}

impl<K: ?Sized + ToOwned, V: Clone> Clone for Batch<K, V>
where
    K::Owned: Clone,
{
    fn clone(&self) -> Self {
        Batch { changes: self.changes.clone() }
    }
}

impl<K: ?Sized + ToOwned, V> fmt::Debug for Batch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A [`Batch`] of bytes, for [`ByteCache::write`](crate::ByteCache::write).
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::{ByteBatch, ByteCache};
///
/// let cache = ByteCache::builder(dir.path().join("store")).open()?;
/// let mut batch = ByteBatch::new();
/// batch.insert(b"new", b"payload", 7, None).remove(b"old");
/// cache.write(&batch)?;
/// assert_eq!(cache.get(b"new")?.unwrap().tag, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ByteBatch {
    changes: Vec<(Vec<u8>, Change<Tagged>)>,
}

/// A payload and its tag.
type Tagged = (Vec<u8>, u8);

impl ByteBatch {
    /// An empty one.
    #[must_use]
    pub fn new() -> ByteBatch {
        ByteBatch::default()
    }

    /// Adds an insert; with a `ttl` that one, counted from when it is written, else the cache's own time to live.
    pub fn insert(
        &mut self,
        key: &[u8],
        payload: impl Into<Vec<u8>>,
        tag: u8,
        ttl: Option<Duration>,
    ) -> &mut Self {
        self.add(key, Change::Insert((payload.into(), tag), ttl.map_or(Age::New, Age::Ttl)))
    }

    /// Adds an insert with times from elsewhere; see [`Batch::insert_with_times`].
    pub fn insert_with_times(
        &mut self,
        key: &[u8],
        payload: impl Into<Vec<u8>>,
        tag: u8,
        times: EntryTimes,
    ) -> &mut Self {
        self.add(key, Change::Insert((payload.into(), tag), Age::Given(times)))
    }

    /// Adds a removal, of a key that need not be there.
    pub fn remove(&mut self, key: &[u8]) -> &mut Self {
        self.add(key, Change::Remove)
    }

    /// The number of inserts and removals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn changes(&self) -> Changes<'_> {
        let mut changes = Vec::with_capacity(self.len());
        for (key, change) in &self.changes {
            let change = match change {
                Change::Insert((payload, tag), age) => {
                    Change::Insert(Bytes { payload: payload.into(), tag: *tag }, *age)
                }
                Change::Remove => Change::Remove,
            };
            changes.push((KeyBuffer::from_key(key), change));
        }
        changes
    }

    fn add(&mut self, key: &[u8], change: Change<Tagged>) -> &mut Self {
        self.changes.push((key.to_vec(), change));
        self
    }
}

impl fmt::Debug for ByteBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBatch").field("len", &self.len()).finish_non_exhaustive()
    }
}
