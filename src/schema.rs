//! What is said of a value beside it, so that what another version of a program wrote is not taken for what it is not.
//!
//! An entry's tag has the shape of its type, and whether a schema stands before the value.

use crate::error::{BoxError, Error, Result};
use crate::pipeline::shape;

/// No value in MessagePack begins with this, so that versions which know of no schemas refuse one.
const MARK: u8 = 0xc1;
/// In a tag: a schema stands before the value. What is left of it is the value's shape.
const HAS_SCHEMA: u8 = 0x80;

/// What is done about an entry whose value cannot be decoded: it is of another type or [schema](crate::Builder::schema).
///
/// Unless one is chosen, loads (`get_or_insert_with`), [`get_many`](crate::Cache::get_many) and
/// [`pop_oldest`](crate::Cache::pop_oldest) take it for [`Miss`](Self::Miss), all others for [`Error`](Self::Error).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Undecodable {
    /// It is as if there were none: it is passed over, and stays until something is written in its place.
    Miss,
    /// It is [`Error::Deserialize`].
    Error,
}

/// What a handle says of the values it writes, and asks of those it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    text: Option<Box<str>>,
    shape: u8,
}

impl Schema {
    /// Of values that a codec says are of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is empty or too long.
    pub(crate) fn new(text: Option<String>, shape: u8) -> Result<Schema> {
        if let Some(text) = &text
            && !(1..=255).contains(&text.len())
        {
            return Err(Error::invalid("schema", "it must have 1 to 255 bytes"));
        }
        Ok(Schema { text: text.map(String::into_boxed_str), shape: shape & !HAS_SCHEMA })
    }

    /// The tag of entries that are written.
    pub(crate) fn tag(&self) -> u8 {
        self.shape | if self.text.is_some() { HAS_SCHEMA } else { 0 }
    }

    /// Writes what stands before a value.
    pub(crate) fn begin(&self, payload: &mut Vec<u8>) {
        if let Some(text) = &self.text {
            payload.extend_from_slice(&[MARK, text.len() as u8]);
            payload.extend_from_slice(text.as_bytes());
        }
    }

    /// The value's own bytes.
    ///
    /// # Errors
    ///
    /// If it is of another schema or shape than this.
    pub(crate) fn value_in<'p>(&self, payload: &'p [u8], tag: u8) -> Result<&'p [u8], BoxError> {
        let (stored, value) = match payload {
            payload if tag & HAS_SCHEMA == 0 => (None, payload),
            [MARK, len, rest @ ..] => {
                let parts = rest.split_at_checked(usize::from(*len));
                let (text, value) = parts.ok_or("what should be its schema is cut off")?;
                (Some(text), value)
            }
            _ => return Err("what should be its schema is none".into()),
        };
        if let Some(text) = self.text.as_deref()
            && stored != Some(text.as_bytes())
        {
            let stored = stored.map(String::from_utf8_lossy);
            let stored = stored.map_or_else(|| "no schema".into(), |stored| format!("the schema {stored:?}"));
            return Err(format!("it was written with {stored}, and {text:?} is asked for").into());
        }
        let shape = tag & !HAS_SCHEMA;
        if !shape::is_readable(shape, self.shape) {
            let (stored, asked) = (shape::named(shape), shape::named(self.shape));
            return Err(format!("it was written as {stored}, and {asked} is asked for").into());
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Schema {
        Schema::new(Some(text.to_owned()), 9).unwrap()
    }

    #[test]
    fn a_value_is_found_behind_its_schema_and_by_no_other() {
        let (old, new) = (schema("answer/2"), schema("answer/3"));
        let mut payload = Vec::new();
        old.begin(&mut payload);
        payload.extend_from_slice(b"value");
        assert_eq!(old.value_in(&payload, old.tag()).unwrap(), b"value");
        // Who asks for none takes any.
        let none = Schema::new(None, 9).unwrap();
        assert_eq!(none.value_in(&payload, old.tag()).unwrap(), b"value");
        let refused = new.value_in(&payload, old.tag()).unwrap_err().to_string();
        assert!(refused.contains("\"answer/2\"") && refused.contains("\"answer/3\""), "{refused}");
        let refused = new.value_in(b"value", none.tag()).unwrap_err().to_string();
        assert!(refused.contains("no schema"), "{refused}");
        for broken in [&b""[..], b"\xc1", b"\xc1\x09answer/2", b"answer"] {
            assert!(old.value_in(broken, old.tag()).is_err());
        }
    }

    #[test]
    fn a_schema_that_is_empty_or_huge_is_refused() {
        for text in [String::new(), "x".repeat(256)] {
            assert!(matches!(Schema::new(Some(text), 0), Err(Error::Invalid { .. })));
        }
        let long = schema(&"x".repeat(255));
        let mut payload = Vec::new();
        long.begin(&mut payload);
        assert_eq!(long.value_in(&payload, long.tag()).unwrap(), b"");
    }
}
