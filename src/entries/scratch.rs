//! Buffers that are used again by the next operation of the same thread.

use std::cell::Cell;

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
    /// Lends the thread's buffers to `work`. An operation inside an operation (from a user's serializer, say) gets
    /// buffers of its own.
    pub(crate) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let result = work(&mut scratch);
        scratch.key.shrink();
        for buffer in [&mut scratch.body, &mut scratch.payload, &mut scratch.encoded] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
        // Fails only while the thread ends, and then nobody needs them.
        let _ = SPARE.try_with(|spare| spare.set(Some(scratch)));
        result
    }
}
