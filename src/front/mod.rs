//! The front: decoded values in memory, each with the claim that tells whether it may be given out.
//!
//! The claims are the ledger's (see `entries::ledger`), so nothing stale is given out whatever is found here.

mod leaving;
mod moka;
#[cfg(feature = "quick_cache")]
mod quick_cache;

use std::sync::Arc;

pub(crate) use self::leaving::Leaving;
pub use self::leaving::RemovalCause;
use crate::entries::Held;
use crate::store::{Fate, KeyHash, Live};

/// Bytes an item takes beside key and value.
const OVERHEAD: usize = 240;

/// A decoded value, and the claim to it.
pub(crate) struct Item<V> {
    pub(crate) held: Held,
    key: Box<[u8]>,
    pub(crate) value: Arc<V>,
    /// Bytes it is counted as.
    size: usize,
}

impl<V> Item<V> {
    pub(crate) fn is_of(&self, key: &[u8]) -> bool {
        *self.key == *key
    }
}

/// The crate that keeps values in memory and chooses which to evict. No stale value is returned with any of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FrontKind {
    /// moka, with TinyLFU. It has more hits where the popular keys change, or where a loop goes over somewhat more values
    /// than there is room for. In a child that was forked while another thread was reading, evicted values are not freed.
    #[default]
    Moka,
    /// quick_cache, with Clock-PRO. Reads cost less, and there are more hits where the same keys stay popular.
    #[cfg(feature = "quick_cache")]
    QuickCache,
}

/// What a front is made with.
#[derive(Clone, Copy)]
pub(crate) struct FrontOptions {
    pub(crate) kind: FrontKind,
    pub(crate) bytes: u64,
}

/// A map that holds items of so many bytes, and gives up some when there are more.
trait Items<V>: Send + Sync {
    fn get(&self, hash: &KeyHash) -> Option<Arc<Item<V>>>;
    fn insert(&self, hash: KeyHash, item: Arc<Item<V>>);
    fn remove(&self, hash: &KeyHash);
    /// As `remove`, for who wants to know what it was.
    fn take(&self, hash: &KeyHash) -> Option<Arc<Item<V>>>;
    fn hashes(&self) -> Vec<KeyHash>;
    fn clear(&self);
    /// Number of items and their bytes.
    fn size(&self) -> (u64, u64);
}

/// The front of one handle and its clones, over one opened environment.
pub(crate) struct Front<V> {
    items: Box<dyn Items<V>>,
    leaving: Option<Arc<Leaving<V>>>,
}

