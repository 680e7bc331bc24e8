//! One namespace of one store, with Python keys and values.

use std::mem::take;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cachemere::{
    ByteBatch, ByteCache, Condition, Error, Known, LoadFailure, LoadGuard, LoadTurn, LoadWatch, Payload,
    ScanPosition,
};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::errors::{from_engine, is_interrupted, missing, opening, raised_meanwhile};
use crate::gathered::Gathered;
use crate::keys::{self, Exact};
use crate::load::{self, Description};
use crate::logging;
use crate::options::StoreOptions;
use crate::policy::Policy;
use crate::residents::{Resident, Residents};
use crate::salvage;
use crate::scanner::Scanner;
use crate::settings::{self, Settings};
use crate::times::{GivenTimes, Times, given, seconds, times};
use crate::told;
use crate::values::{self, Aside, Sharing};
use crate::weights;

/// A namespace of a store.
#[pyclass(subclass, frozen, weakref, module = "cachemere._engine")]
pub(crate) struct Store {
    settings: Settings,
    cache: OnceLock<ByteCache>,
    /// Also of a store that was closed before it was opened, which must not open then.
    is_closed: AtomicBool,
    pub(crate) policy: Policy,
    residents: Residents,
}

/// Closing waits for other processes, and for threads of this one that open or close a store; and those may wait for the
/// interpreter, to let it handle a signal.
impl Drop for Store {
    fn drop(&mut self) {
        let mut cache = self.cache.take();
        Python::try_attach(|py| py.detach(|| drop(cache.take())));
    }
}

/// Which writing of a key a value was.
#[pyclass(eq, frozen, module = "cachemere._engine")]
#[derive(PartialEq)]
pub(crate) struct Version(pub(crate) cachemere::Version);

/// The right to compute the value of a key.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Lead(Mutex<Option<LoadGuard>>);

impl Lead {
    fn new(guard: LoadGuard) -> Lead {
        Lead(Mutex::new(Some(guard)))
    }
}

#[pymethods]
impl Lead {
    /// Gives the right back.
    fn release(&self, py: Python<'_>) {
        let lead = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(lead));
    }

    /// Gives the right back without a value, and this to those in the process who wait for it.
    fn fail(&self, py: Python<'_>, failure: Py<PyAny>) {
        let lead = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lead) = lead {
            py.detach(|| lead.fail(Arc::new(failure)));
        }
    }
}

/// The rights to compute the values of several keys.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Leads(Mutex<Vec<LoadGuard>>);

#[pymethods]
impl Leads {
    /// Gives the rights back.
    fn release(&self, py: Python<'_>) {
        let leads = take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        py.detach(|| drop(leads));
    }

    /// Gives the rights back without values, and this to those in the process who wait for one of them.
    fn fail(&self, py: Python<'_>, failure: Py<PyAny>) {
        let leads = take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let failure: LoadFailure = Arc::new(failure);
        py.detach(|| leads.into_iter().for_each(|lead| lead.fail(failure.clone())));
    }
}

/// Somebody else's right to compute.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Watch(LoadWatch);

#[pymethods]
impl Watch {
    /// What it was given back with instead of a value, if it was in this process.
    #[getter]
    fn failure(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.failure().and_then(|failure| taken(py, &failure))
    }
}

/// What a lead was failed with.
fn taken(py: Python<'_>, failure: &LoadFailure) -> Option<Py<PyAny>> {
    failure.downcast_ref::<Py<PyAny>>().map(|given| given.clone_ref(py))
}

