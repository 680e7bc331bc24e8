//! The canonical form of keys: keys that are equal as keys of a dict have equal bytes.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple};

use crate::errors::raise;
use crate::form::{big_bytes, big_int, put_length};
use crate::policy::Policy;

const NONE: u8 = b'N';
const INT: u8 = b'i';
const BIG: u8 = b'I';
const FLOAT: u8 = b'f';
const STR: u8 = b's';
const SURROGATES: u8 = b'S';
const BYTES: u8 = b'b';
const TUPLE: u8 = b't';
const FROZENSET: u8 = b'z';
const NAMED: u8 = b'x';
const PICKLE: u8 = b'P';
const USER: u8 = b'U';

/// How a key is told again from what is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exact {
    /// The canonical bytes say it all.
    Yes,
    /// Its type is lost, so the key itself is to be stored with the value.
    No,
}

impl Exact {
    fn and(self, other: Exact) -> Exact {
        if self == Exact::Yes { other } else { Exact::No }
    }
}

/// Writes the canonical form of a key.
pub(crate) fn encode(policy: &Policy, key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<Exact> {
    let py = key.py();
    if let Some((dumps, _)) = &policy.keys {
        let made = dumps.bind(py).call1((key,))?;
        out.push(USER);
        let is_plain = made.is_exact_instance_of::<PyString>() || made.is_exact_instance_of::<PyBytes>();
        if !is_plain || put(policy, &made, out)? == Some(Exact::No) {
            return Err(raise(py, "KeyFormError", ("key_serializer must return str or bytes",)));
        }
        return Ok(Exact::Yes);
    }
    if let Some(exact) = put(policy, key, out)? {
        return Ok(exact);
    }
    let kind = key.get_type().qualname()?.to_string();
    if key.hash().is_err() {
        return Err(raise(py, "KeyFormError", (format!("unhashable type: '{kind}'"),)));
    }
    match &policy.pickle {
        Some((dumps, _)) if policy.pickle_keys => {
            out.clear();
            out.push(PICKLE);
            out.extend_from_slice(dumps.bind(py).call1((key, 4))?.extract::<&[u8]>().map_err(PyErr::from)?);
            Ok(Exact::Yes)
        }
        _ => {
            let message = format!(
                "a key of type '{kind}' has no canonical form: use a str, int, tuple or another plain key, give a \
                 key_serializer, or allow pickled keys"
            );
            Err(raise(py, "KeyFormError", (message,)))
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_int(out: &mut Vec<u8>, int: &Bound<'_, PyAny>) -> PyResult<()> {
    match int.extract::<i64>() {
        Ok(int) => {
            out.push(INT);
            out.extend_from_slice(&int.to_le_bytes());
        }
        Err(_) => put_bytes(out, BIG, big_bytes(int)?.as_bytes()),
    }
    Ok(())
}

/// `None`: it has no canonical form.
fn put(policy: &Policy, key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<Option<Exact>> {
    let py = key.py();
    if let Ok(text) = key.cast_exact::<PyString>() {
        match text.to_str() {
            Ok(text) => put_bytes(out, STR, text.as_bytes()),
            Err(_) => {
                let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
                put_bytes(out, SURROGATES, bytes.cast::<PyBytes>()?.as_bytes());
            }
        }
    } else if let Ok(bytes) = key.cast_exact::<PyBytes>() {
        put_bytes(out, BYTES, bytes.as_bytes());
    } else if key.is_exact_instance_of::<PyInt>() {
        put_int(out, key)?;
    } else if let Ok(flag) = key.cast_exact::<PyBool>() {
        out.push(INT);
        out.extend_from_slice(&i64::from(flag.is_true()).to_le_bytes());
        return Ok(Some(Exact::No));
    } else if let Ok(float) = key.cast_exact::<PyFloat>() {
        let number = float.value();
        if number.is_finite() && number.fract() == 0.0 {
            put_int(out, &py.get_type::<PyInt>().call1((key,))?)?;
            return Ok(Some(Exact::No));
        }
        out.push(FLOAT);
        // All NaN are one key.
        let number = if number.is_nan() { f64::NAN } else { number };
        out.extend_from_slice(&number.to_le_bytes());
    } else if key.is_none() {
        out.push(NONE);
    } else if let Ok(tuple) = key.cast_exact::<PyTuple>() {
        out.push(TUPLE);
        put_length(out, tuple.len());
        let mut exact = Exact::Yes;
        for item in tuple.iter_borrowed() {
            match put(policy, &item, out)? {
                Some(of_item) => exact = exact.and(of_item),
                None => return Ok(None),
            }
        }
        return Ok(Some(exact));
    } else if let Ok(set) = key.cast_exact::<PyFrozenSet>() {
        let mut items = Vec::with_capacity(set.len());
        let mut exact = Exact::Yes;
        for item in set.iter() {
            let mut form = Vec::new();
            match put(policy, &item, &mut form)? {
                Some(of_item) => exact = exact.and(of_item),
                None => return Ok(None),
            }
            items.push(form);
        }
        items.sort_unstable();
        out.push(FROZENSET);
        put_length(out, items.len());
        items.iter().for_each(|item| out.extend_from_slice(item));
        return Ok(Some(exact));
    } else {
        let canonical = policy.canonical.bind(py).call1((key,))?;
        if canonical.is_none() {
            return Ok(None);
        }
        let (name, plain): (String, Bound<'_, PyAny>) = canonical.extract()?;
        if !name.is_empty() {
            put_bytes(out, NAMED, name.as_bytes());
        }
        return Ok(put(policy, &plain, out)?.map(|_| Exact::No));
    }
    Ok(Some(Exact::Yes))
}

/// The key of canonical bytes that are exact.
pub(crate) fn decode<'py>(py: Python<'py>, policy: &Policy, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let broken = || raise(py, "DecodeError", ("the stored key is not in canonical form; remove the entry",));
    let (form, user) = match bytes.split_first() {
        Some((&PICKLE, pickled)) => match &policy.pickle {
            Some((_, loads)) => return loads.bind(py).call1((PyBytes::new(py, pickled),)),
            None => return Err(raise(py, "UnsafeValueError", ("a key is pickled, which was not allowed",))),
        },
        Some((&USER, form)) => (form, policy.keys.as_ref().map(|(_, loads)| loads)),
        _ => (bytes, None),
    };
    let mut rest = form;
    let key = get(py, &mut rest).ok_or_else(broken)??;
    if !rest.is_empty() {
        return Err(broken());
    }
    match user {
        Some(loads) => loads.bind(py).call1((key,)),
        None => Ok(key),
    }
}

fn get_length(rest: &mut &[u8]) -> Option<usize> {
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            return Some(length);
        }
        if shift > 56 {
            return None;
        }
    }
}

fn get<'py>(py: Python<'py>, rest: &mut &[u8]) -> Option<PyResult<Bound<'py, PyAny>>> {
    fn take<'r>(rest: &mut &'r [u8], count: usize) -> Option<&'r [u8]> {
        let (taken, after) = rest.split_at_checked(count)?;
        *rest = after;
        Some(taken)
    }
    let [tag] = *take(rest, 1)? else { return None };
    Some(match tag {
        NONE => Ok(py.None().into_bound(py)),
        INT => {
            let int = i64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
            int.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from)
        }
        FLOAT => Ok(PyFloat::new(py, f64::from_le_bytes(take(rest, 8)?.try_into().ok()?)).into_any()),
        TUPLE | FROZENSET => {
            let count = get_length(rest)?;
            if count > rest.len() {
                return None;
            }
            let mut items = Vec::with_capacity(count);
            for _ in 0..count {
                match get(py, rest)? {
                    Ok(item) => items.push(item),
                    Err(error) => return Some(Err(error)),
                }
            }
            match tag {
                TUPLE => PyTuple::new(py, items).map(Bound::into_any),
                _ => PyFrozenSet::new(py, items).map(Bound::into_any),
            }
        }
        BIG | STR | SURROGATES | BYTES => {
            let length = get_length(rest)?;
            let bytes = take(rest, length)?;
            match tag {
                BIG => big_int(py, bytes),
                BYTES => Ok(PyBytes::new(py, bytes).into_any()),
                SURROGATES => PyBytes::new(py, bytes).call_method1("decode", ("utf-8", "surrogatepass")),
                _ => Ok(PyString::new(py, std::str::from_utf8(bytes).ok()?).into_any()),
            }
        }
        _ => return None,
    })
}
