//! What the store of a history is opened with, by all processes alike.

use std::path::Path;

use cachemere::{ByteBuilder, ByteCache, Error, Secret};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// In bytes; 0 for none.
    pub(crate) limit: u64,
    pub(crate) is_encrypted: bool,
}

/// The secrets that an encrypted one has by turns.
pub(crate) fn secrets() -> [Secret; 2] {
    [Secret::key([1; 32]), Secret::key([2; 32])]
}

impl Setting {
    /// In a word; see [`read`](Self::read).
    pub(crate) fn told(self) -> String {
        format!("{}{}", self.limit, if self.is_encrypted { "+" } else { "" })
    }

    pub(crate) fn read(word: &str) -> Setting {
        Setting { limit: word.trim_end_matches('+').parse().unwrap(), is_encrypted: word.ends_with('+') }
    }

    /// Opens a store with whichever of the secrets it has now; the number of that.
    pub(crate) fn open(self, dir: &Path, with: impl Fn(ByteBuilder) -> ByteBuilder) -> (ByteCache, usize) {
        let builder = || with(ByteCache::builder(dir).max_bytes((self.limit > 0).then_some(self.limit)));
        if !self.is_encrypted {
            return (builder().open().unwrap(), 0);
        }
        let [first, second] = secrets();
        match builder().encryption(first).open() {
            Err(Error::WrongSecret { .. }) => (builder().encryption(second).open().unwrap(), 1),
            opened => (opened.unwrap(), 0),
        }
    }
}