#[pymethods]
impl Store {
    /// A store of these options, in which nothing is opened yet. While `origin`, or another that was made of it, is open,
    /// the secret of the same path is not needed.
    #[new]
    #[pyo3(signature = (options, origin=None))]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>, origin: Option<&Bound<'_, Store>>) -> PyResult<Store> {
        // What was raised while one of them was taken, by a handler of a signal say, is passed on as it is.
        let options = options.extract::<StoreOptions<'_>>();
        let options = options.map_err(|error| error.cause(py).unwrap_or(error))?;
        let residents = Residents::new(py, options.memory_bytes);
        let (settings, policy) = options.split(origin.map(|origin| &origin.get().settings))?;
        Ok(Store { settings, cache: OnceLock::new(), is_closed: AtomicBool::new(false), policy, residents })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.policy.traverse(&visit)
    }

    /// Opens the store now instead of at first use. Beside an open handle of the same store it needs no secret.
    #[pyo3(signature = (beside=None))]
    fn open_now(&self, py: Python<'_>, beside: Option<&Bound<'_, Store>>) -> PyResult<()> {
        self.opened(py, beside.and_then(|beside| beside.get().cache.get())).map(drop)
    }

    /// Whether it was opened.
    #[getter]
    fn is_open(&self) -> bool {
        self.cache.get().is_some()
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.look_up(key)?.ok_or_else(|| missing(key))
    }

    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.look_up(key)?;
        Ok(found.or(default).unwrap_or_else(|| key.py().None().into_bound(key.py())))
    }

    /// The value if it is in memory, current and quickly copied, without looking into the store; else `default`.
    fn peek<'py>(&self, key: &Bound<'py, PyAny>, default: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.resident(key, Resident::is_quick)?.map_or(default, |(value, _)| value))
    }

    pub(crate) fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(key.py())?;
        detached(key.py(), || cache.contains(&bytes))
    }

    pub(crate) fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let cache = self.cache(py)?;
        detached(py, || cache.len()).map(|len| len as usize)
    }

    pub(crate) fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(key, value, None, None, None, None).map(drop)
    }

    pub(crate) fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.remove(key, None)? { Ok(()) } else { Err(missing(key)) }
    }

    /// Writes a value; with `expect`, if the key is absent ("absent") or still has the version. Whether it did.
    #[pyo3(signature = (key, value, ttl=None, tags=None, cost=None, expect=None))]
    fn put(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<f64>,
        tags: Option<&Bound<'_, PyTuple>>,
        cost: Option<f64>,
        expect: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let py = key.py();
        let ttl = seconds("ttl", ttl)?;
        let (bytes, exact) = self.key(key)?;
        let (payload, tag) = values::encode(&self.policy, value, &Aside { key: (key, exact), tags, cost })?;
        let cache = self.cache(py)?;
        let condition = expect.map(|expect| match expect.cast_exact::<Version>() {
            Ok(version) => Condition::Version(version.get().0),
            Err(_) => Condition::Absent,
        });
        let done = detached(py, || match condition {
            None => cache.insert(&bytes, &payload, tag, ttl).map(|()| true),
            Some(condition) => cache.insert_if(&bytes, &payload, tag, ttl, condition),
        });
        self.residents.forget(key)?;
        done
    }

    /// Writes all pairs in one transaction. `cost`: seconds that each took to compute.
    #[pyo3(signature = (pairs, ttl=None, tags=None, cost=None))]
    fn put_many(
        &self,
        pairs: &Bound<'_, PyList>,
        ttl: Option<f64>,
        tags: Option<&Bound<'_, PyTuple>>,
        cost: Option<f64>,
    ) -> PyResult<()> {
        let py = pairs.py();
        let ttl = seconds("ttl", ttl)?;
        let mut items = Vec::with_capacity(pairs.len());
        let none = py.None().into_bound(py);
        let (start, tag) =
            values::preface(&self.policy, py, &Aside { key: (&none, Exact::Yes), tags, cost })?;
        for pair in pairs.iter() {
            let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let (bytes, exact) = self.key(&key)?;
            let (payload, tag) = match exact {
                Exact::Yes => values::encode_after(&self.policy, &value, start.clone(), tag)?,
                Exact::No => values::encode(&self.policy, &value, &Aside { key: (&key, exact), tags, cost })?,
            };
            items.push((bytes, payload, tag));
            self.residents.forget(&key)?;
        }
        let cache = self.cache(py)?;
        let items = items.iter_mut().map(|(key, payload, tag)| (key.as_slice(), take(payload), *tag));
        detached(py, || cache.insert_many(items, ttl))
    }

    /// Writes the rows of an array, which follow one another in memory, as the values of keys, in one transaction. `first` is
    /// the first row; its bytes come last in its safe form, and all rows are like it.
    #[pyo3(signature = (wanted, first, rows, ttl=None, tags=None, cost=None))]
    fn put_rows(
        &self,
        wanted: &Bound<'_, PyList>,
        first: &Bound<'_, PyAny>,
        rows: PyBuffer<u8>,
        ttl: Option<f64>,
        tags: Option<&Bound<'_, PyTuple>>,
        cost: Option<f64>,
    ) -> PyResult<()> {
        let py = wanted.py();
        let ttl = seconds("ttl", ttl)?;
        // A copy: another thread could write to the array meanwhile.
        let rows = rows.to_vec(py)?;
        let length = rows.len().checked_div(wanted.len()).unwrap_or_default();
        let none = py.None().into_bound(py);
        let aside = Aside { key: (&none, Exact::Yes), tags, cost };
        let (start, tag) = values::encode(&self.policy, first, &aside)?;
        let head = start.len().checked_sub(length).and_then(|at| start.get(..at));
        let Some(head) = head.filter(|_| length > 0 && rows.len() == length * wanted.len()) else {
            return Err(PyValueError::new_err("rows must be as many as keys, and like the first one"));
        };
        let mut items = Vec::with_capacity(wanted.len());
        for (key, row) in wanted.iter().zip(rows.chunks_exact(length)) {
            let (bytes, exact) = self.key(&key)?;
            if exact == Exact::No {
                return Err(PyValueError::new_err("keys must say what they are"));
            }
            let mut payload = Vec::with_capacity(head.len() + length);
            payload.extend_from_slice(head);
            payload.extend_from_slice(row);
            items.push((bytes, payload));
            self.residents.forget(&key)?;
        }
        let cache = self.cache(py)?;
        let items = items.iter_mut().map(|(key, payload)| (key.as_slice(), take(payload), tag));
        detached(py, || cache.insert_many(items, ttl))
    }

    /// Makes all removals, then all writes, in one transaction: all of them or none. A key that is in both is new
    /// afterwards; of several writes of one key the last counts.
    ///
    /// With times (creation, access, expiry or `None`; seconds since 1970) an entry is as old as they say, was last written
    /// when it was created, and never expires without an expiry, whatever the `ttl`. Times of the future count as now, an
    /// access before the creation as the creation, and what is expired already is removed.
    fn apply(&self, writes: &Bound<'_, PyList>, removals: &Bound<'_, PyList>) -> PyResult<()> {
        let py = writes.py();
        let mut batch = ByteBatch::new();
        for key in removals.iter() {
            batch.remove(&self.key(&key)?.0);
        }
        let mut written = Vec::with_capacity(writes.len());
        for write in writes.iter() {
            let (key, value, ttl, tags, times): Write<'_> = write.extract()?;
            let ttl = seconds("ttl", ttl)?;
            let times = times.map(given).transpose()?;
            let (bytes, exact) = self.key(&key)?;
            let aside = Aside { key: (&key, exact), tags: tags.as_ref(), cost: None };
            let (payload, tag) = values::encode(&self.policy, &value, &aside)?;
            match times {
                Some(times) => batch.insert_with_times(&bytes, payload, tag, times),
                None => batch.insert(&bytes, payload, tag, ttl),
            };
            written.push(key);
        }
        let cache = self.cache(py)?;
        let done = detached(py, || cache.write(&batch));
        for key in removals.iter().chain(written) {
            self.residents.forget(&key)?;
        }
        done
    }

    /// The value with its version, tags and cost, or `None`.
    fn fetch<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Fetched<'py>>> {
        let py = key.py();
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(py)?;
        let Some(found) = detached(py, || cache.get(&bytes))? else { return Ok(None) };
        let decoded = values::decode(py, &self.policy, &found.payload, found.tag)?;
        let version = Py::new(py, Version(found.version))?;
        let (tags, cost) = aside(py, decoded.preface.as_ref())?;
        Ok(Some((decoded.value, version, tags, cost)))
    }

    /// The values of several keys, in their order, from one snapshot; `default` for those that are missing.
    fn get_many<'py>(
        &self,
        wanted: &Bound<'py, PyList>,
        default: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = wanted.py();
        let forms = self.forms(wanted)?;
        let cache = self.cache(py)?;
        let found = detached(py, || cache.get_many(forms.iter().map(Vec::as_slice)))?;
        found
            .into_iter()
            .map(|found| match found {
                Some(found) => Ok(values::decode(py, &self.policy, &found.payload, found.tag)?.value),
                None => Ok(default.clone()),
            })
            .collect()
    }

    /// Removes a key, if it still has the version; whether it was there.
    #[pyo3(signature = (key, version=None))]
    fn remove(&self, key: &Bound<'_, PyAny>, version: Option<&Version>) -> PyResult<bool> {
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(key.py())?;
        let version = version.map(|version| version.0);
        let done = detached(key.py(), || match version {
            None => cache.remove(&bytes),
            Some(version) => cache.remove_if(&bytes, version),
        });
        self.residents.forget(key)?;
        done
    }

    /// Creation, access, modification, expiry (seconds since the epoch), size in bytes, and the seconds without access after
    /// which it expires.
    fn times(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Times>> {
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(key.py())?;
        let info = detached(key.py(), || cache.info(&bytes))?;
        Ok(info.as_ref().map(times))
    }

    #[pyo3(signature = (key, ttl=None))]
    fn touch(&self, key: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<bool> {
        let ttl = seconds("ttl", ttl)?;
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(key.py())?;
        detached(key.py(), || cache.touch(&bytes, ttl))
    }

    #[pyo3(signature = (reverse=false, keys_only=false, with_info=false))]
    fn scanner(slf: Bound<'_, Self>, reverse: bool, keys_only: bool, with_info: bool) -> Scanner {
        Scanner { store: slf.unbind(), position: Mutex::default(), reverse, keys_only, with_info }
    }

    /// Removes the entry that was inserted last and returns its key and value; not if they cannot be read.
    fn pop_newest<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let cache = self.cache(py)?;
        loop {
            let Some(entry) = detached(py, || cache.newest())? else { return Ok(None) };
            let Unpacked { key, value, .. } =
                self.unpack(py, &entry.key, &entry.payload, entry.info.tag, true)?;
            if detached(py, || cache.remove_if(&entry.key, entry.version))? {
                self.residents.forget(&key)?;
                return Ok(Some((key, value)));
            }
        }
    }

    /// Waits until nobody computes the key's value and takes the right to. `None`: somebody just did, look again. Anything
    /// else is what somebody has failed with.
    fn lead<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(py)?;
        // Ctrl-C ends the wait, and whatever a handler of a signal raises.
        Ok(match detached(py, || cache.turn(&bytes, is_interrupted))? {
            LoadTurn::Lead(guard) => Some(Bound::new(py, Lead::new(guard))?.into_any()),
            LoadTurn::Failed(failure) => taken(py, &failure).map(|failure| failure.into_bound(py)),
            _ => None,
        })
    }

    /// Takes the right to compute the key's value, or tells how that goes if somebody has it; for tasks. Never waits.
    fn try_lead<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let (bytes, _) = self.key(key)?;
        let cache = self.cache(py)?;
        Ok(match detached(py, || cache.try_turn(&bytes))? {
            Ok(guard) => Bound::new(py, Lead::new(guard))?.into_any(),
            Err(watch) => Bound::new(py, Watch(watch))?.into_any(),
        })
    }

    /// Takes the rights to compute the values of those keys of which nobody has it. The rights, and the places of the keys.
    /// Never waits. `among_processes`: they are had among all processes, which is for some hundreds at most. `in_thread`: they
    /// are computed in this thread.
    fn try_leads<'py>(
        &self,
        wanted: &Bound<'py, PyList>,
        among_processes: bool,
        in_thread: bool,
    ) -> PyResult<(Leads, Vec<usize>)> {
        let py = wanted.py();
        let forms = self.forms(wanted)?;
        let cache = self.cache(py)?;
        let tried =
            detached(py, || cache.try_turns(forms.iter().map(Vec::as_slice), among_processes, in_thread))?;
        let (mut leads, mut places) = (Vec::with_capacity(tried.len()), Vec::with_capacity(tried.len()));
        for (place, tried) in tried.into_iter().enumerate() {
            if let Ok(guard) = tried {
                leads.push(guard);
                places.push(place);
            }
        }
        Ok((Leads(Mutex::new(leads)), places))
    }

    /// What is stored of several keys, read and not yet decoded.
    fn gather(slf: Bound<'_, Self>, wanted: &Bound<'_, PyList>) -> PyResult<Gathered> {
        let py = wanted.py();
        let store = slf.get();
        let forms = store.forms(wanted)?;
        let cache = store.cache(py)?;
        let found = detached(py, || cache.get_many(forms.iter().map(Vec::as_slice)))?;
        Ok(Gathered::new(slf.unbind(), found))
    }

    /// An error if what is computed now could not be kept, because the store is not at its path any more.
    fn check_place(&self, py: Python<'_>) -> PyResult<()> {
        let cache = self.cache(py)?;
        detached(py, || cache.check_place())
    }

    /// Whether what was opened is not at its path any more.
    #[getter]
    fn is_gone(&self, py: Python<'_>) -> bool {
        let is_gone = |cache: &ByteCache| cache.check_place().is_err_and(|error| error.is_gone());
        self.cache.get().is_some_and(|cache| py.detach(|| is_gone(cache)))
    }

    /// The value and what it cost to compute, in seconds (0 if that is not known), or `None`.
    fn recall<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyAny>, f64)>> {
        let py = key.py();
        let resident = self.residents.find(key)?;
        let cache = self.cache(py)?;
        let give = |resident: &Resident| Ok(Some((resident.give(py, &self.policy)?, resident.cost)));
        if let Some(resident) = &resident
            && cache.is_current(&resident.get().held).map_err(from_engine)?
        {
            return give(resident.get());
        }
        let (bytes, _) = self.key(key)?;
        let found = match &resident {
            Some(resident) => {
                let held = &resident.get().held;
                match detached(py, || cache.get_unless(&bytes, held))? {
                    Known::Same => return give(resident.get()),
                    Known::Missing => None,
                    Known::Other(found) => Some(found),
                }
            }
            None => detached(py, || cache.get(&bytes))?,
        };
        let Some(found) = found else {
            self.residents.forget(key)?;
            return Ok(None);
        };
        self.admit(key, &bytes, cache, found).map(Some)
    }

    /// How many keys are tuples of so many items that begin with these; removes them if told to. Reads every entry of the
    /// namespace.
    fn matching(&self, head: &Bound<'_, PyTuple>, length: usize, remove: bool) -> PyResult<u64> {
        let py = head.py();
        let start = keys::start_of_tuple(&self.policy, head, length)?;
        let cache = self.cache(py)?;
        detached(py, || {
            let (mut position, mut count) = (ScanPosition::default(), 0);
            loop {
                let entries = cache.scan(&mut position)?;
                if entries.is_empty() {
                    return Ok(count);
                }
                // Damaged entries are nobody's.
                for entry in entries.into_iter().flatten() {
                    if entry.key.starts_with(&start)
                        && (!remove || cache.remove_if(&entry.key, entry.version)?)
                    {
                        count += 1;
                    }
                }
            }
        })
    }

    /// Loads files as described; the fields of the summary. `show` is called with how far it is.
    #[pyo3(signature = (described, ttl=None, show=None))]
    fn load(
        &self,
        py: Python<'_>,
        described: Description,
        ttl: Option<f64>,
        show: Option<Py<PyAny>>,
    ) -> PyResult<load::Told> {
        if self.policy.keys.is_some() || self.policy.values.is_some() {
            return Err(load::refuse_serializers(py));
        }
        let ttl = seconds("ttl", ttl)?;
        let job = described.job();
        let make = load::maker(&job);
        let cache = self.cache(py)?;
        let mut watcher = load::Watcher { show, raised: Mutex::new(None) };
        let loaded = detached(py, || cache.load(job.load, job.existing, ttl, &make, &mut watcher));
        self.residents.clear(py);
        // An interrupt is told also if all was done when it came: it was meant for what comes next, too.
        match watcher.raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => loaded.map(load::told),
        }
    }

    /// The canonical bytes of a key.
    fn key_bytes<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(key.py(), &self.key(key)?.0))
    }

    /// The safe form of a value.
    fn encode_value<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let (py, none) = (value.py(), value.py().None());
        let aside = Aside { key: (none.bind(py), Exact::Yes), tags: None, cost: None };
        Ok(PyBytes::new(py, &values::encode(&self.policy, value, &aside)?.0))
    }

    /// The value of a safe form, which may be anybody's bytes.
    fn decode_value<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        Ok(values::decode(py, &self.policy, bytes, 0)?.value)
    }

    /// The key of canonical bytes, which may be anybody's.
    fn decode_key<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        keys::decode(py, &self.policy, bytes)
    }

    /// The names of the store's namespaces, each with the number of its entries that are not expired.
    fn namespaces(&self, py: Python<'_>) -> PyResult<Vec<(String, u64)>> {
        let cache = self.cache(py)?;
        let all = detached(py, || cache.namespaces())?;
        Ok(all.into_iter().map(|it| (it.name, it.entries)).collect())
    }

    /// What the store is, with its namespaces.
    fn describe(&self, py: Python<'_>) -> PyResult<told::Store> {
        let cache = self.cache(py)?;
        let (store, namespaces) = detached(py, || Ok((cache.store_info()?, cache.namespaces()?)))?;
        Ok(told::store(store, namespaces))
    }

    /// Counts since it was opened, and sizes.
    fn counts(&self, py: Python<'_>) -> PyResult<told::Counts> {
        let cache = self.cache(py)?;
        detached(py, || cache.stats()).map(told::counts)
    }

    /// Bytes of the decoded objects that were kept since their elder half went, as they are counted.
    #[getter]
    fn resident_bytes(&self) -> u64 {
        self.residents.bytes()
    }

    fn sweep(&self, py: Python<'_>) -> PyResult<u64> {
        let cache = self.cache(py)?;
        detached(py, || cache.sweep())
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let cache = self.cache(py)?;
        let done = detached(py, || cache.clear());
        self.residents.clear(py);
        done
    }

    /// Writes access times and makes everything durable.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let cache = self.cache(py)?;
        detached(py, || cache.checkpoint())
    }

    fn backup(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let cache = self.cache(py)?;
        detached(py, || cache.backup(path))
    }

    /// Copies what can be read of the store, which nobody may have open, to a directory, or puts it in its place.
    fn salvage<'py>(&self, py: Python<'py>, to: Option<PathBuf>) -> PyResult<salvage::Told<'py>> {
        let salvaged = away(py, || self.settings.salvage(to))?;
        salvage::Told::new(py, &self.policy, salvaged.map_err(from_engine)?)
    }

    /// Puts nothing in the place of the store, if damage keeps it from being opened; where its files are kept.
    fn set_aside(&self, py: Python<'_>) -> PyResult<Option<PathBuf>> {
        let kept = away(py, || self.settings.of_damaged().set_aside())?;
        kept.map_err(|error| opening(error, &self.settings.path, self.settings.secret_from.as_deref()))
    }

    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        let cache = self.cache(py)?;
        detached(py, || cache.compact())
    }

    /// Wraps the data key with another secret; with `everything`, also makes a new data key and rewrites all entries.
    fn change_secret(
        &self,
        py: Python<'_>,
        old: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
        everything: bool,
    ) -> PyResult<()> {
        let (old, new) = (settings::secret(old)?, settings::secret(new)?);
        let cache = self.cache(py)?;
        detached(
            py,
            || if everything { cache.reencrypt(&old, &new) } else { cache.change_secret(&old, &new) },
        )
    }

    /// What a walk over everything found.
    fn check(&self, py: Python<'_>) -> PyResult<told::Report> {
        let cache = self.cache(py)?;
        detached(py, || cache.verify()).map(told::report)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.is_closed.store(true, SeqCst);
        self.residents.clear(py);
        match self.cache.get() {
            Some(cache) => detached(py, || cache.close()),
            None => Ok(()),
        }
    }
}

