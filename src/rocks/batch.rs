//! Writes that are made together.

use rocksdb::WriteBatch;

/// Writes that [`Database::write`](super::Database::write) makes in their order, all of them or none.
///
/// Held in memory until then. Of several of one key the last counts.
#[derive(Default)]
pub struct Batch(pub(super) WriteBatch);

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds: `key` gets `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.put(key, value);
    }

    /// Adds: `key` goes, if it is there.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.delete(key);
    }

    /// The number of writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
