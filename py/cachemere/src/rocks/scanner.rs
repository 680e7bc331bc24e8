//! Walks over a mapping.

use std::sync::{Arc, Mutex, PoisonError};

use cachemere::Error;
use cachemere::rocks::{Chunk, Range, Scan};
use pyo3::prelude::*;

use super::mapping::{Inner, MappingBase};
use crate::errors::from_engine;

/// What of each entry is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Keys,
    Values,
    Items,
}

/// An iterator over keys, values or pairs of both.
#[pyclass(frozen, module = "cachemere._rocks")]
pub(crate) struct Scanner {
    mapping: Py<MappingBase>,
    wanted: Wanted,
    place: Mutex<Place>,
}

struct Place {
    scan: Scan,
    chunk: Arc<Chunk>,
    next: usize,
}

impl Scanner {
    pub(crate) fn new(mapping: Py<MappingBase>, range: Range, is_back: bool, wanted: Wanted) -> Scanner {
        let mut scan = Scan::new(range);
        if is_back {
            scan = scan.back();
        }
        if wanted == Wanted::Keys {
            scan = scan.keys_only();
        }
        Scanner { mapping, wanted, place: Mutex::new(Place { scan, chunk: Arc::default(), next: 0 }) }
    }
}

#[pymethods]
impl Scanner {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let inner = self.mapping.get().inner(py)?;
        let Some((chunk, next)) = self.advance(py, inner)? else { return Ok(None) };
        let Some((key, value)) = chunk.get(next) else { return Ok(None) };
        // The user's functions run here, and the lock is not held.
        Ok(Some(match self.wanted {
            Wanted::Keys => inner.keys.decode(py, key)?,
            Wanted::Values => inner.values.decode(py, &inner.policy, value)?,
            Wanted::Items => {
                let key = inner.keys.decode(py, key)?;
                let value = inner.values.decode(py, &inner.policy, value)?;
                (key, value).into_pyobject(py)?.into_any()
            }
        }))
    }
}

impl Scanner {
    /// Where the next entry is. One that cannot be decoded is passed all the same.
    fn advance(&self, py: Python<'_>, inner: &Inner) -> PyResult<Option<(Arc<Chunk>, usize)>> {
        let database = &inner.database;
        if database.is_closed() {
            return Err(from_engine(Error::Closed));
        }
        let from_chunk = |place: &mut Place| {
            let next = place.next;
            (next < place.chunk.len()).then(|| {
                place.next += 1;
                (place.chunk.clone(), next)
            })
        };
        // Mostly nobody else goes on with it, and the next entry is there.
        if let Ok(mut place) = self.place.try_lock()
            && let Some(entry) = from_chunk(&mut place)
        {
            return Ok(Some(entry));
        }
        py.detach(|| {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = from_chunk(&mut place) {
                return Ok(Some(entry));
            }
            place.chunk = Arc::new(place.scan.next_chunk(database)?);
            place.next = 0;
            Ok(from_chunk(&mut place))
        })
        .map_err(from_engine)
    }
}
