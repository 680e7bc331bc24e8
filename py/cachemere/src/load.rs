//! Loading files: from records to canonical keys and safe values, without the interpreter.

use std::path::PathBuf;
use std::sync::Mutex;

use cachemere::ByteEntry;
use cachemere::load::{
    Column, Duplicates, Existing, Field, Format, Load, NumberType, OnError, Phase, Progress, Record, Records,
    Refusal, Summary, Watch,
};
use pyo3::prelude::*;

use crate::errors::raise;
use crate::form::{BYTES, STR, put_bytes};
use crate::plain_json;

/// How a load is described by `cachemere._core.load`, which has checked it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Description {
    files: Vec<PathBuf>,
    format: String,
    key_field: Option<Place>,
    value_field: Option<Place>,
    delimiter: u8,
    header: bool,
    key_type: String,
    value_type: String,
    duplicates: String,
    existing: String,
    skips: bool,
    memory_budget: usize,
    threads: Option<usize>,
    is_sorted: bool,
    number_type: Option<String>,
    directory: PathBuf,
}

/// A path into JSON, or a column.
#[derive(FromPyObject)]
enum Place {
    Number(usize),
    Name(String),
}

impl Place {
    fn name(self) -> String {
        match self {
            Place::Number(number) => number.to_string(),
            Place::Name(name) => name,
        }
    }

    fn column(self) -> Column {
        match self {
            Place::Number(number) => Column::Number(number),
            Place::Name(name) => Column::Name(name),
        }
    }
}

/// What a field is stored as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bytes,
    Json,
}

impl Kind {
    fn named(name: &str) -> Kind {
        match name {
            "bytes" => Kind::Bytes,
            "json" => Kind::Json,
            _ => Kind::Text,
        }
    }
}

/// A load that is about to begin.
pub(crate) struct Job {
    pub(crate) load: Load,
    pub(crate) existing: Existing,
    pub(crate) keys: Kind,
    pub(crate) values: Kind,
}

impl Description {
    pub(crate) fn job(self) -> Job {
        let records = match self.format.as_str() {
            "ndjson" => Records::NdJson {
                key: self.key_field.map(Place::name).unwrap_or_default(),
                value: self.value_field.map(Place::name),
            },
            "tuple2" => Records::Tuple2 {
                key: self.key_field.map(Place::name),
                value: self.value_field.map(Place::name),
            },
            "bin_kv" => Records::BinKv,
            "csv" => Records::Csv {
                key: self.key_field.map_or(Column::Number(0), Place::column),
                value: self.value_field.map_or(Column::Number(1), Place::column),
                delimiter: self.delimiter,
                header: self.header,
            },
            _ => Records::TabSep,
        };
        let duplicates = match self.duplicates.as_str() {
            "first" => Duplicates::First,
            "error" => Duplicates::Error,
            _ => Duplicates::Last,
        };
        let on_error = if self.skips { OnError::Skip } else { OnError::Fail };
        let format = Format::new(records).non_finite();
        let format = if self.is_sorted { format.sorted() } else { format };
        let format = match self.number_type.as_deref().and_then(NumberType::named) {
            Some(number_type) => format.number_type(number_type),
            None => format,
        };
        let load = Load::new(self.files, format, self.directory).options(|options| {
            let options = options.memory_budget(self.memory_budget).duplicates(duplicates).on_error(on_error);
            match self.threads {
                Some(threads) => options.threads(threads),
                None => options,
            }
        });
        let existing = match self.existing.as_str() {
            "keep" => Existing::Keep,
            "error" => Existing::Error,
            _ => Existing::Replace,
        };
        Job { load, existing, keys: Kind::named(&self.key_type), values: Kind::named(&self.value_type) }
    }
}

/// From a record to the entry that `cache[key] = value` would write.
pub(crate) fn maker(job: &Job) -> impl Fn(&Record<'_>, &mut ByteEntry) -> Result<(), Refusal> + Sync + use<> {
    let (keys, values) = (job.keys, job.values);
    move |record, entry| {
        put_key(keys, record.key, &mut entry.key)?;
        put_value(values, record.value, &mut entry.payload)
    }
}

