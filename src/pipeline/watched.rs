//! A serializer that looks at what passes through it on the way into another, for what could not be read back.
//!
//! Nil stands for `None` and for `()`, so that `Some` of either would come back as `None`: it is refused. What serde cannot
//! read everywhere is noted: inside of a flattened struct, and of an enum that is untagged or has its tag within, it reads
//! from a copy that knows neither numbers of 128 bits nor structs without fields, and that says of itself to be for people to
//! read, whatever was written.

use std::cell::Cell;
use std::fmt::Display;

use serde::ser::{self, Error as _, Serialize, Serializer};

/// In front of a serializer.
pub(super) struct Watched<'d, S> {
    inner: S,
    is_in_some: bool,
    /// Whether there is something that may not be readable where it is.
    doubt: &'d Cell<bool>,
}

impl<'d, S: Serializer> Watched<'d, S> {
    pub(super) fn new(inner: S, doubt: &'d Cell<bool>) -> Watched<'d, S> {
        Watched { inner, is_in_some: false, doubt }
    }

    fn part<'t, T: ?Sized>(&self, value: &'t T) -> Part<'d, 't, T> {
        Part { value, is_in_some: false, doubt: self.doubt }
    }

    fn compound<C>(doubt: &'d Cell<bool>, inner: C) -> Compound<'d, C> {
        Compound { inner, doubt }
    }

    fn check_nil(&self) -> Result<(), S::Error> {
        match self.is_in_some {
            true => Err(S::Error::custom(
                "Some(None) and Some(()) would come back as None: use an enum, or a bool in place of the inner option",
            )),
            false => Ok(()),
        }
    }
}

/// A value that is watched in its turn.
struct Part<'d, 't, T: ?Sized> {
    value: &'t T,
    is_in_some: bool,
    doubt: &'d Cell<bool>,
}

impl<T: Serialize + ?Sized> Serialize for Part<'_, '_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Watched { inner: serializer, is_in_some: self.is_in_some, doubt: self.doubt })
    }
}

macro_rules! passed_on {
    ($($method:ident: $value:ty,)*) => {
        $(#[inline]
        fn $method(self, value: $value) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

impl<'d, S: Serializer> Serializer for Watched<'d, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'d, S::SerializeSeq>;
    type SerializeTuple = Compound<'d, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'d, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'d, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'d, S::SerializeMap>;
    type SerializeStruct = Compound<'d, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'d, S::SerializeStructVariant>;

    passed_on! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64,
        serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
    }

    /// An empty list, which a copy does not give for one everywhere.
    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.doubt.set(true);
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_i128(self, value: i128) -> Result<S::Ok, S::Error> {
        self.doubt.set(true);
        self.inner.serialize_i128(value)
    }

    fn serialize_u128(self, value: u128) -> Result<S::Ok, S::Error> {
        self.doubt.set(true);
        self.inner.serialize_u128(value)
    }

    /// Asked by what has two forms.
    fn is_human_readable(&self) -> bool {
        self.doubt.set(true);
        self.inner.is_human_readable()
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.check_nil()?;
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.check_nil()?;
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let part = Part { is_in_some: true, ..self.part(value) };
        self.inner.serialize_some(&part)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        // Written as what it has.
        let part = Part { is_in_some: self.is_in_some, ..self.part(value) };
        self.inner.serialize_newtype_struct(name, &part)
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let part = self.part(value);
        self.inner.serialize_newtype_variant(name, index, variant, &part)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_seq(len)?))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_tuple(len)?))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_tuple_struct(name, len)?))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_tuple_variant(name, index, variant, len)?))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_map(len)?))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_struct(name, len)?))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        Ok(Self::compound(self.doubt, self.inner.serialize_struct_variant(name, index, variant, len)?))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }
}

/// What a list, map or struct is written into.
pub(super) struct Compound<'d, C> {
    inner: C,
    doubt: &'d Cell<bool>,
}

impl<'d, C> Compound<'d, C> {
    fn part<'t, T: ?Sized>(&self, value: &'t T) -> Part<'d, 't, T> {
        Part { value, is_in_some: false, doubt: self.doubt }
    }
}

macro_rules! list {
    ($of:ident: $method:ident) => {
        impl<C: ser::$of> ser::$of for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let part = self.part(value);
                self.inner.$method(&part)
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    };
}

list!(SerializeSeq: serialize_element);
list!(SerializeTuple: serialize_element);
list!(SerializeTupleStruct: serialize_field);
list!(SerializeTupleVariant: serialize_field);

macro_rules! fields {
    ($of:ident) => {
        impl<C: ser::$of> ser::$of for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let part = self.part(value);
                self.inner.serialize_field(key, &part)
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(key)
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    };
}

fields!(SerializeStruct);
fields!(SerializeStructVariant);

impl<C: ser::SerializeMap> ser::SerializeMap for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        let part = self.part(key);
        self.inner.serialize_key(&part)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let part = self.part(value);
        self.inner.serialize_value(&part)
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
