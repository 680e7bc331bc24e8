//! What a handle may do with objects that have no native form.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::names::Names;

/// The callables that `cachemere._forms.forms` and the user supply.
pub(crate) struct Policy {
    /// From an object to its name and plain data, or `None`.
    pub(crate) pack: Py<PyAny>,
    /// The way back.
    pub(crate) unpack: Py<PyAny>,
    /// From a key to its name, canonical plain data, and whether these say what the key is; or `None`.
    pub(crate) canonical: Py<PyAny>,
    /// `pickle.dumps` and `pickle.loads`, if allowed.
    pub(crate) pickle: Option<(Py<PyAny>, Py<PyAny>)>,
    /// The user's own serializer of values.
    pub(crate) values: Option<(Py<PyAny>, Py<PyAny>)>,
    /// The user's own serializer of keys.
    pub(crate) keys: Option<(Py<PyAny>, Py<PyAny>)>,
    /// Whether keys without a canonical form may be pickled.
    pub(crate) pickle_keys: bool,
    pub(crate) names: Names,
}

impl Policy {
    /// The callables can refer to the handle they serve.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let pairs =
            [&self.pickle, &self.values, &self.keys].into_iter().flatten().flat_map(|(to, from)| [to, from]);
        [&self.pack, &self.unpack, &self.canonical]
            .into_iter()
            .chain(pairs)
            .try_for_each(|callable| visit.call(callable))
    }
}
