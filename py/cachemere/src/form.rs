//! The safe binary form of plain data. Reading it builds objects of a closed set of types and runs no code of anybody's.
//!
//! One byte says what follows; numbers are little-endian, lengths are LEB128. Canonical keys
//! (see [`crate::keys`]) are written and read with the same pieces.

use std::sync::MutexGuard;

use pyo3::PyTypeInfo;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple, PyType,
};

use crate::collisions::{Hashes, Key, Spent};
use crate::errors::{is_unhashable, name_of, raise};
use crate::names::{Name, Table};
use crate::policy::Policy;
use crate::turns::met_container;
use crate::weights;

pub(crate) const NONE: u8 = b'N';
pub(crate) const FALSE: u8 = b'0';
pub(crate) const TRUE: u8 = b'1';
pub(crate) const INT: u8 = b'i';
pub(crate) const BIG: u8 = b'I';
pub(crate) const FLOAT: u8 = b'f';
const COMPLEX: u8 = b'c';
pub(crate) const STR: u8 = b's';
/// With lone surrogates, which UTF-8 does not have.
const SURROGATES: u8 = b'S';
pub(crate) const BYTES: u8 = b'b';
const BYTEARRAY: u8 = b'B';
pub(crate) const LIST: u8 = b'l';
pub(crate) const TUPLE: u8 = b't';
pub(crate) const DICT: u8 = b'd';
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
    /// Too many keys of a dict or set in it have the same hash.
    Collisions,
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
    put(policy, object, out, &mut Spent::default(), 0)
}

fn put(
    policy: &Policy,
    object: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    spent: &mut Spent,
    depth: u32,
) -> Result<(), Refused> {
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
        met_container(object.py());
        out.push(DICT);
        put_length(out, dict.len());
        let mut hashes = Hashes::with_capacity(dict.len());
        for (key, value) in dict.iter() {
            put_key(policy, &key, out, spent, &mut hashes, depth)?;
            put(policy, &value, out, spent, depth + 1)?;
        }
    } else if let Ok(list) = object.cast_exact::<PyList>() {
        put_items(policy, LIST, &list.to_tuple(), out, spent, depth)?;
    } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        put_items(policy, TUPLE, tuple, out, spent, depth)?;
    } else if let Ok(bytes) = object.cast_exact::<PyByteArray>() {
        put_bytes(out, BYTEARRAY, &bytes.to_vec());
    } else if object.is_exact_instance_of::<PySet>() || object.is_exact_instance_of::<PyFrozenSet>() {
        let tag = if object.is_exact_instance_of::<PySet>() { SET } else { FROZENSET };
        let items = object.py().get_type::<PyTuple>().call1((object,))?;
        put_items(policy, tag, items.cast::<PyTuple>().map_err(PyErr::from)?, out, spent, depth)?;
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
            let module: String = kind.module()?.extract()?;
            return Err(Refused::Type(format!("{module}.{}", name_of(&kind)?)));
        }
        let (name, plain): (String, Bound<'_, PyAny>) = packed.extract()?;
        put_bytes(out, NAMED, name.as_bytes());
        met_named(spent, name.as_bytes());
        match plain.cast_exact::<PyList>() {
            Ok(pairs) if name == ORDERED && pairs.iter().all(|pair| is_pair(&pair)) => {
                put_pairs(policy, pairs, out, spent, depth + 1)?
            }
            _ => put(policy, &plain, out, spent, depth + 1)?,
        }
    }
    Ok(())
}

/// The name of an `OrderedDict`, whose plain data is a list of pairs: another place where keys are.
const ORDERED: &str = "ordereddict";

fn met_named(spent: &mut Spent, name: &[u8]) {
    spent.has_calls = true;
    spent.has_decimals |= name == b"decimal";
}

fn is_pair(it: &Bound<'_, PyAny>) -> bool {
    it.cast_exact::<PyTuple>().is_ok_and(|tuple| tuple.len() == 2)
}

fn put_pairs(
    policy: &Policy,
    pairs: &Bound<'_, PyList>,
    out: &mut Vec<u8>,
    spent: &mut Spent,
    depth: u32,
) -> Result<(), Refused> {
    if depth + 1 > DEPTH {
        return Err(Refused::Depth);
    }
    out.push(LIST);
    put_length(out, pairs.len());
    let mut hashes = Hashes::with_capacity(pairs.len());
    for pair in pairs.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        out.push(TUPLE);
        put_length(out, 2);
        put_key(policy, &key, out, spent, &mut hashes, depth + 1)?;
        put(policy, &value, out, spent, depth + 2)?;
    }
    Ok(())
}

