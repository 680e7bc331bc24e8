//! The typed face for async programs.

use std::borrow::Borrow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::cache::Cache;
use crate::entries::{EntryInfo, NamespaceInfo, Stats, StoreInfo};
use crate::error::{Error, Result};

/// A [`Cache`] whose operations are futures: each runs on tokio's threads for blocking work, so none ever blocks the
/// runtime. Costs some microseconds more than the blocking call; [`blocking`](Self::blocking) gives that where a hit in
/// memory is all that is expected.
///
/// Dropping a future does not stop an operation that has begun.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::{AsyncCache, Cache};
///
/// let cache: AsyncCache<str, u32> = Cache::builder(dir.path().join("store")).open()?.into();
/// cache.insert("a".to_owned(), 1).await?;
/// assert_eq!(cache.get("a".to_owned()).await?, Some(1));
/// let loaded = cache.try_get_or_insert_with("b".to_owned(), || async { Ok::<_, cachemere::Error>(2) }).await?;
/// assert_eq!(loaded, 2);
/// let mut batch = cachemere::Batch::new();
/// batch.insert("c", 3).remove("a");
/// cache.write(batch).await?;
/// assert_eq!(cache.len().await?, 2);
/// # Ok(())
/// # }
/// ```
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
    V: Clone + Send + Sync + 'static,
{
    /// The cache itself, with its blocking operations.
    pub fn blocking(&self) -> &Cache<K, V> {
        &self.cache
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.cache.clone();
        match tokio::task::spawn_blocking(move || work(&cache)).await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(Error::Closed),
            },
        }
    }

    /// See [`Cache::get`].
    pub async fn get(&self, key: K::Owned) -> Result<Option<V>> {
        self.run(move |cache| cache.get(Borrow::borrow(&key))).await
    }

    /// See [`Cache::get_shared`].
    pub async fn get_shared(&self, key: K::Owned) -> Result<Option<Arc<V>>> {
        self.run(move |cache| cache.get_shared(Borrow::borrow(&key))).await
    }

    /// See [`Cache::get_many`].
    pub async fn get_many(&self, keys: Vec<K::Owned>) -> Result<Vec<Option<V>>> {
        self.run(move |cache| cache.get_many(keys)).await
    }

    /// See [`Cache::insert`].
    pub async fn insert(&self, key: K::Owned, value: V) -> Result<()> {
        self.run(move |cache| cache.insert(Borrow::borrow(&key), &value)).await
    }

    /// See [`Cache::insert_with_ttl`].
    pub async fn insert_with_ttl(&self, key: K::Owned, value: V, ttl: Duration) -> Result<()> {
        self.run(move |cache| cache.insert_with_ttl(Borrow::borrow(&key), &value, ttl)).await
    }

    /// See [`Cache::insert_many`].
    pub async fn insert_many(&self, items: Vec<(K::Owned, V)>) -> Result<()> {
        let insert = move |cache: &Cache<K, V>| {
            cache.insert_many(items.iter().map(|(key, value)| (Borrow::<K>::borrow(key), value)))
        };
        self.run(insert).await
    }

    /// See [`Cache::write`].
    pub async fn write(&self, batch: Batch<K, V>) -> Result<()> {
        self.run(move |cache| cache.write(&batch)).await
    }

    /// See [`Cache::remove`].
    pub async fn remove(&self, key: K::Owned) -> Result<bool> {
        self.run(move |cache| cache.remove(Borrow::borrow(&key))).await
    }

    /// See [`Cache::contains`].
    pub async fn contains(&self, key: K::Owned) -> Result<bool> {
        self.run(move |cache| cache.contains(Borrow::borrow(&key))).await
    }

    /// See [`Cache::info`].
    pub async fn info(&self, key: K::Owned) -> Result<Option<EntryInfo>> {
        self.run(move |cache| cache.info(Borrow::borrow(&key))).await
    }

    /// See [`Cache::update`].
    pub async fn update(
        &self,
        key: K::Owned,
        change: impl FnMut(Option<V>) -> Option<V> + Send + 'static,
    ) -> Result<Option<V>> {
        self.run(move |cache| cache.update(Borrow::borrow(&key), change)).await
    }

    /// See [`Cache::try_get_or_insert_with`]. The future of `load` is driven on a thread for blocking work, where the
    /// runtime's timers and sockets are at hand; of all tasks and processes that miss the key, one runs it.
    pub async fn try_get_or_insert_with<E, F>(
        &self,
        key: K::Owned,
        load: impl FnOnce() -> F + Send + 'static,
    ) -> Result<V, E>
    where
        E: From<Error> + Send + 'static,
        F: Future<Output = Result<V, E>>,
    {
        let runtime = tokio::runtime::Handle::current();
        let loaded = self.run(move |cache| {
            Ok(cache.try_get_or_insert_with(Borrow::borrow(&key), || runtime.block_on(load())))
        });
        loaded.await?
    }

    /// See [`Cache::len`].
    pub async fn len(&self) -> Result<u64> {
        self.run(Cache::len).await
    }

    /// See [`Cache::is_empty`].
    pub async fn is_empty(&self) -> Result<bool> {
        self.run(Cache::is_empty).await
    }

    /// See [`Cache::clear`].
    pub async fn clear(&self) -> Result<()> {
        self.run(Cache::clear).await
    }

    /// See [`Cache::stats`].
    pub async fn stats(&self) -> Result<Stats> {
        self.run(Cache::stats).await
    }

    /// See [`Cache::store_info`].
    pub async fn store_info(&self) -> Result<StoreInfo> {
        self.run(Cache::store_info).await
    }

    /// See [`Cache::namespaces`].
    pub async fn namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        self.run(Cache::namespaces).await
    }

    /// See [`Cache::checkpoint`].
    pub async fn checkpoint(&self) -> Result<()> {
        self.run(Cache::checkpoint).await
    }

    /// See [`Cache::close`].
    pub async fn close(&self) -> Result<()> {
        self.run(Cache::close).await
    }
}
