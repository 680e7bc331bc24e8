//! A mapping in RocksDB: what Python calls most often, and what must be done in one piece.

use std::path::PathBuf;
use std::sync::OnceLock;

use cachemere::Error;
use cachemere::rocks::{Batch, Database, Encoding, Mode, Range};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::functions::{Deserializer, Serializer};
use super::keys::Keys;
use super::options;
use super::scanner::{Scanner, Wanted};
use super::values::Values;
use crate::errors::{from_engine, missing, raise};
use crate::names::Names;
use crate::policy::Policy;

/// The half of `cachemere.rocksdb.RocksDBDict` that is not written in Python.
#[pyclass(subclass, frozen, weakref, module = "cachemere._rocks")]
pub(crate) struct MappingBase {
    inner: OnceLock<Inner>,
}

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) keys: Keys,
    pub(crate) values: Values,
    pub(crate) policy: Policy,
}

impl MappingBase {
    pub(crate) fn inner(&self, py: Python<'_>) -> PyResult<&Inner> {
        self.inner.get().ok_or_else(|| raise(py, "ClosedError", ("this mapping was never opened",)))
    }
}

impl Inner {
    fn key(&self, key: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        let mut bytes = Vec::with_capacity(64);
        self.keys.encode(&self.policy, key, &mut bytes)?;
        Ok(bytes)
    }

    fn find(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
        let bytes = self.key(key)?;
        detached(key.py(), || self.database.get(&bytes))
    }

    fn value<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        self.values.decode(py, &self.policy, bytes)
    }

    fn range(&self, start: Option<&Bound<'_, PyAny>>, stop: Option<&Bound<'_, PyAny>>) -> PyResult<Range> {
        let key = |given: Option<&Bound<'_, PyAny>>| given.map(|key| self.key(key)).transpose();
        Ok(Range { start: key(start)?, stop: key(stop)? })
    }
}

/// Waits for RocksDB without keeping other threads of Python waiting.
fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> cachemere::Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(from_engine)
}

/// What is given as a bound, of which `None` can be a key: a tuple of nothing or one.
type Bounds<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

fn bound<'py>(given: &Bound<'py, PyTuple>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if given.is_empty() { Ok(None) } else { given.get_item(0).map(Some) }
}

