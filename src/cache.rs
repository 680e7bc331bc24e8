//! The typed face.

use std::borrow::Borrow;
use std::fmt;
use std::iter::FusedIterator;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::builder::Builder;
use crate::entries::{
    Age, Direction, Entries, EntryInfo, Expect, Life, Raw, Scratch, Stats, Written, lifetime,
};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::face::store_operations;
use crate::front::{Front, FrontOptions};
use crate::iter::{Iter, Walk};
use crate::pipeline::Codec;
use crate::prefix::Prefix;
use crate::schema::Undecodable;
use crate::store::KeyBuffer;
use crate::typed::{Inner, Listener, Rules, serialize};

/// A persistent cache from keys of type `K` to values of type `V`.
///
/// A handle is cheap to clone and can be used from any thread; clones share one front. Any number of processes can have
/// the same directory open. Keys can be of unsized types: a `Cache<str, V>` takes `&str`.
///
/// No operation keeps a lock while code of yours runs (serializers, loaders, closures of [`update`](Self::update)).
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::Cache;
/// use std::time::Duration;
///
/// let cache: Cache<str, Vec<f32>> = Cache::builder(dir.path().join("embeddings"))
///     .time_to_live(Duration::from_secs(30 * 86_400))
///     .open()?;
/// cache.insert("hello", &vec![0.25, -1.0])?;
/// assert_eq!(cache.get("hello")?, Some(vec![0.25, -1.0]));
/// assert_eq!(cache.len()?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Beside those that are named, all operations have [`Error::Closed`] after [`close`](Self::close), [`Error::Gone`] when the
/// store was removed or replaced, [`Error::Interrupted`] and [`Error::Io`].
pub struct Cache<K: ?Sized + ToOwned, V> {
    inner: Arc<Inner<K, V>>,
}

