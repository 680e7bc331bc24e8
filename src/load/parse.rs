//! Takes the records of a block apart.

mod json;
mod rows;

use std::borrow::Cow;
use std::path::Path;

pub(super) use self::json::Paths;
pub use self::json::finite;
pub(super) use self::rows::{Columns, columns_of};
use super::blocks::Block;
use super::format::{Format, Records};
use super::record::{Field, Record, Refusal};
use crate::error::{Error, Result};

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Spot {
    /// Bytes before it in the decompressed file. No two records of a file have the same.
    pub(super) offset: u64,
    /// Its line, or its number where there are no lines, counted from 1.
    pub(super) line: u64,
}

/// How records of the format are taken apart.
pub(super) enum Parser {
    TabSep,
    Json(Paths),
    BinKv,
    /// For each file.
    Rows {
        columns: Vec<Columns>,
        delimiter: u8,
        header: bool,
    },
}

impl Parser {
    /// `columns`: of each file, if they are CSV.
    pub(super) fn new(format: &Format, columns: Vec<Columns>) -> Parser {
        match &format.records {
            Records::TabSep => Parser::TabSep,
            Records::NdJson { key, value } => {
                Parser::Json(Paths::of_lines(key, value.as_deref(), format.non_finite))
            }
            Records::Tuple2 { key, value } => {
                Parser::Json(Paths::of_pairs(key.as_deref(), value.as_deref(), format.non_finite))
            }
            Records::BinKv => Parser::BinKv,
            Records::Csv { delimiter, header, .. } => {
                Parser::Rows { columns, delimiter: *delimiter, header: *header }
            }
        }
    }

    /// Gives each record of the block to `take`, or why it cannot be taken apart.
    pub(super) fn each(
        &self,
        block: &Block,
        mut take: impl FnMut(Spot, Result<Record<'_>, Refusal>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Parser::TabSep => each_line(block, |spot, line| match line {
                [] => Ok(()),
                _ => take(spot, tab_separated(line)),
            }),
            Parser::Json(paths) => each_line(block, |spot, line| match line.trim_ascii() {
                [] => Ok(()),
                _ => take(spot, paths.find(line)),
            }),
            Parser::BinKv => each_pair(block, take),
            Parser::Rows { columns, delimiter, header } => {
                let Some(columns) = columns.get(block.file) else { return Ok(()) };
                columns.each(block, *delimiter, *header, take)
            }
        }
    }

    /// How a place is named in messages.
    pub(super) fn name(&self, spot: Spot) -> String {
        match self {
            Parser::BinKv => format!("record {}, byte {}", spot.line, spot.offset),
            _ => format!("line {}", spot.line),
        }
    }

    pub(super) fn bad(&self, path: &Path, spot: Spot, detail: Cow<'static, str>) -> Error {
        Error::BadRecord { path: path.to_owned(), place: self.name(spot), detail }
    }
}

/// Some programs write it in front of UTF-8, where it means nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn each_line(block: &Block, mut take: impl FnMut(Spot, &[u8]) -> Result<()>) -> Result<()> {
    let marked = block.number == 0 && block.bytes.starts_with(BYTE_ORDER_MARK);
    let (mut start, mut line) = (if marked { BYTE_ORDER_MARK.len() } else { 0 }, block.first);
    let ends = memchr::memchr_iter(b'\n', &block.bytes);
    // The last line of a file need not be ended.
    let open = (block.bytes.last() != Some(&b'\n')).then_some(block.bytes.len());
    for end in ends.chain(open) {
        let text = block.bytes.get(start..end).unwrap_or_default();
        let text = match text.split_last() {
            Some((b'\r', text)) if Some(end) != open => text,
            _ => text,
        };
        take(Spot { offset: block.offset + start as u64, line }, text)?;
        start = end + 1;
        line += 1;
    }
    Ok(())
}

fn tab_separated(line: &[u8]) -> Result<Record<'_>, Refusal> {
    let Some(tab) = memchr::memchr(b'\t', line) else {
        return Err(Refusal::record("there is no tab between key and value"));
    };
    let (key, value) = line.split_at(tab);
    Ok(Record { key: Field::Bytes(key), value: Field::Bytes(value.get(1..).unwrap_or_default()) })
}

