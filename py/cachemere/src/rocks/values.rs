//! From a value to the bytes that are stored, and back.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::functions::{Deserializer, Serializer};
use crate::errors::raise;
use crate::keys::Exact;
use crate::policy::Policy;
use crate::values::{self, Aside};

/// How values are encoded.
pub(crate) enum Values {
    /// A byte that says which, and the safe form, or a pickle if that is allowed.
    Safe,
    /// What the user's functions make of them.
    Own { from_bytes: Deserializer, to_bytes: Serializer },
}

impl Values {
    /// Gives the bytes of a value to `then`.
    pub(crate) fn encode<T>(
        &self,
        policy: &Policy,
        value: &Bound<'_, PyAny>,
        then: impl FnOnce(&[u8]) -> PyResult<T>,
    ) -> PyResult<T> {
        match self {
            Values::Safe => {
                let aside = Aside { key: (value, Exact::Yes), tags: None, cost: None };
                let (mut bytes, form) = values::encode(policy, value, &aside)?;
                bytes.insert(0, form);
                then(&bytes)
            }
            Values::Own { to_bytes, .. } => to_bytes.call(value, "ser_value", "ValueFormError", then),
        }
    }

    pub(crate) fn decode<'py>(
        &self,
        py: Python<'py>,
        policy: &Policy,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Values::Safe => match bytes.split_first() {
                Some((form, rest)) => Ok(values::decode(py, policy, rest, *form)?.value),
                None => Err(raise(py, "DecodeError", ("a value is empty: another program wrote it",))),
            },
            Values::Own { from_bytes, .. } => from_bytes.call(py, bytes),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Values::Safe => Ok(()),
            Values::Own { from_bytes, to_bytes } => {
                from_bytes.traverse(visit)?;
                to_bytes.traverse(visit)
            }
        }
    }
}