/// Writes a key of a dict or an item of a set.
fn put_key(
    policy: &Policy,
    key: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    spent: &mut Spent,
    hashes: &mut Hashes,
    depth: u32,
) -> Result<(), Refused> {
    let (start, before) = (out.len(), spent.nanos);
    put(policy, key, out, spent, depth + 1)?;
    let collides = out.get(start).is_some_and(|tag| can_collide(*tag));
    if collides {
        let bytes = (out.len() - start) as u64;
        let key = Key { hash: key.hash()?, bytes, inside: spent.nanos - before };
        if !hashes.note(key, spent) {
            return Err(Refused::Collisions);
        }
    }
    Ok(())
}

/// Whether somebody can make many keys with this tag that have the same hash: those of text and bytes are secret.
fn can_collide(tag: u8) -> bool {
    !matches!(tag, STR | SURROGATES | BYTES | NONE | TRUE | FALSE)
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
    spent: &mut Spent,
    depth: u32,
) -> Result<(), Refused> {
    met_container(items.py());
    out.push(tag);
    put_length(out, items.len());
    let is_set = matches!(tag, SET | FROZENSET);
    let mut hashes = Hashes::with_capacity(if is_set { items.len() } else { 0 });
    for item in items.iter_borrowed() {
        if is_set {
            put_key(policy, &item, out, spent, &mut hashes, depth)?;
        } else {
            put(policy, &item, out, spent, depth + 1)?;
        }
    }
    Ok(())
}

/// Reads the safe form.
///
/// What its steps return is `None` when the bytes are not what they should be, or when Python failed, whose error is then
/// in `failed`: so that what is read goes from step to step in a register.
pub(crate) struct Decoder<'a, 'py> {
    pub(crate) py: Python<'py>,
    policy: &'a Policy,
    rest: &'a [u8],
    depth: u32,
    /// Items that were announced and are still to come. Each takes a byte at least.
    owed: usize,
    failed: Option<PyErr>,
    names: Option<MutexGuard<'a, Table>>,
    spent: Spent,
    /// Bytes that the objects take in memory, as far as they are plain.
    pub(crate) weight: u64,
    /// Whether a list, dict, set or bytearray was met.
    pub(crate) has_containers: bool,
    /// Whether an object was met that only Python code can copy.
    pub(crate) has_named: bool,
}

pub(crate) fn broken(py: Python<'_>) -> PyErr {
    raise(py, "DecodeError", ("the stored bytes are not those of a key or value; remove the entry",))
}

impl<'a, 'py> Decoder<'a, 'py> {
    pub(crate) fn new(py: Python<'py>, policy: &'a Policy, bytes: &'a [u8]) -> Decoder<'a, 'py> {
        Decoder {
            py,
            policy,
            rest: bytes,
            depth: 0,
            owed: 0,
            failed: None,
            names: policy.names.lend(),
            spent: Spent::default(),
            weight: 0,
            has_containers: false,
            has_named: false,
        }
    }

    /// Reads a value; more can follow it.
    pub(crate) fn value(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let read = self.read();
        self.told(read)
    }

    /// What a step returned, or why it failed.
    pub(crate) fn told<T>(&mut self, read: Option<T>) -> PyResult<T> {
        read.ok_or_else(|| self.failed.take().unwrap_or_else(|| broken(self.py)))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Notes Python's error.
    pub(crate) fn kept<T>(&mut self, result: PyResult<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    #[inline]
    fn length(&mut self) -> Option<usize> {
        match self.byte()? {
            short @ ..0x80 => Some(usize::from(short)),
            first => self.long_length(first),
        }
    }

    fn long_length(&mut self, first: u8) -> Option<usize> {
        let (mut length, mut shift) = (usize::from(first & 0x7f), 7);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return Some(length);
            }
            if shift > 56 {
                return None;
            }
        }
    }

    #[inline]
    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// The number of items that follow. All that were announced must be able to, so that no more room is made for items
    /// than there are bytes, however they are nested.
    fn count(&mut self) -> Option<usize> {
        let count = self.length()?;
        self.owed = self.owed.checked_add(count)?;
        (self.owed <= self.rest.len()).then_some(count)
    }