#[pymethods]
impl MappingBase {
    #[new]
    #[pyo3(signature = (*_args, **_options))]
    fn new(_args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> MappingBase {
        MappingBase { inner: OnceLock::new() }
    }

    /// Opens the database. Once for each object.
    #[pyo3(signature = (path, *, options, prefix, readonly, secondary_path, key_encoding, takes_unmarked, deser_key,
        ser_key, own_values, deser_value, ser_value, pack, unpack, canonical, pickle))]
    #[allow(clippy::too_many_arguments)]
    fn _open(
        &self,
        py: Python<'_>,
        path: PathBuf,
        options: &Bound<'_, PyAny>,
        prefix: (Option<usize>, Bound<'_, PyTuple>),
        readonly: bool,
        secondary_path: Option<PathBuf>,
        key_encoding: &str,
        takes_unmarked: bool,
        deser_key: Option<Bound<'_, PyAny>>,
        ser_key: Option<Bound<'_, PyAny>>,
        own_values: bool,
        deser_value: Option<Bound<'_, PyAny>>,
        ser_value: Option<Bound<'_, PyAny>>,
        pack: Py<PyAny>,
        unpack: Py<PyAny>,
        canonical: Py<PyAny>,
        pickle: Option<(Py<PyAny>, Py<PyAny>)>,
    ) -> PyResult<()> {
        let from_bytes = Deserializer::new(deser_key.as_ref())?;
        let keys = match key_encoding {
            "ordered" => Keys::Ordered,
            "hugedict" => Keys::Hugedict { from_bytes },
            _ => {
                let to_bytes = match &ser_key {
                    Some(function) => Some(Serializer::new(Some(function))?),
                    None => None,
                };
                Keys::Raw { from_bytes, to_bytes }
            }
        };
        let values = if own_values {
            Values::Own {
                from_bytes: Deserializer::new(deser_value.as_ref())?,
                to_bytes: Serializer::new(ser_value.as_ref())?,
            }
        } else {
            Values::Safe
        };
        let names = Names::default();
        let policy =
            Policy { pack, unpack, canonical, pickle, values: None, keys: None, pickle_keys: false, names };
        let (size, alike) = prefix;
        let prefix_length = match bound(&alike)? {
            None => size,
            Some(alike) => {
                let mut bytes = Vec::new();
                keys.encode_prefix(&policy, &alike, &mut bytes)?;
                Some(bytes.len())
            }
        };
        let options = options::extract(options, prefix_length)?;
        let mode = match secondary_path {
            Some(path) => Mode::Secondary { path },
            None if readonly => Mode::ReadOnly,
            None => Mode::Primary,
        };
        let mut encoding = Encoding::new(key_encoding, if own_values { "own" } else { "safe" });
        if !takes_unmarked {
            encoding = encoding.known_only();
        }
        let opened = py.detach(|| Database::open(&path, mode, options, encoding));
        let database = opened.map_err(|error| opening(py, error))?;
        match self.inner.set(Inner { database, keys, values, policy }) {
            Ok(()) => Ok(()),
            Err(second) => {
                detached(py, || {
                    second.database.close();
                    Ok(())
                })?;
                Err(raise(py, "InvalidOptionError", ("this mapping is open already",)))
            }
        }
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let inner = self.inner(key.py())?;
        match inner.find(key)? {
            Some(bytes) => inner.value(key.py(), &bytes),
            None => Err(missing(key)),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = key.py();
        let inner = self.inner(py)?;
        let key = inner.key(key)?;
        inner.values.encode(&inner.policy, value, |value| detached(py, || inner.database.put(&key, value)))
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let inner = self.inner(key.py())?;
        let bytes = inner.key(key)?;
        if detached(key.py(), || inner.database.remove(&bytes))? { Ok(()) } else { Err(missing(key)) }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let inner = self.inner(key.py())?;
        let bytes = inner.key(key)?;
        detached(key.py(), || inner.database.contains(&bytes))
    }

    /// The value of a key, or `default`.
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let inner = self.inner(py)?;
        match inner.find(key)? {
            Some(bytes) => inner.value(py, &bytes),
            None => Ok(default.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self._count(py, PyTuple::empty(py), PyTuple::empty(py))
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<Scanner> {
        Ok(Scanner::new(slf.clone().unbind(), Range::all(), false, Wanted::Keys))
    }

    /// The values of keys, in their order; `default` where there is none.
    fn _find_many<'py>(
        &self,
        py: Python<'py>,
        wanted: Vec<Bound<'py, PyAny>>,
        default: Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let inner = self.inner(py)?;
        let keys = wanted.iter().map(|key| inner.key(key)).collect::<PyResult<Vec<_>>>()?;
        let found = detached(py, || inner.database.get_many(keys.iter().map(Vec::as_slice)))?;
        found
            .into_iter()
            .map(|bytes| bytes.map_or_else(|| Ok(default.clone()), |bytes| inner.value(py, &bytes)))
            .collect()
    }

    /// Writes all pairs, or on an error none.
    fn _put_many(&self, py: Python<'_>, pairs: &Bound<'_, PyAny>) -> PyResult<()> {
        let inner = self.inner(py)?;
        let mut batch = Batch::new();
        let mut bytes = Vec::new();
        for (place, pair) in pairs.try_iter()?.enumerate() {
            let (key, value) = two_of(&pair?, place)?;
            bytes.clear();
            inner.keys.encode(&inner.policy, &key, &mut bytes)?;
            inner.values.encode(&inner.policy, &value, |value| {
                batch.put(&bytes, value);
                Ok(())
            })?;
        }
        detached(py, || inner.database.write(batch))
    }

    /// Removes a key; a tuple of its value, or of nothing. What cannot be decoded is not removed.
    fn _take<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let py = key.py();
        let inner = self.inner(py)?;
        let bytes = inner.key(key)?;
        loop {
            let Some(found) = detached(py, || inner.database.get(&bytes))? else {
                return Ok(PyTuple::empty(py));
            };
            let value = inner.value(py, &found)?;
            if detached(py, || inner.database.remove_if(&bytes, &found))? {
                return PyTuple::new(py, [value]);
            }
        }
    }

    /// Removes the greatest key; it and its value, or nothing.
    fn _take_last<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let inner = self.inner(py)?;
        loop {
            let mut scan = cachemere::rocks::Scan::new(Range::all()).back().at_most(1);
            let chunk = detached(py, || scan.next_chunk(&inner.database))?;
            let Some((key, found)) = chunk.get(0) else { return Ok(PyTuple::empty(py)) };
            let pair = [inner.keys.decode(py, key)?, inner.value(py, found)?];
            if detached(py, || inner.database.remove_if(key, found))? {
                return PyTuple::new(py, pair);
            }
        }
    }

    /// Gives a key a value unless it has one; what it has then.
    fn _put_if_absent<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        value: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let inner = self.inner(py)?;
        let bytes = inner.key(key)?;
        if let Some(found) = detached(py, || inner.database.get(&bytes))? {
            return inner.value(py, &found);
        }
        let present = inner.values.encode(&inner.policy, &value, |value| {
            detached(py, || inner.database.put_if_absent(&bytes, value))
        })?;
        present.map_or(Ok(value), |found| inner.value(py, &found))
    }

    /// An iterator over `"keys"`, `"values"` or `"items"`, from a key to another, or of those with a prefix.
    fn _scan(
        slf: &Bound<'_, Self>,
        wanted: &str,
        start: Bound<'_, PyTuple>,
        stop: Bound<'_, PyTuple>,
        reverse: bool,
    ) -> PyResult<Scanner> {
        let (start, stop): Bounds<'_> = (bound(&start)?, bound(&stop)?);
        let range = slf.get().inner(slf.py())?.range(start.as_ref(), stop.as_ref())?;
        Ok(Scanner::new(slf.clone().unbind(), range, reverse, wanted_of(wanted)))
    }

    /// An iterator over those whose keys begin with a prefix.
    fn _seek(
        slf: &Bound<'_, Self>,
        wanted: &str,
        prefix: &Bound<'_, PyAny>,
        reverse: bool,
    ) -> PyResult<Scanner> {
        let inner = slf.get().inner(slf.py())?;
        let range = inner.keys.prefix_range(&inner.policy, prefix)?;
        Ok(Scanner::new(slf.clone().unbind(), range, reverse, wanted_of(wanted)))
    }

    fn _count(&self, py: Python<'_>, start: Bound<'_, PyTuple>, stop: Bound<'_, PyTuple>) -> PyResult<usize> {
        let inner = self.inner(py)?;
        let range = inner.range(bound(&start)?.as_ref(), bound(&stop)?.as_ref())?;
        Ok(detached(py, || inner.database.count(&range))? as usize)
    }

    /// Whether a key is there and in a range.
    fn _has(
        &self,
        key: &Bound<'_, PyAny>,
        start: Bound<'_, PyTuple>,
        stop: Bound<'_, PyTuple>,
    ) -> PyResult<bool> {
        let py = key.py();
        let inner = self.inner(py)?;
        let range = inner.range(bound(&start)?.as_ref(), bound(&stop)?.as_ref())?;
        let bytes = inner.key(key)?;
        Ok(range.contains(&bytes) && detached(py, || inner.database.contains(&bytes))?)
    }

    /// The number of keys, as RocksDB guesses it: at once, but wrong where keys were overwritten or removed.
    fn estimated_len(&self, py: Python<'_>) -> PyResult<u64> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.estimated_len())
    }

    /// Removes all entries.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.clear())
    }

    /// Merges the files that have keys from `start` to `end`, and gives the space of what was removed back.
    #[pyo3(signature = (start = None, end = None))]
    fn compact(
        &self,
        py: Python<'_>,
        start: Option<Bound<'_, PyAny>>,
        end: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let inner = self.inner(py)?;
        let range = inner.range(start.as_ref(), end.as_ref())?;
        detached(py, || inner.database.compact(&range))
    }

    /// Makes files of what is in memory and in the log, safe from a power loss.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.flush())
    }

    /// Makes what was written safe from a power loss, in the log.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.sync())
    }

    /// Lets a secondary see what the primary wrote until now.
    fn try_catch_up_with_primary(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.catch_up())
    }

    /// A property of RocksDB that is a number, `rocksdb.estimate-num-keys` for example; `None` if there is no such one.
    fn get_int_property(&self, py: Python<'_>, name: &str) -> PyResult<Option<u64>> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.int_property(name))
    }

    /// A property of RocksDB as text, `rocksdb.stats` for example; `None` if there is no such one.
    fn get_property(&self, py: Python<'_>, name: &str) -> PyResult<Option<String>> {
        let inner = self.inner(py)?;
        detached(py, || inner.database.property(name))
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.inner.get().is_none_or(|inner| inner.database.is_closed())
    }

    fn _close(&self, py: Python<'_>) {
        if let Some(inner) = self.inner.get() {
            py.detach(|| inner.database.close());
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(inner) = self.inner.get() else { return Ok(()) };
        inner.keys.traverse(&visit)?;
        inner.values.traverse(&visit)?;
        inner.policy.traverse(&visit)
    }
}

