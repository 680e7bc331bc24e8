//! Keys of dicts and sets that have the same hash: each is compared with all others, and bytes can be made for that.
//!
//! What the comparisons of a value cost is estimated before they are made, and bounded. What is written is bounded in the
//! same way, so that it can be read.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// Nanoseconds, roughly, that a value may take beyond what its size explains.
const MOST: u64 = 200_000_000;

/// What comparing two objects costs at least: of built-in types, and where some have methods in Python.
const COMPARISON: u64 = 20;
const CALL: u64 = 500;

/// A key that goes into a dict or set.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) hash: isize,
    /// Bytes of its form.
    pub(crate) bytes: u64,
    /// What was spent on the keys within it, which are compared again whenever it is.
    pub(crate) inside: u64,
}

/// What the keys of one value cost.
#[derive(Default)]
pub(crate) struct Spent {
    pub(crate) nanos: u64,
    /// Whether an object was met whose methods can be in Python.
    pub(crate) has_calls: bool,
    /// Whether a decimal was met: comparing it with an int takes the square of the int's length.
    pub(crate) has_decimals: bool,
}

/// The keys of one dict or set.
pub(crate) struct Hashes(HashMap<isize, Alike, Mixed>);

#[derive(Default)]
struct Alike {
    count: u32,
    /// Of the longest.
    bytes: u32,
}

impl Hashes {
    /// For about so many keys.
    pub(crate) fn with_capacity(count: usize) -> Hashes {
        // Most are text, which is not noted.
        Hashes(HashMap::with_capacity_and_hasher(if count < 64 { 0 } else { count.min(1 << 16) }, Mixed))
    }

    /// Notes a key; whether it may go into the dict or set.
    pub(crate) fn note(&mut self, key: Key, spent: &mut Spent) -> bool {
        let alike = self.0.entry(key.hash).or_default();
        if alike.count > 0 {
            let count = u64::from(alike.count);
            let each = if spent.has_calls { CALL } else { COMPARISON } + key.bytes + key.inside;
            spent.nanos = spent.nanos.saturating_add(count.saturating_mul(each));
            if spent.has_decimals {
                let longest = key.bytes.max(alike.bytes.into());
                spent.nanos = spent.nanos.saturating_add(count.saturating_mul(longest * longest / 4));
            }
        }
        alike.count += 1;
        alike.bytes = alike.bytes.max(key.bytes as u32);
        spent.nanos <= MOST
    }
}

/// Hashes of Python's, mixed with a number that nobody knows who makes keys.
#[derive(Clone, Copy, Default)]
struct Mixed;

static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0) | 1);

impl BuildHasher for Mixed {
    type Hasher = Mixing;

    fn build_hasher(&self) -> Mixing {
        Mixing(*SECRET)
    }
}

struct Mixing(u64);

impl Hasher for Mixing {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(self.0.rotate_left(32) | 1);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
