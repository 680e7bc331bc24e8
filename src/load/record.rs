//! A record as it was found in a file, and how it becomes the bytes that are loaded.

use std::borrow::Cow;

use super::format::NumberType;
use crate::error::Error;

/// A record of a file, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The key.
    pub key: Field<'a>,
    /// The value.
    pub value: Field<'a>,
}

/// A key or value as it stands in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field<'a> {
    /// Bytes without a type, of formats that have none.
    Bytes(&'a [u8]),
    /// Valid JSON, of formats that are JSON.
    Json(&'a str),
    /// A whole line, which is valid JSON, and which is wanted as it stands.
    Line(&'a str),
}

/// Why a record is not loaded.
#[derive(Debug)]
pub enum Refusal {
    /// The record is bad: it ends the load, or is skipped.
    Record(Cow<'static, str>),
    /// Something else is wrong, which ends the load whatever is done about bad records.
    Load(Error),
}

/// The key and the value of a record, or why it has none.
pub type Made<K, V> = Result<(K, V), Refusal>;

impl Refusal {
    /// The record is bad, for this reason.
    #[must_use]
    pub fn record(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::Record(reason.into())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Load(error)
    }
}

impl<'a> Field<'a> {
    /// The text: of a string of JSON what it means, of bytes what they are in UTF-8, of a line itself.
    ///
    /// # Errors
    ///
    /// It is other JSON than a string, or not UTF-8.
    pub fn text(self) -> Result<Cow<'a, str>, Refusal> {
        match self {
            Field::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(_) => Err(Refusal::record("it is not UTF-8")),
            },
            Field::Line(line) => Ok(Cow::Borrowed(line)),
            Field::Json(json) => {
                string(json).ok_or_else(|| Refusal::record(format!("{} is not a string", shown(json))))
            }
        }
    }

    /// The bytes as they stand in the file.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Json(text) | Field::Line(text) => text.as_bytes(),
        }
    }
}

/// What a string of JSON means; `None` if it is no string.
fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// A piece of a file for a message: short, and in one line.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let is_long = text.chars().nth(MOST).is_some();
    let start = text.chars().take(MOST).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    start.chain(is_long.then_some("...").into_iter().flat_map(str::chars)).collect()
}

/// The key and the value that a record becomes. Both are empty when they are handed out.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Encoded {
    /// By this the records are sorted, byte by byte, and told to be the same.
    pub key: Vec<u8>,
    /// What is written with it.
    pub value: Vec<u8>,
}

/// How a record becomes the key and the value that are sorted and written. Several threads use it at once.
///
/// Closures are encoders:
///
/// ```
/// use cachemere::load::{Encode, Encoded, Field, Record};
///
/// let upper = |record: &Record<'_>, out: &mut Encoded| {
///     out.key.extend(record.key.text()?.to_uppercase().bytes());
///     out.value.extend_from_slice(record.value.raw());
///     Ok(())
/// };
/// let mut out = Encoded::default();
/// upper.encode(&Record { key: Field::Json("\"a\""), value: Field::Bytes(b"1") }, &mut out).unwrap();
/// assert_eq!(out.key, b"A");
/// ```
pub trait Encode: Sync {
    /// Appends to `out`.
    ///
    /// # Errors
    ///
    /// The record is bad, or the load cannot go on.
    fn encode(&self, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal>;
}

impl<F> Encode for F
where
    F: Fn(&Record<'_>, &mut Encoded) -> Result<(), Refusal> + Sync,
{
    fn encode(&self, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        self(record, out)
    }
}

/// Takes bytes and whole lines as they are, and JSON as follows.
///
/// Strings as their UTF-8, `true` and `false` as a byte 1 or 0, `null` as nothing, numbers in the
/// [`number_type`](super::Format::number_type), lists and objects as JSON without white space. As keys, strings and
/// integers only: those as 8 bytes, little endian.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RawBytes {
    /// The type for numbers; without, a number is a bad record.
    pub number_type: Option<NumberType>,
}

impl Encode for RawBytes {
    fn encode(&self, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        match record.key {
            Field::Bytes(_) | Field::Line(_) => out.key.extend_from_slice(record.key.raw()),
            Field::Json(json) => match (string(json), serde_json::from_str::<i64>(json)) {
                (Some(text), _) => out.key.extend_from_slice(text.as_bytes()),
                (None, Ok(number)) => out.key.extend_from_slice(&number.to_le_bytes()),
                _ => {
                    let reason =
                        format!("the key {} is neither a string nor an integer of 64 bits", shown(json));
                    return Err(Refusal::record(reason));
                }
            },
        }
        match record.value {
            Field::Bytes(_) | Field::Line(_) => out.value.extend_from_slice(record.value.raw()),
            Field::Json(json) => self.value(json, &mut out.value)?,
        }
        Ok(())
    }
}

impl RawBytes {
    fn value(self, json: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match json.as_bytes().first() {
            Some(b'"') => {
                let text = string(json).ok_or_else(|| Refusal::record("the value is no valid string"))?;
                out.extend_from_slice(text.as_bytes());
            }
            Some(b't') => out.push(1),
            Some(b'f') => out.push(0),
            Some(b'n') => {}
            Some(b'{' | b'[') => compact(json, out),
            _ => self.number(json, out)?,
        }
        Ok(())
    }

