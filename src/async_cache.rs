//! The typed face for async programs.

use std::borrow::Borrow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::batch::Batch;
use crate::cache::Cache;
use crate::entries::{EntryInfo, NamespaceInfo, Stats, StoreInfo};
use crate::error::{Error, Result};
use crate::loading::FoundOrLead;
use crate::store::{Abandoned, Flights, KeyHash, Lead, Turn};

/// A [`Cache`] whose operations are futures, for any runtime: none ever blocks it.
///
/// What is in memory is answered at once, in the task that asks, and costs what it costs [`Cache`]. Only what needs the disk
/// goes to threads: at most four for each store, which are the store's own, so that it makes no difference to what others
/// keep the runtime's. The values' serializers and the closures that are given to operations run there, but for loads.
///
/// A load ([`get_or_insert_with`](Self::get_or_insert_with)) runs in the task that asks, and those that wait for it keep no
/// thread, whether it is of this process or another. Dropping the future that loads, as a timeout does, ends the load; the
/// next one that waits runs its own. A future that loads and is kept without being polled keeps the others waiting.
///
/// Dropping any other future leaves open whether the operation is done. It is done whole or not at all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::{AsyncCache, Cache};
///
/// let cache: AsyncCache<str, u32> = Cache::builder(dir.path().join("store")).open()?.into();
/// cache.insert("a", 1).await?;
/// assert_eq!(cache.get("a").await?, Some(1));
/// assert_eq!(cache.get_or_insert_with("b", || async { 2 }).await?, 2);
/// let mut batch = cachemere::Batch::new();
/// batch.insert("c", 3).remove("a");
/// cache.write(batch).await?;
/// assert_eq!(cache.len().await?, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of the operation of [`Cache`] with the same name, and [`Error::Io`] if no thread can be started.
#[derive(Debug)]
pub struct AsyncCache<K: ?Sized + ToOwned, V> {
    cache: Cache<K, V>,
}

impl<K: ?Sized + ToOwned, V> Clone for AsyncCache<K, V> {
    fn clone(&self) -> Self {
        AsyncCache { cache: self.cache.clone() }
    }
}

impl<K: ?Sized + ToOwned, V> From<Cache<K, V>> for AsyncCache<K, V> {
    fn from(cache: Cache<K, V>) -> Self {
        AsyncCache { cache }
    }
}

