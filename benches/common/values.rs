//! Keys of about 40 characters, and values that serialize to about 1 KB and need decoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something a program might cache: texts, a few numbers, a small map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub title: String,
    pub address: String,
    pub text: String,
    pub tags: Vec<String>,
    pub vector: Vec<f32>,
    pub facts: BTreeMap<String, i64>,
}

/// A sequence of well mixed numbers (SplitMix64), the same in every run.
pub fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub fn key(n: u64) -> String {
    format!("document/{:016x}{:016x}", mixed(n), mixed(!n))
}

pub fn document(n: u64) -> Document {
    let text: String = (0..33).map(|i| format!("{:016x} ", mixed(n ^ (i << 32)))).collect();
    Document {
        title: format!("The document of the number {n}"),
        address: format!("https://example.org/documents/{:016x}", mixed(n)),
        text,
        tags: (0..6).map(|i| format!("tag-{:04x}", mixed(n + i) as u16)).collect(),
        vector: (0..24).map(|i| mixed(n + i) as f32 / u64::MAX as f32).collect(),
        facts: (0..8).map(|i| (format!("fact-{i}"), mixed(n + i) as i64 >> 20)).collect(),
    }
}

/// The form in which all stores compared here hold a document.
pub fn encode(document: &Document) -> Vec<u8> {
    rmp_serde::to_vec_named(document).unwrap()
}

pub fn decode(bytes: &[u8]) -> Document {
    rmp_serde::from_slice(bytes).unwrap()
}

/// Indexes below `n` in random order, another one for each `seed`.
pub fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(|i| mixed(*i as u64 ^ (seed << 40)));
    order
}
