//! What a listener hears of that leaves the memory of its handle, and why; and what it may do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[path = "support/front.rs"]
mod front;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cachemere::RemovalCause::{self, Evicted, Expired, Memory, Removed, Replaced};
use cachemere::{AsyncCache, Batch, Builder, Cache, Clock};

type Left = (u32, String, RemovalCause);

/// What was heard, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Left>>>);

impl Heard {
    fn listen(&self, builder: Builder<u32, String>) -> Builder<u32, String> {
        let heard = self.clone();
        builder.removal_listener(move |key, value, cause| {
            heard.0.lock().unwrap().push((*key, (**value).clone(), cause))
        })
    }

    /// What was heard since it was last asked.
    fn take(&self) -> Vec<Left> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn left(key: u32, value: &str, cause: RemovalCause) -> Left {
    (key, value.to_owned(), cause)
}

fn builder(path: &Path) -> Builder<u32, String> {
    Cache::builder(path).front(front::front())
}

/// A cache with so many entries, all in memory.
fn open(path: &Path, entries: u32) -> (Cache<u32, String>, Heard) {
    let heard = Heard::default();
    let cache = heard.listen(builder(path)).open().unwrap();
    fill(&cache, entries);
    assert_eq!(heard.take(), []);
    (cache, heard)
}

fn fill(cache: &Cache<u32, String>, entries: u32) {
    for key in 0..entries {
        cache.insert(&key, &key.to_string()).unwrap();
        cache.get(&key).unwrap();
    }
}

#[test]
fn it_hears_what_its_own_handle_replaces_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, heard) = open(dir.path(), 10);
    cache.insert(&0, &"new".into()).unwrap();
    assert_eq!(heard.take(), [left(0, "0", Replaced)]);
    // It is in no memory now.
    cache.insert(&0, &"newer".into()).unwrap();
    assert_eq!(heard.take(), []);
    cache.remove(&1).unwrap();
    cache.take(&2).unwrap();
    cache.update(&3, |_| Some("3!".into())).unwrap();
    cache.update(&4, |_| None).unwrap();
    assert_eq!(
        heard.take(),
        [left(1, "1", Removed), left(2, "2", Removed), left(3, "3", Replaced), left(4, "4", Removed)]
    );
    let mut batch = Batch::new();
    batch.insert(&5, "5!".to_owned()).remove(&6);
    cache.write(&batch).unwrap();
    let mut both = heard.take();
    both.sort_by_key(|left| left.0);
    assert_eq!(both, [left(5, "5", Replaced), left(6, "6", Removed)]);
    assert_eq!(cache.pop_newest().unwrap(), Some((9, "9".into())));
    assert_eq!(heard.take(), [left(9, "9", Removed)]);
    assert_eq!(cache.retain(|key, _| *key != 8).unwrap(), 1);
    assert_eq!(heard.take(), [left(8, "8", Removed)]);
    cache.clear().unwrap();
    assert_eq!(heard.take(), [left(7, "7", Removed)]);
    cache.clear().unwrap();
    fill(&cache, 1);
    drop(cache);
    assert_eq!(heard.take(), []);
}

#[test]
fn it_hears_of_what_others_did_when_the_key_is_next_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, heard) = open(dir.path(), 3);
    let (other, others) = open(&dir.path().join("other"), 1);
    drop(other);
    let other = builder(dir.path()).open().unwrap();
    other.insert(&0, &"new".into()).unwrap();
    other.remove(&1).unwrap();
    other.insert(&7, &"beside".into()).unwrap();
    assert_eq!(heard.take(), []);
    for key in 0..3 {
        cache.get(&key).unwrap();
    }
    assert_eq!(heard.take(), [left(0, "0", Replaced), left(1, "1", Removed)]);
    assert_eq!(others.take(), []);
}

struct Hand(AtomicU32);

impl Clock for Hand {
    fn now(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst).into())
    }
}

