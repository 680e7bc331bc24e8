//! The safe binary form of plain data. Reading it builds objects of a closed set of types and runs no code of anybody's.
//!
//! One byte says what follows; numbers are little-endian, lengths are LEB128. Canonical keys
//! (see [`crate::keys`]) are written and read with the same pieces.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple, PyType,
};

use crate::errors::raise;
use crate::policy::Policy;

pub(crate) const NONE: u8 = b'N';
const FALSE: u8 = b'0';
const TRUE: u8 = b'1';
pub(crate) const INT: u8 = b'i';
const BIG: u8 = b'I';
pub(crate) const FLOAT: u8 = b'f';
const COMPLEX: u8 = b'c';
const STR: u8 = b's';
/// With lone surrogates, which UTF-8 does not have.
const SURROGATES: u8 = b'S';
const BYTES: u8 = b'b';
const BYTEARRAY: u8 = b'B';
const LIST: u8 = b'l';
pub(crate) const TUPLE: u8 = b't';
const DICT: u8 = b'd';
const SET: u8 = b'e';
pub(crate) const FROZENSET: u8 = b'z';
/// A name and plain data, for types that are written in Python.
pub(crate) const NAMED: u8 = b'x';

/// Nesting beyond this is refused: it would end the stack of whoever reads it.
pub(crate) const DEPTH: u32 = 150;

/// Why an object has no safe form.
pub(crate) enum Refused {
    /// Of this type.
    Type(String),
    /// It is nested too deeply, or contains itself.
    Depth,
    Python(PyErr),
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Refused {
        Refused::Python(error)
    }
}

pub(crate) fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Little-endian two's complement of an int that 64 bits do not hold.
fn big_bytes<'py>(int: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let bits: usize = int.call_method0("bit_length")?.extract()?;
    let options = PyDict::new(int.py());
    options.set_item("signed", true)?;
    Ok(int.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&options))?.cast_into::<PyBytes>()?)
}

fn big_int<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("signed", true)?;
    py.get_type::<PyInt>().call_method("from_bytes", (PyBytes::new(py, bytes), "little"), Some(&options))
}

pub(crate) fn put_int(out: &mut Vec<u8>, int: &Bound<'_, PyAny>) -> PyResult<()> {
    match int.extract::<i64>() {
        Ok(int) => {
            out.push(INT);
            out.extend_from_slice(&int.to_le_bytes());
        }
        Err(_) => put_bytes(out, BIG, big_bytes(int)?.as_bytes()),
    }
    Ok(())
}

/// Writes an object whose form is the same in keys and values; whether it is one.
pub(crate) fn put_scalar(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<bool> {
    if let Ok(text) = object.cast_exact::<PyString>() {
        match text.to_str() {
            Ok(text) => put_bytes(out, STR, text.as_bytes()),
            Err(_) => {
                let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
                put_bytes(out, SURROGATES, bytes.cast::<PyBytes>()?.as_bytes());
            }
        }
    } else if object.is_none() {
        out.push(NONE);
    } else if object.is_exact_instance_of::<PyInt>() {
        put_int(out, object)?;
    } else if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        put_bytes(out, BYTES, bytes.as_bytes());
    } else {
        return Ok(false);
    }
    Ok(true)
}

pub(crate) fn encode(policy: &Policy, object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), Refused> {
    put(policy, object, out, 0)
}

