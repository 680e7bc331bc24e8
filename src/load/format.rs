//! How records lie in the files.

use crate::error::{Error, Result};

/// How records lie in the files of a load, all of which have the same format.
///
/// ```
/// use cachemere::load::{Format, Records};
///
/// let format = Format::new(Records::NdJson { key: "id".into(), value: None });
/// assert!(!format.is_sorted);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Format {
    /// Where key and value are in a record.
    pub records: Records,
    /// Whether the records of each file are said to be in the order of their encoded keys. That is checked, and not
    /// sorted again. It saves little: sorting takes a small part of a load.
    pub is_sorted: bool,
    /// The type in which numbers of JSON are to be kept by [`RawBytes`](super::RawBytes), which refuses numbers
    /// without.
    pub number_type: Option<NumberType>,
    /// Whether `NaN`, `Infinity` and `-Infinity`, which are no JSON, are taken for numbers, as Python writes and reads them.
    /// What makes the entries must know them then.
    pub non_finite: bool,
}

impl Format {
    /// Records that are not sorted.
    #[must_use]
    pub fn new(records: Records) -> Format {
        Format { records, is_sorted: false, number_type: None, non_finite: false }
    }

    /// Says that the records of each file are sorted by their encoded keys.
    #[must_use]
    pub fn sorted(self) -> Format {
        Format { is_sorted: true, ..self }
    }

    /// Says in which type numbers of JSON are to be kept.
    #[must_use]
    pub fn number_type(self, number_type: NumberType) -> Format {
        Format { number_type: Some(number_type), ..self }
    }

    /// Says that numbers can be `NaN`, `Infinity` and `-Infinity`.
    #[must_use]
    pub fn non_finite(self) -> Format {
        Format { non_finite: true, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        let Records::Csv { delimiter, header, key, value } = &self.records else { return Ok(()) };
        if matches!(delimiter, b'"' | b'\n' | b'\r') {
            return Err(Error::invalid("delimiter", "it cannot be a quote or an end of line"));
        }
        let named = |column: &Column| matches!(column, Column::Name(_));
        if !header && (named(key) || named(value)) {
            return Err(Error::invalid(
                "column",
                "a column is found by its name only in files with a header; give its number, counted from 0",
            ));
        }
        Ok(())
    }
}

/// Where key and value are in a record.
///
/// A path into JSON is the names of members, joined by dots: `a.b.0` is member `b` of member `a`, and of that the
/// first item. Lines end with `\n` or `\r\n`, the last one need not. Empty lines are no records, nor are those of white space
/// in formats of JSON; a byte order mark at the start of a file of lines is passed over.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Records {
    /// Lines of a key, a tab and a value, as they are. The value may contain tabs.
    TabSep,
    /// Lines that are JSON.
    NdJson {
        /// The path of the key.
        key: String,
        /// The path of the value; `None`: the whole line, as it stands.
        value: Option<String>,
    },
    /// Lines that are a JSON list of two items, from which key and value are taken.
    Tuple2 {
        /// The path of the key in the first item; `None`: the item.
        key: Option<String>,
        /// The path of the value in the second item; `None`: the item.
        value: Option<String>,
    },
    /// Size of the key, key, size of the value, value, without anything between records. Sizes have 8 bytes, little
    /// endian.
    BinKv,
    /// Comma-separated values as in RFC 4180: a field in double quotes may contain anything, quotes doubled. All
    /// records have as many fields as the first.
    Csv {
        /// The key's column.
        key: Column,
        /// The value's column.
        value: Column,
        /// What is between fields: a comma.
        delimiter: u8,
        /// Whether the first record of each file names the columns.
        header: bool,
    },
}

/// A column of CSV.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Column {
    /// Counted from 0.
    Number(usize),
    /// As the header has it.
    Name(String),
}

/// The type in which [`RawBytes`](super::RawBytes) keeps numbers of JSON: little endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum NumberType {
    F32,
    F64,
    I32,
    I64,
    U32,
    U64,
}

impl NumberType {
    /// The type of this name: `f32`, `f64`, `i32`, `i64`, `u32` or `u64`.
    #[must_use]
    pub fn named(name: &str) -> Option<NumberType> {
        Some(match name {
            "f32" => NumberType::F32,
            "f64" => NumberType::F64,
            "i32" => NumberType::I32,
            "i64" => NumberType::I64,
            "u32" => NumberType::U32,
            "u64" => NumberType::U64,
            _ => return None,
        })
    }
}

/// Which of several records of one key is loaded. Records are in the order of the files as given, then of their place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Duplicates {
    /// The last one.
    #[default]
    Last,
    /// The first one.
    First,
    /// None: two records of one key are an error that names the key and both places.
    Error,
}

/// What becomes of a record whose key is in the store already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Existing {
    /// Its value replaces that of the store, which keeps its creation time and its place in the order of insertion.
    #[default]
    Replace,
    /// It is left out.
    Keep,
    /// It ends the load with an error that names the key.
    Error,
}

/// What becomes of a load when a record is bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnError {
    /// It ends with an error that names file and line.
    #[default]
    Fail,
    /// The record is left out and counted; the first few are in the summary.
    Skip,
}