#[test]
fn it_hears_of_what_expires_and_what_limits_evict() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand(AtomicU32::new(1_000_000)));
    let heard = Heard::default();
    let builder =
        builder(dir.path()).max_entries(5).time_to_live(Duration::from_secs(10)).clock(clock.clone());
    let cache = heard.listen(builder).open().unwrap();
    fill(&cache, 5);
    clock.0.fetch_add(1, Ordering::SeqCst);
    cache.insert(&5, &"5".into()).unwrap();
    let evicted = heard.take();
    assert!(matches!(&evicted[..], [(_, _, Evicted)]), "{evicted:?}");
    clock.0.fetch_add(20, Ordering::SeqCst);
    assert_eq!(heard.take(), []);
    let mut expired: Vec<_> = (0..5).filter(|key| *key != evicted[0].0).collect();
    cache.get(&expired[0]).unwrap();
    assert_eq!(heard.take(), [left(expired[0], &expired[0].to_string(), Expired)]);
    cache.insert(&expired[1], &"new".into()).unwrap();
    assert!(heard.take().contains(&left(expired[1], &expired[1].to_string(), Expired)));
    cache.sweep().unwrap();
    expired.drain(..2).for_each(drop);
    for key in expired {
        cache.get(&key).unwrap();
    }
    assert!(heard.take().iter().all(|(_, _, cause)| *cause == Expired));
}

#[test]
fn it_hears_of_what_makes_room_in_memory_and_stays_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let cache = heard.listen(builder(dir.path()).front_bytes(20_000)).open().unwrap();
    fill(&cache, 1_000);
    let gone = heard.take();
    assert!(gone.iter().all(|(_, _, cause)| *cause == Memory && !cause.is_explicit()), "{gone:?}");
    let kept = cache.stats().unwrap().front_entries;
    cache.get(&0).unwrap();
    assert!(gone.len() + heard.take().len() + kept as usize >= 1_000, "{} left, {kept} kept", gone.len());
    assert_eq!(cache.len().unwrap(), 1_000);
    // Each that left was once in memory, with its own value.
    assert!(gone.iter().all(|(key, value, _)| key.to_string() == *value));
}

#[test]
fn a_listener_may_use_the_cache_and_may_panic() {
    let dir = tempfile::tempdir().unwrap();
    let own: Arc<OnceLock<Cache<u32, String>>> = Arc::default();
    let within = own.clone();
    let calls = Arc::new(AtomicU32::new(0));
    let called = calls.clone();
    let listener = move |key: &u32, value: &Arc<String>, _| {
        called.fetch_add(1, Ordering::SeqCst);
        if *key < 100 {
            let cache = within.get().unwrap();
            cache.insert(&(key + 100), value).unwrap();
            assert_eq!(cache.get(&(key + 100)).unwrap().as_ref(), Some(&**value));
        }
        if *key == 1 {
            std::panic::resume_unwind(Box::new("as a listener might"));
        }
    };
    let cache = builder(dir.path()).removal_listener(listener).open().unwrap();
    own.set(cache.clone()).unwrap();
    fill(&cache, 4);
    for key in 0..4 {
        assert!(cache.remove(&key).unwrap());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!(cache.len().unwrap(), 4);
    cache.insert(&101, &"new".into()).unwrap();
    assert_eq!((calls.load(Ordering::SeqCst), cache.get(&101).unwrap().as_deref()), (5, Some("new")));
    assert!(cache.verify().unwrap().is_clean());
}

#[test]
fn what_leaves_while_threads_write_is_heard_once_each_with_its_own_cause() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, heard) = open(dir.path(), 400);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for key in (thread..400).step_by(4) {
                    match thread % 2 {
                        0 => cache.remove(&key).map(drop).unwrap(),
                        _ => cache.insert(&key, &"new".into()).unwrap(),
                    }
                }
            });
        }
    });
    let mut all = heard.take();
    all.sort_by_key(|left| left.0);
    let expected: Vec<Left> = (0..400)
        .map(|key| left(key, &key.to_string(), if key % 2 == 0 { Removed } else { Replaced }))
        .collect();
    assert_eq!(all, expected);
}

#[test]
fn an_async_cache_tells_on_a_thread_of_the_stores() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, heard) = open(dir.path(), 2);
    let cache = AsyncCache::from(cache);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        cache.insert(&0, "new".into()).await.unwrap();
        cache.remove(&1).await.unwrap();
    });
    assert_eq!(heard.take(), [left(0, "0", Replaced), left(1, "1", Removed)]);
}
