//! Payloads: a value in one of three forms, with what belongs to it but is not the value.
//!
//! The entry's tag says which form, and whether a *preface* goes before it: the key as it was given where the canonical
//! key does not tell, the entry's tags, and what the value cost to compute.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PySet, PyString, PyTuple};

use crate::errors::{name_of, not_pickled, raise};
use crate::form::{self, Decoder, Refused};
use crate::keys::Exact;
use crate::policy::Policy;
use crate::turns::met_container;

pub(crate) const SAFE: u8 = 0;
const PICKLE: u8 = 1;
const USER: u8 = 2;
const PREFACE: u8 = 0x80;

/// What goes into the entry beside the value.
pub(crate) struct Aside<'a, 'py> {
    pub(crate) key: (&'a Bound<'py, PyAny>, Exact),
    pub(crate) tags: Option<&'a Bound<'py, PyTuple>>,
    /// Seconds.
    pub(crate) cost: Option<f64>,
}

/// A value that was read.
pub(crate) struct Decoded<'py> {
    pub(crate) value: Bound<'py, PyAny>,
    pub(crate) sharing: Sharing,
    /// Bytes that the value takes in memory, if it can be shared or copied.
    pub(crate) weight: u64,
    pub(crate) preface: Option<Bound<'py, PyTuple>>,
}

/// How a value in memory can be given out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// It cannot be changed.
    AsIs,
    /// By copying its lists, dicts, sets and bytearrays.
    ByCopy,
    /// By decoding it again.
    Never,
}

/// The payload and its tag.
pub(crate) fn encode(
    policy: &Policy,
    value: &Bound<'_, PyAny>,
    aside: &Aside<'_, '_>,
) -> PyResult<(Vec<u8>, u8)> {
    let (out, tag) = preface(policy, value.py(), aside)?;
    encode_after(policy, value, out, tag)
}

/// How a payload begins, and its tag so far: the same for all keys that are exact.
pub(crate) fn preface(policy: &Policy, py: Python<'_>, aside: &Aside<'_, '_>) -> PyResult<(Vec<u8>, u8)> {
    let mut out = Vec::new();
    let mut tag = 0;
    let (key, exact) = aside.key;
    if exact == Exact::No || aside.tags.is_some() || aside.cost.is_some() {
        tag |= PREFACE;
        let tags = match aside.tags {
            Some(tags) => tags.clone(),
            None => PyTuple::empty(py),
        };
        let preface =
            |key| (exact == Exact::No, key, tags.clone(), aside.cost).into_pyobject(py).map(Bound::into_any);
        let none = py.None().into_bound(py);
        let given = preface(if exact == Exact::No { key.clone() } else { none })?;
        let mut written = form::encode(policy, &given, &mut out);
        if let Err(Refused::Type(_)) = written {
            // It is of a subclass, or has something in it that is.
            out.clear();
            let known = py.import("cachemere._forms.equal_keys")?.call_method1("as_known", (key,))?;
            written = form::encode(policy, &preface(known)?, &mut out);
        }
        if let Err(refused) = written {
            return Err(explain(py, refused, "KeyFormError"));
        }
    }
    Ok((out, tag))
}

/// Adds a value to how its payload begins.
pub(crate) fn encode_after(
    policy: &Policy,
    value: &Bound<'_, PyAny>,
    mut out: Vec<u8>,
    tag: u8,
) -> PyResult<(Vec<u8>, u8)> {
    let py = value.py();
    let start = out.len();
    if let Some((dumps, _)) = &policy.values {
        let made = dumps.bind(py).call1((value,))?;
        form::encode(policy, &made, &mut out).map_err(|refused| explain(py, refused, "ValueFormError"))?;
        return Ok((out, tag | USER));
    }
    match form::encode(policy, value, &mut out) {
        Ok(()) => Ok((out, tag | SAFE)),
        Err(Refused::Python(error)) if policy.pickle.is_none() || !is_unsafe(py, &error) => Err(error),
        Err(refused) => match &policy.pickle {
            Some((dumps, _)) => {
                out.truncate(start);
                let pickled =
                    dumps.bind(py).call1((value,)).map_err(|error| unpicklable(py, value, error))?;
                out.extend_from_slice(pickled.cast::<PyBytes>()?.as_bytes());
                Ok((out, tag | PICKLE))
            }
            None => Err(explain(py, refused, "UnsafeValueError")),
        },
    }
}

/// Whether it says that an object has no safe form, and why.
fn is_unsafe(py: Python<'_>, error: &PyErr) -> bool {
    error.get_type(py).name().is_ok_and(|name| name == "UnsafeValueError")
}

fn unpicklable(py: Python<'_>, value: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let what = name_of(&value.get_type())
        .map(|kind| format!("a value of type '{kind}' can be neither stored safely nor pickled"));
    what.map_or_else(|error| error, |what| not_pickled(py, cause, "ValueFormError", &what))
}

