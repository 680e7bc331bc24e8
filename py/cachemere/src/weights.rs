//! What objects take in memory, in bytes: those of CPython on 64 bits, as its allocator rounds them.
//!
//! Its versions differ by some bytes an object.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple};

/// What every object of a kind takes whose contents have a fixed size.
pub(crate) const FLOAT: u64 = 32;
pub(crate) const COMPLEX: u64 = 32;

/// A key of another kind, roughly: a time, a path.
const OTHER: u64 = 96;

/// What goes before an object that can contain others, for the collector of garbage.
const COLLECTED: usize = 16;
const POINTER: usize = 8;

/// Allocations are multiples of 16 bytes.
fn rounded(bytes: usize) -> u64 {
    bytes.next_multiple_of(16) as u64
}

/// A `str` of these bytes of UTF-8.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> u64 {
    if bytes.is_ascii() {
        // The short ones are there once.
        return if bytes.len() < 2 { 0 } else { rounded(49 + bytes.len()) };
    }
    let (mut letters, mut largest) = (0, 0);
    for byte in bytes {
        letters += usize::from(byte & 0xc0 != 0x80);
        largest = largest.max(*byte);
    }
    // The first byte of a letter tells how far up it is: beyond U+FFFF, and beyond U+00FF.
    let width = match largest {
        0xf0.. => 4,
        0xc4.. => 2,
        _ => 1,
    };
    rounded(73 + width * letters)
}

pub(crate) fn bytes(length: usize) -> u64 {
    rounded(33 + length)
}

pub(crate) fn bytearray(length: usize) -> u64 {
    rounded(56) + rounded(length + 1)
}

/// The small ones are there once.
#[inline]
pub(crate) fn int(int: i64) -> u64 {
    if (-5..=256).contains(&int) { 0 } else { 32 }
}

/// An int of so many bytes: 30 bits are kept in 4 bytes.
pub(crate) fn big_int(length: usize) -> u64 {
    rounded(24 + length + length / 15)
}

pub(crate) fn list(count: usize) -> u64 {
    rounded(COLLECTED + 40) + rounded(POINTER * count)
}

pub(crate) fn tuple(count: usize) -> u64 {
    // The empty one is there once.
    if count == 0 { 0 } else { rounded(COLLECTED + 24 + POINTER * count) }
}

/// A dict into which so many keys were put, one after the other.
pub(crate) fn dict(count: usize, has_names_only: bool) -> u64 {
    let own = rounded(COLLECTED + 48);
    if count == 0 {
        return own;
    }
    // A power of two of which two thirds are used.
    let slots = (count * 3).div_ceil(2).next_power_of_two().max(8);
    let index = match slots {
        ..0x200 => 1,
        0x200..0x2_0000 => 2,
        _ => 4,
    };
    let entry = if has_names_only { 16 } else { 24 };
    own + rounded(32 + slots * index + slots * 2 / 3 * entry)
}

/// A set into which so many items were put, one after the other.
pub(crate) fn set(count: usize) -> u64 {
    let own = rounded(COLLECTED + 200);
    // Once three fifths are used, it makes room for four times as many as there are, or for twice as many.
    let mut slots = 8;
    while count * 5 > (slots - 1) * 3 {
        let used = (slots - 1) * 3 / 5 + 1;
        slots = (used * if used > 50_000 { 2 } else { 4 } + 1).next_power_of_two();
    }
    if slots == 8 { own } else { own + rounded(16 * slots) }
}

/// A key as it was given.
pub(crate) fn key(key: &Bound<'_, PyAny>) -> PyResult<u64> {
    if let Ok(items) = key.cast_exact::<PyTuple>() {
        return items.iter().try_fold(tuple(items.len()), |all, item| Ok(all + self::key(&item)?));
    }
    if let Ok(items) = key.cast_exact::<PyFrozenSet>() {
        return items.iter().try_fold(set(items.len()), |all, item| Ok(all + self::key(&item)?));
    }
    if key.is_exact_instance_of::<PyString>()
        || key.is_exact_instance_of::<PyBytes>()
        || key.is_exact_instance_of::<PyInt>()
        || key.is_exact_instance_of::<PyFloat>()
    {
        return Ok(rounded(key.call_method0("__sizeof__")?.extract()?));
    }
    Ok(OTHER)
}
