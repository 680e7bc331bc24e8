//! The `dict` subclass's native part: the slots Python calls most go to a store, and its own entries are not the dict's.

use std::sync::OnceLock;

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::errors::missing;
use crate::store::Store;

/// Base of `PersistDict`.
#[pyclass(extends = PyDict, subclass, frozen, module = "cachemere._engine")]
pub(crate) struct DictBase {
    store: OnceLock<Py<Store>>,
    /// What values are read through, if those that are handed out are watched.
    watch: OnceLock<Py<PyAny>>,
}

#[pymethods]
impl DictBase {
    #[new]
    #[pyo3(signature = (*_args, **_options))]
    fn new(_args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> DictBase {
        DictBase { store: OnceLock::new(), watch: OnceLock::new() }
    }

    /// Gives the dict its store, once, the only entry of its own, and what watches the values it hands out.
    ///
    /// Code in C that looks into dicts without asking them meets that entry instead of an empty dict. That of `json` asks
    /// for the items of every dict that is not empty.
    #[pyo3(signature = (store, placeholder, watch=None))]
    fn _attach(
        slf: &Bound<'_, Self>,
        store: Py<Store>,
        placeholder: &Bound<'_, PyAny>,
        watch: Option<Py<PyAny>>,
    ) -> PyResult<bool> {
        let is_first = slf.get().store.set(store).is_ok();
        if is_first {
            slf.as_super().set_item(placeholder, placeholder)?;
            if let Some(watch) = watch {
                let _ = slf.get().watch.set(watch);
            }
        }
        Ok(is_first)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.store.get().map_or(Ok(()), |store| visit.call(store))?;
        self.watch.get().map_or(Ok(()), |watch| visit.call(watch))
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().look_up(key)? {
            Some(value) => Ok(value),
            None => absent(slf.as_any(), key),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store()?.__setitem__(key, value)?;
        self.tell(intern!(key.py(), "assigned"), (key, value))
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store()?.__delitem__(key)?;
        self.tell(intern!(key.py(), "removed"), (key,))
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
        let found = self.look_up(key)?;
        Ok(found.or(default).unwrap_or_else(|| key.py().None().into_bound(key.py())))
    }
}

/// What a subclass has for keys that are not there, if it has anything.
fn absent<'py>(dict: &Bound<'py, PyAny>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = dict.py();
    match dict.get_type().getattr_opt(intern!(py, "__missing__"))? {
        Some(make) => make.call1((dict, key)),
        None => Err(missing(key)),
    }
}

impl DictBase {
    fn look_up<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(watch) = self.watch.get() else { return self.store()?.look_up(key) };
        let found = watch.bind(key.py()).call_method1(intern!(key.py(), "read"), (key,))?;
        Ok(found.extract::<Option<(Bound<'py, PyAny>,)>>()?.map(|(value,)| value))
    }

    /// Tells the watch of a write.
    fn tell<'py>(&self, what: &Bound<'py, PyString>, arguments: impl PyCallArgs<'py>) -> PyResult<()> {
        match self.watch.get() {
            Some(watch) => watch.bind(what.py()).call_method1(what, arguments).map(drop),
            None => Ok(()),
        }
    }

    fn store(&self) -> PyResult<&Store> {
        match self.store.get() {
            Some(store) => Ok(store.get()),
            None => Err(PyRuntimeError::new_err("PersistDict.__init__ was not called")),
        }
    }
}
