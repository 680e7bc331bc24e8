//! Rows of comma-separated values.

use super::super::blocks::Block;
use super::super::format::{Column, Records};
use super::super::record::{Field, Record, Refusal};
use super::Spot;
use crate::error::Result;

/// Where key and value are in the rows of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Columns {
    key: usize,
    value: usize,
    /// As many fields have all rows. 0: the file is empty.
    fields: usize,
}

/// Finds the columns, given the start of a file; why not, if they are not there.
pub(crate) fn columns_of(records: &Records, start: &[u8]) -> Result<Columns, String> {
    let Records::Csv { key, value, delimiter, header } = records else {
        return Ok(Columns { key: 0, value: 0, fields: 0 });
    };
    let mut first = csv::ByteRecord::new();
    let is_there =
        reader(start, *delimiter).read_byte_record(&mut first).map_err(|error| error.to_string())?;
    if !is_there {
        return Ok(Columns { key: 0, value: 0, fields: 0 });
    }
    let place = |column: &Column| match column {
        Column::Number(number) if *number < first.len() => Ok(*number),
        Column::Number(number) => {
            Err(format!("there is no column {number}, its first line has {} fields", first.len()))
        }
        Column::Name(name) => {
            let at = first.iter().position(|field| field == name.as_bytes()).filter(|_| *header);
            at.ok_or_else(|| format!("its header has no column {name:?}"))
        }
    };
    Ok(Columns { key: place(key)?, value: place(value)?, fields: first.len() })
}

fn reader(bytes: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes)
}

impl Columns {
    pub(super) fn each(
        &self,
        block: &Block,
        delimiter: u8,
        header: bool,
        mut take: impl FnMut(Spot, Result<Record<'_>, Refusal>) -> Result<()>,
    ) -> Result<()> {
        let mut rows = reader(&block.bytes, delimiter);
        let mut row = csv::ByteRecord::new();
        let mut is_header = header && block.number == 0;
        let (mut counted, mut line) = (0, block.first);
        // Reading from memory, with any number of fields, cannot fail.
        while rows.read_byte_record(&mut row).unwrap_or(false) {
            // The reader's own line numbers do not count those inside quotes, and its position is where the last row
            // ended.
            let start = row.position().map_or(0, |at| at.byte() as usize);
            let empty = block.bytes.get(start..).unwrap_or_default().iter();
            let start = start + empty.take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            let passed = block.bytes.get(counted..start).unwrap_or_default();
            line += memchr::memchr_iter(b'\n', passed).count() as u64;
            counted = start;
            if std::mem::take(&mut is_header) {
                continue;
            }
            take(Spot { offset: block.offset + start as u64, line }, self.record(&row))?;
        }
        Ok(())
    }

    fn record<'a>(&self, row: &'a csv::ByteRecord) -> Result<Record<'a>, Refusal> {
        match (row.get(self.key), row.get(self.value)) {
            (Some(key), Some(value)) if row.len() == self.fields => {
                Ok(Record { key: Field::Bytes(key), value: Field::Bytes(value) })
            }
            _ => {
                let reason = format!("it has {} fields, and the first one has {}", row.len(), self.fields);
                Err(Refusal::record(reason))
            }
        }
    }
}