/// A write of a batch: key, value, time to live, tags, and its times if they are given.
type Write<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyAny>, Option<f64>, Option<Bound<'py, PyTuple>>, Option<GivenTimes>);
type Fetched<'py> = (Bound<'py, PyAny>, Py<Version>, Bound<'py, PyTuple>, Option<f64>);

/// An entry as Python's objects.
pub(crate) struct Unpacked<'py> {
    pub(crate) key: Bound<'py, PyAny>,
    /// `None` if it was not wanted.
    pub(crate) value: Bound<'py, PyAny>,
    pub(crate) tags: Bound<'py, PyTuple>,
    pub(crate) cost: Option<f64>,
}

/// Tags and cost of a preface.
pub(crate) fn aside<'py>(
    py: Python<'py>,
    preface: Option<&Bound<'py, PyTuple>>,
) -> PyResult<(Bound<'py, PyTuple>, Option<f64>)> {
    match preface {
        Some(preface) => Ok((preface.get_item(2)?.cast_into::<PyTuple>()?, preface.get_item(3)?.extract()?)),
        None => Ok((PyTuple::empty(py), None)),
    }
}

impl Store {
    pub(crate) fn cache(&self, py: Python<'_>) -> PyResult<&ByteCache> {
        self.opened(py, None)
    }