fn put_key(kind: Kind, key: Field<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match (kind, key) {
        (Kind::Bytes, key) => put_bytes(out, BYTES, &bytes(key)?),
        // What JSON has as an integer is an int, as a key of a dict would be.
        (_, Field::Json(json)) if plain_json::is_integer(json) => plain_json::put(json, out)?,
        (_, key) => put_bytes(out, STR, key.text()?.as_bytes()),
    }
    Ok(())
}

/// Writes the safe form of a value.
pub(crate) fn put_value(kind: Kind, value: Field<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match (kind, value) {
        (Kind::Bytes, value) => put_bytes(out, BYTES, &bytes(value)?),
        (Kind::Json, Field::Json(json) | Field::Line(json)) => plain_json::put(json, out)?,
        (Kind::Json, Field::Bytes(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Refusal::record("its value is not UTF-8"))?;
            plain_json::put_unchecked(text, out)?;
        }
        (Kind::Text, value) => {
            let text = value.text().map_err(|refusal| match refusal {
                Refusal::Record(reason) => {
                    Refusal::record(format!("{reason}: say value_type=\"json\" to keep what it is"))
                }
                other => other,
            })?;
            put_bytes(out, STR, text.as_bytes());
        }
    }
    Ok(())
}

/// The bytes of a field: of a string of JSON those of its text.
fn bytes(field: Field<'_>) -> Result<std::borrow::Cow<'_, [u8]>, Refusal> {
    Ok(match field {
        Field::Json(json) if json.starts_with('"') => field.text()?.into_owned().into_bytes().into(),
        field => field.raw().into(),
    })
}

/// Shows how far it is, and asks whether Ctrl-C was pressed.
pub(crate) struct Watcher {
    /// Called with the phase and numbers; see `cachemere._core.load_bar`.
    pub(crate) show: Option<Py<PyAny>>,
    pub(crate) raised: Mutex<Option<PyErr>>,
}

impl Watcher {
    fn note(&self, error: PyErr) {
        let mut raised = self.raised.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        raised.get_or_insert(error);
    }
}

impl Watch for Watcher {
    fn progress(&mut self, progress: &Progress) {
        let Some(show) = &self.show else { return };
        let is_reading = progress.phase == Phase::Reading;
        let numbers =
            (is_reading, progress.bytes_read, progress.bytes_total, progress.records, progress.written);
        if let Some(Err(error)) = Python::try_attach(|py| show.call1(py, numbers)) {
            self.note(error);
        }
    }

    fn is_cancelled(&mut self) -> bool {
        if let Some(Err(error)) = Python::try_attach(|py| py.check_signals()) {
            self.note(error);
        }
        self.raised.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some()
    }
}

/// What a load came to: the fields of `LoadSummary`.
#[derive(IntoPyObject)]
pub(crate) struct Told {
    records: u64,
    written: u64,
    duplicates: u64,
    kept: u64,
    skipped: u64,
    bad: Vec<String>,
    bytes_read: u64,
    bytes_spilled: u64,
    reading: f64,
    writing: f64,
}

pub(crate) fn told(summary: Summary) -> Told {
    Told {
        records: summary.records,
        written: summary.written,
        duplicates: summary.duplicates,
        kept: summary.kept,
        skipped: summary.skipped,
        bad: summary.bad,
        bytes_read: summary.bytes_read,
        bytes_spilled: summary.bytes_spilled,
        reading: summary.reading.as_secs_f64(),
        writing: summary.writing.as_secs_f64(),
    }
}

/// Values and keys that the user serializes himself cannot be made without the interpreter.
pub(crate) fn refuse_serializers(py: Python<'_>) -> PyErr {
    raise(py, "InvalidOptionError", ("a store with serializers of its own cannot be loaded into",))
}
