//! The items of a front in a cache of moka's: TinyLFU, which keeps what is asked for often over what came last.

use std::sync::Arc;

use ::moka::notification::RemovalCause as Why;

use super::{Item, Items, Leaving, RemovalCause};
use crate::store::{KeyHash, Prefix};

/// What waits to be counted is at most some hundred items. Larger ones than this part of the front are counted at once,
/// so that what waits is a small part of the front.
const LARGE: u64 = 4096;

pub(super) struct Moka<V> {
    items: ::moka::sync::Cache<KeyHash, Arc<Item<V>>, Prefix>,
    bytes: u64,
}

impl<V: Send + Sync + 'static> Moka<V> {
    pub(super) fn new(bytes: u64, leaving: Option<Arc<Leaving<V>>>) -> Moka<V> {
        let mut items = ::moka::sync::Cache::<KeyHash, Arc<Item<V>>>::builder()
            .max_capacity(bytes)
            .weigher(|_, item| u32::try_from(item.size).unwrap_or(u32::MAX));
        if let Some(leaving) = leaving {
            items = items.eviction_listener(move |_, item, why| {
                // Of what is taken out, who takes it knows why.
                if why == Why::Size {
                    leaving.note(item, RemovalCause::Memory);
                }
            });
        }
        Moka { items: items.build_with_hasher(Prefix), bytes }
    }
}

impl<V: Send + Sync + 'static> Items<V> for Moka<V> {
    fn get(&self, hash: &KeyHash) -> Option<Arc<Item<V>>> {
        self.items.get(hash)
    }

    fn insert(&self, hash: KeyHash, item: Arc<Item<V>>) {
        let size = item.size as u64;
        if size > self.bytes {
            // It would be taken out again, but only after others had made room for it.
            return self.remove(&hash);
        }
        self.items.insert(hash, item);
        if size > self.bytes / LARGE {
            self.items.run_pending_tasks();
        }
    }

    fn remove(&self, hash: &KeyHash) {
        self.items.invalidate(hash);
    }

    fn take(&self, hash: &KeyHash) -> Option<Arc<Item<V>>> {
        self.items.remove(hash)
    }

    fn hashes(&self) -> Vec<KeyHash> {
        self.items.iter().map(|(hash, _)| *hash).collect()
    }

    fn clear(&self) {
        self.items.invalidate_all();
        self.items.run_pending_tasks();
    }

    fn size(&self) -> (u64, u64) {
        self.items.run_pending_tasks();
        (self.items.entry_count(), self.items.weighted_size())
    }
}