    fn opened(&self, py: Python<'_>, beside: Option<&ByteCache>) -> PyResult<&ByteCache> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache);
        }
        if self.is_closed.load(SeqCst) {
            return Err(from_engine(Error::Closed));
        }
        // Opening is when there is most to tell, of a recovery for example.
        logging::look_at_level(py, Duration::ZERO)?;
        let opened = away(py, || self.settings.open(beside))?;
        let opened = opened
            .map_err(|error| opening(error, &self.settings.path, self.settings.secret_from.as_deref()))?;
        // Another thread can have been faster; then its handle is used. Or it has closed the store meanwhile.
        let cache = self.cache.get_or_init(|| opened);
        if self.is_closed.load(SeqCst) {
            detached(py, || cache.close())?;
        }
        Ok(cache)
    }

    fn forms(&self, keys: &Bound<'_, PyList>) -> PyResult<Vec<Vec<u8>>> {
        keys.iter().map(|key| Ok(self.key(&key)?.0)).collect()
    }

    fn key(&self, key: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, Exact)> {
        let mut bytes = Vec::with_capacity(256);
        let exact = keys::encode(&self.policy, key, &mut bytes)?;
        Ok((bytes, exact))
    }

    /// Whether objects of this key may be found by the key itself: it needs a canonical form.
    fn may_reside(&self, key: &[u8]) -> bool {
        self.policy.keys.is_none() && keys::is_canonical(key)
    }

    /// A value that is in memory and current, if it is `wanted`.
    pub(crate) fn resident<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        wanted: impl FnOnce(&Resident) -> bool,
    ) -> PyResult<Option<(Bound<'py, PyAny>, f64)>> {
        let Some(cache) = self.cache.get() else { return Ok(None) };
        let Some(resident) = self.residents.find(key)? else { return Ok(None) };
        let resident = resident.get();
        if !wanted(resident) || !cache.is_current(&resident.held).map_err(from_engine)? {
            return Ok(None);
        }
        Ok(Some((resident.give(key.py(), &self.policy)?, resident.cost)))
    }

    pub(crate) fn look_up<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.recall(key)?.map(|(value, _)| value))
    }

    /// Decodes what was read and keeps it in memory. The value, and its cost in seconds.
    fn admit<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        bytes: &[u8],
        cache: &ByteCache,
        found: Payload,
    ) -> PyResult<(Bound<'py, PyAny>, f64)> {
        let py = key.py();
        let decoded = values::decode(py, &self.policy, &found.payload, found.tag)?;
        let cost = aside(py, decoded.preface.as_ref())?.1.unwrap_or_default();
        if self.may_reside(bytes) && self.residents.welcome(key)? {
            let held = detached(py, || cache.hold(&found))?;
            let resident = Resident::new(held, &decoded, found.payload, found.tag, cost, weights::key(key)?);
            // What only its decoder can make anew was made for this caller.
            let value = match decoded.sharing {
                Sharing::Never => decoded.value,
                Sharing::AsIs | Sharing::ByCopy => resident.give(py, &self.policy)?,
            };
            self.residents.add(key, &Bound::new(py, resident)?)?;
            return Ok((value, cost));
        }
        Ok((decoded.value, cost))
    }

    /// A stored entry, with its value if that is wanted.
    pub(crate) fn unpack<'py>(
        &self,
        py: Python<'py>,
        key: &[u8],
        payload: &[u8],
        tag: u8,
        with_value: bool,
    ) -> PyResult<Unpacked<'py>> {
        let (preface, value) = if with_value {
            let decoded = values::decode(py, &self.policy, payload, tag)?;
            (decoded.preface, decoded.value)
        } else {
            (values::split(py, &self.policy, payload, tag)?.0, py.None().into_bound(py))
        };
        let (tags, cost) = aside(py, preface.as_ref())?;
        let key = match &preface {
            Some(preface) if preface.get_item(0)?.is_truthy()? => preface.get_item(1)?,
            _ => keys::decode(py, &self.policy, key)?,
        };
        Ok(Unpacked { key, value, tags, cost })
    }
}

/// What the engine gives, which works without the interpreter. Then what it had to say is handed on, so no lock may be
/// held where this is called.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> cachemere::Result<T> + Send,
) -> PyResult<T> {
    away(py, work)?.map_err(from_engine)
}

/// Does something without the interpreter, and then tells what handlers of signals have raised and what there is to log.
fn away<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let done = py.detach(work);
    let raised = raised_meanwhile();
    let handed_on = logging::hand_on(py);
    match raised {
        Some(error) => Err(error),
        None => handed_on.map(|()| done),
    }
}