fn explain(py: Python<'_>, refused: Refused, class: &str) -> PyErr {
    match refused {
        Refused::Python(error) => error,
        Refused::Depth => raise(
            py,
            "ValueFormError",
            (
                "the value contains itself or is nested too deeply for the safe form: flatten it, or allow_pickle=True",
            ),
        ),
        Refused::Collisions => raise(
            py,
            "ValueFormError",
            (
                "too many keys of a dict or set in the value have the same hash, so that it would take long to read: make \
                 them text, or allow_pickle=True",
            ),
        ),
        Refused::Type(kind) => {
            let message = format!(
                "an object of type '{kind}' has no safe form: if it is a dataclass, enum, named tuple, attrs or pydantic class, \
                 register it with types=[...]; else convert it to plain data, or open with allow_pickle=True if nobody \
                 else can write to the store"
            );
            let error = raise(py, class, (message,));
            match error.value(py).setattr("unsafe_type", kind) {
                Ok(()) => error,
                Err(failed) => failed,
            }
        }
    }
}

pub(crate) fn decode<'py>(
    py: Python<'py>,
    policy: &Policy,
    payload: &[u8],
    tag: u8,
) -> PyResult<Decoded<'py>> {
    let (preface, rest) = split(py, policy, payload, tag)?;
    let (value, sharing, weight) = match tag & !PREFACE {
        SAFE => {
            let mut decoder = Decoder::new(py, policy, rest);
            let value = decoder.value()?;
            if !decoder.is_at_end() {
                return Err(raise(py, "DecodeError", ("bytes are left after the value; remove the entry",)));
            }
            let sharing = match (decoder.has_named, decoder.has_containers) {
                (true, _) => Sharing::Never,
                (false, true) => Sharing::ByCopy,
                (false, false) => Sharing::AsIs,
            };
            (value, sharing, decoder.weight)
        }
        PICKLE => match &policy.pickle {
            Some((_, loads)) => (loads.bind(py).call1((PyBytes::new(py, rest),))?, Sharing::Never, 0),
            None => {
                let message = "the value is pickled, and loading a pickle can run any code: open with \
                               allow_pickle=True if you trust whoever wrote the store";
                return Err(raise(py, "UnsafeValueError", (message,)));
            }
        },
        USER => match &policy.values {
            Some((_, loads)) => {
                let made = Decoder::new(py, policy, rest).value()?;
                (loads.bind(py).call1((made,))?, Sharing::Never, 0)
            }
            None => {
                let message =
                    "the value was written with a value_serializer: open with its value_unserializer";
                return Err(raise(py, "DecodeError", (message,)));
            }
        },
        _ => return Err(raise(py, "DecodeError", ("the value is in a form this version does not know",))),
    };
    Ok(Decoded { value, sharing, weight, preface })
}

/// Whether a value is in the safe form.
pub(crate) fn is_safe(tag: u8) -> bool {
    tag & !PREFACE == SAFE
}

/// What was stored beside the value.
pub(crate) fn split<'a, 'py>(
    py: Python<'py>,
    policy: &'a Policy,
    payload: &'a [u8],
    tag: u8,
) -> PyResult<(Option<Bound<'py, PyTuple>>, &'a [u8])> {
    if tag & PREFACE == 0 {
        return Ok((None, payload));
    }
    let mut decoder = Decoder::new(py, policy, payload);
    let Ok(preface) = decoder.value()?.cast_into_exact::<PyTuple>() else { return Err(form::broken(py)) };
    let Ok((_, _, tags, cost)) =
        preface.extract::<(bool, Bound<'_, PyAny>, Bound<'_, PyTuple>, Option<f64>)>()
    else {
        return Err(form::broken(py));
    };
    let is_text = tags.iter_borrowed().all(|tag| tag.is_exact_instance_of::<PyString>());
    if !is_text || cost.is_some_and(|cost| !cost.is_finite()) {
        return Err(form::broken(py));
    }
    let rest = decoder.rest();
    Ok((Some(preface), rest))
}

/// A copy of plain data that shares nothing that can be changed.
pub(crate) fn copy<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    met_container(py);
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        let copied = dict.copy()?;
        for (key, value) in dict.iter() {
            if is_container(&value) {
                copied.set_item(key, copy(&value)?)?;
            }
        }
        Ok(copied.into_any())
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        let copied = list.get_slice(0, list.len());
        for (place, item) in list.iter().enumerate() {
            if is_container(&item) {
                copied.set_item(place, copy(&item)?)?;
            }
        }
        Ok(copied.into_any())
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        if !tuple.iter_borrowed().any(|item| is_container(&item)) {
            return Ok(value.clone());
        }
        let items = tuple.iter().map(|item| copy(&item)).collect::<PyResult<Vec<_>>>()?;
        Ok(PyTuple::new(py, items)?.into_any())
    } else if value.is_exact_instance_of::<PySet>() {
        value.call_method0("copy")
    } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
        Ok(PyByteArray::new(py, &bytes.to_vec()).into_any())
    } else {
        Ok(value.clone())
    }
}

fn is_container(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyDict>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyTuple>()
        || value.is_exact_instance_of::<PySet>()
        || value.is_exact_instance_of::<PyByteArray>()
}
