//! Strings that are keys of one dict after another, made and hashed once.

use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Longer keys are rarely the names of fields.
const LONGEST: usize = 32;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 9;

/// The names that a handle met last. Each has one place; what comes later takes it.
#[derive(Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Default)]
pub(crate) struct Table(Vec<Option<Slot>>);

/// A string, which others have too, or which was made just now.
pub(crate) enum Name<'py> {
    Known(Bound<'py, PyString>),
    Made(Bound<'py, PyString>),
}

struct Slot {
    label: Label,
    text: Py<PyString>,
}

impl Names {
    /// `None` while somebody else reads: then strings are made as if there were no names.
    pub(crate) fn lend(&self) -> Option<MutexGuard<'_, Table>> {
        match self.0.try_lock() {
            Ok(table) => Some(table),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Table {
    /// The string of these bytes, which must be UTF-8.
    pub(crate) fn get<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Name<'py>> {
        let Some(label) = Label::of(bytes) else { return PyString::from_bytes(py, bytes).map(Name::Made) };
        let place = label.place();
        if let Some(Some(name)) = self.0.get(place)
            && name.label == label
        {
            return Ok(Name::Known(name.text.bind(py).clone()));
        }
        let text = PyString::from_bytes(py, bytes)?;
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, || None);
        }
        if let Some(slot) = self.0.get_mut(place) {
            *slot = Some(Slot { label, text: text.clone().unbind() });
        }
        Ok(Name::Made(text))
    }
}

/// The bytes of a name as words, which overlap, and their number. Words are compared faster than bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Label {
    words: [u64; 4],
    length: usize,
}

impl Label {
    #[inline]
    fn of(bytes: &[u8]) -> Option<Label> {
        let length = bytes.len();
        let words = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            match length {
                ..=16 => [first, last, 0, 0],
                17..=LONGEST => {
                    let (second, third) =
                        (bytes[8..].first_chunk::<8>()?, bytes[..length - 8].last_chunk::<8>()?);
                    [first, last, u64::from_le_bytes(*second), u64::from_le_bytes(*third)]
                }
                _ => return None,
            }
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            [u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)), 0, 0]
        } else {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            [word, 0, 0, 0]
        };
        Some(Label { words, length })
    }

    /// Where the name is kept.
    #[inline]
    fn place(&self) -> usize {
        let [first, last, ..] = self.words;
        let mixed = (first ^ last.rotate_left(29) ^ self.length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - SLOT_BITS)) as usize
    }
}
