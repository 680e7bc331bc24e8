//! The ordered form of keys: keys that are equal as keys of a dict have equal bytes, and the bytes are in the order of
//! the keys. `docs/FORMAT.md` has it in full.
//!
//! None, then numbers by their value (ints and floats among each other), then bytes, then str, then tuples, item by item.

use cachemere::rocks::Range;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyTuple};

use crate::errors::{name_of, raise};
use crate::form::DEPTH;
use crate::policy::Policy;

/// Ends a tuple, and strings in tuples: less than anything else.
const END: u8 = 0x00;
/// Behind a zero byte of a string in a tuple, which is not its end then.
const ESCAPED: u8 = 0xff;
const NONE: u8 = 0x08;
const MINUS_INFINITY: u8 = 0x10;
const NEGATIVE: u8 = 0x11;
const ZERO: u8 = 0x12;
const POSITIVE: u8 = 0x13;
const INFINITY: u8 = 0x14;
const NAN: u8 = 0x15;
const BYTES: u8 = 0x20;
const STR: u8 = 0x28;
const TUPLE: u8 = 0x30;

/// Before the exponents of numbers less than 1, which have 16 bits.
const SMALL: u8 = 0x10;
/// What an exponent of one byte is counted from.
const USUAL: u8 = 0x20;
/// Exponents from here on have 64 bits, behind this.
const FIRST_LARGE: u64 = 0xc0;
const LARGE: u8 = 0xf0;
/// Ints of more bits are refused: their forms can be short, and reading one would fill the memory.
const LARGEST: u64 = 1 << 26;

/// Writes the form of a key.
pub(crate) fn encode(policy: &Policy, key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(text) = key.cast_exact::<PyString>() {
        out.push(STR);
        return with_text(text, |bytes| out.extend_from_slice(bytes));
    }
    if let Ok(bytes) = key.cast_exact::<PyBytes>() {
        out.push(BYTES);
        out.extend_from_slice(bytes.as_bytes());
        return Ok(());
    }
    put(policy, key, out, Place::Whole, 0)
}

/// What the forms of all keys begin with that begin with this one: strings, and tuples item by item.
pub(crate) fn encode_prefix(policy: &Policy, prefix: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    encode(policy, prefix, out)?;
    if out.first() == Some(&TUPLE) {
        out.pop();
    }
    Ok(())
}

/// The keys that begin with this one.
pub(crate) fn prefix_range(policy: &Policy, prefix: &Bound<'_, PyAny>) -> PyResult<Range> {
    let mut start = Vec::new();
    encode_prefix(policy, prefix, &mut start)?;
    if start.first() != Some(&TUPLE) {
        return Ok(Range::prefix(&start));
    }
    // An escape goes on with the last string of the prefix, everything less begins another item.
    let mut stop = start.clone();
    stop.push(ESCAPED);
    Ok(Range { start: Some(start), stop: Some(stop) })
}

/// Whether a string ends with the key, or there is more behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Whole,
    InTuple,
}

