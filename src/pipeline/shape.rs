//! What kind of value a type is read from, as far as serde tells without one: so that a number of one type is not taken for
//! one of another, which MessagePack would allow.
//!
//! The type is asked to read itself, and what it asks for first is noted. That depends on neither names nor compilers.
//! Fields of structs are not looked at: they are found by their names, and may be added and removed.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// What a shape is of if it is of any.
pub(crate) const ANY: u8 = 0;
/// Added to what a list is of.
const LIST: u8 = 32;
/// Newtypes and options within each other are followed so far.
const DEPTH: u8 = 16;

/// In the order of their numbers, from 1 on.
const NAMES: [&str; 18] = [
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "f32",
    "f64",
    "text",
    "unit",
    "map or struct",
    "enum",
    "list",
];

/// The shape of a type.
pub(super) fn of<T: DeserializeOwned>() -> u8 {
    let mut shape = ANY;
    // It cannot succeed but for types that read nothing.
    let _ = T::deserialize(Probe { shape: &mut shape, base: 0, depth: 0 });
    shape
}

/// Returns whether a value of one shape may be read as one of the other.
pub(crate) fn is_readable(stored: u8, asked: u8) -> bool {
    let (stored_in_list, asked_in_list) = (stored >= LIST, asked >= LIST);
    stored == asked
        || stored == ANY
        || asked == ANY
        || (stored_in_list && asked_in_list && (stored == LIST || asked == LIST))
}

/// As an error shows it.
pub(crate) fn named(shape: u8) -> String {
    let name = |of: u8| NAMES.get(usize::from(of).wrapping_sub(1)).copied();
    match shape {
        ANY => "any".into(),
        LIST => "list".into(),
        in_list if in_list > LIST => format!("list of {}", name(in_list - LIST).unwrap_or("unknown")),
        alone => name(alone).unwrap_or("unknown").into(),
    }
}

struct Probe<'s> {
    shape: &'s mut u8,
    base: u8,
    depth: u8,
}

/// That the probe has seen enough.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value to read")
    }
}

impl std::error::Error for Enough {}

impl serde::de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Enough {
        Enough
    }
}

impl<'s> Probe<'s> {
    fn is<T>(self, of: u8) -> Result<T, Enough> {
        *self.shape = self.base + of;
        Err(Enough)
    }

    fn within(self) -> Result<Probe<'s>, Enough> {
        match self.depth {
            DEPTH.. => Err(Enough),
            depth => Ok(Probe { depth: depth + 1, ..self }),
        }
    }
}

macro_rules! noted {
    ($($method:ident: $of:expr,)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
            self.is($of)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Enough;

    noted! {
        deserialize_any: ANY, deserialize_identifier: ANY, deserialize_ignored_any: ANY,
        deserialize_bool: 1,
        deserialize_i8: 2, deserialize_i16: 3, deserialize_i32: 4, deserialize_i64: 5, deserialize_i128: 6,
        deserialize_u8: 7, deserialize_u16: 8, deserialize_u32: 9, deserialize_u64: 10, deserialize_u128: 11,
        deserialize_f32: 12, deserialize_f64: 13,
        deserialize_char: 14, deserialize_str: 14, deserialize_string: 14,
        deserialize_unit: 15, deserialize_map: 16,
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        // As a list of `u8`, which a `Vec<u8>` is for serde.
        let of = if self.base == 0 { LIST + 7 } else { 18 };
        self.is(of)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Enough> {
        self.is(15)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        self.is(16)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        self.is(17)
    }

    /// `Some` is written as what it has.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        visitor.visit_some(self.within()?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        visitor.visit_newtype_struct(self.within()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        if self.base != 0 {
            return self.is(18);
        }
        *self.shape = LIST;
        visitor.visit_seq(Probe { base: LIST, ..self.within()? })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Enough> {
        let of = if self.base == 0 { LIST } else { 18 };
        self.is(of)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.deserialize_tuple(len, visitor)
    }
}

/// A list of one thing, which is not there.
impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Enough;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Enough> {
        seed.deserialize(Probe { shape: self.shape, base: self.base, depth: self.depth }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Meters(#[expect(dead_code)] f64);

    #[derive(Deserialize)]
    struct Point {
        #[expect(dead_code)]
        x: f32,
    }

    #[derive(Deserialize)]
    enum Colour {
        Red,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        #[expect(dead_code)]
        Number(u32),
    }

    #[derive(Deserialize)]
    struct Endless(#[expect(dead_code)] Option<Box<Endless>>);

    #[test]
    fn types_have_the_shape_of_what_they_are_read_from() {
        let shapes = [
            (of::<u32>(), "u32"),
            (of::<Option<u32>>(), "u32"),
            (of::<i64>(), "i64"),
            (of::<Meters>(), "f64"),
            (of::<Box<str>>(), "text"),
            (of::<()>(), "unit"),
            (of::<Point>(), "map or struct"),
            (of::<BTreeMap<String, u32>>(), "map or struct"),
            (of::<Colour>(), "enum"),
            (of::<Either>(), "any"),
            (of::<serde_json::Value>(), "any"),
            (of::<Vec<f32>>(), "list of f32"),
            (of::<HashSet<String>>(), "list of text"),
            (of::<Vec<Vec<f32>>>(), "list of list"),
            (of::<(u32, String)>(), "list"),
            (of::<[f32; 3]>(), "list"),
            (of::<Vec<u8>>(), "list of u8"),
            (of::<Endless>(), "any"),
        ];
        for (shape, name) in shapes {
            assert_eq!(named(shape), name);
            assert!(shape < 128);
        }
        assert!(matches!(Colour::Red, Colour::Red));
    }

    #[test]
    fn a_shape_is_read_as_itself_and_as_any() {
        assert!(is_readable(of::<u32>(), of::<Option<u32>>()));
        assert!(!is_readable(of::<u32>(), of::<i64>()) && !is_readable(of::<u32>(), of::<f64>()));
        assert!(
            !is_readable(of::<Vec<u32>>(), of::<Vec<f64>>()) && !is_readable(of::<u32>(), of::<Vec<u32>>())
        );
        assert!(is_readable(of::<Vec<f32>>(), of::<[f32; 3]>()));
        assert!(is_readable(ANY, of::<u32>()) && is_readable(of::<u32>(), ANY));
    }
}