impl<K, V> AsyncCache<K, V>
where
    K: ToOwned + ?Sized + 'static,
    K::Owned: Send + 'static,
    V: Send + Sync + 'static,
{
    /// The cache itself, with its blocking operations.
    #[must_use]
    pub fn blocking(&self) -> &Cache<K, V> {
        &self.cache
    }

    /// Does what may wait for the disk, whether or not somebody waits for the end.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_as(Abandoned::IsDone, work).await
    }

    /// Does what is of use only to who waits for it.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_as(Abandoned::IsNotBegun, work).await
    }

    async fn run_as<T: Send + 'static>(
        &self,
        abandoned: Abandoned,
        work: impl FnOnce(&Cache<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.cache.clone();
        let threads = cache.inner().entries.store.threads();
        // The thread has given its handle back when the result comes.
        threads.run(abandoned, move || work(&cache)).await
    }

    /// See [`Cache::get`].
    ///
    /// # Errors
    ///
    /// As [`Cache::get`].
    pub async fn get(&self, key: &K) -> Result<Option<V>>
    where
        V: Clone,
    {
        Ok(self.get_shared(key).await?.map(Arc::unwrap_or_clone))
    }

    /// See [`Cache::get_shared`].
    ///
    /// # Errors
    ///
    /// As [`Cache::get`].
    pub async fn get_shared(&self, key: &K) -> Result<Option<Arc<V>>> {
        if let Some(value) = self.cache.get_in_memory(key)? {
            return Ok(Some(value));
        }
        let key = key.to_owned();
        self.look(move |cache| cache.get_shared(key.borrow())).await
    }

    /// See [`Cache::get_many`].
    ///
    /// # Errors
    ///
    /// As [`Cache::get_many`].
    pub async fn get_many(&self, keys: Vec<K::Owned>) -> Result<Vec<Option<V>>> {
        self.look(move |cache| cache.get_many(keys)).await
    }

    /// See [`Cache::insert`].
    ///
    /// # Errors
    ///
    /// As [`Cache::insert`].
    pub async fn insert(&self, key: &K, value: V) -> Result<()> {
        let key = key.to_owned();
        self.run(move |cache| cache.insert(key.borrow(), &value)).await
    }

    /// See [`Cache::insert_with_ttl`].
    ///
    /// # Errors
    ///
    /// As [`Cache::insert_with_ttl`].
    pub async fn insert_with_ttl(&self, key: &K, value: V, ttl: Duration) -> Result<()> {
        let key = key.to_owned();
        self.run(move |cache| cache.insert_with_ttl(key.borrow(), &value, ttl)).await
    }

    /// See [`Cache::insert_many`].
    ///
    /// # Errors
    ///
    /// As [`Cache::insert_many`].
    pub async fn insert_many(&self, items: Vec<(K::Owned, V)>) -> Result<()> {
        let insert = move |cache: &Cache<K, V>| {
            cache.insert_many(items.iter().map(|(key, value)| (Borrow::<K>::borrow(key), value)))
        };
        self.run(insert).await
    }

    /// See [`Cache::write`].
    ///
    /// # Errors
    ///
    /// As [`Cache::write`].
    pub async fn write(&self, batch: Batch<K, V>) -> Result<()> {
        self.run(move |cache| cache.write(&batch)).await
    }

    /// See [`Cache::remove`].
    ///
    /// # Errors
    ///
    /// As [`Cache::remove`].
    pub async fn remove(&self, key: &K) -> Result<bool> {
        let key = key.to_owned();
        self.run(move |cache| cache.remove(key.borrow())).await
    }

    /// See [`Cache::contains`].
    ///
    /// # Errors
    ///
    /// As [`Cache::contains`].
    pub async fn contains(&self, key: &K) -> Result<bool> {
        let key = key.to_owned();
        self.look(move |cache| cache.contains(key.borrow())).await
    }

    /// See [`Cache::info`].
    ///
    /// # Errors
    ///
    /// As [`Cache::info`].
    pub async fn info(&self, key: &K) -> Result<Option<EntryInfo>> {
        let key = key.to_owned();
        self.look(move |cache| cache.info(key.borrow())).await
    }

    /// See [`Cache::update`].
    ///
    /// # Errors
    ///
    /// As [`Cache::update`].
    pub async fn update(
        &self,
        key: &K,
        change: impl FnMut(Option<V>) -> Option<V> + Send + 'static,
    ) -> Result<Option<V>> {
        let key = key.to_owned();
        self.run(move |cache| cache.update(key.borrow(), change)).await
    }

    /// The key's value; if it has none, that of the future of `load`, which is inserted.
    ///
    /// Of all tasks, threads and processes that miss the key at once, one runs its `load`, in its own task, and the others
    /// wait for its value. If it panics, is dropped or its process is killed, the next one takes over. `load` may use this
    /// cache and itself be waited for: where that would be a deadlock, it is run twice. That is not seen through tasks which
    /// `load` spawns and waits for.
    ///
    /// # Errors
    ///
    /// As [`Cache::get_or_insert_with`].
    pub async fn get_or_insert_with<F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<V>
    where
        V: Clone,
        F: Future<Output = V>,
    {
        self.try_get_or_insert_with(key, || async { Ok(load().await) }).await
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for a `load` that can fail. An error is not kept: the next one
    /// that waits runs its own `load`.
    ///
    /// # Errors
    ///
    /// Those of `load`, and as [`Cache::try_get_or_insert_with`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::{AsyncCache, Cache};
    /// use std::time::Duration;
    ///
    /// let answers: AsyncCache<str, String> = Cache::builder(dir.path().join("store")).open()?.into();
    /// async fn ask() -> std::io::Result<String> {
    ///     // Some request to a server.
    /// #   Ok("42".to_owned())
    /// }
    /// let load = || async { Ok::<_, Box<dyn std::error::Error>>(ask().await?) };
    /// let answer = tokio::time::timeout(Duration::from_secs(20), answers.try_get_or_insert_with("question", load));
    /// assert_eq!(answer.await??, "42");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_get_or_insert_with<E, F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<V, E>
    where
        V: Clone,
        E: From<Error>,
        F: Future<Output = Result<V, E>>,
    {
        self.try_get_shared_or_insert_with(key, load).await.map(Arc::unwrap_or_clone)
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), without cloning the value: it is shared with the front.
    ///
    /// # Errors
    ///
    /// As [`Cache::get_shared_or_insert_with`].
    pub async fn get_shared_or_insert_with<F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<Arc<V>>
    where
        F: Future<Output = V>,
    {
        self.try_get_shared_or_insert_with(key, || async { Ok(load().await) }).await
    }

    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with), without cloning the value: it is shared with the front.
    ///
    /// # Errors
    ///
    /// As [`Cache::try_get_shared_or_insert_with`].
    pub async fn try_get_shared_or_insert_with<E, F>(
        &self,
        key: &K,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<V>, E>
    where
        E: From<Error>,
        F: Future<Output = Result<V, E>>,
    {
        let lead = match self.find_or_lead(key).await? {
            FoundOrLead::Found(value) => return Ok(value),
            FoundOrLead::Lead(lead) => lead,
        };
        let space = &self.cache.inner().entries.space;
        space.counts.loads.add(1);
        let span = tracing::debug_span!("cachemere::load", store = %self.cache.path().display());
        let value = Arc::new(lead.run(load).instrument(span).await?);
        self.keep_loaded(lead, key, value.clone(), Cache::keep_loaded).await?;
        Ok(value)
    }

    /// Has what was loaded kept, and lands if it is.
    pub(crate) async fn keep_loaded(
        &self,
        lead: Lead,
        key: &K,
        value: Arc<V>,
        keep: impl FnOnce(&Cache<K, V>, &K, &V) -> Result<bool> + Send + 'static,
    ) -> Result<()> {
        if self.cache.is_read_only() {
            return Ok(());
        }
        let key = key.to_owned();
        let keep = move |cache: &Cache<K, V>| {
            if keep(cache, key.borrow(), &value)? {
                if lead.is_awaited() {
                    // So that those who wait find it in memory.
                    cache.peek(key.borrow())?;
                }
                lead.land();
            }
            Ok(())
        };
        self.run(keep).await
    }

    /// The key's value, or the right to load it. Waits for those who have that.
    pub(crate) async fn find_or_lead(&self, key: &K) -> Result<FoundOrLead<V>> {
        loop {
            if let Some(value) = self.cache.get_in_memory(key)? {
                return Ok(FoundOrLead::Found(value));
            }
            let (flights, hash) = match self.find_or_flight(key.to_owned()).await? {
                FoundOrFlight::Found(value) => return Ok(FoundOrLead::Found(value)),
                FoundOrFlight::Flight(flights, hash) => (flights, hash),
            };
            let Turn::Lead(lead) = flights.enter_as_task(hash).await? else { continue };
            // Another one can have landed just before.
            let key = key.to_owned();
            return Ok(match self.look(move |cache| cache.peek(key.borrow())).await? {
                Some(value) => {
                    lead.land();
                    FoundOrLead::Found(value)
                }
                None => FoundOrLead::Lead(lead),
            });
        }
    }

    async fn find_or_flight(&self, key: K::Owned) -> Result<FoundOrFlight<V>> {
        let look = move |cache: &Cache<K, V>| {
            Ok(match cache.get_or_miss(key.borrow())? {
                Some(value) => FoundOrFlight::Found(value),
                None => {
                    let (flights, hash) = cache.flight(key.borrow())?;
                    FoundOrFlight::Flight(flights, hash)
                }
            })
        };
        self.look(look).await
    }

    /// See [`Cache::len`].
    ///
    /// # Errors
    ///
    /// As [`Cache::len`].
    pub async fn len(&self) -> Result<u64> {
        self.look(Cache::len).await
    }

    /// See [`Cache::is_empty`].
    ///
    /// # Errors
    ///
    /// As [`Cache::is_empty`].
    pub async fn is_empty(&self) -> Result<bool> {
        self.look(Cache::is_empty).await
    }

    /// See [`Cache::clear`].
    ///
    /// # Errors
    ///
    /// As [`Cache::clear`].
    pub async fn clear(&self) -> Result<()> {
        self.run(Cache::clear).await
    }

    /// See [`Cache::stats`].
    ///
    /// # Errors
    ///
    /// As [`Cache::stats`].
    pub async fn stats(&self) -> Result<Stats> {
        self.look(Cache::stats).await
    }

    /// See [`Cache::store_info`].
    ///
    /// # Errors
    ///
    /// As [`Cache::store_info`].
    pub async fn store_info(&self) -> Result<StoreInfo> {
        self.look(Cache::store_info).await
    }

    /// See [`Cache::namespaces`].
    ///
    /// # Errors
    ///
    /// As [`Cache::namespaces`].
    pub async fn namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        self.look(Cache::namespaces).await
    }

    /// See [`Cache::checkpoint`].
    ///
    /// # Errors
    ///
    /// As [`Cache::checkpoint`].
    pub async fn checkpoint(&self) -> Result<()> {
        self.run(Cache::checkpoint).await
    }

    /// See [`Cache::close`].
    ///
    /// # Errors
    ///
    /// As [`Cache::close`].
    pub async fn close(&self) -> Result<()> {
        self.run(Cache::close).await
    }
}

enum FoundOrFlight<V> {
    Found(Arc<V>),
    Flight(Arc<Flights>, KeyHash),
}