/// The key and the value of a pair, which can be anything with two items, as `dict` takes it.
fn two_of<'py>(pair: &Bound<'py, PyAny>, place: usize) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(pair) = pair.cast_exact::<PyTuple>()
        && pair.len() == 2
    {
        return Ok((pair.get_item(0)?, pair.get_item(1)?));
    }
    let items = pair.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    let count = items.len();
    <[Bound<'_, PyAny>; 2]>::try_from(items).map(|[key, value]| (key, value)).map_err(|_| {
        PyValueError::new_err(format!(
            "element #{place} has {count} items, but it must have a key and a value"
        ))
    })
}

/// What went wrong at opening, with the arguments that could be given instead.
fn opening(py: Python<'_>, error: Error) -> PyErr {
    let more = match &error {
        Error::Busy { .. } => "readonly=True or secondary_mode=True",
        Error::Unmarked { .. } => {
            "give key_encoding ('hugedict' if the package of that name made it) and functions for the values"
        }
        _ => return from_engine(error),
    };
    let class = if error.is_busy() { "BusyError" } else { "IncompatibleError" };
    raise(py, class, (format!("{error}: {more}"),))
}

fn wanted_of(name: &str) -> Wanted {
    match name {
        "keys" => Wanted::Keys,
        "values" => Wanted::Values,
        _ => Wanted::Items,
    }
}
