//! The keys of the store's one tree.
//!
//! Everything lives in LMDB's unnamed database, distinguished by the first byte. One tree instead of named databases
//! saves a descent in every read and a dirty page in every commit (see `docs/DESIGN.md`).

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The hash under which an entry is found: BLAKE3 of namespace id and canonical key, cut to 128 bits, keyed when the
/// store is encrypted. The entry holds the full key, which decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct KeyHash(pub(crate) [u8; 16]);

impl KeyHash {
    /// The first half as a number: uniformly distributed, so hash tables need not hash again.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Hashes key hashes for tables in memory, by taking them as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Prefix;

#[derive(Default)]
pub(crate) struct PrefixHasher(u64);

impl BuildHasher for Prefix {
    type Hasher = PrefixHasher;

    fn build_hasher(&self) -> PrefixHasher {
        PrefixHasher(0)
    }
}

impl Hasher for PrefixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(prefix) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*prefix);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

/// Identifies one generation of a namespace: clearing a namespace gives it a new id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct NamespaceId(pub(crate) u32);

/// An entry's place in the order of insertion within its namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    /// Above every number in use; its order key holds the namespace's counters instead.
    pub(crate) const COUNTERS: Number = Number(u64::MAX);
    pub(crate) const FIRST: Number = Number(0);
}

/// A canonical key with room in front for the namespace id, so that both are hashed in one go, and but once.
#[derive(Default)]
pub(crate) struct KeyBuffer {
    bytes: Vec<u8>,
    /// The last hash, with what it was made by and for: between two looks at a store, its namespace can be cleared, and
    /// the store encrypted anew.
    hashed: Option<(u64, NamespaceId, KeyHash)>,
}

impl KeyBuffer {
    const PREFIX: usize = 4;

    /// Empties the buffer and hands it out for the key to be appended.
    pub(crate) fn start(&mut self) -> &mut Vec<u8> {
        self.hashed = None;
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; Self::PREFIX]);
        &mut self.bytes
    }

    pub(crate) fn from_key(key: &[u8]) -> KeyBuffer {
        let bytes = Vec::with_capacity(Self::PREFIX + key.len());
        let mut buffer = KeyBuffer { bytes, hashed: None };
        buffer.start().extend_from_slice(key);
        buffer
    }

    /// The canonical key.
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(Self::PREFIX..).unwrap_or_default()
    }

    pub(crate) fn hash(&mut self, hasher: &KeyHasher, namespace: NamespaceId) -> KeyHash {
        if let Some((by, of, hash)) = self.hashed
            && (by, of) == (hasher.id(), namespace)
        {
            return hash;
        }
        if let Some(prefix) = self.bytes.first_chunk_mut::<{ Self::PREFIX }>() {
            *prefix = namespace.0.to_le_bytes();
        }
        let hash = hasher.hash(&self.bytes);
        self.hashed = Some((hasher.id(), namespace, hash));
        hash
    }

    /// A buffer that once held a huge key is not worth keeping.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > 64 << 10 {
            *self = KeyBuffer::default();
        }
    }
}

/// How keys become [`KeyHash`]es in one store.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) enum KeyHasher {
    /// The store is not encrypted.
    Plain,
    /// Keyed, so that nobody without the key can test whether a name is in the store.
    Keyed {
        key: [u8; 32],
        /// Of no other key in this process.
        id: u64,
    },
}

impl KeyHasher {
    pub(crate) fn keyed(key: [u8; 32]) -> KeyHasher {
        static IDS: AtomicU64 = AtomicU64::new(1);
        KeyHasher::Keyed { key, id: IDS.fetch_add(1, Ordering::Relaxed) }
    }

    fn id(&self) -> u64 {
        match self {
            KeyHasher::Plain => 0,
            KeyHasher::Keyed { id, .. } => *id,
        }
    }

    fn hash(&self, namespace_and_key: &[u8]) -> KeyHash {
        let full = match self {
            KeyHasher::Plain => blake3::hash(namespace_and_key),
            KeyHasher::Keyed { key, .. } => blake3::keyed_hash(key, namespace_and_key),
        };
        let mut short = [0; 16];
        if let Some(half) = full.as_bytes().first_chunk::<16>() {
            short = *half;
        }
        KeyHash(short)
    }
}