fn put(policy: &Policy, object: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: u32) -> Result<(), Refused> {
    if depth > DEPTH {
        return Err(Refused::Depth);
    }
    if put_scalar(object, out)? {
        return Ok(());
    }
    if let Ok(flag) = object.cast_exact::<PyBool>() {
        out.push(if flag.is_true() { TRUE } else { FALSE });
    } else if let Ok(float) = object.cast_exact::<PyFloat>() {
        out.push(FLOAT);
        out.extend_from_slice(&float.value().to_le_bytes());
    } else if let Ok(dict) = object.cast_exact::<PyDict>() {
        // Of a copy, which nobody can change meanwhile.
        let dict = dict.copy()?;
        out.push(DICT);
        put_length(out, dict.len());
        for (key, value) in dict.iter() {
            put(policy, &key, out, depth + 1)?;
            put(policy, &value, out, depth + 1)?;
        }
    } else if let Ok(list) = object.cast_exact::<PyList>() {
        put_items(policy, LIST, &list.to_tuple(), out, depth)?;
    } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        put_items(policy, TUPLE, tuple, out, depth)?;
    } else if let Ok(bytes) = object.cast_exact::<PyByteArray>() {
        put_bytes(out, BYTEARRAY, &bytes.to_vec());
    } else if object.is_exact_instance_of::<PySet>() || object.is_exact_instance_of::<PyFrozenSet>() {
        let tag = if object.is_exact_instance_of::<PySet>() { SET } else { FROZENSET };
        let items = object.py().get_type::<PyTuple>().call1((object,))?;
        put_items(policy, tag, items.cast::<PyTuple>().map_err(PyErr::from)?, out, depth)?;
    } else if let Ok(complex) = object.cast_exact::<PyComplex>() {
        out.push(COMPLEX);
        out.extend_from_slice(&complex.real().to_le_bytes());
        out.extend_from_slice(&complex.imag().to_le_bytes());
    } else if let Some(buffer) = picked_buffer(object)? {
        out.push(BYTEARRAY);
        put_length(out, buffer.len_bytes());
        let start = out.len();
        out.resize(start + buffer.len_bytes(), 0);
        buffer.copy_to_slice(object.py(), &mut out[start..])?;
    } else {
        let packed = policy.pack.bind(object.py()).call1((object,))?;
        if packed.is_none() {
            let kind = object.get_type();
            return Err(Refused::Type(format!("{}.{}", kind.module()?, kind.qualname()?)));
        }
        let (name, plain): (String, Bound<'_, PyAny>) = packed.extract()?;
        put_bytes(out, NAMED, name.as_bytes());
        put(policy, &plain, out, depth + 1)?;
    }
    Ok(())
}

/// The bytes of a `pickle.PickleBuffer`, which `pack` hands on so that they are copied once. As a value of the user's it
/// could not be pickled either.
fn picked_buffer(object: &Bound<'_, PyAny>) -> PyResult<Option<PyBuffer<u8>>> {
    static KIND: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    if !object.get_type().is(KIND.import(object.py(), "pickle", "PickleBuffer")?) {
        return Ok(None);
    }
    PyBuffer::get(object).map(Some)
}

fn put_items(
    policy: &Policy,
    tag: u8,
    items: &Bound<'_, PyTuple>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Refused> {
    out.push(tag);
    put_length(out, items.len());
    for item in items.iter_borrowed() {
        put(policy, &item, out, depth + 1)?;
    }
    Ok(())
}

/// Reads the safe form.
pub(crate) struct Decoder<'a, 'py> {
    pub(crate) py: Python<'py>,
    policy: &'a Policy,
    rest: &'a [u8],
    depth: u32,
    /// Whether a list, dict, set or bytearray was met.
    pub(crate) has_containers: bool,
    /// Whether an object was met that only Python code can copy.
    pub(crate) has_named: bool,
}

impl<'a, 'py> Decoder<'a, 'py> {
    pub(crate) fn new(py: Python<'py>, policy: &'a Policy, bytes: &'a [u8]) -> Decoder<'a, 'py> {
        Decoder { py, policy, rest: bytes, depth: 0, has_containers: false, has_named: false }
    }

    pub(crate) fn broken(&self) -> PyErr {
        raise(self.py, "DecodeError", ("the stored bytes are not those of a key or value; remove the entry",))
    }

    /// What adding an item to a set or dict raised.
    fn unhashable(&self, error: PyErr) -> PyErr {
        if error.is_instance_of::<PyTypeError>(self.py) { self.broken() } else { error }
    }

