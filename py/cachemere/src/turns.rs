//! Letting other Python threads, an event loop above all, have their turn while a large value is built or taken apart.

use std::cell::Cell;

use pyo3::prelude::*;

/// After so many containers; handling as many takes a fraction of a millisecond.
const CONTAINERS: u32 = 512;

thread_local! {
    static MET: Cell<u32> = const { Cell::new(0) };
}

/// To be called for each container, where other threads may run.
pub(crate) fn met_container(py: Python<'_>) {
    let met = MET.get() + 1;
    if met < CONTAINERS {
        return MET.set(met);
    }
    MET.set(0);
    // Who waits for the interpreter gets it; nobody waits: nothing happens.
    py.detach(|| ());
}
