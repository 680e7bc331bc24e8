//! The server's keys that a store has.
//!
//! ```text
//! cm:STORE             what the store is: the record that the store in a directory has, too
//! cm:STORE:next        the last id that was given to a namespace
//! cm:STORE:n:NAME      what a namespace is
//! cm:STORE:i:NAME      its present id, in decimal digits; clearing gives it another
//! cm:STORE:ID:HASH     an entry: header and body; the hash of its key has 16 bytes
//! ```

use crate::store::{KeyHash, NamespaceId};

pub(super) struct Keys {
    store: String,
}

impl Keys {
    /// Of a store of that name, which an address allows.
    pub(super) fn new(store: &str) -> Keys {
        Keys { store: format!("cm:{store}") }
    }

    pub(super) fn store(&self) -> &str {
        &self.store
    }

    pub(super) fn next(&self) -> String {
        format!("{}:next", self.store)
    }

    pub(super) fn namespace(&self, name: &str) -> String {
        format!("{}:n:{name}", self.store)
    }

    pub(super) fn id(&self, name: &str) -> String {
        format!("{}:i:{name}", self.store)
    }

    /// What the entries of a namespace begin with. In a pattern it stands for itself.
    pub(super) fn prefix(&self, id: NamespaceId) -> String {
        format!("{}:{}:", self.store, id.0)
    }

    pub(super) fn entry(&self, id: NamespaceId, hash: KeyHash) -> Vec<u8> {
        let mut key = self.prefix(id).into_bytes();
        key.extend_from_slice(&hash.0);
        key
    }

    /// The hash in the key of an entry of this store, of whatever namespace.
    pub(super) fn hash_in(&self, key: &[u8]) -> Option<KeyHash> {
        let (front, hash) = key.split_last_chunk::<16>()?;
        let id = front.strip_prefix(self.store.as_bytes())?.strip_prefix(b":")?.strip_suffix(b":")?;
        (!id.is_empty() && id.iter().all(u8::is_ascii_digit)).then_some(KeyHash(*hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_in_its_key_and_no_other_is() {
        let keys = Keys::new("app");
        let hash = KeyHash(*b"01:3456:89*bcdef");
        assert_eq!(keys.hash_in(&keys.entry(NamespaceId(12), hash)), Some(hash));
        assert_eq!(Keys::new("ap").hash_in(&keys.entry(NamespaceId(12), hash)), None);
        for other in
            ["cm:app", "cm:app:next", "cm:app:i:a name of a namespace", "cm:app:i:0123456789abcdef", ""]
        {
            assert_eq!(keys.hash_in(other.as_bytes()), None, "{other}");
        }
    }
}
