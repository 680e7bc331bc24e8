//! What leaves the front, on its way to the listener: told only when no lock is held any more.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Item;
use crate::store::Fate;
use crate::sync::lock;

/// Why a value left the memory of a handle. See [`Builder::removal_listener`](crate::Builder::removal_listener).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RemovalCause {
    /// Memory was needed for other values, or this one is too large. It stays in the store.
    Memory,
    /// Its entry was written anew, by whichever handle or process: by an insert, an update or a touch.
    Replaced,
    /// Its entry was removed, or the namespace cleared. Of what another handle or process has removed, or the store's background
    /// thread, an eviction cannot be told from a removal, and is one of these.
    Removed,
    /// Its time was over.
    Expired,
    /// Its entry was evicted by a write of this handle, since namespace or store are limited.
    Evicted,
}

impl RemovalCause {
    /// Whether the program meant this value to go: it was replaced or removed.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        matches!(self, RemovalCause::Replaced | RemovalCause::Removed)
    }
}

impl From<Fate> for RemovalCause {
    fn from(fate: Fate) -> RemovalCause {
        match fate {
            Fate::Written => RemovalCause::Replaced,
            Fate::Removed => RemovalCause::Removed,
            Fate::Expired => RemovalCause::Expired,
            Fate::Evicted => RemovalCause::Evicted,
        }
    }
}

/// Is told of keys, as they are stored, with their values.
type Tell<V> = dyn Fn(&[u8], &Arc<V>, RemovalCause) + Send + Sync;

/// The listener of a handle, and what it has not heard yet.
pub(crate) struct Leaving<V> {
    tell: Box<Tell<V>>,
    queue: Mutex<Vec<(Arc<Item<V>>, RemovalCause)>>,
    is_waiting: AtomicBool,
}

impl<V> Leaving<V> {
    pub(crate) fn new(tell: Box<Tell<V>>) -> Leaving<V> {
        Leaving { tell, queue: Mutex::default(), is_waiting: AtomicBool::new(false) }
    }

    /// Notes what leaves. Runs no code of the user's.
    pub(super) fn note(&self, item: Arc<Item<V>>, cause: RemovalCause) {
        lock(&self.queue).push((item, cause));
        self.is_waiting.store(true, Ordering::Release);
    }

    /// Tells what was noted. A listener that panics is told the next one all the same.
    pub(crate) fn tell(&self) {
        if !self.is_waiting.load(Ordering::Acquire) {
            return;
        }
        let noted = {
            let mut queue = lock(&self.queue);
            self.is_waiting.store(false, Ordering::Release);
            std::mem::take(&mut *queue)
        };
        for (item, cause) in noted {
            let told = catch_unwind(AssertUnwindSafe(|| (self.tell)(&item.key, &item.value, cause)));
            if told.is_err() {
                tracing::warn!(?cause, "a listener of removals panicked");
            }
        }
    }
}

impl<V> fmt::Debug for Leaving<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving").finish_non_exhaustive()
    }
}
