//! Waiting that can be ended from outside: by Ctrl-C, in programs where a handler of signals is told by the language that
//! they are written in, and not by the system call that waits.

use std::sync::OnceLock;

use crate::error::{Error, Result};

static GIVES_UP: OnceLock<fn() -> bool> = OnceLock::new();

/// Has `gives_up` asked whenever a thread of this process waits for another process, some fifty times a second, with no
/// lock of this process held that it could need. Where it says `true`, the operation ends with [`Error::Interrupted`]
/// and has changed nothing.
///
/// For bindings to other languages. The first that is given stays; later ones are not taken, and `false` is returned.
pub fn ask_while_waiting(gives_up: fn() -> bool) -> bool {
    GIVES_UP.set(gives_up).is_ok()
}

/// To be called again and again by who waits.
pub(crate) fn go_on_waiting() -> Result<()> {
    match GIVES_UP.get() {
        Some(gives_up) if gives_up() => Err(Error::Interrupted),
        _ => Ok(()),
    }
}
