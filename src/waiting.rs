//! Waiting that can be ended from outside: by Ctrl-C, in programs where a handler of signals is told by the language that
//! they are written in, and not by the system call that waits.

use std::cell::Cell;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

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

thread_local! {
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
    static IS_DEAF: Cell<bool> = const { Cell::new(false) };
}

/// Does what cannot end before it is done, nor tell of an error: a signal waits until after it.
pub(crate) fn deaf<T>(work: impl FnOnce() -> T) -> T {
    let outer = IS_DEAF.replace(true);
    let done = work();
    IS_DEAF.set(outer);
    done
}

/// Whether this thread runs a handler of signals, in the middle of an operation that waits.
pub(crate) fn is_asking() -> bool {
    IS_ASKING.get()
}

/// To be called again and again by who waits.
pub(crate) fn go_on_waiting() -> Result<()> {
    let Some(gives_up) = GIVES_UP.get().filter(|_| is_main_thread() && !IS_DEAF.get()) else { return Ok(()) };
    let outer = IS_ASKING.replace(true);
    let is_over = gives_up();
    IS_ASKING.set(outer);
    if is_over { Err(Error::Interrupted) } else { Ok(()) }
}

/// A wait for another thread of this process, in short sleeps.
pub(crate) struct Pauses {
    begun: Instant,
    next: Duration,
}

impl Pauses {
    const LONGEST: Duration = Duration::from_millis(2);
    /// How long a handler of signals waits, since what it waits for may be the very operation that it runs in.
    const OF_HANDLERS: Duration = Duration::from_secs(1);

    pub(crate) fn begin() -> Pauses {
        Pauses { begun: Instant::now(), next: Duration::from_micros(20) }
    }

    /// How long it has been.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Sleeps, without asking anybody.
    pub(crate) fn sleep(&mut self) {
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(Self::LONGEST);
    }

    /// Sleeps, unless the wait is to end.
    pub(crate) fn pause(&mut self, store: &Path) -> Result<()> {
        self.sleep();
        self.ask(store)
    }

    /// Asks whether to go on, for who sleeps by other means.
    pub(crate) fn ask(&self, store: &Path) -> Result<()> {
        if is_asking() && self.elapsed() > Self::OF_HANDLERS {
            let detail = "a handler of a signal uses it in the middle of another operation of the same thread; have the \
                          handler raise, or note what is to be done later";
            return Err(Error::Busy { path: store.to_owned(), detail: detail.into() });
        }
        go_on_waiting()
    }
}

fn is_main_thread() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return rustix::thread::gettid() == rustix::process::getpid();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    true
}
