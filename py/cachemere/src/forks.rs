//! Waiting without the interpreter for a moment when this process can be forked.
//!
//! A fork waits until no thread opens, closes or compacts a store, which takes seconds at times. What waits in the C library
//! does so with the interpreter held; so the wait is done before, where it can be let go of.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Has Python call the two functions around each `os.fork()`.
pub(crate) fn watch(py: Python<'_>) -> PyResult<()> {
    let hooks = PyDict::new(py);
    hooks.set_item("before", wrap_pyfunction!(about_to_fork, py)?)?;
    hooks.set_item("after_in_parent", wrap_pyfunction!(forked, py)?)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&hooks)).map(drop)
}

#[pyfunction]
fn about_to_fork(py: Python<'_>) {
    py.detach(cachemere::about_to_fork);
}

/// In a child it has been done.
#[pyfunction]
fn forked() {
    cachemere::forked();
}
