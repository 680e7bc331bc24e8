//! One key of a cache, serialized once for several operations.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::entries::{EntryInfo, Expect, Lent};
use crate::error::{Error, Result};
use crate::key_form::KeyForm;
use crate::pipeline::BorrowedKey;
use crate::schema::Undecodable;
use crate::typed::{Inner, serialize};

/// A key of a cache, with or without a value: from [`Cache::entry`] or [`Cache::entry_by`].
///
/// Each operation is one of its own, as that of [`Cache`] with the same name; the key is serialized and hashed once for
/// all of them. It locks nothing: others can change the entry between two operations.
/// [`update`](Self::update) and [`or_insert_with`](Self::or_insert_with) look and write as one.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let scores: cachemere::Cache<str, u32> = cachemere::Cache::builder(dir.path().join("s")).open()?;
/// assert_eq!(*scores.entry("ada")?.or_insert(1)?, 1);
/// let mut entry = scores.entry("ada")?;
/// if !entry.contains()? || entry.get()? == Some(1) {
///     entry.update(|score| Some(score.unwrap_or(0) + 1))?;
/// }
/// assert_eq!(entry.take()?, Some(2));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of the operation of [`Cache`] with the same name.
pub struct Entry<'c, K: ?Sized + ToOwned, V> {
    inner: &'c Inner<K, V>,
    /// Has the key.
    scratch: Lent,
}

impl<K, V> Cache<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    /// The entry of a key, for several operations on it. Looks for nothing yet.
    ///
    /// # Errors
    ///
    /// [`Error::Serialize`] for the key.
    pub fn entry(&self, key: &K) -> Result<Entry<'_, K, V>> {
        let mut scratch = crate::entries::Scratch::lend();
        self.inner().encode_key(key, &mut scratch)?;
        Ok(Entry { inner: self.inner(), scratch })
    }

    /// The entry of a key, by a borrowed form of it: of `(String, u32)` by `(&str, u32)`, without allocating either.
    ///
    /// # Errors
    ///
    /// [`Error::Serialize`] for the key, also if it has a [serializer](crate::Builder::key_serializer) of one's own that takes
    /// no borrowed forms.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::Cache;
    ///
    /// let pages: Cache<(String, u32), String> = Cache::builder(dir.path().join("pages")).open()?;
    /// pages.insert(&("de".to_owned(), 7), &"sieben".to_owned())?;
    /// assert_eq!(pages.entry_by(&("de", 7))?.get()?.as_deref(), Some("sieben"));
    /// assert_eq!(*pages.entry_by(&("fr", 7))?.or_insert_with(|| "sept".to_owned())?, "sept");
    /// # Ok(())
    /// # }
    /// ```
    pub fn entry_by<Q: KeyForm<K> + ?Sized>(&self, key: &Q) -> Result<Entry<'_, K, V>> {
        let mut scratch = crate::entries::Scratch::lend();
        let encoded = self.inner().keys.encode_borrowed(BorrowedKey::new(&key), scratch.key.start());
        encoded.map_err(|error| serialize("key", error))?;
        Ok(Entry { inner: self.inner(), scratch })
    }
}

impl<K, V> Entry<'_, K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    /// See [`Cache::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&mut self) -> Result<Option<V>>
    where
        V: Clone,
    {
        Ok(self.get_shared()?.map(Arc::unwrap_or_clone))
    }

    /// See [`Cache::get_shared`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_shared(&mut self) -> Result<Option<Arc<V>>> {
        self.inner.look_up(&mut self.scratch, Undecodable::Error)
    }

    /// The value; if there is none, that of `load`, which is inserted: see [`Cache::get_or_insert_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn or_insert_with(&mut self, load: impl FnOnce() -> V) -> Result<Arc<V>> {
        self.try_or_insert_with(|| Ok(load()))
    }

    /// As [`or_insert_with`](Self::or_insert_with), for a `load` that can fail: see [`Cache::try_get_or_insert_with`].
    ///
    /// # Errors
    ///
    /// Those of `load`, and as there.
    pub fn try_or_insert_with<E: From<Error>>(
        &mut self,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        self.inner.load(&mut self.scratch, load)
    }

    /// The value; if there is none, `value`, which is inserted.
    ///
    /// # Errors
    ///
    /// As [`or_insert_with`](Self::or_insert_with).
    pub fn or_insert(&mut self, value: V) -> Result<Arc<V>> {
        self.or_insert_with(|| value)
    }

    /// See [`Cache::insert`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert(&mut self, value: &V) -> Result<()> {
        let life = self.inner.life_of(value)?;
        self.inner.put(&mut self.scratch, value, life, Expect::Anything).map(drop)
    }

    /// See [`Cache::insert_with_ttl`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert_with_ttl(&mut self, value: &V, ttl: Duration) -> Result<()> {
        let life = self.inner.entries.space.life.with_ttl(ttl)?;
        self.inner.put(&mut self.scratch, value, Some(life), Expect::Anything).map(drop)
    }

    /// See [`Cache::update`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn update(&mut self, change: impl FnMut(Option<V>) -> Option<V>) -> Result<Option<V>> {
        self.inner.update(&mut self.scratch, change)
    }

    /// See [`Cache::compare_and_set`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn compare_and_set(&mut self, expected: Option<&V>, new: Option<&V>) -> Result<bool> {
        self.inner.compare_and_set(&mut self.scratch, expected, new)
    }

    /// See [`Cache::remove`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn remove(&mut self) -> Result<bool> {
        self.inner.remove(&mut self.scratch, Expect::Anything)
    }

    /// See [`Cache::take`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take(&mut self) -> Result<Option<V>> {
        self.inner.take(&mut self.scratch)
    }

    /// See [`Cache::touch`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn touch(&mut self) -> Result<bool> {
        self.inner.touch(&mut self.scratch)
    }

    /// See [`Cache::contains`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn contains(&mut self) -> Result<bool> {
        self.inner.entries.contains(&mut self.scratch)
    }

    /// See [`Cache::info`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn info(&mut self) -> Result<Option<EntryInfo>> {
        self.inner.entries.info(&mut self.scratch)
    }
}

impl<K: ?Sized + ToOwned, V> fmt::Debug for Entry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}