/// First bytes of the tree's keys.
pub(crate) mod kind {
    pub(crate) const ENTRY: u8 = b'e';
    pub(crate) const FOLD: u8 = b'f';
    pub(crate) const GRAVE: u8 = b'g';
    pub(crate) const STORE: u8 = b'm';
    pub(crate) const NAMESPACE: u8 = b'n';
    pub(crate) const ORDER: u8 = b'o';
    pub(crate) const RECENCY: u8 = b'r';
    pub(crate) const STATE: u8 = b's';
    pub(crate) const EXPIRY: u8 = b'x';

    /// All of them, in order.
    pub(crate) const ALL: [u8; 9] = [ENTRY, FOLD, GRAVE, STORE, NAMESPACE, ORDER, RECENCY, STATE, EXPIRY];
}

/// Says up to where LMDB has the log.
pub(crate) const FOLD_KEY: &[u8] = &[kind::FOLD];

/// Holds what never changes after creation: [`StoreRecord`](super::records::StoreRecord).
pub(crate) const STORE_KEY: &[u8] = b"mcachemere";
/// Holds what rarely changes: [`StateRecord`](super::records::StateRecord).
pub(crate) const STATE_KEY: &[u8] = b"s";
/// The longest name a namespace may have, in bytes.
pub(crate) const MAX_NAMESPACE_NAME: usize = 255;

pub(crate) fn entry_key(hash: KeyHash) -> [u8; 17] {
    join([kind::ENTRY], hash.0)
}

pub(crate) fn namespace_key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind::NAMESPACE);
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn grave_key(namespace: NamespaceId) -> [u8; 5] {
    join([kind::GRAVE], namespace.0.to_be_bytes())
}

/// The key behind which the namespace's entries are listed in order of insertion; the value is the entry's hash.
pub(crate) fn order_key(namespace: NamespaceId, number: Number) -> [u8; 13] {
    let head: [u8; 5] = join([kind::ORDER], namespace.0.to_be_bytes());
    join(head, number.0.to_be_bytes())
}

/// Sorts right behind the namespace's newest order key, so that an insert finds both on one page.
pub(crate) fn counters_key(namespace: NamespaceId) -> [u8; 13] {
    order_key(namespace, Number::COUNTERS)
}

pub(crate) fn parse_order_key(key: &[u8]) -> Option<(NamespaceId, Number)> {
    let key: &[u8; 13] = key.try_into().ok()?;
    let [k, n0, n1, n2, n3, number @ ..] = *key;
    (k == kind::ORDER)
        .then(|| (NamespaceId(u32::from_be_bytes([n0, n1, n2, n3])), Number(u64::from_be_bytes(number))))
}

/// Lists entries by when they are due to expire; the value is a [`DueEntry`].
pub(crate) fn expiry_key(due: u64, hash: KeyHash) -> [u8; 25] {
    let head: [u8; 9] = join([kind::EXPIRY], due.to_be_bytes());
    join(head, hash.0)
}

pub(crate) fn parse_expiry_key(key: &[u8]) -> Option<(u64, KeyHash)> {
    let key: &[u8; 25] = key.try_into().ok()?;
    let due = key.get(1..9)?.try_into().ok().map(u64::from_be_bytes)?;
    let hash = key.get(9..)?.try_into().ok().map(KeyHash)?;
    (key.first() == Some(&kind::EXPIRY)).then_some((due, hash))
}

/// What an expiry record tells of its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DueEntry {
    pub(crate) namespace: NamespaceId,
    /// In a backend that removes expired entries by itself.
    pub(crate) listed: Option<Listed>,
}

/// Where else an entry is listed, to be found when the entry is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    /// Its place in the order.
    pub(crate) number: Number,
    /// Its last access, in microseconds.
    pub(crate) accessed: u64,
}

impl DueEntry {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = self.namespace.0.to_le_bytes().to_vec();
        if let Some(Listed { number, accessed }) = self.listed {
            value.extend_from_slice(&number.0.to_le_bytes());
            value.extend_from_slice(&accessed.to_le_bytes());
        }
        value
    }

    /// A value that cannot be read is of namespace 0, which no entry is of.
    pub(crate) fn decode(value: &[u8]) -> DueEntry {
        let namespace = value.first_chunk::<4>().map_or(0, |id| u32::from_le_bytes(*id));
        let field =
            |at| value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let listed =
            field(4).zip(field(12)).map(|(number, accessed)| Listed { number: Number(number), accessed });
        DueEntry { namespace: NamespaceId(namespace), listed }
    }
}

