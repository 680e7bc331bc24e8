//! Payloads in memory, and whether they may still be given out.
//!
//! The rule is that of `entries/ledger`: a payload is added first, and becomes good only then, if nothing that could be
//! it was dropped since before the read was sent that found it. Drops are counted in shards of the keys; what ends
//! everything (the database was emptied, the connection is a new one) begins another *era*.
//!
//! Beside that it is good only within a *lease*: for a while after the last moment up to which all messages of the server
//! are known to be in. So it is bounded how old a payload can be that memory gives, whatever holds the messages up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Time;
use crate::store::{Header, KeyHash, Prefix};

const SHARDS: usize = 64;
/// What an item takes beside its key and payload, about.
const OVERHEAD: usize = 200;

pub(super) struct Item {
    pub(super) key: Box<[u8]>,
    pub(super) payload: Arc<[u8]>,
    pub(super) header: Header,
    era: u64,
    is_good: AtomicBool,
}

/// When a read was sent, as the memory counts.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    era: u64,
    drops: u64,
}

pub(super) struct Memory {
    items: moka::sync::Cache<KeyHash, Arc<Item>, Prefix>,
    /// How often something was dropped in each shard. Locked while it is decided what is good.
    drops: [Mutex<u64>; SHARDS],
    era: AtomicU64,
    began: Instant,
    /// Up to when all messages are in, in nanoseconds since `began`; 0 before the first.
    proven: AtomicU64,
    lease: Duration,
}

impl Memory {
    pub(super) fn new(bytes: u64, lease: Duration) -> Memory {
        let items = moka::sync::Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, item: &Arc<Item>| {
                u32::try_from(item.key.len() + item.payload.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .build_with_hasher(Prefix);
        Memory {
            items,
            drops: std::array::from_fn(|_| Mutex::new(0)),
            era: AtomicU64::new(0),
            began: Instant::now(),
            proven: AtomicU64::new(0),
            lease,
        }
    }

    /// To be asked before a read is sent.
    pub(super) fn sent(&self, hash: KeyHash) -> Sent {
        Sent { era: self.era.load(Ordering::SeqCst), drops: *self.shard(hash) }
    }

    pub(super) fn add(&self, sent: Sent, hash: KeyHash, key: &[u8], payload: Arc<[u8]>, header: Header) {
        let item = Arc::new(Item {
            key: key.into(),
            payload,
            header,
            era: sent.era,
            is_good: AtomicBool::new(false),
        });
        self.items.insert(hash, item.clone());
        let drops = self.shard(hash);
        if *drops == sent.drops {
            item.is_good.store(true, Ordering::SeqCst);
        }
    }

    /// A payload of the key that has not been dropped. Whether it may be given out, the lease says.
    pub(super) fn get(&self, hash: KeyHash, key: &[u8]) -> Option<Arc<Item>> {
        let item = self.items.get(&hash)?;
        let is_good = item.is_good.load(Ordering::SeqCst) && item.era == self.era.load(Ordering::SeqCst);
        (is_good && *item.key == *key).then_some(item)
    }

    /// Whether all messages of the last while are in.
    pub(super) fn is_proven(&self) -> bool {
        let proven = self.proven.load(Ordering::SeqCst);
        let elapsed = self.began.elapsed().saturating_sub(Duration::from_nanos(proven));
        proven != 0 && elapsed < self.lease
    }

    /// Whether the server is asked each time.
    pub(super) fn asks_always(&self) -> bool {
        self.lease.is_zero()
    }

    /// To be called before a change returns, and when the server tells of one.
    pub(super) fn drop_key(&self, hash: KeyHash) {
        let mut drops = self.shard(hash);
        *drops += 1;
        if let Some(item) = self.items.get(&hash) {
            item.is_good.store(false, Ordering::SeqCst);
            self.items.invalidate(&hash);
        }
    }

    pub(super) fn drop_all(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
        self.items.invalidate_all();
    }

    pub(super) fn proven(&self, at: Instant) {
        let at = u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX);
        self.proven.fetch_max(at.max(1), Ordering::SeqCst);
    }

    fn shard(&self, hash: KeyHash) -> MutexGuard<'_, u64> {
        let [.., last] = hash.0;
        let shard = self.drops.get(usize::from(last) % SHARDS).unwrap_or(&self.drops[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    pub(super) fn is_expired(&self, now: Time) -> bool {
        self.header.due().is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: KeyHash = KeyHash([1; 16]);

    fn memory() -> Memory {
        Memory::new(1 << 20, Duration::from_millis(40))
    }

    fn add(memory: &Memory, sent: Sent) {
        memory.add(sent, HASH, b"key", Arc::from(&b"payload"[..]), Header::of_stamp(1));
    }

    #[test]
    fn what_was_dropped_since_the_read_was_sent_is_not_given() {
        let memory = memory();
        add(&memory, memory.sent(HASH));
        assert!(memory.get(HASH, b"key").is_some() && memory.get(HASH, b"other").is_none());
        for drop in [|it: &Memory| it.drop_key(HASH), Memory::drop_all] {
            // Before it is added, and after.
            let sent = memory.sent(HASH);
            drop(&memory);
            add(&memory, sent);
            assert!(memory.get(HASH, b"key").is_none());
            add(&memory, memory.sent(HASH));
            assert!(memory.get(HASH, b"key").is_some());
            drop(&memory);
            assert!(memory.get(HASH, b"key").is_none());
        }
    }

    #[test]
    fn the_lease_ends_by_itself() {
        let memory = memory();
        assert!(!memory.is_proven());
        memory.proven(Instant::now());
        assert!(memory.is_proven());
        std::thread::sleep(Duration::from_millis(45));
        assert!(!memory.is_proven());
        // A proof that comes late counts from when it was asked for.
        memory.proven(Instant::now().checked_sub(Duration::from_millis(60)).unwrap_or(memory.began));
        assert!(!memory.is_proven());
    }
}
