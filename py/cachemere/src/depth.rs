//! How deeply memoized functions call themselves in a thread, which takes more of the stack than Python counts with.

use std::cell::Cell;

use pyo3::exceptions::PyRecursionError;
use pyo3::prelude::*;

/// Calls inside of each other that any stack has room for.
const SOME: u32 = 100;

/// Bytes that the deepest call can take: looking a key up, writing a result, and what Python does meanwhile.
const NEEDED: usize = 128 << 10;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A call that is going on.
pub(crate) struct Deeper(());

impl Deeper {
    /// Begins a call. With a raised `sys.setrecursionlimit` the stack can end before Python ends the recursion.
    pub(crate) fn begin() -> PyResult<Deeper> {
        let depth = DEPTH.get();
        if depth > SOME && stacker::remaining_stack().is_some_and(|left| left < NEEDED) {
            let message = "a memoized function calls itself more deeply than the thread's stack has room for";
            return Err(PyRecursionError::new_err(message));
        }
        DEPTH.set(depth + 1);
        Ok(Deeper(()))
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}
