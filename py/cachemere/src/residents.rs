//! Decoded objects in memory, found by the Python key itself, and given out only while they are what the store has.

use std::sync::atomic::{AtomicU64, Ordering};

use cachemere::Held;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::is_unhashable;
use crate::policy::Policy;
use crate::seen::Seen;
use crate::values::{self, Sharing};

/// Bytes an entry takes beside its key and value: its places in tables, and the claim to it.
const OVERHEAD: u64 = 400;

/// Bytes of a value that an event loop may copy by itself.
const QUICK: u64 = 32 << 10;

/// One decoded entry.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Resident {
    pub(crate) held: Held,
    form: Form,
    /// Seconds it took to compute, if that is known.
    pub(crate) cost: f64,
    weight: u64,
}

enum Form {
    Shared(Py<PyAny>),
    Template(Py<PyAny>),
    /// Objects that only their decoder can make anew.
    Payload(Vec<u8>, u8),
}

impl Resident {
    pub(crate) fn new(
        held: Held,
        decoded: &values::Decoded<'_>,
        payload: Vec<u8>,
        tag: u8,
        cost: f64,
        key_weight: u64,
    ) -> Resident {
        let held_bytes = match decoded.sharing {
            Sharing::AsIs | Sharing::ByCopy => decoded.weight,
            Sharing::Never => payload.capacity() as u64,
        };
        let weight = held_bytes + key_weight + OVERHEAD;
        let form = match decoded.sharing {
            Sharing::AsIs => Form::Shared(decoded.value.clone().unbind()),
            Sharing::ByCopy => Form::Template(decoded.value.clone().unbind()),
            Sharing::Never => Form::Payload(payload, tag),
        };
        Resident { held, form, cost, weight }
    }

    /// Whether giving it out takes no time worth mentioning: it is shared, or some tens of microseconds to copy.
    pub(crate) fn is_quick(&self) -> bool {
        matches!(self.form, Form::Shared(_)) || self.weight < QUICK
    }

    /// The value, sharing nothing that can be changed.
    pub(crate) fn give<'py>(&self, py: Python<'py>, policy: &Policy) -> PyResult<Bound<'py, PyAny>> {
        match &self.form {
            Form::Shared(value) => Ok(value.bind(py).clone()),
            Form::Template(value) => values::copy(value.bind(py)),
            Form::Payload(payload, tag) => Ok(values::decode(py, policy, payload, *tag)?.value),
        }
    }
}

/// Two generations: what was not asked for while the younger one filled up goes with the older one.
///
/// The tables are dicts, so that finding a key costs what it costs in a dict. Keys that are equal have one canonical
/// form, so that a key found here is the key asked for.
pub(crate) struct Residents {
    young: Py<PyDict>,
    old: Py<PyDict>,
    bytes: AtomicU64,
    limit: u64,
    seen: Seen,
}

impl Residents {
    pub(crate) fn new(py: Python<'_>, limit: u64) -> Residents {
        let table = || PyDict::new(py).unbind();
        Residents { young: table(), old: table(), bytes: AtomicU64::new(0), limit, seen: Seen::default() }
    }

    /// Whether a value that was read is to be kept: if it is the second time that its key is asked for.
    ///
    /// A program that reads each of many entries once does not pay for keeping them.
    pub(crate) fn welcome(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.limit != 0 && self.seen.note(key.hash()?))
    }

    /// `None` also for keys that cannot be hashed, which the canonical form refuses with a better message.
    pub(crate) fn find<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Resident>>> {
        if self.limit == 0 {
            return Ok(None);
        }
        let py = key.py();
        let found = match self.young.bind(py).get_item(key) {
            Ok(Some(found)) => found,
            Ok(None) if self.old.bind(py).is_empty() => return Ok(None),
            Ok(None) => {
                let Some(found) = self.old.bind(py).get_item(key)? else { return Ok(None) };
                let resident = found.cast_into_exact::<Resident>()?;
                self.add(key, &resident)?;
                return Ok(Some(resident));
            }
            Err(error) if is_unhashable(py, &error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(found.cast_into_exact::<Resident>()?))
    }

    pub(crate) fn add(&self, key: &Bound<'_, PyAny>, resident: &Bound<'_, Resident>) -> PyResult<()> {
        let (py, weight) = (key.py(), resident.get().weight);
        if self.limit == 0 || weight > self.limit / 4 {
            return Ok(());
        }
        let (young, old) = (self.young.bind(py), self.old.bind(py));
        young.set_item(key, resident)?;
        if self.bytes.fetch_add(weight, Ordering::Relaxed) + weight > self.limit / 2 {
            self.bytes.store(0, Ordering::Relaxed);
            old.clear();
            old.update(young.as_mapping())?;
            young.clear();
        }
        Ok(())
    }

    /// Frees the memory of a key that was written. What is current does not depend on it.
    pub(crate) fn forget(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let py = key.py();
        for table in [&self.young, &self.old] {
            if table.bind(py).contains(key)? {
                match table.bind(py).del_item(key) {
                    // It can be gone by now, through another thread.
                    Err(error) if !error.is_instance_of::<PyKeyError>(py) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Bytes of what is in the younger generation.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self, py: Python<'_>) {
        self.young.bind(py).clear();
        self.old.bind(py).clear();
        self.bytes.store(0, Ordering::Relaxed);
    }
}
