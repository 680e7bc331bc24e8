//! From the engine's errors to the classes of `cachemere.errors`.

use std::cell::RefCell;
use std::path::Path;

use cachemere::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// An exception of a class of `cachemere.errors`.
pub(crate) fn raise<'py>(py: Python<'py>, class: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let made = py
        .import("cachemere.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1(arguments));
    match made {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// What a missing key raises: as a dict does, with the key as its only argument.
pub(crate) fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    raise(key.py(), "MissingKeyError", (key,))
}

thread_local! {
    /// What a handler of a signal raised while the engine waited.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Lets Ctrl-C, and whatever a handler of a signal raises, end the waits of the engine.
pub(crate) fn hear_signals() {
    cachemere::ask_while_waiting(|| match Python::try_attach(|py| py.check_signals()) {
        Some(Err(error)) => {
            RAISED.set(Some(error));
            true
        }
        _ => false,
    });
}

/// What a handler of a signal raised, if that is why the engine does not wait any longer.
fn raised_meanwhile(error: &Error) -> Option<PyErr> {
    let raised = RAISED.take();
    raised.filter(|_| matches!(error, Error::Interrupted))
}

pub(crate) fn from_engine(error: Error) -> PyErr {
    raised_meanwhile(&error).unwrap_or_else(|| raise_as(class_of(&error), told(&error)))
}

fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Input { .. } => "InputFileError",
        Error::BadRecord { .. } => "BadRecordError",
        Error::DuplicateKey { .. } => "DuplicateKeyError",
        _ if error.is_wrong_secret() => "WrongSecretError",
        _ if error.is_tampered() => "TamperedError",
        _ if error.is_incompatible() => "IncompatibleError",
        _ if error.is_damaged() => "DamagedError",
        _ if error.is_store_full() => "StoreFullError",
        _ if error.is_disk_full() => "DiskFullError",
        _ if error.is_closed() => "ClosedError",
        _ if error.is_gone() => "StoreGoneError",
        _ if error.is_read_only() => "ReadOnlyError",
        _ if error.is_unsupported_file_system() => "UnsupportedFileSystemError",
        _ if error.is_busy() => "BusyError",
        _ if error.is_invalid() => "InvalidOptionError",
        _ if error.is_serialization() => "DecodeError",
        _ => "StoreIOError",
    }
}

/// What went wrong at opening a store, of which the engine does not always say which.
pub(crate) fn opening(error: Error, path: &Path) -> PyErr {
    if let Some(raised) = raised_meanwhile(&error) {
        return raised;
    }
    let (class, message) = (class_of(&error), told(&error));
    let path = path.display().to_string();
    if message.contains(&path) {
        return raise_as(class, message);
    }
    let next = match class {
        "StoreIOError" => {
            "; see that its parent directory is there and can be written to, or choose another path"
        }
        _ => "",
    };
    raise_as(class, format!("the store at {path} cannot be opened: {message}{next}"))
}

fn told(error: &Error) -> String {
    let mut message = error.to_string();
    if matches!(error, Error::MissingSecret { .. }) {
        message += "; for a handle that came by pickle, call cachemere.unlock(path, encryption_key) first";
    }
    message
}

fn raise_as(class: &str, message: String) -> PyErr {
    Python::try_attach(|py| raise(py, class, (message.clone(),)))
        .unwrap_or_else(|| PyRuntimeError::new_err(message))
}
