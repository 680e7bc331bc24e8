//! From a key to the bytes a database knows it by, and back.

use cachemere::rocks::Range;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};

use super::functions::{Deserializer, Serializer};
use super::ordered;
use crate::errors::{name_of, raise};
use crate::policy::Policy;

/// How keys are encoded.
pub(crate) enum Keys {
    /// The form of [`ordered`].
    Ordered,
    /// bytes as they are and str in UTF-8, or what the user's functions make of them.
    Raw { from_bytes: Deserializer, to_bytes: Option<Serializer> },
    /// As [`Keys::Raw`], and ints of 64 bits with the least byte first, and None as no bytes at all. Different keys can
    /// have the same bytes.
    Hugedict { from_bytes: Deserializer },
}

impl Keys {
    /// Writes the bytes of a key.
    pub(crate) fn encode(&self, policy: &Policy, key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        match self {
            Keys::Ordered => ordered::encode(policy, key, out),
            Keys::Raw { to_bytes: Some(function), .. } => {
                function.call(key, "ser_key", "KeyFormError", |bytes| {
                    out.extend_from_slice(bytes);
                    Ok(())
                })
            }
            Keys::Raw { to_bytes: None, .. } => {
                let next = "with functions of one's own, keys are str or bytes: give ser_key as well, or \
                            key_encoding='hugedict'";
                if put_string(key, out)? { Ok(()) } else { Err(unsuitable(key, next)) }
            }
            Keys::Hugedict { .. } => {
                if put_string(key, out)? || key.is_none() {
                    return Ok(());
                }
                if !key.is_instance_of::<PyInt>() {
                    return Err(unsuitable(
                        key,
                        "with key_encoding='hugedict', keys are str, bytes, int or None",
                    ));
                }
                match key.extract::<i64>() {
                    Ok(int) => out.extend_from_slice(&int.to_le_bytes()),
                    Err(_) => {
                        return Err(unsuitable(
                            key,
                            "with key_encoding='hugedict', an int must fit into 64 bits",
                        ));
                    }
                }
                Ok(())
            }
        }
    }

    /// What the bytes of all keys begin with that begin with this.
    pub(crate) fn encode_prefix(
        &self,
        policy: &Policy,
        prefix: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        match self {
            Keys::Ordered => ordered::encode_prefix(policy, prefix, out),
            _ => self.encode(policy, prefix, out),
        }
    }

    /// The keys that begin with a prefix.
    pub(crate) fn prefix_range(&self, policy: &Policy, prefix: &Bound<'_, PyAny>) -> PyResult<Range> {
        if let Keys::Ordered = self {
            return ordered::prefix_range(policy, prefix);
        }
        let mut bytes = Vec::new();
        self.encode(policy, prefix, &mut bytes)?;
        Ok(Range::prefix(&bytes))
    }

    pub(crate) fn decode<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Keys::Ordered => ordered::decode(py, bytes),
            Keys::Raw { from_bytes, .. } | Keys::Hugedict { from_bytes } => from_bytes.call(py, bytes),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Keys::Ordered => Ok(()),
            Keys::Raw { from_bytes, to_bytes } => {
                from_bytes.traverse(visit)?;
                to_bytes.as_ref().map_or(Ok(()), |function| function.traverse(visit))
            }
            Keys::Hugedict { from_bytes } => from_bytes.traverse(visit),
        }
    }
}

/// Whether it is a string, which it wrote then.
fn put_string(key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<bool> {
    if let Ok(text) = key.cast::<PyString>() {
        match text.to_str() {
            Ok(text) => out.extend_from_slice(text.as_bytes()),
            Err(_) => return Err(unsuitable(key, "it has half a surrogate pair, which UTF-8 does not")),
        }
    } else if let Ok(bytes) = key.cast::<PyBytes>() {
        out.extend_from_slice(bytes.as_bytes());
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn unsuitable(key: &Bound<'_, PyAny>, why: &str) -> PyErr {
    let kind = match name_of(&key.get_type()) {
        Ok(kind) => kind,
        Err(error) => return error,
    };
    raise(key.py(), "KeyFormError", (format!("a key of type '{kind}' cannot be used here: {why}"),))
}
