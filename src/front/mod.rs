//! The front: decoded values in memory, never stale.
//!
//! A value is tagged with the snapshot it was read in. It is good as long as LMDB's last committed transaction, of
//! whatever process, is that snapshot; asking costs a few nanoseconds and no system call. When the token has moved, the
//! stamp in the entry's header tells whether the value did, without decoding it again.
//!
//! Commits of the same handle need no such look: it knows which keys it wrote. As long as every commit since a value's
//! snapshot was its own, the value is good unless its key was among them, and those are dropped from the front.
//!
//! Nor do commits of this process that only wrote access times (see `store::quiet`): they count as if they had not been.
//!
//! Two races are closed on the way. LMDB publishes a commit's meta page before the number that readers take their
//! snapshot from, so the token can be newer than a snapshot opened after it was read: tags are always the snapshot's own
//! number. And a value read just before a commit of the same handle could be added just after that commit dropped its
//! key: so a value gets its tag only after it is in, and only if no commit began to drop keys since before its snapshot.

mod moka;
#[cfg(feature = "quick_cache")]
mod quick_cache;

use std::sync::Arc;

use crate::mark::{Chain, Mark};
use crate::store::{Header, KeyHash, Live, Standing};

/// Bytes an item takes beside key and value.
const OVERHEAD: usize = 192;

/// A decoded value with what is needed to know whether it may be given out.
pub(crate) struct Item<V> {
    pub(crate) mark: Mark,
    key: Box<[u8]>,
    pub(crate) value: Arc<V>,
}

impl<V> Item<V> {
    pub(crate) fn is_of(&self, key: &[u8]) -> bool {
        *self.key == *key
    }
}

/// The crate that keeps a front's values and chooses which to give up. Whichever it is, no stale value is given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FrontKind {
    /// moka: TinyLFU. Holds on to more of what is needed where popularity moves, or where a loop goes over somewhat more
    /// than there is room for. In a child that was forked while another thread was within a read, what it gives up is not
    /// freed.
    #[default]
    Moka,
    /// quick_cache: Clock-PRO. Reads cost less, and more of them hit where the same keys stay popular.
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
///
/// Once `remove` or `insert` has returned, `get` finds nothing that was there before for that key, in any thread: the
/// marks rely on it. What `clear` leaves is not given out, whatever is found of it.
trait Items<V>: Send + Sync {
    fn get(&self, hash: &KeyHash) -> Option<Arc<Item<V>>>;
    fn insert(&self, hash: KeyHash, item: Arc<Item<V>>);
    fn remove(&self, hash: &KeyHash);
    fn clear(&self);
    /// Number of items and their bytes.
    fn size(&self) -> (u64, u64);
}

/// The front of one handle and its clones, over one opened environment.
pub(crate) struct Front<V> {
    items: Box<dyn Items<V>>,
    chain: Chain,
}