    fn number(self, json: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Some(number_type) = self.number_type else {
            let reason = format!("the value {} is a number: give a number_type to keep it in", shown(json));
            return Err(Refusal::record(reason));
        };
        fn read<'a, T: serde::Deserialize<'a>>(json: &'a str, kind: &str) -> Result<T, Refusal> {
            let refused = |_| Refusal::record(format!("the number {} is no {kind}", shown(json)));
            serde_json::from_str(json).map_err(refused)
        }
        match number_type {
            NumberType::F32 => {
                let number = read::<f64>(json, "f32")? as f32;
                if !number.is_finite() {
                    return Err(Refusal::record(format!("the number {} is no f32", shown(json))));
                }
                out.extend_from_slice(&number.to_le_bytes());
            }
            NumberType::F64 => out.extend_from_slice(&read::<f64>(json, "f64")?.to_le_bytes()),
            NumberType::I32 => out.extend_from_slice(&read::<i32>(json, "i32")?.to_le_bytes()),
            NumberType::I64 => out.extend_from_slice(&read::<i64>(json, "i64")?.to_le_bytes()),
            NumberType::U32 => out.extend_from_slice(&read::<u32>(json, "u32")?.to_le_bytes()),
            NumberType::U64 => out.extend_from_slice(&read::<u64>(json, "u64")?.to_le_bytes()),
        }
        Ok(())
    }
}

/// JSON without the white space between its parts.
fn compact(json: &str, out: &mut Vec<u8>) {
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\t' | b'\n' | b'\r' if !quoted => continue,
            _ => {}
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(number_type: Option<NumberType>, key: Field<'_>, value: Field<'_>) -> Result<Encoded, String> {
        let mut out = Encoded::default();
        match (RawBytes { number_type }).encode(&Record { key, value }, &mut out) {
            Ok(()) => Ok(out),
            Err(Refusal::Record(reason)) => Err(reason.into_owned()),
            Err(Refusal::Load(error)) => panic!("{error}"),
        }
    }

    fn value(number_type: Option<NumberType>, json: &str) -> Result<Vec<u8>, String> {
        encoded(number_type, Field::Bytes(b"k"), Field::Json(json)).map(|out| out.value)
    }

    #[test]
    fn json_becomes_the_bytes_of_what_it_means() {
        assert_eq!(value(None, r#""a\"\u00e9""#).unwrap(), "a\"é".as_bytes());
        assert_eq!(value(None, "true").unwrap(), [1]);
        assert_eq!(value(None, "false").unwrap(), [0]);
        assert_eq!(value(None, "null").unwrap(), b"");
        assert_eq!(value(None, r#"{ "a b" : [1, "\" x"] }"#).unwrap(), br#"{"a b":[1,"\" x"]}"#);
        assert_eq!(value(Some(NumberType::I32), "-5").unwrap(), (-5i32).to_le_bytes());
        assert_eq!(value(Some(NumberType::U64), "18446744073709551615").unwrap(), u64::MAX.to_le_bytes());
        assert_eq!(value(Some(NumberType::F32), "1").unwrap(), 1f32.to_le_bytes());
        assert_eq!(value(Some(NumberType::F64), "1e-3").unwrap(), 1e-3f64.to_le_bytes());
    }

    #[test]
    fn numbers_out_of_range_or_without_a_type_are_bad_records() {
        assert!(value(None, "1").unwrap_err().contains("number_type"));
        for (number_type, json) in [
            (NumberType::I32, "2147483648"),
            (NumberType::U32, "-1"),
            (NumberType::U64, "-1"),
            (NumberType::I64, "1.5"),
            (NumberType::I64, "9223372036854775808"),
            (NumberType::F32, "1e300"),
        ] {
            assert!(value(Some(number_type), json).unwrap_err().contains(json), "{number_type:?} {json}");
        }
    }

    #[test]
    fn keys_are_strings_or_integers() {
        let key = |json| encoded(None, Field::Json(json), Field::Bytes(b"")).map(|out| out.key);
        assert_eq!(key(r#""a""#).unwrap(), b"a");
        assert_eq!(key("-2").unwrap(), (-2i64).to_le_bytes());
        for bad in ["1.5", "null", "[1]", "99999999999999999999"] {
            assert!(key(bad).unwrap_err().contains(bad));
        }
    }
}
