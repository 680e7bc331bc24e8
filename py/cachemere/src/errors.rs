//! From the engine's errors to the classes of `cachemere.errors`.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::path::Path;

use cachemere::Error;
use pyo3::exceptions::{
    PyAttributeError, PyException, PyImportError, PyRecursionError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Too many open files, of the process and of the system: the numbers are those of all platforms that are supported.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

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

/// Whether an error belongs to the caller, whatever was being done: it ends the program, or a handler of a signal raised it.
pub(crate) fn is_passed_on(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    if !error.is_instance_of::<PyException>(py) {
        return Ok(true);
    }
    let module = py.import("cachemere._core.signals")?;
    // Before Python 3.12 the error itself need not have it yet.
    module.call_method1("passed_a_handler", (error.traceback(py),))?.extract()
}

/// The name of a class for messages. Not by `Display`, which asks for signals and drops what their handlers raise.
pub(crate) fn name_of(kind: &Bound<'_, PyType>) -> PyResult<String> {
    kind.qualname()?.extract()
}

/// Whether an error is of this package.
pub(crate) fn is_ours(py: Python<'_>, error: &PyErr) -> bool {
    let root = py.import("cachemere.errors").and_then(|module| module.getattr("CacheError"));
    root.is_ok_and(|root| error.matches(py, root).unwrap_or(false))
}

/// Whether an object, or one within it, cannot be hashed: Python says so and no method of anybody's, of which it would be
/// known, unless such a method passes on what Python says.
pub(crate) fn is_unhashable(py: Python<'_>, error: &PyErr) -> bool {
    let says_so = || -> PyResult<bool> {
        Ok(error.value(py).str()?.to_cow()?.starts_with("unhashable type") && !is_passed_on(py, error)?)
    };
    // numpy has times that it calls a value that cannot be hashed.
    (error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyValueError>(py))
        && (error.traceback(py).is_none() || says_so().unwrap_or_default())
}

/// An error of pickle's as one of this package that says so of `what`. Those of the methods that pickle calls are passed on,
/// unless they are of the kinds by which an object says that it cannot be pickled.
pub(crate) fn not_pickled(py: Python<'_>, cause: PyErr, class: &str, what: &str) -> PyErr {
    let words = || -> PyResult<Option<String>> {
        let of_pickle = py.import("pickle")?.getattr("PickleError")?;
        let is_told = says_cannot(py, &cause) || cause.matches(py, of_pickle)?;
        if !is_told || is_passed_on(py, &cause)? {
            return Ok(None);
        }
        Ok(Some(cause.value(py).str()?.extract()?))
    };
    match words() {
        Ok(None) => cause,
        Ok(Some(words)) => {
            let error = raise(py, class, (format!("{what}: {words}"),));
            error.set_cause(py, Some(cause));
            error
        }
        Err(error) => error,
    }
}

/// Whether it is of a kind by which objects say that they cannot be pickled, or classes that they cannot be found.
fn says_cannot(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyAttributeError>(py)
        || error.is_instance_of::<PyImportError>(py)
        || error.is_instance_of::<PyRecursionError>(py)
}

thread_local! {
    /// What a handler of a signal raised while the engine waited.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Lets Ctrl-C, and whatever a handler of a signal raises, end the waits of the engine.
pub(crate) fn hear_signals() {
    cachemere::ask_while_waiting(is_interrupted);
}

/// Whether a handler of a signal has raised something, now or before in the same operation.
pub(crate) fn is_interrupted() -> bool {
    if RAISED.with_borrow(Option::is_some) {
        return true;
    }
    let raised = Python::try_attach(|py| py.check_signals()).and_then(Result::err);
    let has_raised = raised.is_some();
    if has_raised {
        RAISED.set(raised);
    }
    has_raised
}

/// What a handler of a signal raised while the engine waited. To be told whatever became of the operation, which may have
/// been past the point where it could end: nobody else will tell.
pub(crate) fn raised_meanwhile() -> Option<PyErr> {
    RAISED.take()
}

pub(crate) fn from_engine(error: Error) -> PyErr {
    raised_meanwhile().unwrap_or_else(|| raise_as(class_of(&error), told(&error)))
}

fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Input { .. } => "InputFileError",
        Error::BadRecord { .. } => "BadRecordError",
        Error::DuplicateKey { .. } => "DuplicateKeyError",
        Error::TooLarge { .. } => "TooLargeError",
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
pub(crate) fn opening(error: Error, path: &Path, secret_from: Option<&str>) -> PyErr {
    let (class, mut message) = (class_of(&error), told(&error));
    if let Some(found) = secret_from {
        message += &match &error {
            Error::NotEncrypted { .. } => format!(
                ". The secret is that of {found}: unset it to go on with the plain store, or set CACHEMERE_DIR to a new \
                 directory, which will be encrypted; 'python -m cachemere export' and 'load' take entries over"
            ),
            Error::WrongSecret { .. } => format!("; the one that was tried is that of {found}"),
            _ => String::new(),
        };
    }
    let path = path.display().to_string();
    if message.contains(&path) {
        if is_of_diskcache(&error) {
            message += &format!(
                "; it is a cache of diskcache, whose entries 'python -m cachemere import --from diskcache {path} \
                 NEW_DIRECTORY' brings over"
            );
        }
        return raise_as(class, message);
    }
    let next = match &error {
        Error::Io { source, .. } => advice(source),
        _ => "",
    };
    raise_as(class, format!("the store at {path} cannot be opened: {message}{next}"))
}

/// Whether what was found instead of a store is a directory of diskcache.
fn is_of_diskcache(error: &Error) -> bool {
    matches!(error, Error::Foreign { path, .. } if ["cache.db", "000/cache.db"].iter().any(|name| path.join(name).is_file()))
}

/// What to do about an error of the system's at opening.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem => {
            "; see that its parent directory is there and can be written to, or choose another path"
        }
        ErrorKind::InvalidFilename => "; choose another path",
        ErrorKind::OutOfMemory => {
            "; the system gave no memory or address space: see the limits of this process"
        }
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
            "; close other files, or raise the limit of open files"
        }
        _ => "",
    }
}

fn told(error: &Error) -> String {
    let mut message = error.to_string();
    // As they are written here.
    for option in ["allow_foreign_owner", "allow_unsupported_file_system"] {
        message = message.replace(&format!("{option}(true)"), &format!("{option}=True"));
    }
    if matches!(error, Error::MissingSecret { .. }) {
        message += "; for a handle that came by pickle, call cachemere.unlock(path, encryption_key) first";
    }
    message
}

fn raise_as(class: &str, message: String) -> PyErr {
    Python::try_attach(|py| raise(py, class, (message.clone(),)))
        .unwrap_or_else(|| PyRuntimeError::new_err(message))
}
