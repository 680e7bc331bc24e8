//! The canonical form of keys: keys that are equal as keys of a dict have equal bytes.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple, PyType};

use crate::errors::{is_unhashable, name_of, not_pickled, raise};
use crate::form::{
    BIG, DEPTH, Decoder, FLOAT, FROZENSET, NAMED, TUPLE, broken, put_bytes, put_int, put_length, put_scalar,
};
use crate::policy::Policy;

const PICKLE: u8 = b'P';

/// Forms of ints of more bytes are left to `cachemere._forms.equal_keys`: they can be equal to decimals that are too large to be
/// written as ints.
const LONG_INT: usize = 40_000;
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
        if !is_plain || put(policy, &made, out, 0)? == Some(Exact::No) {
            return Err(raise(py, "KeyFormError", ("key_serializer must return str or bytes",)));
        }
        return Ok(Exact::Yes);
    }
    if let Some(exact) = put(policy, key, out, 0)? {
        return Ok(exact);
    }
    let kind = name_of(&key.get_type())?;
    match key.hash() {
        Err(error) if is_unhashable(py, &error) => {
            return Err(raise(py, "KeyFormError", (error.value(py).str()?,)));
        }
        // Of the user's own `__hash__`.
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    match &policy.pickle {
        Some((dumps, loads)) if policy.pickle_keys && !compares_by_identity(key)? => {
            out.clear();
            out.push(PICKLE);
            let pickled = dumps.bind(py).call1((key, 4)).map_err(|cause| unpicklable(&kind, py, cause))?;
            out.extend_from_slice(pickled.cast::<PyBytes>()?.as_bytes());
            // Something inside can compare by identity: of two such keys, which differ, the pickles can be the same.
            let copy = loads.bind(py).call1((pickled,)).map_err(|cause| unpicklable(&kind, py, cause))?;
            if copy.eq(key)? { Ok(Exact::Yes) } else { Err(without_form(&kind, py)) }
        }
        _ => Err(without_form(&kind, py)),
    }
}

fn without_form(kind: &str, py: Python<'_>) -> PyErr {
    let message = format!(
        "a key of type '{kind}' has no canonical form: use a str, int, tuple or another plain key, give a \
         key_serializer, or (if it and all in it define what equal means) allow pickled keys"
    );
    raise(py, "KeyFormError", (message,))
}

fn unpicklable(kind: &str, py: Python<'_>, cause: PyErr) -> PyErr {
    let what = format!("a key of type '{kind}' has no canonical form and cannot be pickled");
    not_pickled(py, cause, "KeyFormError", &what)
}

/// Whether a key is equal to nothing but itself, so that two that are different could have the same pickle. Classes and
/// functions are pickled by their names.
fn compares_by_identity(key: &Bound<'_, PyAny>) -> PyResult<bool> {
    let kind = key.get_type();
    if key.is_instance_of::<PyType>() || kind.name()? == "function" {
        return Ok(false);
    }
    Ok(kind.getattr("__eq__")?.is(&key.py().get_type::<PyAny>().getattr("__eq__")?))
}

/// Whether equal keys have these bytes, and others do not: what is pickled need not.
pub(crate) fn is_canonical(bytes: &[u8]) -> bool {
    bytes.first() != Some(&PICKLE)
}

/// How the canonical form of a tuple of `length` items begins that begins with those of `head`.
pub(crate) fn start_of_tuple(policy: &Policy, head: &Bound<'_, PyTuple>, length: usize) -> PyResult<Vec<u8>> {
    let mut out = vec![TUPLE];
    put_length(&mut out, length);
    for item in head.iter_borrowed() {
        encode(policy, &item, &mut out)?;
    }
    Ok(out)
}

/// `None`: it has no canonical form.
fn put(policy: &Policy, key: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: u32) -> PyResult<Option<Exact>> {
    if depth > DEPTH {
        // What is nested deeper could be written, but not read back.
        return Ok(None);
    }
    let (py, start) = (key.py(), out.len());
    if put_scalar(key, out)? {
        if out.len() - start < LONG_INT || out.get(start) != Some(&BIG) {
            return Ok(Some(Exact::Yes));
        }
        out.truncate(start);
    }
    if let Ok(flag) = key.cast_exact::<PyBool>() {
        put_int(out, &py.get_type::<PyInt>().call1((flag,))?)?;
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
    } else if let Ok(tuple) = key.cast_exact::<PyTuple>() {
        out.push(TUPLE);
        put_length(out, tuple.len());
        let mut exact = Exact::Yes;
        for item in tuple.iter_borrowed() {
            match put(policy, &item, out, depth + 1)? {
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
            match put(policy, &item, &mut form, depth + 1)? {
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
        let (name, plain, is_exact): (String, Bound<'_, PyAny>, bool) = canonical.extract()?;
        let exact = if is_exact { Exact::Yes } else { Exact::No };
        if !name.is_empty() {
            put_bytes(out, NAMED, name.as_bytes());
        } else if plain.is_exact_instance_of::<PyInt>() {
            put_int(out, &plain)?;
            return Ok(Some(exact));
        }
        return Ok(put(policy, &plain, out, depth + 1)?.map(|of_plain| exact.and(of_plain)));
    }
    Ok(Some(Exact::Yes))
}

/// The key of canonical bytes that are exact.
pub(crate) fn decode<'py>(py: Python<'py>, policy: &Policy, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (form, user) = match bytes.split_first() {
        Some((&PICKLE, pickled)) => match &policy.pickle {
            Some((_, loads)) => return loads.bind(py).call1((PyBytes::new(py, pickled),)),
            None => return Err(raise(py, "UnsafeValueError", ("a key is pickled, which was not allowed",))),
        },
        Some((&USER, form)) => (form, policy.keys.as_ref().map(|(_, loads)| loads)),
        _ => (bytes, None),
    };
    let mut decoder = Decoder::new(py, policy, form);
    let key = get(&mut decoder);
    let key = decoder.told(key)?;
    if !decoder.is_at_end() {
        return Err(broken(py));
    }
    match user {
        Some(loads) => loads.bind(py).call1((key,)),
        None => Ok(key),
    }
}

/// A closed set of forms: a key that needs more is stored with the value.
fn get<'py>(decoder: &mut Decoder<'_, 'py>) -> Option<Bound<'py, PyAny>> {
    match decoder.byte()? {
        TUPLE => {
            let items = decoder.items(get)?;
            Some(decoder.kept(PyTuple::new(decoder.py, items))?.into_any())
        }
        FROZENSET => {
            let items = decoder.members(get)?;
            Some(decoder.kept(PyFrozenSet::new(decoder.py, items))?.into_any())
        }
        scalar => decoder.scalar(scalar),
    }
}