fn each_pair(
    block: &Block,
    mut take: impl FnMut(Spot, Result<Record<'_>, Refusal>) -> Result<()>,
) -> Result<()> {
    fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*size)).ok()?)
    }
    let (mut rest, mut line) = (block.bytes.as_slice(), block.first);
    while let Some((key, after)) = sized(rest) {
        let Some((value, after)) = sized(after) else { break };
        let offset = block.offset + (block.bytes.len() - rest.len()) as u64;
        take(Spot { offset, line }, Ok(Record { key: Field::Bytes(key), value: Field::Bytes(value) }))?;
        rest = after;
        line += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::format::Column;
    use super::*;

    pub(super) fn parsed(records: Records, columns: Vec<Columns>, text: &[u8]) -> Vec<(u64, String, String)> {
        let parser = Parser::new(&Format::new(records), columns);
        let block = Block { file: 0, number: 0, offset: 0, first: 1, bytes: text.to_vec() };
        let mut all = Vec::new();
        let shown = |field: Field<'_>| String::from_utf8_lossy(field.raw()).into_owned();
        let taken = parser.each(&block, |spot, record| {
            all.push(match record {
                Ok(record) => (spot.line, shown(record.key), shown(record.value)),
                Err(Refusal::Record(reason)) => (spot.line, "bad".to_owned(), reason.into_owned()),
                Err(Refusal::Load(error)) => return Err(error),
            });
            Ok(())
        });
        taken.unwrap();
        all
    }

    fn told(line: u64, key: &str, value: &str) -> (u64, String, String) {
        (line, key.to_owned(), value.to_owned())
    }

    #[test]
    fn lines_are_parted_at_the_first_tab() {
        let all = parsed(Records::TabSep, Vec::new(), b"a\t1\r\nb\t2\t3\n\tno key\nnothing\nlast\tx\r");
        assert_eq!(all[..3], [told(1, "a", "1"), told(2, "b", "2\t3"), told(3, "", "no key")]);
        assert_eq!((all[3].0, all[3].1.as_str()), (4, "bad"));
        assert_eq!(all[4], told(5, "last", "x\r"));
    }

    #[test]
    fn json_lines_give_the_members_at_the_paths() {
        let lines = Records::NdJson { key: "id".into(), value: Some("of.1.name".into()) };
        let text = br#"{"of":[0,{"name": "x", "z": 1}],"id":"a","id":"b"}
{"id":7}
{"id":7,"of":[1]}
[]
{"id":1,"of":[0,{"name":{"x":[1, 2]}}]} x
{"id":1,"of":[0,{"name":{"x":[1, 2]}}]}"#;
        let all = parsed(lines, Vec::new(), text);
        assert_eq!(all[0], told(1, "\"b\"", "\"x\""));
        for (line, part) in [(2, "of.1.name"), (3, "of.1.name"), (4, "id"), (5, "trailing")] {
            let (at, bad, reason) = &all[line - 1];
            assert_eq!((*at, bad.as_str()), (line as u64, "bad"));
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!(all[5], told(6, "1", r#"{"x":[1, 2]}"#));
        let whole = Records::NdJson { key: "id".into(), value: None };
        let all = parsed(whole, Vec::new(), b" {\"id\" : 1, \"x\": \"\\u00e9\"} \r\n{\"id\":\xff}\n\n");
        assert_eq!(all[0], told(1, "1", " {\"id\" : 1, \"x\": \"\\u00e9\"} "));
        assert!(all[1].2.contains("UTF-8") && all.len() == 2, "{all:?}");
    }

    #[test]
    fn json_pairs_give_their_items_or_what_is_in_them() {
        let all = parsed(
            Records::Tuple2 { key: None, value: Some("v".into()) },
            Vec::new(),
            b"[\"k\", {\"v\": 1}]\n[1]\n[1,2,3]\n[1,{}]\n",
        );
        assert_eq!(all[0], told(1, "\"k\"", "1"));
        assert!(all[1..].iter().all(|(_, key, _)| key == "bad"), "{all:?}");
    }

    #[test]
    fn rows_give_their_columns_and_wrong_numbers_of_fields_are_bad() {
        let records = Records::Csv {
            key: Column::Name("k".into()),
            value: Column::Number(2),
            delimiter: b';',
            header: true,
        };
        let text = b"x;k;v\n1;a;\"one;\n\"\"two\"\"\"\r\n2;b\n\n3;c;\"\"\n";
        let columns = columns_of(&records, text).unwrap();
        let all = parsed(records, vec![columns], text);
        assert_eq!(all[0], told(2, "a", "one;\n\"two\""));
        assert_eq!((all[1].0, all[1].1.as_str()), (4, "bad"));
        assert_eq!(all[2], told(6, "c", ""));
    }
}
