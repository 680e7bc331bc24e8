//! Values of several keys that were read together.

use cachemere::Payload;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::store::{Store, aside};
use crate::values;

/// What was found of several keys, in their order.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Gathered {
    store: Py<Store>,
    found: Vec<Option<Payload>>,
}

impl Gathered {
    pub(crate) fn new(store: Py<Store>, found: Vec<Option<Payload>>) -> Gathered {
        Gathered { store, found }
    }
}

#[pymethods]
impl Gathered {
    /// The places of the keys that have no value.
    fn missing(&self) -> Vec<usize> {
        let places = self.found.iter().enumerate();
        places.filter(|(_, found)| found.is_none()).map(|(place, _)| place).collect()
    }

    /// The values, `default` for those that are missing, and the seconds that making those that are there took.
    fn values<'py>(&self, default: &Bound<'py, PyAny>) -> PyResult<(Vec<Bound<'py, PyAny>>, f64)> {
        let py = default.py();
        let policy = &self.store.get().policy;
        let (mut values, mut seconds) = (Vec::with_capacity(self.found.len()), 0.0);
        for found in &self.found {
            values.push(match found {
                Some(found) => {
                    let decoded = values::decode(py, policy, &found.payload, found.tag)?;
                    seconds += aside(py, decoded.preface.as_ref())?.1.unwrap_or_default();
                    decoded.value
                }
                None => default.clone(),
            });
        }
        Ok((values, seconds))
    }

    /// The value at a place.
    fn value<'py>(&self, py: Python<'py>, place: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(found) = self.found.get(place).and_then(Option::as_ref) else { return Ok(None) };
        Ok(Some(values::decode(py, &self.store.get().policy, &found.payload, found.tag)?.value))
    }

    /// The last `length` bytes of all values one after the other, and the seconds that making them took; `None` if the values
    /// differ in anything else, or one is missing.
    fn ends<'py>(&self, py: Python<'py>, length: usize) -> PyResult<Option<(Bound<'py, PyByteArray>, f64)>> {
        let policy = &self.store.get().policy;
        let (mut ends, mut seconds) = (Vec::with_capacity(self.found.len()), 0.0);
        // Of the value before: its whole start, how much of that is the preface, and what the preface says.
        let mut before: Option<(&[u8], &[u8], f64)> = None;
        for found in &self.found {
            let Some(found) = found else { return Ok(None) };
            let payload: &[u8] = &found.payload;
            let Some((start, end)) =
                payload.len().checked_sub(length).and_then(|at| payload.split_at_checked(at))
            else {
                return Ok(None);
            };
            let (head, cost) = match before {
                Some((known, head, cost)) if known == start => (head, cost),
                _ => {
                    let (preface, rest) = values::split(py, policy, payload, found.tag)?;
                    let cost = aside(py, preface.as_ref())?.1.unwrap_or_default();
                    let Some(head) = rest.len().checked_sub(length).and_then(|at| rest.get(..at)) else {
                        return Ok(None);
                    };
                    if !values::is_safe(found.tag) || before.is_some_and(|(_, other, _)| other != head) {
                        return Ok(None);
                    }
                    (head, cost)
                }
            };
            before = Some((start, head, cost));
            seconds += cost;
            ends.push(end);
        }
        let all = PyByteArray::new_with(py, length * ends.len(), |all| {
            if length > 0 {
                all.chunks_exact_mut(length).zip(ends).for_each(|(place, end)| place.copy_from_slice(end));
            }
            Ok(())
        })?;
        Ok(Some((all, seconds)))
    }
}
