//! What random operations meet too rarely.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use cachemere::{ByteCache, Clock, Maintenance, Secret};

use crate::backend::backend;
use crate::front::front;
use crate::list::{
    Handle, IDLE, KEYS, MockClock, SECOND, START, Value, fast_directory, key, micros, mock_clock, system,
    value,
};

fn manual(path: &std::path::Path, clock: &Arc<MockClock>) -> cachemere::Builder<str, Value> {
    Handle::builder(path)
        .backend(backend())
        .front(front())
        .clock(clock.clone())
        .maintenance(Maintenance::Manual)
}

/// A compaction makes LMDB count its transactions anew, so that snapshots have the same numbers as others before.
#[test]
fn a_handle_that_slept_through_a_clear_and_a_compaction_is_not_stale() {
    for writes_after in 0..12 {
        let (dir, clock) = (fast_directory(), mock_clock());
        let path = dir.path().join("store");
        let active = manual(&path, &clock).open().unwrap();
        let asleep = manual(&path, &clock).open().unwrap();
        active.insert("old", &value(1)).unwrap();
        assert_eq!(asleep.len().unwrap(), 1);
        active.clear().unwrap();
        active.insert("new", &value(2)).unwrap();
        active.compact().unwrap();
        for n in 0..writes_after {
            active.insert(&key(n % KEYS), &value(3)).unwrap();
        }
        assert_eq!(asleep.get("old").unwrap(), None);
        assert_eq!(asleep.get("new").unwrap(), Some(value(2)), "after {writes_after} writes");
        assert_eq!(asleep.len().unwrap(), active.len().unwrap());
    }
}

