//! Filling databases from files, and files of entries apart from a database.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cachemere::load::{Encode, Encoded, Field, RawBytes, Record, Refusal};
use cachemere::rocks::{self, Database, Encoding, Mode};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::{options, ordered};
use crate::errors::{from_engine, name_of, opening, raise};
use crate::load::{Description, Kind, Told, Watcher, put_value, told};
use crate::plain_json;
use crate::values::SAFE;

/// How records become entries.
enum Form {
    Raw(RawBytes),
    Ordered { keys: Kind, values: Kind },
}

impl Encode for Form {
    fn encode(&self, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        match self {
            Form::Raw(raw) => raw.encode(record, out),
            Form::Ordered { keys, values } => {
                put_key(*keys, record.key, &mut out.key)?;
                out.value.push(SAFE);
                put_value(*values, record.value, &mut out.value)
            }
        }
    }
}

fn put_key(kind: Kind, key: Field<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match (kind, key) {
        (Kind::Bytes, key) => ordered::put_whole_bytes(out, key.raw()),
        (_, Field::Json(json)) if plain_json::is_integer(json) => match json.parse() {
            Ok(int) => ordered::put_small_int(out, int),
            Err(_) => return Err(Refusal::record(format!("its key {json} has more than 64 bits"))),
        },
        (_, key) => ordered::put_whole_str(out, &key.text()?),
    }
    Ok(())
}

fn encoding(name: &str) -> Encoding {
    Encoding::new(name, if name == "ordered" { "safe" } else { "own" })
}

/// Loads files into the database in a directory.
#[pyfunction]
#[pyo3(signature = (path, given, prefix_length, key_encoding, described, compact, show=None))]
#[allow(clippy::too_many_arguments)]
pub(super) fn load_files(
    py: Python<'_>,
    path: PathBuf,
    given: &Bound<'_, PyAny>,
    prefix_length: Option<usize>,
    key_encoding: &str,
    described: Description,
    compact: bool,
    show: Option<Py<PyAny>>,
) -> PyResult<Told> {
    let options = options::extract(given, prefix_length)?;
    let encoding = encoding(key_encoding);
    let job = described.job();
    let form = match key_encoding {
        "ordered" => Form::Ordered { keys: job.keys, values: job.values },
        _ => Form::Raw(RawBytes { number_type: job.load.format().number_type }),
    };
    let mut watcher = Watcher { show, raised: Mutex::new(None) };
    let loaded =
        py.detach(|| rocks::load(&path, &options, &encoding, job.load, &form, &mut watcher, compact));
    match watcher.raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => loaded.map(told).map_err(|error| opening(error, &path, None)),
    }
}

/// Bytes of a key or value: str as UTF-8, or anything that lends bytes.
struct Given(Vec<u8>);

impl Given {
    fn extract(given: &Bound<'_, PyAny>) -> PyResult<Given> {
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Given(bytes.as_bytes().to_vec()));
        }
        if let Ok(text) = given.cast::<PyString>() {
            return Ok(Given(text.to_str()?.as_bytes().to_vec()));
        }
        let buffer = PyBuffer::<u8>::get(given).map_err(|_| {
            name_of(&given.get_type()).map_or_else(
                |error| error,
                |kind| {
                    let message = format!("an entry must be bytes or str, not '{kind}'");
                    raise(given.py(), "ValueFormError", (message,))
                },
            )
        })?;
        Ok(Given(buffer.to_vec(given.py())?))
    }
}

impl AsRef<[u8]> for Given {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Writes a file of the entries that a function gives until it gives `None`; whether there were any.
#[pyfunction]
pub(super) fn build_sst_file(
    py: Python<'_>,
    given: &Bound<'_, PyAny>,
    prefix_length: Option<usize>,
    path: PathBuf,
    next: Bound<'_, PyAny>,
) -> PyResult<bool> {
    let options = options::extract(given, prefix_length)?;
    let mut raised = None;
    let entries = || -> PyResult<Option<(Given, Given)>> {
        let given = next.call0()?;
        if given.is_none() {
            return Ok(None);
        }
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = given.extract()?;
        Ok(Some((Given::extract(&key)?, Given::extract(&value)?)))
    };
    let written = rocks::write_sst(&options, &path, || match entries() {
        Ok(entry) => Ok(entry),
        Err(error) => {
            raised = Some(error);
            Err(cachemere::Error::Cancelled)
        }
    });
    py.check_signals()?;
    match raised {
        Some(error) => Err(error),
        None => written.map_err(from_engine),
    }
}

/// Moves files into the database in a directory.
#[pyfunction]
pub(super) fn ingest_sst_files(
    py: Python<'_>,
    path: PathBuf,
    given: &Bound<'_, PyAny>,
    prefix_length: Option<usize>,
    key_encoding: &str,
    files: Vec<PathBuf>,
    compact: bool,
) -> PyResult<()> {
    let options = options::extract(given, prefix_length)?;
    let ingested = py.detach(|| {
        let database = Database::open(&path, Mode::Primary, options, encoding(key_encoding))?;
        let ingested = database.ingest(&files).and_then(|()| match compact {
            true => database.merge(),
            false => Ok(()),
        });
        database.close();
        ingested
    });
    ingested.map_err(|error| opening(error, &path, None))
}