impl<V: Send + Sync + 'static> Front<V> {
    pub(crate) fn new(options: FrontOptions, leaving: Option<Arc<Leaving<V>>>) -> Front<V> {
        let told = leaving.clone();
        let items: Box<dyn Items<V>> = match options.kind {
            FrontKind::Moka => Box::new(moka::Moka::new(options.bytes, told)),
            #[cfg(feature = "quick_cache")]
            FrontKind::QuickCache => Box::new(quick_cache::QuickCache::new(options.bytes, told)),
        };
        Front { items, leaving }
    }

    pub(crate) fn get(&self, hash: &KeyHash) -> Option<Arc<Item<V>>> {
        self.items.get(hash)
    }

    /// Adds a value that has so many bytes serialized.
    pub(crate) fn add(&self, hash: KeyHash, held: Held, key: &[u8], value: Arc<V>, size: usize) {
        let size = key.len() + size + OVERHEAD;
        if let Some(leaving) = &self.leaving
            && let Some(old) = self.items.take(&hash).filter(|old| !old.held.is_of(&held))
        {
            leaving.note(old, RemovalCause::Replaced);
        }
        self.items.insert(hash, Arc::new(Item { held, key: key.into(), value, size }));
    }

    /// Frees the memory of a value that a commit has ended.
    pub(crate) fn end(&self, hash: &KeyHash, fate: Fate) {
        match &self.leaving {
            None => self.items.remove(hash),
            Some(leaving) => {
                if let Some(item) = self.items.take(hash) {
                    leaving.note(item, fate.into());
                }
            }
        }
    }

    /// Frees the memory of a value whose entry was not found.
    pub(crate) fn lose(&self, item: &Arc<Item<V>>, hash: &KeyHash, live: &Live) {
        let Some(leaving) = &self.leaving else { return self.items.remove(hash) };
        match self.items.take(hash) {
            Some(taken) if Arc::ptr_eq(&taken, item) => {
                let is_expired = taken.held.is_expired(live);
                leaving.note(taken, if is_expired { RemovalCause::Expired } else { RemovalCause::Removed });
            }
            // Another one, that came since.
            Some(taken) => self.items.insert(*hash, taken),
            None => {}
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(leaving) = &self.leaving {
            let taken = self.items.hashes().into_iter().filter_map(|hash| self.items.take(&hash));
            taken.for_each(|item| leaving.note(item, RemovalCause::Removed));
        }
        self.items.clear();
    }

    /// Number of items and their bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.items.size()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::entries::{Ledger, Origin};
    use crate::per_environment::Made;
    use crate::store::Header;

    /// One of each kind.
    fn fronts() -> impl Iterator<Item = Front<u32>> {
        let kinds = [
            FrontKind::Moka,
            #[cfg(feature = "quick_cache")]
            FrontKind::QuickCache,
        ];
        kinds.into_iter().map(|kind| Front::new(FrontOptions { kind, bytes: 1 << 20 }, None))
    }

    fn ledger() -> Arc<Made<Ledger>> {
        Arc::new(Made::new(1, Ledger::new(true)))
    }

    /// The claim to the value that transaction `written` wrote, as of a later one.
    fn hold(ledger: &Arc<Made<Ledger>>, hash: KeyHash, drops: u64, written: u64, snapshot: u64) -> Held {
        let header = Header::of_stamp(written);
        ledger.hold(&Origin { hash, header, stored_size: 4, snapshot, drops, environment: 1 })
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_a_clear_empties_it() {
        for front in fronts() {
            let ledger = ledger();
            let room = 1 << 20;
            for n in 0..4_000u32 {
                let mut hash = [0; 16];
                hash[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_le_bytes());
                // Some are as large as the front, and some larger.
                let size = if n % 500 == 7 { room + n as usize } else { 1_000 };
                let held = hold(&ledger, KeyHash(hash), ledger.drops(), 7, 7);
                front.add(KeyHash(hash), held, b"k", Arc::new(n), size);
            }
            let (items, bytes) = front.size();
            assert!(bytes <= room as u64 && bytes >= room as u64 / 2, "{bytes} bytes");
            assert!(items >= 400 && items * 1_000 <= bytes, "{items} items of {bytes} bytes");
            front.clear();
            assert_eq!(front.size(), (0, 0));
        }
    }

    /// Threads play the store: a value *is* the number of the transaction that wrote it last, so each value given out
    /// can be held against what was committed before it was asked for.
    #[test]
    fn readers_and_writers_of_one_handle_never_meet_an_old_value() {
        use std::sync::Mutex;
        use std::sync::atomic::AtomicBool;

        use crate::store::QuietRun;

        const KEYS: [KeyHash; 4] = [KeyHash([1; 16]), KeyHash([2; 16]), KeyHash([3; 16]), KeyHash([4; 16])];
        const COMMITS: u64 = 60_000;
        /// Readers are slow to start on a busy machine.
        const READS: u64 = 20_000;

        for front in fronts() {
            let ledger = ledger();
            // The last transaction that wrote each key, and the last of all: read together, they are a snapshot.
            let store = Mutex::new(([1u64; 4], 1u64));
            let token = AtomicU64::new(1);
            let quiet = QuietRun::default();
            // What a finished write promises to every later read.
            let returned = [const { AtomicU64::new(1) }; 4];
            let done = AtomicBool::new(false);
            let given_out = AtomicU64::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // If a reader has failed, there will never be.
                    let enough = |txn| {
                        txn > COMMITS && given_out.load(Ordering::Relaxed) > READS || txn > 1_000 * COMMITS
                    };
                    for txn in (2..).take_while(|txn| !enough(*txn)) {
                        let key = (txn.wrapping_mul(0x9e37_79b9) >> 7) as usize % 4;
                        // Some commits write access times alone.
                        let is_quiet = txn % 3 == 0;
                        {
                            let mut store = store.lock().unwrap();
                            if !is_quiet {
                                store.0[key] = txn;
                            }
                            store.1 = txn;
                            token.store(txn, Ordering::SeqCst);
                        }
                        if is_quiet {
                            quiet.extend(txn - 1, txn);
                            continue;
                        }
                        // Now and then it was another process that committed; the ledger is not told.
                        if txn % 5 != 0 {
                            ledger.committed(
                                quiet.standing(txn - 1).since,
                                txn,
                                &[(KEYS[key], Fate::Written)],
                            );
                        }
                        returned[key].store(txn, Ordering::SeqCst);
                        if u64::is_multiple_of(txn, 64) {
                            std::thread::yield_now();
                        }
                    }
                    done.store(true, Ordering::SeqCst);
                });
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mut n = 0usize;
                        while !done.load(Ordering::SeqCst) {
                            n += 1;
                            let key = n % 4;
                            let promised = returned[key].load(Ordering::SeqCst);
                            let item = front.get(&KEYS[key]);
                            let current = |item: &Item<u32>| {
                                item.held.is_current(1, quiet.standing(token.load(Ordering::SeqCst)))
                            };
                            if let Some(item) = item.as_ref().filter(|item| current(item)) {
                                given_out.fetch_add(1, Ordering::Relaxed);
                                assert!(u64::from(*item.value) >= promised, "{} < {promised}", item.value);
                                continue;
                            }
                            let drops = ledger.drops();
                            let (written, snapshot) = {
                                let store = store.lock().unwrap();
                                (store.0[key], store.1)
                            };
                            let known = item.filter(|item| {
                                item.held.known(1) == Some((KEYS[key], crate::store::Stamp(written)))
                            });
                            if let Some(item) = known {
                                item.held.confirm(snapshot, &Header::of_stamp(written));
                            } else {
                                let held = hold(&ledger, KEYS[key], drops, written, snapshot);
                                front.add(KEYS[key], held, b"k", Arc::new(written as u32), 4);
                            }
                        }
                    });
                }
            });
            assert!(given_out.load(Ordering::SeqCst) > READS);
        }
    }
}
