//! The items of a front in a cache of quick_cache's: Clock-PRO in shards, each behind a lock of its own.

use std::sync::Arc;

use super::{Item, Items, Leaving, RemovalCause};
use crate::store::{KeyHash, Prefix};

/// The least a shard may hold.
const SHARD: u64 = 8 << 20;

pub(super) struct QuickCache<V>(::quick_cache::sync::Cache<KeyHash, Arc<Item<V>>, Weight, Prefix, Told<V>>);

/// Notes what makes room for others.
struct Told<V>(Option<Arc<Leaving<V>>>);

impl<V> Clone for Told<V> {
    fn clone(&self) -> Self {
        Told(self.0.clone())
    }
}

impl<V> ::quick_cache::Lifecycle<KeyHash, Arc<Item<V>>> for Told<V> {
    /// Freed when the lock of the shard is given back.
    type RequestState = Vec<Arc<Item<V>>>;

    fn on_evict(&self, state: &mut Self::RequestState, _: KeyHash, item: Arc<Item<V>>) {
        match &self.0 {
            Some(leaving) => leaving.note(item, RemovalCause::Memory),
            None => state.push(item),
        }
    }
}

/// Counts an item by the bytes it takes.
#[derive(Clone, Copy)]
struct Weight;

impl<V> ::quick_cache::Weighter<KeyHash, Arc<Item<V>>> for Weight {
    fn weight(&self, _: &KeyHash, item: &Arc<Item<V>>) -> u64 {
        item.size as u64
    }
}

impl<V> QuickCache<V> {
    pub(super) fn new(bytes: u64, leaving: Option<Arc<Leaving<V>>>) -> QuickCache<V> {
        // A shard takes no item larger than itself, so small fronts have few of them.
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let shards = (bytes / SHARD).clamp(1, 4 * threads);
        let options = ::quick_cache::OptionsBuilder::new()
            .weight_capacity(bytes)
            .shards(shards as usize)
            // For so many there is room at once; the tables grow.
            .estimated_items_capacity((bytes / 4096).clamp(32 * shards, 8192) as usize)
            .build();
        match options {
            Ok(options) => {
                QuickCache(::quick_cache::sync::Cache::with_options(options, Weight, Prefix, Told(leaving)))
            }
            Err(_) => unreachable!("all that is required is set"),
        }
    }
}

impl<V: Send + Sync + 'static> Items<V> for QuickCache<V> {
    fn get(&self, hash: &KeyHash) -> Option<Arc<Item<V>>> {
        self.0.get(hash)
    }

    fn insert(&self, hash: KeyHash, item: Arc<Item<V>>) {
        self.0.insert(hash, item);
    }

    fn remove(&self, hash: &KeyHash) {
        self.0.remove(hash);
    }

    fn take(&self, hash: &KeyHash) -> Option<Arc<Item<V>>> {
        self.0.remove(hash).map(|(_, item)| item)
    }

    fn hashes(&self) -> Vec<KeyHash> {
        self.0.iter().map(|(hash, _)| hash).collect()
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn size(&self) -> (u64, u64) {
        (self.0.len() as u64, self.0.weight())
    }
}
