//! The short way to a memoized result that is in memory: from the arguments as given, without binding them.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyTuple};

use crate::store::Store;

/// So many calls are remembered by their arguments as given.
const CALLS: usize = 1 << 16;

/// Calls of one memoized function: from the arguments as they are given to the canonical key found for them before.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Memo {
    store: Py<Store>,
    calls: Py<PyDict>,
    hits: AtomicU64,
    saved_nanos: AtomicU64,
}

#[pymethods]
impl Memo {
    #[new]
    fn new(py: Python<'_>, store: Py<Store>) -> Memo {
        let (hits, saved_nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        Memo { store, calls: PyDict::new(py).unbind(), hits, saved_nanos }
    }

    /// The result of a call, if it is in memory and current; else `missing`.
    fn peek<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        options: &Bound<'py, PyDict>,
        missing: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        if let Some(call) = plain_call(args, options)?
            && let Some(key) = self.calls.bind(py).get_item(call)?
            && let Some((value, cost)) = self.store.get().resident(&key)?
        {
            self.hits.fetch_add(1, Ordering::Relaxed);
            self.saved_nanos.fetch_add((cost * 1e9) as u64, Ordering::Relaxed);
            return Ok(value);
        }
        Ok(missing.clone())
    }

    /// Remembers the canonical key of a call.
    fn remember(
        &self,
        args: &Bound<'_, PyTuple>,
        options: &Bound<'_, PyDict>,
        key: &Bound<'_, PyBytes>,
    ) -> PyResult<()> {
        let calls = self.calls.bind(args.py());
        if let Some(call) = plain_call(args, options)? {
            if calls.len() >= CALLS {
                calls.clear();
            }
            calls.set_item(call, key)?;
        }
        Ok(())
    }

    /// Hits of `peek`, and the seconds they saved.
    fn counts(&self) -> (u64, f64) {
        (self.hits.load(Ordering::Relaxed), self.saved_nanos.load(Ordering::Relaxed) as f64 / 1e9)
    }
}

/// What stands for a call whose arguments are all plain: equal for calls with equal arguments.
fn plain_call<'py>(
    args: &Bound<'py, PyTuple>,
    options: &Bound<'py, PyDict>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if !args.iter_borrowed().all(|argument| is_plain(&argument)) {
        return Ok(None);
    }
    if options.is_empty() {
        return Ok(Some(args.clone().into_any()));
    }
    if !options.values().iter().all(|argument| is_plain(&argument)) {
        return Ok(None);
    }
    let named = PyTuple::new(args.py(), options.items())?;
    Ok(Some(PyTuple::new(args.py(), [args.as_any(), named.as_any()])?.into_any()))
}

fn is_plain(argument: &Bound<'_, PyAny>) -> bool {
    argument.is_exact_instance_of::<PyString>()
        || argument.is_exact_instance_of::<PyInt>()
        || argument.is_exact_instance_of::<PyFloat>()
        || argument.is_exact_instance_of::<PyBool>()
        || argument.is_exact_instance_of::<PyBytes>()
        || argument.is_none()
}