impl<K, V> Cache<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    /// Starts to describe the cache to open; see [`Builder`].
    pub fn builder(path: impl AsRef<Path>) -> Builder<K, V> {
        Builder::new(path.as_ref())
    }

    /// Starts to describe a cache in a new directory, which is removed with the last handle on it in this process: for tests.
    ///
    /// Each `open` of the builder makes another one, where the system has its temporary files (`TMPDIR`, else `/tmp`). With
    /// `TMPDIR=/dev/shm` it is in memory. Other handles on it come from [`sibling`](Self::sibling), and
    /// [`AsyncCache`](crate::AsyncCache) is made of it as of any other. A process that is killed, or ends while it has the
    /// handle in a `static`, leaves the directory behind.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// use cachemere::Cache;
    ///
    /// let cache: Cache<str, u32> = Cache::temporary().open()?;
    /// cache.insert("a", &1)?;
    /// assert_eq!(cache.get("a")?, Some(1));
    ///
    /// let path = cache.path().to_owned();
    /// drop(cache);
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn temporary() -> Builder<K, V> {
        Builder::temporary()
    }

    pub(crate) fn new(
        entries: Entries,
        keys: Arc<dyn Codec<K>>,
        values: Arc<dyn Codec<V, V>>,
        front: FrontOptions,
        listener: Option<Listener<K, V>>,
        rules: Rules<V>,
    ) -> Cache<K, V> {
        Cache { inner: Arc::new(Inner::new(entries, keys, values, front, listener, rules)) }
    }

    pub(crate) fn inner(&self) -> &Inner<K, V> {
        &self.inner
    }

    /// Does something with the entry of a key.
    #[inline]
    pub(crate) fn with_key<T>(
        &self,
        key: &K,
        work: impl FnOnce(&Inner<K, V>, &mut Scratch) -> Result<T>,
    ) -> Result<T> {
        let inner = &*self.inner;
        Scratch::with(|scratch| {
            inner.encode_key(key, scratch)?;
            work(inner, scratch)
        })
    }

    /// As [`get_shared`](Self::get_shared), unless it would wait for something: then `None`, as if nobody had asked.
    pub(crate) fn get_in_memory(&self, key: &K) -> Result<Option<Arc<V>>> {
        self.with_key(key, |inner, scratch| {
            let Some(at) = inner.entries.at_now()? else { return Ok(None) };
            Ok(inner.find_in_front(&at, scratch).map(|item| {
                at.was_given(&item.held);
                item.value.clone()
            }))
        })
    }

    /// The value of a key, or `None` if there is none or it is expired.
    ///
    /// A value that is in the front is cloned out of it; one that is not is read from the store, decoded and added to
    /// the front.
    ///
    /// # Errors
    ///
    /// [`Error::Serialize`] for the key, [`Error::Deserialize`] if the stored value is of another type or schema (unless
    /// [`on_undecodable`](Builder::on_undecodable) makes that a miss), [`Error::Damaged`] or [`Error::Tampered`] if the entry is not what was written. The entry stays untouched.
    pub fn get(&self, key: &K) -> Result<Option<V>>
    where
        V: Clone,
    {
        Ok(self.get_shared(key)?.map(Arc::unwrap_or_clone))
    }

    /// As [`get`](Self::get), without cloning the value: it is shared with the front.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_shared(&self, key: &K) -> Result<Option<Arc<V>>> {
        self.with_key(key, |inner, scratch| inner.look_up(scratch, Undecodable::Error))
    }

    /// As [`get_shared`](Self::get_shared), for who loads what is missing.
    pub(crate) fn get_or_miss(&self, key: &K) -> Result<Option<Arc<V>>> {
        self.with_key(key, |inner, scratch| inner.look_up(scratch, Undecodable::Miss))
    }

    /// Inserts a value, in place of the key's present one if any, with the cache's own time to live.
    ///
    /// A replaced value keeps its creation time and its place in the order of insertion.
    ///
    /// # Errors
    ///
    /// [`Error::Serialize`], [`Error::TooLarge`], [`Error::StoreFull`], [`Error::DiskFull`], [`Error::ReadOnly`].
    /// Nothing was written then.
    pub fn insert(&self, key: &K, value: &V) -> Result<()> {
        self.put(key, value, self.inner.life_of(value)?, Expect::Anything).map(drop)
    }

    /// Inserts a value that expires `ttl` from now, whatever the cache's own time to live is.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), and [`Error::Invalid`] for a `ttl` of zero.
    pub fn insert_with_ttl(&self, key: &K, value: &V, ttl: Duration) -> Result<()> {
        let life = self.inner.entries.space.life.with_ttl(ttl)?;
        self.put(key, value, Some(life), Expect::Anything).map(drop)
    }

    /// Inserts a value if the key has none; whether it did.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn insert_if_absent(&self, key: &K, value: &V) -> Result<bool> {
        Ok(self.put(key, value, self.inner.life_of(value)?, Expect::Absent)? != Written::Refused)
    }

    fn put(&self, key: &K, value: &V, life: Option<Life>, expect: Expect) -> Result<Written> {
        self.with_key(key, |inner, scratch| inner.put(scratch, value, life, expect))
    }

    /// Inserts all values in one transaction: all of them or, on an error, none. Of equal keys the last one wins.
    ///
    /// Costs about a third of single inserts for each value, and keeps other writers waiting meanwhile; for
    /// more than some ten thousand values call it several times.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert). Nothing of them was written then.
    pub fn insert_many<'a, Q>(&self, items: impl IntoIterator<Item = (Q, &'a V)>) -> Result<()>
    where
        Q: Borrow<K>,
        V: 'a,
    {
        let inner = &*self.inner;
        let mut changes = Vec::new();
        for (key, value) in items {
            let mut buffer = KeyBuffer::default();
            inner.keys.encode_canonical(key.borrow(), buffer.start()).map_err(|e| serialize("key", e))?;
            changes.push((buffer, inner.insertion(value, Age::New)?));
        }
        inner.freeing(inner.entries.write(changes))
    }

    /// Makes the inserts and removals of a [`Batch`] in one transaction: all of them or, on an error, none. Nobody ever
    /// sees a part of them, also if the process is killed.
    ///
    /// Costs as [`insert_many`](Self::insert_many).
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), and [`Error::Invalid`] for a `ttl` of zero or times before 1970.
    pub fn write(&self, batch: &Batch<K, V>) -> Result<()> {
        let inner = &*self.inner;
        inner.freeing(inner.entries.write(batch.encode(inner)?))
    }

    /// The values of several keys, in the order of the keys, all from one snapshot of the store.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), if it is so for one of them; but of a value that cannot be decoded only if
    /// [`on_undecodable`](Builder::on_undecodable) says so.
    pub fn get_many<Q: Borrow<K>>(&self, keys: impl IntoIterator<Item = Q>) -> Result<Vec<Option<V>>> {
        let inner = &*self.inner;
        let mut buffers = Vec::new();
        for key in keys {
            let mut buffer = KeyBuffer::default();
            inner.keys.encode_canonical(key.borrow(), buffer.start()).map_err(|e| serialize("key", e))?;
            buffers.push(buffer);
        }
        let mut values = Vec::new();
        values.resize_with(buffers.len(), || None);
        let found = inner.entries.get_many(&mut buffers)?;
        for (place, read, payload) in found {
            if let Some(value) = values.get_mut(place) {
                *value =
                    inner.decoded(Undecodable::Miss, inner.decode_value(&payload, read.origin.header.tag))?;
            }
        }
        Ok(values)
    }

    /// Loads the records of files: all of them, or, on an error or if the process is killed, none.
    ///
    /// `make` turns each record into a key and a value; several threads call it at once. Otherwise as
    /// [`ByteCache::load`](crate::ByteCache::load).
    ///
    /// # Errors
    ///
    /// As there. A key or value that cannot be serialized is a bad record.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::Cache;
    /// use cachemere::load::{Existing, Format, Load, Record, Records, Refusal};
    ///
    /// let file = dir.path().join("people.ndjson");
    /// std::fs::write(&file, "{\"name\": \"Ada\", \"born\": 1815}\n").unwrap();
    ///
    /// let cache: Cache<str, u32> = Cache::builder(dir.path().join("store")).open()?;
    /// let format = Format::new(Records::NdJson { key: "name".into(), value: Some("born".into()) });
    /// let make = |record: &Record<'_>| {
    ///     let born = String::from_utf8_lossy(record.value.raw()).parse();
    ///     Ok((record.key.text()?.into_owned(), born.map_err(|_| Refusal::record("it is no year"))?))
    /// };
    /// let load = Load::new([&file], format, cache.path());
    /// cache.load(load, Existing::Replace, None, &make, &mut ())?;
    /// assert_eq!(cache.get("Ada")?, Some(1815));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "load")]
    pub fn load(
        &self,
        load: crate::load::Load,
        existing: crate::load::Existing,
        ttl: Option<Duration>,
        make: &(dyn Fn(&crate::load::Record<'_>) -> crate::load::Made<K::Owned, V> + Sync),
        watch: &mut dyn crate::load::Watch,
    ) -> Result<crate::load::Summary> {
        let inner = &*self.inner;
        let life = match ttl {
            Some(ttl) => inner.entries.space.life.with_ttl(ttl)?,
            None => inner.entries.space.life,
        };
        let refused = |error: crate::error::BoxError| crate::load::Refusal::record(error.to_string());
        let make = |record: &crate::load::Record<'_>, entry: &mut crate::ByteEntry| {
            let (key, value) = make(record)?;
            inner.keys.encode_canonical(key.borrow(), &mut entry.key).map_err(refused)?;
            entry.tag = inner.tag();
            inner.encode_value_into(&value, &mut entry.payload).map_err(|error| refused(error.into()))
        };
        inner.freeing_all(inner.entries.load(load, (existing, life), &make, watch))
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::Serialize`] for the key, [`Error::ReadOnly`], [`Error::DiskFull`]. Nothing was removed then.
    pub fn remove(&self, key: &K) -> Result<bool> {
        self.with_key(key, |inner, scratch| inner.remove(scratch, Expect::Anything))
    }

    /// Removes a key and returns its value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`remove`](Self::remove).
    pub fn take(&self, key: &K) -> Result<Option<V>> {
        self.with_key(key, Inner::take)
    }

    /// Whether the key has a value that is not expired. Reads the header only, and is not an access.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), but for those of the value.
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.with_key(key, |inner, scratch| inner.entries.contains(scratch))
    }

    /// What an entry's header tells: its times and size. Not an access.
    ///
    /// # Errors
    ///
    /// As [`contains`](Self::contains).
    pub fn info(&self, key: &K) -> Result<Option<EntryInfo>> {
        self.with_key(key, |inner, scratch| inner.entries.info(scratch))
    }

    /// Changes a value by a function of the present one, atomically among threads and processes; returns the new one.
    ///
    /// `change` gets `None` if there is no value, and returns `None` to remove it. It runs again when another writer was
    /// faster, and no lock is held while it runs. The entry's lifetime starts anew.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert). Nothing was changed then.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let hits: cachemere::Cache<str, u64> = cachemere::Cache::builder(dir.path().join("s")).open()?;
    /// assert_eq!(hits.update("page", |n| Some(n.unwrap_or(0) + 1))?, Some(1));
    /// assert_eq!(hits.update("page", |n| Some(n.unwrap_or(0) + 1))?, Some(2));
    /// assert_eq!(hits.update("page", |_| None)?, None);
    /// assert!(!hits.contains("page")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn update(&self, key: &K, change: impl FnMut(Option<V>) -> Option<V>) -> Result<Option<V>> {
        self.with_key(key, |inner, scratch| inner.update(scratch, change))
    }

    /// Sets the value to `new` (`None`: removes it) if it is `expected` now (`None`: absent); whether it was.
    ///
    /// Values are compared as they are serialized, with maps in the order of their keys. One that cannot be decoded is
    /// not what was expected.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); [`Error::Serialize`] also for an expected hash set, which has no order to be compared
    /// by.
    pub fn compare_and_set(&self, key: &K, expected: Option<&V>, new: Option<&V>) -> Result<bool> {
        self.with_key(key, |inner, scratch| inner.compare_and_set(scratch, expected, new))
    }

    /// Lets the entry live from now on as if just inserted, with the cache's own lifetime; whether there is one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert), but for those of the value.
    pub fn touch(&self, key: &K) -> Result<bool> {
        self.with_key(key, Inner::touch)
    }

    /// Lets the entry expire `ttl` from now; whether there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a `ttl` of zero.
    pub fn touch_with_ttl(&self, key: &K, ttl: Duration) -> Result<bool> {
        let life = Life { ttl: lifetime("ttl", ttl)?, ..self.inner.entries.space.life };
        self.with_key(key, |inner, scratch| inner.touch_for(scratch, life))
    }

    /// All entries, oldest first by insertion; `rev()` gives the newest first.
    ///
    /// Weakly consistent: entries are read some hundred at a time, and what is changed or removed meanwhile may or may not
    /// be seen. What is there all the time is seen exactly once, what is inserted after the first item never: inserting an
    /// entry for each that is seen comes to an end. Holds no lock and no snapshot between the items. An entry that cannot
    /// be read or decoded is an error in its place.
    pub fn iter(&self) -> Iter<K, V> {
        Iter::new(self.inner.clone())
    }

    /// The keys of all entries, as [`iter`](Self::iter) gives them; also of those whose value cannot be decoded.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = Result<K::Owned>> + FusedIterator + use<K, V> {
        Walk::new(self.inner.clone(), Undecodable::Error, Inner::decode_key)
    }

    /// The values of all entries, as [`iter`](Self::iter) gives them.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = Result<V>> + FusedIterator + use<K, V> {
        Walk::new(self.inner.clone(), Undecodable::Error, Inner::decode_value_of)
    }

    /// Removes the entries that `keep` says `false` of; returns how many. Goes through them as [`iter`](Self::iter) does, and
    /// removes each by itself. One that is changed while `keep` looks at it stays, and so does one that cannot be decoded,
    /// unless [`on_undecodable`](Builder::on_undecodable) makes that an error.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`remove`](Self::remove). Those before it were removed then.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let pages: cachemere::Cache<str, u32> = cachemere::Cache::builder(dir.path().join("s")).open()?;
    /// pages.insert_many([("de/start", &1), ("de/end", &2), ("fr/start", &3)])?;
    /// assert_eq!(pages.retain(|key, _| !key.starts_with("de/"))?, 2);
    /// assert_eq!(pages.keys().collect::<Result<Vec<_>, _>>()?, ["fr/start"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> Result<u64> {
        let inner = &*self.inner;
        // Refused before anything is read.
        inner.entries.store.live_for_writing().map(drop)?;
        let decode = |inner: &Inner<K, V>, raw: &Raw| Ok((inner.decode(raw)?, raw.key.clone(), raw.stamp));
        let mut removed = 0;
        for entry in Walk::new(self.inner.clone(), Undecodable::Miss, decode) {
            let ((key, value), stored, stamp) = entry?;
            if !keep(key.borrow(), &value) {
                let mut scratch = Scratch { key: KeyBuffer::from_key(&stored), ..Default::default() };
                removed += u64::from(inner.remove(&mut scratch, Expect::Value(stamp))?);
            }
        }
        Ok(removed)
    }

    /// Removes the entries whose key begins with `prefix`; returns how many. Goes through all keys, since an entry is found by
    /// a hash of its key, and decodes no value. For keys that are texts (`Cache<str, V>`, `Cache<String, V>`) or bytes; for
    /// others see [`retain`](Self::retain).
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove). Those before it were removed then.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let pages: cachemere::Cache<str, u32> = cachemere::Cache::builder(dir.path().join("s")).open()?;
    /// pages.insert_many([("de/start", &1), ("de/end", &2), ("fr/start", &3)])?;
    /// assert_eq!(pages.remove_prefix("de/")?, 2);
    /// assert_eq!(pages.len()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_prefix<P: Prefix + ?Sized>(&self, prefix: &P) -> Result<u64>
    where
        K: Borrow<P>,
    {
        let inner = &*self.inner;
        let begins = |raw: &Raw| {
            let key = inner.decoded(Undecodable::Miss, inner.decode_key(raw))?;
            Ok(key.is_some_and(|key| {
                let key: &K = key.borrow();
                prefix.begins(key.borrow())
            }))
        };
        inner.freeing(inner.entries.remove_where(begins))
    }

    /// Removes the entry that was inserted first, and returns it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`remove`](Self::remove). An entry that cannot be read stays. One that cannot be decoded is
    /// passed over and stays as well, and is an error only if [`on_undecodable`](Builder::on_undecodable) says so.
    pub fn pop_oldest(&self) -> Result<Option<(K::Owned, V)>> {
        self.pop(Direction::Oldest)
    }

    /// Removes the entry that was inserted last, and returns it.
    ///
    /// # Errors
    ///
    /// As [`pop_oldest`](Self::pop_oldest).
    pub fn pop_newest(&self) -> Result<Option<(K::Owned, V)>> {
        self.pop(Direction::Newest)
    }

    fn pop(&self, direction: Direction) -> Result<Option<(K::Owned, V)>> {
        let inner = &*self.inner;
        let accept = |raw: &Raw| inner.decoded(Undecodable::Miss, inner.decode(raw));
        inner.freeing(inner.entries.pop(direction, accept))
    }

    /// Removes all entries of the namespace: at once for everybody. The space is freed before this returns.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::DiskFull`].
    pub fn clear(&self) -> Result<()> {
        self.inner.freeing_all(self.inner.entries.clear())
    }

    /// Counts of this handle and its clones, and sizes.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn stats(&self) -> Result<Stats> {
        let (front_entries, front_bytes) = self.inner.front.with_own(Front::size).unwrap_or_default();
        Ok(Stats { front_entries, front_bytes, ..self.inner.entries.stats()? })
    }
}

/// Operations on the store as a whole.
impl<K: ?Sized + ToOwned, V> Cache<K, V> {
    store_operations!(inner.entries);

    /// Describes another handle on this store: of another namespace, or with other options. None are taken over but the
    /// path; what is left out is as the store has it.
    ///
    /// While this handle is open, the other is opened without a secret, and so without the time a passphrase costs. One
    /// that is given is checked. Once this handle is closed, it is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::{Cache, Secret};
    ///
    /// let builder = Cache::builder(dir.path().join("store")).encryption(Secret::passphrase("correct horse"));
    /// let answers: Cache<str, String> = builder.open()?;
    /// let numbers: Cache<str, u32> = answers.sibling()?.namespace("numbers").open()?;
    /// numbers.insert("a", &1)?;
    /// assert_eq!(answers.namespaces()?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sibling<L: ?Sized, W>(&self) -> Result<Builder<L, W>> {
        Ok(Builder::beside(self.inner.entries.at()?.live()))
    }
}

impl<K: ?Sized + ToOwned, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Cache { inner: self.inner.clone() }
    }
}

impl<K: ?Sized + ToOwned, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("path", &self.path()).finish_non_exhaustive()
    }
}
