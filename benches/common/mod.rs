//! What the benchmarks share: the values, raw heed, and timing by turns.

#![allow(dead_code, unreachable_pub)]

pub mod measure;
pub mod raw;
pub mod values;
