//! The model: what is cached, when, and a plain list that knows what should come of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{Cache, Clock};

pub(crate) type Handle = Cache<str, Value>;

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const START: u64 = 1_700_000_000 * SECOND;
pub(crate) const KEYS: usize = 9;
/// Idle entries live a multiple of the whole seconds that pass, so that access times which are recorded to a sixteenth
/// of that expire in the same second as exact ones.
pub(crate) const IDLE: u64 = 10 * SECOND;

#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Value {
    pub(crate) number: u32,
    pub(crate) text: String,
}

/// Values of several sizes: tiny, worth compressing, and larger than a page whether compressed or not.
pub(crate) fn value(number: u32) -> Value {
    let text = match number % 5 {
        0 | 1 => String::new(),
        2 => "compressible ".repeat(30),
        3 => "c".repeat(9_000),
        _ => {
            let mut x = u64::from(number) + 1;
            let noise = std::iter::repeat_with(|| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'!' + (x >> 58) as u8)
            });
            noise.take(6_000).collect()
        }
    };
    Value { number, text }
}

/// Short keys, and one longer than LMDB's keys may be.
pub(crate) fn key(index: usize) -> String {
    if index == 0 { "a long key ".repeat(60) } else { format!("key {index}") }
}

pub(crate) struct MockClock(pub(crate) AtomicU64);

impl MockClock {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, micros: u64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for MockClock {
    fn now(&self) -> SystemTime {
        system(self.now())
    }
}

pub(crate) fn system(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

pub(crate) fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// In memory where there is such a place: the disk's syncs would take most of the time.
pub(crate) fn fast_directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: usize,
    pub(crate) value: u32,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) accessed: u64,
    pub(crate) expires: Option<u64>,
    pub(crate) idle: Option<u64>,
}

impl Entry {
    pub(crate) fn lives(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now) && self.idle.is_none_or(|idle| self.accessed + idle > now)
    }
}

/// One namespace: its entries in the order of insertion, expired ones included until something removes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    pub(crate) entries: Vec<Entry>,
    pub(crate) limit: Option<usize>,
    /// How many were removed or replaced when they had expired. Where a compaction of RocksDB was faster, what lists them is
    /// left to the next sweep, which may count them.
    pub(crate) removed_expired: usize,
}

impl Space {
    pub(crate) fn find(&self, key: usize, now: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key && entry.lives(now))
    }

    pub(crate) fn find_mut(&mut self, key: usize, now: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key && entry.lives(now))
    }

    pub(crate) fn read(&mut self, key: usize, now: u64) -> Option<u32> {
        let entry = self.find_mut(key, now)?;
        entry.accessed = now;
        Some(entry.value)
    }

    pub(crate) fn living(&self, now: u64) -> Vec<(String, Value)> {
        self.entries.iter().filter(|e| e.lives(now)).map(|e| (key(e.key), value(e.value))).collect()
    }

    /// Overwriting keeps place and creation time; an expired entry is as good as absent.
    pub(crate) fn write(&mut self, key: usize, value: u32, life: Life, now: u64) {
        let expires = life.ttl.map(|ttl| now + ttl);
        let new = Entry { key, value, created: now, modified: now, accessed: now, expires, idle: life.idle };
        match self.find_mut(key, now) {
            Some(old) => *old = Entry { created: old.created, ..new },
            None => {
                self.remove(key, now);
                self.entries.push(new);
            }
        }
    }

    /// With times of creation, access and expiry from elsewhere. What is expired takes the key's present value with it.
    pub(crate) fn write_aged(
        &mut self,
        key: usize,
        value: u32,
        (created, accessed, expires): (u64, u64, Option<u64>),
        life: Life,
        now: u64,
    ) {
        let created = created.min(now);
        let accessed = accessed.min(now).max(created);
        let new = Entry { key, value, created, modified: created, accessed, expires, idle: life.idle };
        if !new.lives(now) {
            self.remove(key, now);
            return;
        }
        match self.find_mut(key, now) {
            Some(old) => *old = new,
            None => {
                self.remove(key, now);
                self.entries.push(new);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: usize, now: u64) -> Option<u32> {
        let found = self.find(key, now).map(|entry| entry.value);
        self.removed_expired += self.entries.iter().filter(|e| e.key == key && !e.lives(now)).count();
        self.entries.retain(|entry| entry.key != key);
        found
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    pub(crate) ttl: Option<u64>,
    pub(crate) idle: Option<u64>,
}

pub(crate) fn mock_clock() -> Arc<MockClock> {
    Arc::new(MockClock(AtomicU64::new(START)))
}