/// Lists a namespace's entries by last access, least recent first; the value is empty. Kept only in stores with a limit.
pub(crate) fn recency_key(namespace: NamespaceId, accessed: u64, hash: KeyHash) -> [u8; 29] {
    let head: [u8; 5] = join([kind::RECENCY], namespace.0.to_be_bytes());
    let head: [u8; 13] = join(head, accessed.to_be_bytes());
    join(head, hash.0)
}

pub(crate) fn parse_recency_key(key: &[u8]) -> Option<(NamespaceId, u64, KeyHash)> {
    let key: &[u8; 29] = key.try_into().ok()?;
    let namespace = key.get(1..5)?.try_into().ok().map(u32::from_be_bytes)?;
    let at = key.get(5..13)?.try_into().ok().map(u64::from_be_bytes)?;
    let hash = key.get(13..)?.try_into().ok().map(KeyHash)?;
    (key.first() == Some(&kind::RECENCY)).then_some((NamespaceId(namespace), at, hash))
}

/// The value of an order record.
pub(crate) fn parse_hash(value: &[u8]) -> Option<KeyHash> {
    value.try_into().ok().map(KeyHash)
}

fn join<const A: usize, const B: usize, const C: usize>(head: [u8; A], tail: [u8; B]) -> [u8; C] {
    const { assert!(A + B == C) };
    let mut joined = [0; C];
    for (to, from) in joined.iter_mut().zip(head.into_iter().chain(tail)) {
        *to = from;
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: KeyHash = KeyHash([7; 16]);

    #[test]
    fn index_keys_sort_by_number_and_time_and_parse_back() {
        let ns = NamespaceId(258);
        assert!(order_key(ns, Number(255)) < order_key(ns, Number(256)));
        assert!(order_key(ns, Number(u64::MAX - 1)) < counters_key(ns));
        assert!(counters_key(ns) < order_key(NamespaceId(259), Number::FIRST));
        assert!(expiry_key(255, HASH) < expiry_key(256, HASH));
        assert!(recency_key(ns, 255, HASH) < recency_key(ns, 256, HASH));
        assert_eq!(parse_order_key(&order_key(ns, Number(9))), Some((ns, Number(9))));
        assert_eq!(parse_expiry_key(&expiry_key(9, HASH)), Some((9, HASH)));
        assert_eq!(parse_recency_key(&recency_key(ns, 9, HASH)), Some((ns, 9, HASH)));
    }

    #[test]
    fn keys_of_another_kind_do_not_parse() {
        assert_eq!(parse_order_key(&expiry_key(1, HASH)), None);
        assert_eq!(parse_expiry_key(&entry_key(HASH)), None);
        assert_eq!(parse_recency_key(&order_key(NamespaceId(1), Number(1))), None);
        assert_eq!(parse_hash(b"short"), None);
    }

    #[test]
    fn the_same_key_hashes_apart_in_other_namespaces_and_under_other_store_keys() {
        let mut key = KeyBuffer::from_key(b"key");
        let plain = key.hash(&KeyHasher::Plain, NamespaceId(1));
        assert_eq!(plain, key.hash(&KeyHasher::Plain, NamespaceId(1)));
        assert_ne!(plain, key.hash(&KeyHasher::Plain, NamespaceId(2)));
        let keyed = [1, 2].map(|key| KeyHasher::keyed([key; 32]));
        let [one, two] = [0, 1].map(|n: usize| key.hash(&keyed[n], NamespaceId(1)));
        assert!(plain != one && plain != two && one != two);
        assert_eq!(key.hash(&KeyHasher::Plain, NamespaceId(1)), plain);
        assert_eq!(key.hash(&KeyHasher::keyed([1; 32]), NamespaceId(1)), one);
        assert_eq!(key.key(), b"key");
    }

    #[test]
    fn a_buffer_with_another_key_has_another_hash() {
        let mut key = KeyBuffer::from_key(b"key");
        let hash = key.hash(&KeyHasher::Plain, NamespaceId(1));
        key.start().extend_from_slice(b"other");
        assert_ne!(key.hash(&KeyHasher::Plain, NamespaceId(1)), hash);
        key.shrink();
        key.start().extend_from_slice(b"key");
        assert_eq!(key.hash(&KeyHasher::Plain, NamespaceId(1)), hash);
    }
}