    /// Reads an item that was announced.
    #[inline]
    fn item<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.owed -= 1;
        read(self)
    }

    /// Reads what [`put_scalar`] and the keys' own floats wrote.
    #[inline]
    pub(crate) fn scalar(&mut self, tag: u8) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        Some(match tag {
            STR => {
                let bytes = self.counted()?;
                self.weight += weights::text(bytes);
                self.text(PyString::from_bytes(py, bytes))?
            }
            NONE => py.None().into_bound(py),
            INT => self.int()?,
            FLOAT => {
                self.weight += weights::FLOAT;
                PyFloat::new(py, f64::from_le_bytes(self.array()?)).into_any()
            }
            BYTES => {
                let bytes = self.counted()?;
                self.weight += weights::bytes(bytes.len());
                PyBytes::new(py, bytes).into_any()
            }
            BIG => {
                let bytes = self.counted()?;
                self.weight += weights::big_int(bytes.len());
                self.kept(big_int(py, bytes))?
            }
            SURROGATES => {
                let bytes = self.counted()?;
                self.weight += weights::text(bytes);
                let bytes = PyBytes::new(py, bytes);
                let made = bytes.call_method1("decode", ("utf-8", "surrogatepass"));
                self.unless::<PyUnicodeDecodeError, _>(made)?
            }
            _ => return None,
        })
    }

    fn int(&mut self) -> Option<Bound<'py, PyAny>> {
        let int = i64::from_le_bytes(self.array()?);
        self.weight += weights::int(int);
        let Ok(int) = int.into_pyobject(self.py);
        Some(int.into_any())
    }

    /// What was made of the bytes; an error of type `E` says that they are not what they should be.
    fn unless<E: PyTypeInfo, T>(&mut self, made: PyResult<T>) -> Option<T> {
        match made {
            Err(error) if error.is_instance_of::<E>(self.py) => None,
            made => self.kept(made),
        }
    }

    /// What was made of keys, which the bytes of one that cannot be a key are not.
    fn unless_unhashable<T>(&mut self, made: PyResult<T>) -> Option<T> {
        match made {
            Err(error) if is_unhashable(self.py, &error) => None,
            made => self.kept(made),
        }
    }

    fn text(&mut self, made: PyResult<Bound<'py, PyString>>) -> Option<Bound<'py, PyAny>> {
        self.unless::<PyUnicodeDecodeError, _>(made).map(Bound::into_any)
    }

    /// Reads a key of a dict: most are names that come again with the next value.
    fn name(&mut self) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        match self.byte()? {
            STR => {
                let bytes = self.counted()?;
                let made = match &mut self.names {
                    Some(names) => names.get(py, bytes),
                    None => PyString::from_bytes(py, bytes).map(Name::Made),
                };
                let made = made.map(|name| match name {
                    Name::Known(text) => text,
                    Name::Made(text) => {
                        self.weight += weights::text(bytes);
                        text
                    }
                });
                self.text(made)
            }
            tag => self.tagged(tag),
        }
    }

    fn read(&mut self) -> Option<Bound<'py, PyAny>> {
        let tag = self.byte()?;
        self.tagged(tag)
    }

    /// Reads what follows a tag.
    fn tagged(&mut self, tag: u8) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        Some(match tag {
            FALSE => PyBool::new(py, false).to_owned().into_any(),
            TRUE => PyBool::new(py, true).to_owned().into_any(),
            DICT => {
                self.has_containers = true;
                let count = self.count()?;
                // Of a key and of a value.
                self.owed += count;
                self.nested(|inner| {
                    let dict = PyDict::new(inner.py);
                    let (mut hashes, mut has_names_only) = (Hashes::with_capacity(count), true);
                    for _ in 0..count {
                        has_names_only &= inner.rest.first() == Some(&STR);
                        let key = inner.item(|inner| inner.key(&mut hashes, Decoder::name))?;
                        let value = inner.item(Decoder::read)?;
                        let done = dict.set_item(key, value);
                        inner.unless_unhashable(done)?;
                    }
                    inner.weight += weights::dict(count, has_names_only);
                    Some(dict.into_any())
                })?
            }
            LIST => {
                self.has_containers = true;
                let count = self.count()?;
                self.weight += weights::list(count);
                self.nested(|inner| inner.list(count))?
            }
            TUPLE => {
                let items = self.items(Decoder::read)?;
                self.weight += weights::tuple(items.len());
                self.kept(PyTuple::new(py, items))?.into_any()
            }
            COMPLEX => {
                let (real, imaginary) = (self.array()?, self.array()?);
                self.weight += weights::COMPLEX;
                PyComplex::from_doubles(py, f64::from_le_bytes(real), f64::from_le_bytes(imaginary))
                    .into_any()
            }
            BYTEARRAY => {
                self.has_containers = true;
                let bytes = self.counted()?;
                self.weight += weights::bytearray(bytes.len());
                PyByteArray::new(py, bytes).into_any()
            }
            SET => {
                self.has_containers = true;
                let items = self.members(Decoder::read)?;
                self.unless_unhashable(PySet::new(py, items))?.into_any()
            }
            FROZENSET => {
                let items = self.members(Decoder::read)?;
                self.unless_unhashable(PyFrozenSet::new(py, items))?.into_any()
            }
            NAMED => {
                self.has_named = true;
                let name = std::str::from_utf8(self.counted()?).ok()?;
                met_named(&mut self.spent, name.as_bytes());
                let plain = self.nested(|inner| match (name, inner.rest.first()) {
                    (ORDERED, Some(&LIST)) => inner.pairs(),
                    _ => inner.read(),
                })?;
                self.kept(self.policy.unpack.bind(py).call1((name, plain)))?
            }
            scalar => return self.scalar(scalar),
        })
    }

    /// Reads the items of a list, each straight into its place.
    fn list(&mut self, count: usize) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        let mut is_whole = true;
        let items = (0..count).map(|_| {
            let item = if is_whole { self.item(Decoder::read) } else { None };
            is_whole = item.is_some();
            item.unwrap_or_else(|| py.None().into_bound(py))
        });
        let list = PyList::new(py, items);
        let list = if is_whole { self.kept(list)? } else { return None };
        Some(list.into_any())
    }

    /// Reads as many items as are announced, each with `read`.
    pub(crate) fn items(
        &mut self,
        read: impl Fn(&mut Self) -> Option<Bound<'py, PyAny>>,
    ) -> Option<Vec<Bound<'py, PyAny>>> {
        let count = self.count()?;
        self.nested(|inner| (0..count).map(|_| inner.item(&read)).collect())
    }

    /// Reads the items of a set.
    pub(crate) fn members(
        &mut self,
        read: impl Fn(&mut Self) -> Option<Bound<'py, PyAny>>,
    ) -> Option<Vec<Bound<'py, PyAny>>> {
        let count = self.count()?;
        self.weight += weights::set(count);
        let mut hashes = Hashes::with_capacity(count);
        self.nested(|inner| (0..count).map(|_| inner.item(|inner| inner.key(&mut hashes, &read))).collect())
    }

    /// Reads the list of pairs of an `OrderedDict`.
    fn pairs(&mut self) -> Option<Bound<'py, PyAny>> {
        self.byte()?;
        let count = self.count()?;
        let mut hashes = Hashes::with_capacity(count);
        let pairs = self.nested(|inner| {
            (0..count).map(|_| inner.item(|inner| inner.pair(&mut hashes))).collect::<Option<Vec<_>>>()
        })?;
        let pairs = PyList::new(self.py, pairs);
        Some(self.kept(pairs)?.into_any())
    }

    fn pair(&mut self, hashes: &mut Hashes) -> Option<Bound<'py, PyAny>> {
        let Some(rest) = self.rest.strip_prefix(&[TUPLE, 2]) else { return self.read() };
        self.rest = rest;
        let pair = self.nested(|inner| {
            let key = inner.key(hashes, Decoder::read)?;
            Some((key, inner.read()?))
        })?;
        let pair = pair.into_pyobject(self.py);
        Some(self.kept(pair)?.into_any())
    }

    /// Reads what goes into a dict or set as a key.
    fn key(
        &mut self,
        hashes: &mut Hashes,
        read: impl FnOnce(&mut Self) -> Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        let (tag, start, before) = (*self.rest.first()?, self.rest.len(), self.spent.nanos);
        let key = read(self)?;
        if can_collide(tag) {
            let bytes = (start - self.rest.len()) as u64;
            let hash = self.unless_unhashable(key.hash())?;
            let noted = Key { hash, bytes, inside: self.spent.nanos - before };
            if !hashes.note(noted, &mut self.spent) {
                let message = "too many keys of a dict or set in the stored bytes have the same hash, as if to \
                               take long to read; remove the entry";
                self.failed = Some(raise(self.py, "DecodeError", (message,)));
                return None;
            }
        }
        Some(key)
    }

    #[inline]
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth > DEPTH {
            return None;
        }
        self.depth += 1;
        met_container(self.py);
        let done = read(self);
        self.depth -= 1;
        done
    }
}
