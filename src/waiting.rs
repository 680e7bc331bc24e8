//! Waiting that can be ended from outside: by Ctrl-C, in programs where a handler of signals is told by the language that
//! they are written in, and not by the system call that waits.

use std::sync::OnceLock;

use crate::error::{Error, Result};

static GIVES_UP: OnceLock<fn() -> bool> = OnceLock::new();

/// Has `gives_up` asked whenever the main thread of this process waits for another process, some fifty times a second.
/// Where it says `true`, the operation ends with [`Error::Interrupted`] and has changed nothing.
///
/// For bindings to other languages, whose handlers of signals run in the main thread. It may wait for a lock of the
/// language's only if no thread that holds that one opens, closes or writes a store meanwhile: locks of this crate are
/// held while it is asked. The first that is given stays; later ones are not taken, and `false` is returned.
pub fn ask_while_waiting(gives_up: fn() -> bool) -> bool {
    GIVES_UP.set(gives_up).is_ok()
}

/// To be called again and again by who waits.
pub(crate) fn go_on_waiting() -> Result<()> {
    match GIVES_UP.get() {
        Some(gives_up) if is_main_thread() && gives_up() => Err(Error::Interrupted),
        _ => Ok(()),
    }
}

fn is_main_thread() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return rustix::thread::gettid() == rustix::process::getpid();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    true
}