/// Between being taken from memory and being seen in the store, an access time must not be lost for a moment: an entry
/// that lives by it would be.
#[test]
fn an_access_is_known_while_it_is_being_written() {
    let (dir, clock) = (fast_directory(), mock_clock());
    let path = dir.path().join("store");
    let cache = manual(&path, &clock).time_to_idle(Duration::from_secs(60)).open().unwrap();
    for n in 0..KEYS {
        cache.insert(&key(n), &value(n as u32)).unwrap();
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    cache.sweep().unwrap();
                }
            });
        }
        for _ in 0..100 {
            clock.advance(20 * SECOND);
            let now = clock.now();
            for n in 0..KEYS {
                assert_eq!(cache.get(&key(n)).unwrap(), Some(value(n as u32)));
                let accessed = micros(cache.info(&key(n)).unwrap().unwrap().accessed);
                if accessed != now {
                    done.store(true, Ordering::Relaxed);
                    assert_eq!(accessed, now);
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_token_does_not_come_again_after_a_compaction() {
    let dir = fast_directory();
    let cache = ByteCache::builder(dir.path().join("store"))
        .backend(backend())
        .maintenance(Maintenance::Manual)
        .open()
        .unwrap();
    let mut seen = Vec::new();
    for round in 0..3u8 {
        for n in 0..10 {
            cache.insert(b"key", &[round, n], 0, None).unwrap();
            let read = cache.get(b"key").unwrap().unwrap();
            assert_eq!(read.snapshot, cache.token().unwrap());
            assert!(!seen.contains(&read.snapshot), "round {round}: {} was a token before", read.snapshot);
            seen.push(read.snapshot);
        }
        cache.compact().unwrap();
    }
}

#[test]
fn a_read_through_any_handle_keeps_an_idle_entry() {
    let (dir, clock) = (fast_directory(), mock_clock());
    let open = || {
        let path = dir.path().join("store");
        manual(&path, &clock).time_to_idle(Duration::from_micros(IDLE)).open().unwrap()
    };
    let (one, other) = (open(), open());
    one.insert("key", &value(1)).unwrap();
    for handle in [&one, &other, &one, &other, &one, &other] {
        clock.advance(SECOND);
        assert_eq!(handle.get("key").unwrap(), Some(value(1)));
    }
    for _ in 0..20 {
        clock.advance(SECOND);
        assert_eq!(one.get("key").unwrap(), Some(value(1)));
        assert_eq!(micros(one.info("key").unwrap().unwrap().accessed), clock.now());
    }
    one.checkpoint().unwrap();
    assert_eq!(other.get("key").unwrap(), Some(value(1)));
    assert_eq!(one.sweep().unwrap(), 0);
    assert_eq!(one.get("key").unwrap(), Some(value(1)));
}

/// A clock that jumps after it was asked so many times, into the middle of an operation.
struct JumpingClock {
    time: AtomicU64,
    asked: AtomicU64,
    jump_at: AtomicU64,
}

impl Clock for JumpingClock {
    fn now(&self) -> SystemTime {
        if self.asked.fetch_add(1, Ordering::SeqCst) == self.jump_at.load(Ordering::SeqCst) {
            self.time.fetch_add(9 * SECOND / 2, Ordering::SeqCst);
        }
        system(self.time.load(Ordering::SeqCst))
    }
}

#[test]
fn an_entry_that_expires_while_it_is_replaced_does_not_hand_on_its_age() {
    for encrypt in [false, true] {
        for calls in 0..6 {
            let dir = fast_directory();
            let never = AtomicU64::new(u64::MAX);
            let clock =
                JumpingClock { time: AtomicU64::new(START), asked: AtomicU64::new(0), jump_at: never };
            let clock = Arc::new(clock);
            let mut builder = Handle::builder(dir.path().join("store"))
                .backend(backend())
                .clock(clock.clone())
                .maintenance(Maintenance::Manual)
                .time_to_live(Duration::from_secs(5));
            if encrypt {
                builder = builder.encryption(Secret::key([1; 32]));
            }
            let cache = builder.open().unwrap();
            cache.insert("key", &value(1)).unwrap();
            cache.insert("other", &value(2)).unwrap();
            clock.time.fetch_add(SECOND, Ordering::SeqCst);
            let jump_at = clock.asked.load(Ordering::SeqCst) + calls;
            clock.jump_at.store(jump_at, Ordering::SeqCst);
            cache.insert("key", &value(3)).unwrap();
            let jumped = clock.asked.load(Ordering::SeqCst) > jump_at;
            clock.jump_at.store(u64::MAX, Ordering::SeqCst);
            let created = micros(cache.info("key").unwrap().unwrap().created);
            match jumped {
                true => assert!(created > START, "encrypted: {encrypt}, call {calls}"),
                false => assert_eq!(created, START),
            }
            assert_eq!(cache.get("key").unwrap(), Some(value(3)));
        }
    }
}

#[test]
fn a_clock_that_was_set_back_does_no_harm() {
    for encrypt in [false, true] {
        let (dir, clock) = (fast_directory(), mock_clock());
        let mut builder = manual(&dir.path().join("store"), &clock).max_entries(3);
        if encrypt {
            builder = builder.encryption(Secret::key([1; 32]));
        }
        let cache = builder.open().unwrap();
        cache.insert("key", &value(1)).unwrap();
        clock.0.store(START - 1000 * SECOND, Ordering::SeqCst);
        assert_eq!(cache.get("key").unwrap(), Some(value(1)));
        cache.insert_with_ttl("key", &value(2), Duration::from_secs(5)).unwrap();
        assert_eq!(micros(cache.info("key").unwrap().unwrap().created), START);
        clock.advance(6 * SECOND);
        assert_eq!(cache.get("key").unwrap(), None);
        // It expired before it was made, so to say. The next one is made now.
        cache.insert("key", &value(3)).unwrap();
        assert_eq!(micros(cache.info("key").unwrap().unwrap().created), clock.now());
        cache.insert_many([("key", &value(4)), ("other", &value(5))]).unwrap();
        assert!(cache.touch("key").unwrap());
        assert_eq!(cache.get("key").unwrap(), Some(value(4)));
        assert_eq!(cache.sweep().unwrap(), 0);
        assert!(cache.verify().unwrap().is_clean());
    }
}

#[test]
fn a_limit_set_later_evicts_by_the_accesses_there_were_before() {
    let (dir, clock) = (fast_directory(), mock_clock());
    let path = dir.path().join("store");
    let cache = manual(&path, &clock).open().unwrap();
    for k in 0..KEYS {
        clock.advance(2 * SECOND);
        cache.insert(&key(k), &value(k as u32)).unwrap();
    }
    clock.advance(2 * SECOND);
    assert_eq!(cache.get(&key(1)).unwrap(), Some(value(1)));
    cache.close().unwrap();

    let cache = manual(&path, &clock).max_entries(4).open().unwrap();
    assert_eq!(cache.len().unwrap(), KEYS as u64, "nothing goes before something is written");
    clock.advance(SECOND);
    cache.insert("new", &value(9)).unwrap();
    let left: Vec<String> = cache.iter().map(|entry| entry.unwrap().0).collect();
    assert_eq!(left, [key(1), key(KEYS - 2), key(KEYS - 1), "new".to_owned()]);
    assert!(cache.verify().unwrap().is_clean());
    cache.close().unwrap();

    // A limit is recorded, can be lowered, and can be taken away.
    let cache = manual(&path, &clock).open().unwrap();
    cache.insert("one more", &value(1)).unwrap();
    assert_eq!(cache.len().unwrap(), 4);
    cache.close().unwrap();
    let cache = manual(&path, &clock).max_entries(2).open().unwrap();
    cache.insert("another", &value(1)).unwrap();
    assert_eq!(cache.len().unwrap(), 2);
    cache.close().unwrap();
    let cache = manual(&path, &clock).max_entries(None).open().unwrap();
    cache.insert("a", &value(1)).unwrap();
    cache.insert("b", &value(1)).unwrap();
    assert_eq!(cache.len().unwrap(), 4);
}

#[test]
fn long_iterations_meet_each_entry_once_whatever_the_direction() {
    const MANY: usize = 1_000;
    let (dir, clock) = (fast_directory(), mock_clock());
    let cache = manual(&dir.path().join("store"), &clock).open().unwrap();
    let all: Vec<(String, Value)> =
        (0..MANY).map(|n| (key(n), Value { number: n as u32, text: String::new() })).collect();
    cache.insert_many(all.iter().map(|(k, v)| (k.as_str(), v))).unwrap();
    for turn in [1, 3, 255, 256, 257, MANY] {
        let mut expected: VecDeque<_> = all.iter().cloned().collect();
        let mut iter = cache.iter();
        for n in 0.. {
            let (found, expected) = match n / turn % 2 {
                0 => (iter.next(), expected.pop_front()),
                _ => (iter.next_back(), expected.pop_back()),
            };
            assert_eq!(found.transpose().unwrap(), expected);
            if expected.is_none() {
                break;
            }
        }
        assert!(iter.next().is_none() && iter.next_back().is_none());
    }
    // Whatever is removed or added on the way, what stays is met once.
    let mut met = Vec::new();
    for (n, entry) in cache.iter().enumerate() {
        let (key, value) = entry.unwrap();
        if value.number.is_multiple_of(2) && (value.number as usize) < MANY {
            met.push(key);
        }
        if n < MANY / 2 {
            cache.remove(&all[MANY - 1 - n - n % 2].0).unwrap();
            cache
                .insert(&format!("new {n}"), &Value { number: 2 * MANY as u32, text: String::new() })
                .unwrap();
        }
    }
    let left: Vec<String> =
        cache.iter().map(|entry| entry.unwrap().0).filter(|key| !key.starts_with("new")).collect();
    let distinct: std::collections::HashSet<&String> = met.iter().collect();
    assert_eq!(distinct.len(), met.len());
    for key in left.iter().filter(|key| all.iter().any(|(k, v)| k == *key && v.number.is_multiple_of(2))) {
        assert!(distinct.contains(key), "{key} was there all the time");
    }
}

/// Writing access times moves the token for everybody, but changes no value.
#[test]
fn memory_answers_on_after_access_times_were_written() {
    let (dir, clock) = (fast_directory(), mock_clock());
    let path = dir.path().join("store");
    let handles = [manual(&path, &clock).open().unwrap(), manual(&path, &clock).open().unwrap()];
    for n in 0..KEYS {
        handles[0].insert(&key(n), &value(n as u32)).unwrap();
    }
    let read = |handle: &Handle| {
        let before = handle.stats().unwrap().front_hits;
        for n in 0..KEYS {
            assert_eq!(handle.get(&key(n)).unwrap(), Some(value(n as u32)));
        }
        handle.stats().unwrap().front_hits - before
    };
    for handle in &handles {
        read(handle);
        assert_eq!(read(handle), KEYS as u64);
    }
    let accessed = handles[0].info(&key(0)).unwrap().unwrap().accessed;
    for round in 0..3 {
        clock.advance(100 * SECOND);
        assert_eq!(handles.each_ref().map(&read), [KEYS as u64; 2], "round {round}");
        // It writes the access times first.
        handles[0].sweep().unwrap();
    }
    assert!(handles[1].info(&key(0)).unwrap().unwrap().accessed > accessed);
    assert_eq!(handles.each_ref().map(&read), [KEYS as u64; 2]);
    // What is written between two such commits is seen, by the handle that wrote it and by the other.
    handles[0].insert(&key(0), &value(77)).unwrap();
    clock.advance(100 * SECOND);
    assert_eq!(handles[1].get(&key(1)).unwrap(), Some(value(1)));
    handles[0].sweep().unwrap();
    for handle in &handles {
        assert_eq!(handle.get(&key(0)).unwrap(), Some(value(77)));
    }
}