fn put(policy: &Policy, key: &Bound<'_, PyAny>, out: &mut Vec<u8>, place: Place, depth: u32) -> PyResult<()> {
    let py = key.py();
    if depth > DEPTH {
        return Err(raise(py, "KeyFormError", ("the key is nested too deeply: flatten it",)));
    }
    if let Ok(text) = key.cast_exact::<PyString>() {
        out.push(STR);
        with_text(text, |bytes| put_string(out, bytes, place))?;
    } else if let Ok(bytes) = key.cast_exact::<PyBytes>() {
        out.push(BYTES);
        put_string(out, bytes.as_bytes(), place);
    } else if let Ok(int) = key.cast_exact::<PyInt>() {
        put_int(out, int)?;
    } else if let Ok(flag) = key.cast_exact::<PyBool>() {
        put_small_int(out, i64::from(flag.is_true()));
    } else if let Ok(float) = key.cast_exact::<PyFloat>() {
        put_float(out, float.value());
    } else if key.is_none() {
        out.push(NONE);
    } else if let Ok(tuple) = key.cast_exact::<PyTuple>() {
        out.push(TUPLE);
        for item in tuple.iter_borrowed() {
            put(policy, &item, out, Place::InTuple, depth + 1)?;
        }
        out.push(END);
    } else {
        // Subclasses and numbers of other types that are equal to one of these.
        let canonical = policy.canonical.bind(py).call1((key,))?;
        if !canonical.is_none() {
            let (name, plain, _): (String, Bound<'_, PyAny>, bool) = canonical.extract()?;
            if name.is_empty() {
                return put(policy, &plain, out, place, depth + 1);
            }
        }
        let kind = name_of(&key.get_type())?;
        let message = format!(
            "a key of type '{kind}' has no ordered form: use str, bytes, int, float, None or tuples of these, or give \
             ser_key and deser_key"
        );
        return Err(raise(py, "KeyFormError", (message,)));
    }
    Ok(())
}

/// Half a surrogate pair, which UTF-8 does not have, is written as if it had.
fn with_text(text: &Bound<'_, PyString>, then: impl FnOnce(&[u8])) -> PyResult<()> {
    match text.to_str() {
        Ok(text) => then(text.as_bytes()),
        Err(_) => {
            let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
            then(bytes.cast::<PyBytes>()?.as_bytes());
        }
    }
    Ok(())
}

/// Writes the form of a str as a whole key.
pub(super) fn put_whole_str(out: &mut Vec<u8>, text: &str) {
    out.push(STR);
    out.extend_from_slice(text.as_bytes());
}

/// Writes the form of bytes as a whole key.
pub(super) fn put_whole_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(BYTES);
    out.extend_from_slice(bytes);
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8], place: Place) {
    if place == Place::Whole {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        out.push(byte);
        if byte == END {
            out.push(ESCAPED);
        }
    }
    out.push(END);
}

/// Writes the form of an int as a whole key.
pub(super) fn put_small_int(out: &mut Vec<u8>, int: i64) {
    let magnitude = int.unsigned_abs();
    if magnitude == 0 {
        out.push(ZERO);
        return;
    }
    let zeros = magnitude.leading_zeros();
    put_number(out, int < 0, i64::from(63 - zeros), behind_first(magnitude, zeros));
}

/// The bits behind the first that is set, moved to the top.
fn behind_first(word: u64, zeros: u32) -> u64 {
    word.checked_shl(zeros + 1).unwrap_or(0)
}

fn put_float(out: &mut Vec<u8>, float: f64) {
    if float == 0.0 {
        out.push(ZERO);
        return;
    }
    if float.is_nan() {
        out.push(NAN);
        return;
    }
    if float.is_infinite() {
        out.push(if float < 0.0 { MINUS_INFINITY } else { INFINITY });
        return;
    }
    let bits = float.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let (exponent, mantissa) = match (bits >> 52 & 0x7ff) as i64 {
        0 => {
            let zeros = fraction.leading_zeros();
            (i64::from(63 - zeros) - 1074, behind_first(fraction, zeros))
        }
        biased => (biased - 1023, fraction << 12),
    };
    put_number(out, float < 0.0, exponent, mantissa);
}

/// A number that is 1.mantissa times 2 to the exponent.
fn put_number(out: &mut Vec<u8>, is_negative: bool, exponent: i64, mut mantissa: u64) {
    let start = begin_number(out, is_negative, exponent);
    loop {
        let bits = (mantissa >> 57) as u8;
        mantissa <<= 7;
        out.push(bits << 1 | u8::from(mantissa != 0));
        if mantissa == 0 {
            break;
        }
    }
    end_number(out, is_negative, start);
}

