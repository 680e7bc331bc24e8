//! The user's functions between objects and bytes.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMemoryView, PyString};

use crate::errors::{name_of, raise};

/// From bytes to an object. What is asked for most often is done here, without a call.
pub(crate) enum Deserializer {
    /// `bytes`
    Bytes,
    /// `functools.partial(str, encoding="utf-8")`
    Text,
    Function(Py<PyAny>),
}

impl Deserializer {
    pub(crate) fn new(function: Option<&Bound<'_, PyAny>>) -> PyResult<Deserializer> {
        let Some(function) = function else { return Ok(Deserializer::Bytes) };
        Ok(match () {
            () if function.is(function.py().get_type::<PyBytes>()) => Deserializer::Bytes,
            () if is_text(function)? => Deserializer::Text,
            () => Deserializer::Function(function.clone().unbind()),
        })
    }

    /// A function sees the bytes as a memoryview while it runs. One that keeps it, or a part of it, keeps no memory that
    /// is not its own: the view is of a `bytes` object, and is released behind the call unless something still looks
    /// through it.
    pub(crate) fn call<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Deserializer::Bytes => Ok(PyBytes::new(py, bytes).into_any()),
            Deserializer::Text => Ok(PyString::from_bytes(py, bytes)?.into_any()),
            Deserializer::Function(function) => {
                let view = PyMemoryView::from(PyBytes::new(py, bytes).as_any())?;
                let made = function.bind(py).call1((&view,));
                match view.call_method0(pyo3::intern!(py, "release")) {
                    Err(error) if !error.is_instance_of::<PyBufferError>(py) => Err(error),
                    _ => made,
                }
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Deserializer::Function(function) => visit.call(function),
            _ => Ok(()),
        }
    }
}

fn is_text(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = function.py();
    if !function.get_type().is(py.import("functools")?.getattr("partial")?) {
        return Ok(false);
    }
    let is_str = function.getattr("func")?.is(py.get_type::<PyString>());
    let keywords = function.getattr("keywords")?;
    let expected = PyDict::new(py);
    expected.set_item("encoding", "utf-8")?;
    Ok(is_str && function.getattr("args")?.is_empty()? && keywords.eq(expected)?)
}

/// From an object to bytes.
pub(crate) enum Serializer {
    /// What is bytes already.
    Bytes,
    /// `str.encode`
    Text,
    Function(Py<PyAny>),
}

impl Serializer {
    pub(crate) fn new(function: Option<&Bound<'_, PyAny>>) -> PyResult<Serializer> {
        let Some(function) = function else { return Ok(Serializer::Bytes) };
        let py = function.py();
        Ok(match () {
            () if function.is(py.get_type::<PyBytes>()) => Serializer::Function(function.clone().unbind()),
            () if function.is(py.get_type::<PyString>().getattr("encode")?) => Serializer::Text,
            () => Serializer::Function(function.clone().unbind()),
        })
    }

    /// Gives the bytes of an object to `then`.
    pub(crate) fn call<T>(
        &self,
        object: &Bound<'_, PyAny>,
        name: &str,
        class: &str,
        then: impl FnOnce(&[u8]) -> PyResult<T>,
    ) -> PyResult<T> {
        let py = object.py();
        let made = match self {
            Serializer::Bytes => object.clone(),
            Serializer::Text => match object.cast_exact::<PyString>().map(|text| text.to_str()) {
                Ok(Ok(text)) => return then(text.as_bytes()),
                // Let Python say what is wrong.
                _ => py.get_type::<PyString>().call_method1("encode", (object,))?,
            },
            Serializer::Function(function) => function.bind(py).call1((object,))?,
        };
        if let Ok(bytes) = made.cast::<PyBytes>() {
            return then(bytes.as_bytes());
        }
        match PyBuffer::<u8>::get(&made) {
            Ok(buffer) => then(&buffer.to_vec(py)?),
            Err(_) => {
                let kind = name_of(&made.get_type())?;
                let message = match self {
                    Serializer::Bytes => {
                        format!("a value of type '{kind}' is not bytes, and there is no {name}: give one")
                    }
                    _ => format!("{name} must return bytes, not '{kind}'"),
                };
                Err(raise(py, class, (message,)))
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Serializer::Function(function) => visit.call(function),
            _ => Ok(()),
        }
    }
}