    fn take(&mut self, count: usize) -> PyResult<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.broken()),
        }
    }

    fn array<const N: usize>(&mut self) -> PyResult<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.broken())
    }

    fn length(&mut self) -> PyResult<usize> {
        let (mut length, mut shift) = (0, 0);
        loop {
            let [byte] = self.array()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return Ok(length);
            }
            if shift > 56 {
                return Err(self.broken());
            }
        }
    }

    fn counted(&mut self) -> PyResult<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn tag(&mut self) -> PyResult<u8> {
        self.array().map(|[tag]| tag)
    }

    /// Reads what [`put_scalar`] and the keys' own floats wrote; `None` for a tag of another kind.
    pub(crate) fn scalar(&mut self, tag: u8) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py;
        Ok(Some(match tag {
            NONE => py.None().into_bound(py),
            INT => i64::from_le_bytes(self.array()?).into_pyobject(py)?.into_any(),
            BIG => big_int(py, self.counted()?)?,
            FLOAT => PyFloat::new(py, f64::from_le_bytes(self.array()?)).into_any(),
            STR => match std::str::from_utf8(self.counted()?) {
                Ok(text) => PyString::new(py, text).into_any(),
                Err(_) => return Err(self.broken()),
            },
            SURROGATES => {
                let bytes = PyBytes::new(py, self.counted()?);
                bytes.call_method1("decode", ("utf-8", "surrogatepass")).map_err(|_| self.broken())?
            }
            BYTES => PyBytes::new(py, self.counted()?).into_any(),
            _ => return Ok(None),
        }))
    }

    pub(crate) fn value(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let tag = self.tag()?;
        if let Some(scalar) = self.scalar(tag)? {
            return Ok(scalar);
        }
        Ok(match tag {
            FALSE => PyBool::new(py, false).to_owned().into_any(),
            TRUE => PyBool::new(py, true).to_owned().into_any(),
            COMPLEX => {
                let (real, imaginary) = (self.array()?, self.array()?);
                PyComplex::from_doubles(py, f64::from_le_bytes(real), f64::from_le_bytes(imaginary))
                    .into_any()
            }
            BYTEARRAY => {
                self.has_containers = true;
                PyByteArray::new(py, self.counted()?).into_any()
            }
            LIST => {
                self.has_containers = true;
                PyList::new(py, self.items(Decoder::value)?)?.into_any()
            }
            TUPLE => PyTuple::new(py, self.items(Decoder::value)?)?.into_any(),
            SET => {
                self.has_containers = true;
                let items = self.items(Decoder::value)?;
                PySet::new(py, items).map_err(|error| self.unhashable(error))?.into_any()
            }
            FROZENSET => {
                let items = self.items(Decoder::value)?;
                PyFrozenSet::new(py, items).map_err(|error| self.unhashable(error))?.into_any()
            }
            DICT => {
                self.has_containers = true;
                let dict = PyDict::new(py);
                let count = self.length()?;
                self.nested(|inner| {
                    for _ in 0..count {
                        let key = inner.value()?;
                        let value = inner.value()?;
                        dict.set_item(key, value).map_err(|error| inner.unhashable(error))?;
                    }
                    Ok(())
                })?;
                dict.into_any()
            }
            NAMED => {
                self.has_named = true;
                let name = self.counted()?.to_vec();
                let plain = self.nested(Decoder::value)?;
                let name = String::from_utf8(name).map_err(|_| self.broken())?;
                self.policy.unpack.bind(py).call1((name, plain))?
            }
            _ => return Err(self.broken()),
        })
    }

    /// Reads as many items as are announced, each with `read`.
    pub(crate) fn items(
        &mut self,
        read: impl Fn(&mut Self) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let count = self.length()?;
        if count > self.rest.len() {
            return Err(self.broken());
        }
        self.nested(|inner| (0..count).map(|_| read(inner)).collect())
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> PyResult<T>) -> PyResult<T> {
        if self.depth > DEPTH {
            return Err(self.broken());
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }
}