fn begin_number(out: &mut Vec<u8>, is_negative: bool, exponent: i64) -> usize {
    out.push(if is_negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    match u64::try_from(exponent) {
        Ok(large @ FIRST_LARGE..) => {
            out.push(LARGE);
            out.extend_from_slice(&large.to_be_bytes());
        }
        Ok(usual) => out.push(USUAL + usual as u8),
        Err(_) => {
            out.push(SMALL);
            out.extend_from_slice(&((exponent + 0x8000) as u16).to_be_bytes());
        }
    }
    start
}

/// The greater a negative number's magnitude, the less it is.
fn end_number(out: &mut [u8], is_negative: bool, start: usize) {
    if is_negative {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
}

fn put_int(out: &mut Vec<u8>, int: &Bound<'_, PyInt>) -> PyResult<()> {
    if let Ok(small) = int.extract::<i64>() {
        put_small_int(out, small);
        return Ok(());
    }
    let is_negative = int.lt(0)?;
    let magnitude = int.call_method0("__abs__")?;
    let bits: usize = magnitude.call_method0("bit_length")?.extract()?;
    if bits as u64 > LARGEST {
        let message = format!("an int of {bits} bits is too large for a key: the limit is {LARGEST}");
        return Err(raise(int.py(), "KeyFormError", (message,)));
    }
    let bytes = magnitude.call_method1("to_bytes", (bits.div_ceil(8), "big"))?;
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    let start = begin_number(out, is_negative, bits as i64 - 1);
    // Bits are counted from the top one of the first byte. The first that is set is not written.
    let last = 8 * bytes.iter().rposition(|byte| *byte != 0).map_or(0, |place| place + 1);
    let zeros = bytes.iter().rev().find(|byte| **byte != 0).map_or(0, |byte| byte.trailing_zeros() as usize);
    let end = last - zeros;
    let bit = |place: usize| bytes.get(place / 8).is_some_and(|byte| byte >> (7 - place % 8) & 1 == 1);
    let mut place = 8 * bytes.len() - bits + 1;
    loop {
        let group = (place..place + 7).fold(0, |group, place| group << 1 | u8::from(bit(place)));
        place += 7;
        out.push(group << 1 | u8::from(place < end));
        if place >= end {
            break;
        }
    }
    end_number(out, is_negative, start);
    Ok(())
}

/// The key of a form. A whole number is an int, whatever it was: `1`, `1.0` and `True` are one key.
pub(crate) fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader { py, rest: bytes };
    let key = match reader.byte() {
        Some(STR) => return text(py, reader.rest),
        Some(BYTES) => return Ok(PyBytes::new(py, reader.rest).into_any()),
        Some(tag) => reader.read(tag, 0)?,
        None => None,
    };
    match key {
        Some(key) if reader.rest.is_empty() => Ok(key),
        _ => {
            let message = "a key is not in the ordered form: the database is another program's, or damaged";
            Err(raise(py, "DecodeError", (message,)))
        }
    }
}

fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text).into_any()),
        Err(_) => {
            let made = PyBytes::new(py, bytes).call_method1("decode", ("utf-8", "surrogatepass"));
            made.map_err(|cause| {
                let error = raise(py, "DecodeError", ("a key is not the text it says it is",));
                error.set_cause(py, Some(cause));
                error
            })
        }
    }
}

struct Reader<'a, 'py> {
    py: Python<'py>,
    rest: &'a [u8],
}

