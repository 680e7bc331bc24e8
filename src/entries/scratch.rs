//! Buffers that are used again by the next operation of the same thread.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use crate::store::KeyBuffer;

/// A buffer that has grown beyond this is given back to the system.
const KEEP: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) key: KeyBuffer,
    /// An entry's body as stored, then opened in place.
    pub(crate) body: Vec<u8>,
    /// A payload before or after compression.
    pub(crate) payload: Vec<u8>,
    /// A value as its serializer writes it.
    pub(crate) encoded: Vec<u8>,
}

thread_local! {
    static SPARE: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// Lends the thread's buffers to `work`.
    #[inline]
    pub(crate) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
        work(&mut Scratch::lend())
    }

    /// Lends the thread's buffers. An operation inside an operation (from a user's serializer, say) gets buffers of its own.
    #[inline]
    pub(crate) fn lend() -> Lent {
        Lent(Some(SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()))
    }
}

/// Buffers that go back to the thread in which this is dropped.
pub(crate) struct Lent(Option<Box<Scratch>>);

impl Deref for Lent {
    type Target = Scratch;

    #[inline]
    fn deref(&self) -> &Scratch {
        match &self.0 {
            Some(scratch) => scratch,
            None => unreachable!("they are taken when it is dropped"),
        }
    }
}

impl DerefMut for Lent {
    #[inline]
    fn deref_mut(&mut self) -> &mut Scratch {
        match &mut self.0 {
            Some(scratch) => scratch,
            None => unreachable!("they are taken when it is dropped"),
        }
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        let Some(mut scratch) = self.0.take() else { return };
        scratch.key.shrink();
        let Scratch { body, payload, encoded, .. } = &mut *scratch;
        for buffer in [body, payload, encoded] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
        // Fails only while the thread ends, and then nobody needs them.
        let _ = SPARE.try_with(|spare| spare.set(Some(scratch)));
    }
}
