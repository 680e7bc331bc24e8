//! A walk through a namespace.

use std::sync::{Mutex, PoisonError};

use cachemere::{RawEntry, ScanPosition};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors::{from_engine, is_passed_on};
use crate::store::{Store, Unpacked, Version, detached};
use crate::times::{Times, times};

/// A walk over the entries in the order of insertion.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Scanner {
    pub(crate) store: Py<Store>,
    pub(crate) position: Mutex<ScanPosition>,
    pub(crate) reverse: bool,
    pub(crate) keys_only: bool,
    pub(crate) with_info: bool,
}

/// Key, value, version and tags.
type Met<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Py<Version>, Bound<'py, PyTuple>);
/// The same with times and size as of [`Store::times`], and the cost in seconds.
type MetWithInfo<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyAny>, Py<Version>, Bound<'py, PyTuple>, Times, Option<f64>);

#[pymethods]
impl Scanner {
    /// The next entries as (key, value, version, tags), with times and cost behind them if these are wanted, and the exception
    /// for each that cannot be read; empty at the end.
    fn chunk<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let store = self.store.get();
        let cache = store.cache(py)?;
        let entries = detached(py, || {
            let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
            if self.reverse { cache.scan_back(&mut position) } else { cache.scan(&mut position) }
        })?;
        entries
            .into_iter()
            .map(|entry| match entry.map_err(from_engine).and_then(|entry| self.read(py, store, &entry)) {
                Ok(met) => Ok(met),
                Err(error) if is_passed_on(py, &error)? => Err(error),
                Err(error) => Ok(error.into_value(py).into_bound(py).into_any()),
            })
            .collect()
    }
}

impl Scanner {
    fn read<'py>(&self, py: Python<'py>, store: &Store, entry: &RawEntry) -> PyResult<Bound<'py, PyAny>> {
        let Unpacked { key, value, tags, cost } =
            store.unpack(py, &entry.key, &entry.payload, entry.info.tag, !self.keys_only)?;
        let version = Py::new(py, Version(entry.version))?;
        if self.with_info {
            let met: MetWithInfo<'py> = (key, value, version, tags, times(&entry.info), cost);
            return Ok(met.into_pyobject(py)?.into_any());
        }
        let met: Met<'py> = (key, value, version, tags);
        Ok(met.into_pyobject(py)?.into_any())
    }
}