impl<'py> Reader<'_, 'py> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// What is behind a tag in a tuple, or a whole key that is no string. `None`: it is broken.
    fn read(&mut self, tag: u8, depth: u32) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py;
        let float = |float: f64| Ok(Some(PyFloat::new(py, float).into_any()));
        match tag {
            NONE => Ok(Some(py.None().into_bound(py))),
            MINUS_INFINITY => float(f64::NEG_INFINITY),
            INFINITY => float(f64::INFINITY),
            NAN => float(f64::NAN),
            ZERO => Ok(Some(0i64.into_pyobject(py)?.into_any())),
            POSITIVE => self.number(false),
            NEGATIVE => self.number(true),
            STR => self.string().map(|bytes| text(py, &bytes)).transpose(),
            BYTES => Ok(self.string().map(|bytes| PyBytes::new(py, &bytes).into_any())),
            TUPLE if depth <= DEPTH => {
                let mut items = Vec::new();
                loop {
                    match self.byte() {
                        None => return Ok(None),
                        Some(END) => return Ok(Some(PyTuple::new(py, items)?.into_any())),
                        Some(tag) => match self.read(tag, depth + 1)? {
                            Some(item) => items.push(item),
                            None => return Ok(None),
                        },
                    }
                }
            }
            _ => Ok(None),
        }
    }

    /// A string that ends before the key does.
    fn string(&mut self) -> Option<Vec<u8>> {
        let mut made = Vec::new();
        loop {
            let byte = self.byte()?;
            if byte != END {
                made.push(byte);
            } else if self.rest.first() == Some(&ESCAPED) {
                self.byte();
                made.push(END);
            } else {
                return Some(made);
            }
        }
    }

    fn number(&mut self, is_negative: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((exponent, groups)) = self.parts(is_negative) else { return Ok(None) };
        let py = self.py;
        let mut bits = 7 * groups.len() as i64;
        bits -= groups.last().map_or(0, |last| i64::from(last.trailing_zeros().min(7)));
        // The first 64 bits behind the first one.
        let mantissa = groups.iter().take(10).enumerate().fold(0u64, |mantissa, (place, group)| {
            let shift = 57 - 7 * place as i32;
            mantissa | if shift >= 0 { u64::from(*group) << shift } else { u64::from(*group) >> -shift }
        });
        if bits > exponent {
            let Ok(exponent) = i32::try_from(exponent) else { return Ok(None) };
            if bits > 52 || !(-1074..=1023).contains(&exponent) {
                return Ok(None);
            }
            let made = if exponent >= -1022 {
                ((exponent + 1023) as u64) << 52 | mantissa >> 12
            } else {
                (1 << 63 | mantissa >> 1) >> (63 - (exponent + 1074))
            };
            let made = f64::from_bits(made);
            return Ok(Some(PyFloat::new(py, if is_negative { -made } else { made }).into_any()));
        }
        if exponent < 63 {
            let magnitude = (1u64 << 63 | mantissa >> 1) >> (63 - exponent);
            let made = magnitude as i64;
            return Ok(Some((if is_negative { -made } else { made }).into_pyobject(py)?.into_any()));
        }
        Ok(Some(self.large_int(is_negative, exponent, bits, &groups)?))
    }

    fn large_int(
        &self,
        is_negative: bool,
        exponent: i64,
        bits: i64,
        groups: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        // The bits that are there, as whole bytes, and then zeros by a shift: Python does that in its own time.
        let bits = bits.max(0) as usize;
        let length = bits + 1;
        let mut bytes = vec![0u8; length.div_ceil(8)];
        let first = 8 * bytes.len() - length;
        let mut set = |place: usize| {
            if let Some(byte) = bytes.get_mut(place / 8) {
                *byte |= 1 << (7 - place % 8);
            }
        };
        set(first);
        for place in 0..bits {
            if groups.get(place / 7).is_some_and(|group| group >> (6 - place % 7) & 1 == 1) {
                set(first + 1 + place);
            }
        }
        let py = self.py;
        let options = PyDict::new(py);
        options.set_item("signed", false)?;
        let top = py.get_type::<PyInt>().call_method(
            "from_bytes",
            (PyBytes::new(py, &bytes), "big"),
            Some(&options),
        )?;
        let made = top.lshift(exponent - bits as i64)?;
        if is_negative { made.neg() } else { Ok(made) }
    }

    /// The exponent, and the mantissa in groups of 7 bits.
    fn parts(&mut self, is_negative: bool) -> Option<(i64, Vec<u8>)> {
        let flip = if is_negative { 0xff } else { 0 };
        let mut byte = || Some(self.byte()? ^ flip);
        let exponent = match byte()? {
            SMALL => (i64::from(byte()?) << 8 | i64::from(byte()?)) - 0x8000,
            LARGE => {
                let mut large = 0u64;
                for _ in 0..8 {
                    large = large << 8 | u64::from(byte()?);
                }
                i64::try_from(large).ok().filter(|_| large < LARGEST)?
            }
            usual @ USUAL.. if u64::from(usual - USUAL) < FIRST_LARGE => i64::from(usual - USUAL),
            _ => return None,
        };
        let mut groups = Vec::new();
        loop {
            let group = byte()?;
            groups.push(group >> 1);
            if group & 1 == 0 {
                return Some((exponent, groups));
            }
        }
    }
}
