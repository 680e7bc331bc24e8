//! The `dict` subclass's native part: its own entries stay empty, and the slots Python calls most go to a store.

use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::missing;
use crate::store::Store;

/// Base of `PersistDict`.
#[pyclass(extends = PyDict, subclass, frozen, module = "cachemere._engine")]
pub(crate) struct DictBase {
    store: OnceLock<Py<Store>>,
}

#[pymethods]
impl DictBase {
    #[new]
    #[pyo3(signature = (*_args, **_options))]
    fn new(_args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> DictBase {
        DictBase { store: OnceLock::new() }
    }

    /// Gives the dict its store, once.
    fn _attach(&self, store: Py<Store>) -> bool {
        self.store.set(store).is_ok()
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.store()?.look_up(key)?.ok_or_else(|| missing(key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store()?.__setitem__(key, value)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store()?.__delitem__(key)
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.store()?.__contains__(key)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.store()?.__len__(py)
    }

    #[pyo3(signature = (key, default=None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.store()?.look_up(key)?;
        Ok(found.or(default).unwrap_or_else(|| key.py().None().into_bound(key.py())))
    }
}

impl DictBase {
    fn store(&self) -> PyResult<&Store> {
        match self.store.get() {
            Some(store) => Ok(store.get()),
            None => Err(PyRuntimeError::new_err("PersistDict.__init__ was not called")),
        }
    }
}
