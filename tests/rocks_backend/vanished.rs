//! Entries whose time to live is over, which a compaction removes without a transaction: until the sweeper comes, they are
//! listed and counted, but not there.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cachemere::{Batch, BoxError, Cache, Cipher, Clock, EntryTimes, Maintenance, Secret, XChaCha20Poly1305};

use super::builder;
use super::support::{mixed, store};

/// A clock that stands still until it is set.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn new() -> Hands {
        Hands(Arc::new(AtomicU64::new(1000)))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

pub(super) fn compaction() {
    let (_dir, path) = store();
    let hands = Hands::new();
    let open = || {
        builder::<String>(&path)
            .clock(Arc::new(hands.clone()))
            .maintenance(Maintenance::Manual)
            .open()
            .unwrap()
    };
    let cache = open();
    let big = "x".repeat(1000);
    for key in 0..500 {
        let noise = format!("{:x}", mixed(key)).repeat(60);
        match key % 2 {
            0 => cache.insert_with_ttl(&key, &noise, Duration::from_secs(10)).unwrap(),
            _ => cache.insert(&key, &noise).unwrap(),
        }
    }
    cache.insert(&1000, &big).unwrap();
    cache.compact().unwrap();
    let full = cache.stats().unwrap().file_bytes;
    assert_eq!(cache.len().unwrap(), 501);
    hands.advance(11);
    // Nobody has swept.
    cache.compact().unwrap();
    let half = cache.stats().unwrap().file_bytes;
    assert!(half < full * 3 / 4, "{half} of {full} bytes are left");
    assert_eq!(cache.len().unwrap(), 251);
    assert_eq!(cache.iter().count(), 251);
    assert_eq!(cache.get(&0).unwrap(), None);
    // A new value under a key of which something is still listed.
    cache.insert(&0, &"again".to_owned()).unwrap();
    assert_eq!(cache.len().unwrap(), 252);
    // That one is not among those that are swept.
    assert_eq!(cache.sweep().unwrap(), 249);
    assert_eq!(cache.len().unwrap(), 252);
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    cache.close().unwrap();
    let again = open();
    assert_eq!(again.len().unwrap(), 252);
    assert_eq!(again.get(&0).unwrap().as_deref(), Some("again"));
}

const SECOND: Duration = Duration::from_secs(1);

fn open(path: &Path, hands: &Hands, namespace: &str) -> Cache<u64, u64> {
    let builder = builder::<u64>(path).clock(Arc::new(hands.clone())).maintenance(Maintenance::Manual);
    builder.namespace(namespace).max_entries(100).open().unwrap()
}

/// Does something once, at the first entry that is decrypted.
#[derive(Clone, Default)]
struct Interrupting(Arc<Mutex<Option<Interruption>>>);

type Interruption = Box<dyn FnOnce() + Send>;

impl Cipher for Interrupting {
    fn name(&self) -> &str {
        "interrupting"
    }

    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError> {
        XChaCha20Poly1305.seal(key, aad, buffer, from)
    }

    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError> {
        let interruption = self.0.lock().unwrap().take();
        interruption.into_iter().for_each(|interrupt| interrupt());
        XChaCha20Poly1305.open(key, aad, buffer)
    }

    fn overhead(&self) -> usize {
        XChaCha20Poly1305.overhead()
    }
}

pub(super) fn verification() {
    let (_dir, path) = store();
    let hands = Hands::new();
    let cipher = Interrupting::default();
    let builder = builder::<u64>(&path).clock(Arc::new(hands.clone())).maintenance(Maintenance::Manual);
    let builder = builder.encryption(Secret::key([1; 32])).cipher(cipher.clone()).max_entries(100);
    let cache = builder.open().unwrap();
    for key in 0..50 {
        cache.insert_with_ttl(&key, &key, SECOND).unwrap();
        cache.insert_with_ttl(&(100 + key), &key, 3 * SECOND).unwrap();
    }
    hands.advance(2);
    // One half is expired before the verification begins, the other when it is under way.
    let (other, later) = (cache.clone(), hands.clone());
    *cipher.0.lock().unwrap() = Some(Box::new(move || {
        later.advance(2);
        other.compact().unwrap();
    }));
    let report = cache.verify().unwrap();
    assert!(cipher.0.lock().unwrap().is_none(), "nothing was decrypted");
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(cache.sweep().unwrap(), 100);
    assert!(cache.verify().unwrap().is_clean());
}

pub(super) fn clear() {
    let (_dir, path) = store();
    let hands = Hands::new();
    let cache = open(&path, &hands, "cleared");
    cache.insert_with_ttl(&1, &1, SECOND).unwrap();
    hands.advance(2);
    cache.compact().unwrap();
    cache.clear().unwrap();
    cache.sweep().unwrap();
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

pub(super) fn successor() {
    let (_dir, path) = store();
    let hands = Hands::new();
    let cache = open(&path, &hands, "default");
    let written = hands.now();
    cache.insert_with_ttl(&1, &1, SECOND).unwrap();
    hands.advance(2);
    cache.compact().unwrap();
    // Last accessed when the one was that has vanished.
    let times = EntryTimes { created: written, accessed: written, expires: None };
    let mut batch = Batch::new();
    batch.insert_with_times(&1, 2, times);
    cache.write(&batch).unwrap();
    assert_eq!(cache.len().unwrap(), 1);
    cache.sweep().unwrap();
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(cache.get(&1).unwrap(), Some(2));
}
