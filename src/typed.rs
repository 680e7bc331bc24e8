//! Where types meet bytes: how a typed value is looked for in the front and the store, and how it gets there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::entries::{Entries, Expect, Life, Raw, Read, Scratch, Written};
use crate::error::{BoxError, Error, Result};
use crate::front::{Front, Item};
use crate::pipeline::Codec;
use crate::store::{Commit, Live, fork_epoch, granularity};

/// What the clones of one handle share.
pub(crate) struct Inner<K: ?Sized + ToOwned, V> {
    pub(crate) entries: Entries,
    pub(crate) keys: Arc<dyn Codec<K>>,
    pub(crate) values: Arc<dyn Codec<V>>,
    pub(crate) front: ArcSwapOption<Front<V>>,
    front_bytes: u64,
    pub(crate) front_hits: AtomicU64,
}

/// What a lookup came to, before it is counted.
pub(crate) enum Looked<V> {
    /// Found in the front, without looking into the store.
    Front(Arc<Item<V>>),
    /// Found in the store.
    Store(Arc<V>, Box<Read>),
    Missing,
}

impl<K, V> Inner<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(
        entries: Entries,
        keys: Arc<dyn Codec<K>>,
        values: Arc<dyn Codec<V>>,
        front_bytes: u64,
    ) -> Inner<K, V> {
        let (front, front_hits) = (ArcSwapOption::empty(), AtomicU64::new(0));
        Inner { entries, keys, values, front, front_bytes, front_hits }
    }

    pub(crate) fn encode_key(&self, key: &K, scratch: &mut Scratch) -> Result<()> {
        self.keys.encode(key, scratch.key.start()).map_err(|e| serialize("key", e))
    }

    pub(crate) fn encode_value(&self, value: &V) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.values.encode(value, &mut payload).map_err(|e| serialize("value", e))?;
        Ok(payload)
    }

    pub(crate) fn decode_value(&self, payload: &[u8]) -> Result<V> {
        self.values.decode(payload).map_err(|source| Error::Deserialize { what: "value", source })
    }

    pub(crate) fn decode(&self, raw: &Raw) -> Result<(K::Owned, V)> {
        let key = self.keys.decode(&raw.key).map_err(|source| Error::Deserialize { what: "key", source })?;
        Ok((key, self.decode_value(&raw.payload)?))
    }

    pub(crate) fn put_payload(
        &self,
        scratch: &mut Scratch,
        payload: &[u8],
        life: Life,
        expect: Expect,
    ) -> Result<Written> {
        self.entries.put(scratch, payload, 0, life, expect, |commit| self.committed(commit))
    }

    /// Looks for the key in the scratch, in the front and then in the store.
    pub(crate) fn find(&self, live: &Live, scratch: &mut Scratch) -> Result<Looked<V>> {
        let guard = self.front(live);
        let Some(front) = guard.as_ref().and_then(|front| front.as_ref()) else {
            return Ok(match self.entries.find_in(live, scratch, None)? {
                Some(read) => {
                    Looked::Store(Arc::new(self.decode_value(read.payload(scratch))?), Box::new(read))
                }
                None => Looked::Missing,
            });
        };
        let hash = scratch.key.hash(&live.unlocked.hasher, self.entries.namespace.last_id());
        let mut item = front.get(&hash).filter(|item| item.is_of(scratch.key.key()));
        let good = |item: &mut Arc<Item<V>>| {
            let expired = || item.due().is_some_and(|due| due <= live.config.clock.now());
            front.is_current(item, live.token()) && !expired()
        };
        if let Some(item) = item.take_if(good) {
            return Ok(Looked::Front(item));
        }
        // Asked before the snapshot is opened: see `Front::add`.
        let drops = front.drops();
        let known = item.as_ref().map(|item| (hash, item.stamp));
        let Some(read) = self.entries.find_in(live, scratch, known)? else { return Ok(Looked::Missing) };
        if let Some(item) = item.filter(|_| read.is_known()) {
            item.confirm(read.snapshot, &read.header);
            return Ok(Looked::Store(item.value.clone(), Box::new(read)));
        }
        let payload = read.payload(scratch);
        let value = Arc::new(self.decode_value(payload)?);
        front.add(
            drops,
            read.hash,
            scratch.key.key(),
            value.clone(),
            payload.len(),
            (read.snapshot, &read.header),
        );
        Ok(Looked::Store(value, Box::new(read)))
    }

    pub(crate) fn hit_in_front(&self, live: &Live, item: &Arc<Item<V>>) {
        self.front_hits.fetch_add(1, Ordering::Relaxed);
        let now = live.access_time();
        let accessed = item.accessed();
        let grain = granularity(item.idle(), item.size(), live.tracks_recency());
        if now > accessed && now.since(accessed) >= grain {
            live.access.note(item.hash, &item.access, now);
        }
    }

    /// The front, made at first use, and anew when the environment was.
    fn front(&self, live: &Live) -> Option<arc_swap::Guard<Option<Arc<Front<V>>>>> {
        if self.front_bytes == 0 {
            return None;
        }
        let front = self.front.load();
        if front.as_ref().is_some_and(|front| front.of == live.generation) {
            return Some(front);
        }
        let new = Arc::new(Front::new(self.front_bytes, live.generation));
        let old = self.front.compare_and_swap(&front, Some(new));
        if let Some(old) = arc_swap::Guard::into_inner(old).filter(|old| old.forks != fork_epoch()) {
            // Of the parent process: threads that do not exist here can hold its locks for ever.
            std::mem::forget(old);
        }
        Some(self.front.load())
    }

    /// Tells the front of a commit. Without a front there is nothing to tell, and one that is made later starts empty.
    pub(crate) fn committed(&self, commit: &Commit) {
        self.with_own_front(|front| front.committed(commit.token, &commit.written));
    }

    /// Uses the front if there is one and it was made in this process. That of a parent process must not be touched:
    /// threads that do not exist here can hold its locks for ever.
    pub(crate) fn with_own_front<T>(&self, use_it: impl FnOnce(&Front<V>) -> T) -> Option<T> {
        let front = self.front.load();
        front.as_ref().filter(|front| front.forks == fork_epoch()).map(|front| use_it(front))
    }
}

pub(crate) fn serialize(what: &'static str, source: BoxError) -> Error {
    Error::Serialize { what, source }
}