impl<V: Send + Sync + 'static> Front<V> {
    pub(crate) fn new(options: FrontOptions) -> Front<V> {
        let items: Box<dyn Items<V>> = match options.kind {
            FrontKind::Moka => Box::new(moka::Moka::new(options.bytes)),
            #[cfg(feature = "quick_cache")]
            FrontKind::QuickCache => Box::new(quick_cache::QuickCache::new(options.bytes)),
        };
        Front { items, chain: Chain::default() }
    }

    pub(crate) fn get(&self, hash: &KeyHash) -> Option<Arc<Item<V>>> {
        self.items.get(hash)
    }

    /// Whether the item's value is what the store has, the store standing `at`.
    pub(crate) fn is_current(&self, item: &Item<V>, at: Standing) -> bool {
        item.mark.is_current(&self.chain, at)
    }

    /// Whether the item's value is what the store has now, and has not expired.
    pub(crate) fn gives_out(&self, item: &Item<V>, live: &Live) -> bool {
        self.is_current(item, live.standing()) && !item.mark.is_expired(live)
    }

    /// To be asked before the snapshot is opened in which a value to be added is read.
    pub(crate) fn drops(&self) -> u64 {
        self.chain.drops()
    }

    /// Adds a value read in `snapshot`, unless this handle has committed since `drops` was asked.
    pub(crate) fn add(
        &self,
        drops: u64,
        hash: KeyHash,
        key: &[u8],
        value: Arc<V>,
        size: usize,
        at: (u64, &Header),
    ) {
        let (snapshot, header) = at;
        let mark = Mark::new(hash, header, key.len() + size + OVERHEAD);
        let item = Arc::new(Item { mark, key: key.into(), value });
        self.items.insert(hash, item.clone());
        item.mark.publish(&self.chain, drops, snapshot);
    }

    /// Drops what a commit of this handle wrote, which found the values of snapshot `found`. To be called before any other writer of this process goes on.
    pub(crate) fn committed(&self, found: u64, txn: u64, written: &[KeyHash]) {
        self.chain.begin();
        for hash in written {
            self.items.remove(hash);
        }
        self.chain.extend(found, txn);
    }

    /// Drops everything.
    pub(crate) fn clear(&self, txn: u64) {
        self.chain.begin();
        self.items.clear();
        self.chain.restart(txn);
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

    /// The store after transaction `token`, which may have changed anything.
    fn at(token: u64) -> Standing {
        Standing { token, since: token }
    }

    const A: KeyHash = KeyHash([1; 16]);
    const B: KeyHash = KeyHash([2; 16]);

    /// One of each kind.
    fn fronts() -> impl Iterator<Item = Front<u32>> {
        let kinds = [
            FrontKind::Moka,
            #[cfg(feature = "quick_cache")]
            FrontKind::QuickCache,
        ];
        kinds.into_iter().map(|kind| Front::new(FrontOptions { kind, bytes: 1 << 20 }))
    }

    fn add(front: &Front<u32>, drops: u64, hash: KeyHash, value: u32, snapshot: u64) {
        front.add(drops, hash, b"k", Arc::new(value), 4, (snapshot, &Header::of_stamp(snapshot)));
    }

    /// The value that a read would be given when `token` is the last committed transaction.
    fn given(front: &Front<u32>, hash: KeyHash, token: u64) -> Option<u32> {
        front.get(&hash).filter(|item| front.is_current(item, at(token))).map(|item| *item.value)
    }

    #[test]
    fn a_value_of_a_snapshot_is_given_out_in_that_snapshot_only() {
        for front in fronts() {
            add(&front, front.drops(), A, 10, 7);
            assert_eq!(given(&front, A, 7), Some(10));
            // Another process, or a quiet commit of this one, was last.
            assert_eq!(given(&front, A, 8), None);
            // A snapshot opened while a commit was being published is older than the token; it must not pass for newer.
            assert_eq!(given(&front, A, 6), None);
        }
    }

    #[test]
    fn own_commits_keep_all_values_but_those_they_wrote() {
        for front in fronts() {
            front.committed(6, 7, &[]);
            add(&front, front.drops(), A, 10, 7);
            add(&front, front.drops(), B, 20, 7);
            front.committed(7, 8, &[B]);
            front.committed(8, 9, &[]);
            assert_eq!((given(&front, A, 9), given(&front, B, 9)), (Some(10), None));
            // Not before the commit that is last is known to have been this handle's own.
            assert_eq!(given(&front, A, 10), None);
        }
    }

    #[test]
    fn commits_of_access_times_keep_all_values_and_do_not_break_the_chain() {
        for front in fronts() {
            front.committed(6, 7, &[]);
            add(&front, front.drops(), A, 10, 7);
            add(&front, front.drops(), B, 20, 7);
            let is_current = |hash, token, since| {
                front.get(&hash).is_some_and(|item| front.is_current(&item, Standing { token, since }))
            };
            // Transactions 8 and 9 wrote access times.
            assert!(is_current(A, 9, 7) && !is_current(A, 9, 8));
            front.committed(7, 10, &[B]);
            assert!(is_current(A, 10, 10) && !is_current(B, 10, 10));
            // So did 11, then 12 changed something, and 13 wrote access times.
            assert!(is_current(A, 11, 10) && !is_current(A, 12, 12) && !is_current(A, 13, 12));
            front.committed(12, 14, &[]);
            assert!(!is_current(A, 14, 14));
        }
    }

    #[test]
    fn a_commit_of_somebody_else_between_own_ones_breaks_the_chain() {
        for front in fronts() {
            front.committed(6, 7, &[]);
            add(&front, front.drops(), A, 10, 7);
            // Transaction 8 was another process's and can have written A.
            front.committed(8, 9, &[B]);
            assert_eq!(given(&front, A, 9), None);
            // What is read from now on is good, also after further own commits.
            add(&front, front.drops(), A, 11, 9);
            front.committed(9, 10, &[B]);
            assert_eq!(given(&front, A, 10), Some(11));
        }
    }

    #[test]
    fn a_value_added_after_an_own_commit_dropped_its_key_is_never_given_out() {
        for front in fronts() {
            front.committed(6, 7, &[]);
            // The reader asks, opens snapshot 7 and reads; the writer commits 8 and drops the key; the reader adds.
            let drops = front.drops();
            front.committed(7, 8, &[A]);
            add(&front, drops, A, 10, 7);
            for token in 0..12 {
                assert_eq!(given(&front, A, token), None, "token {token}");
            }
            // It stays untagged when more is committed: no chain covers it.
            front.committed(8, 9, &[B]);
            assert_eq!(given(&front, A, 9), None);
        }
    }

    #[test]
    fn an_untagged_value_is_given_out_once_its_stamp_was_seen_again() {
        for front in fronts() {
            let drops = front.drops();
            front.committed(7, 8, &[B]);
            add(&front, drops, A, 10, 7);
            assert_eq!(given(&front, A, 8), None);
            front.get(&A).unwrap().mark.confirm(8, &Header::of_stamp(7));
            assert_eq!(given(&front, A, 8), Some(10));
            assert_eq!(given(&front, A, 9), None);
        }
    }

    #[test]
    fn a_value_confirmed_after_it_was_dropped_is_not_found_again() {
        for front in fronts() {
            front.committed(6, 7, &[]);
            add(&front, front.drops(), A, 10, 7);
            let late = front.get(&A).unwrap();
            front.committed(7, 8, &[A]);
            // The reader had looked at snapshot 7 before the commit.
            late.mark.confirm(7, &Header::of_stamp(7));
            assert_eq!(given(&front, A, 8), None);
        }
    }

    #[test]
    fn nothing_from_before_a_clear_is_given_out() {
        for front in fronts() {
            front.committed(6, 7, &[]);
            add(&front, front.drops(), A, 10, 7);
            let drops = front.drops();
            front.clear(8);
            add(&front, drops, B, 20, 7);
            assert_eq!((given(&front, A, 8), given(&front, B, 8)), (None, None));
            front.committed(8, 9, &[]);
            assert_eq!((given(&front, A, 9), given(&front, B, 9)), (None, None));
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_a_clear_empties_it() {
        for front in fronts() {
            let room = 1 << 20;
            for n in 0..4_000u32 {
                let mut hash = [0; 16];
                hash[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_le_bytes());
                // Some are as large as the front, and some larger.
                let size = if n % 500 == 7 { room + n as usize } else { 1_000 };
                let header = Header::of_stamp(7);
                front.add(front.drops(), KeyHash(hash), b"k", Arc::new(n), size, (7, &header));
            }
            let (items, bytes) = front.size();
            assert!(bytes <= room as u64 && bytes >= room as u64 / 2, "{bytes} bytes");
            assert!(items >= 400 && items * 1_000 <= bytes, "{items} items of {bytes} bytes");
            front.clear(8);
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
                        // Now and then it was another process that committed; the front is not told.
                        if txn % 5 != 0 {
                            front.committed(quiet.standing(txn - 1).since, txn, &[KEYS[key]]);
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
                                front.is_current(item, quiet.standing(token.load(Ordering::SeqCst)))
                            };
                            if let Some(item) = item.as_ref().filter(|item| current(item)) {
                                given_out.fetch_add(1, Ordering::Relaxed);
                                assert!(u64::from(*item.value) >= promised, "{} < {promised}", item.value);
                                continue;
                            }
                            let drops = front.drops();
                            let (written, snapshot) = {
                                let store = store.lock().unwrap();
                                (store.0[key], store.1)
                            };
                            let header = Header::of_stamp(written);
                            match item {
                                Some(item) if item.mark.stamp == crate::store::Stamp(written) => {
                                    item.mark.confirm(snapshot, &header)
                                }
                                _ => {
                                    let value = Arc::new(written as u32);
                                    front.add(drops, KEYS[key], b"k", value, 4, (snapshot, &header));
                                }
                            }
                        }
                    });
                }
            });
            assert!(given_out.load(Ordering::SeqCst) > READS);
        }
    }
}
