//! Which keys were asked for before, roughly: what is read once, in a walk over many keys say, is not worth keeping.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const BITS: u32 = 20;
const WORDS: usize = 1 << (BITS - 6);
/// With so many bits set everything is forgotten, so that few keys are taken for others.
const MOST: u64 = 1 << (BITS - 2);

/// One bit a key. Two keys can share one; then the second is taken for seen at once, which does no harm.
#[derive(Default)]
pub(crate) struct Seen {
    /// Made when the first key is noted.
    words: OnceLock<Box<[AtomicU64]>>,
    set: AtomicU64,
}

impl Seen {
    /// Notes a key by its hash; whether it was noted before.
    pub(crate) fn note(&self, hash: isize) -> bool {
        let words = self.words.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
        let bit = (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS);
        let Some(word) = words.get((bit >> 6) as usize) else { return true };
        let mask = 1 << (bit & 63);
        if word.fetch_or(mask, Ordering::Relaxed) & mask != 0 {
            return true;
        }
        if self.set.fetch_add(1, Ordering::Relaxed) >= MOST {
            words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            self.set.store(0, Ordering::Relaxed);
        }
        false
    }
}
