//! What the engine has to say, for Python's `logging`.
//!
//! The engine speaks through `tracing`, on threads of its own and under its own locks, where Python must not be called.
//! So what it says is kept, and handed on by the next operation that comes back from the engine: to the logger
//! `cachemere.store.housekeeper` what `cachemere::store::housekeeper` said. What nobody wants to hear is not kept.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::errors::is_passed_on;

/// So many messages are kept; of more, the oldest are dropped.
const KEPT: usize = 128;

/// How often the logger is asked for its level at most, and how many operations apart.
const LEVEL_INTERVAL: Duration = Duration::from_secs(1);
const LEVEL_CALLS: u32 = 32;

/// Who finds the queue locked tries so often: whoever has it needs a fraction of a microsecond, unless it is a thread
/// of the process that this one was forked from, which will never give it back.
const TRIES: u32 = 1000;

/// The least of Python's levels that the logger wants.
static LEAST: AtomicU32 = AtomicU32::new(30);
static CALLS: AtomicU32 = AtomicU32::new(0);
static ASKED: Mutex<Option<Instant>> = Mutex::new(None);

static QUEUE: Mutex<VecDeque<Message>> = Mutex::new(VecDeque::new());
static HAS_MESSAGES: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is handing messages on: a handler may use a cache itself.
    static IS_HANDING_ON: Cell<bool> = const { Cell::new(false) };
}

struct Message {
    /// A forked child inherits messages that its parent hands on.
    process: u32,
    level: u32,
    target: &'static str,
    words: String,
}

/// Begins to collect what the engine says. A second call changes nothing.
pub(crate) fn collect() {
    // It fails only if it was done before: this library has its own copy of `tracing`.
    let _ = tracing::subscriber::set_global_default(Collector);
}

/// Hands on what was collected. To be called with no lock held, since handlers are the user's code.
///
/// An error is that of a handler that was interrupted, by Ctrl-C say.
pub(crate) fn hand_on(py: Python<'_>) -> PyResult<()> {
    if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(LEVEL_CALLS) {
        look_at_level(py, LEVEL_INTERVAL)?;
    }
    if !HAS_MESSAGES.load(Ordering::Relaxed) || IS_HANDING_ON.replace(true) {
        return Ok(());
    }
    let done = take().into_iter().try_for_each(|message| heard(py, log(py, &message)));
    IS_HANDING_ON.set(false);
    done
}

/// Asks the logger what it wants to hear, unless it was asked a moment ago.
pub(crate) fn look_at_level(py: Python<'_>, interval: Duration) -> PyResult<()> {
    let Some(mut asked) = at_once(&ASKED) else { return Ok(()) };
    if asked.is_some_and(|asked| asked.elapsed() < interval) {
        return Ok(());
    }
    *asked = Some(Instant::now());
    drop(asked);
    let least = || -> PyResult<u32> {
        // Asked for once: a handler of a signal that raises while `logging` looks for it can leave a lock of `logging` held.
        static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let logger = LOGGER.get_or_try_init(py, || logger(py, "cachemere").map(Bound::unbind))?.bind(py);
        for level in [10, 20, 30, 40] {
            if logger.call_method1("isEnabledFor", (level,))?.is_truthy()? {
                return Ok(level);
            }
        }
        Ok(u32::MAX)
    };
    // No code of the user's is called. So what it raises is of a handler of a signal.
    least().map(|least| LEAST.store(least, Ordering::Relaxed))
}

/// Logging must not make an operation fail, but what is no error of the logging goes on: `KeyboardInterrupt`, and what a
/// handler of a signal raises.
fn heard(py: Python<'_>, done: PyResult<()>) -> PyResult<()> {
    match done {
        Err(error) if !is_passed_on(py, &error)? => {
            error.write_unraisable(py, None);
            Ok(())
        }
        done => done,
    }
}

fn log(py: Python<'_>, message: &Message) -> PyResult<()> {
    let logger = logger(py, &message.target.replace("::", "."))?;
    logger.call_method1("log", (message.level, "%s", &message.words)).map(drop)
}

fn logger<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("logging")?.call_method1("getLogger", (name,))
}

fn take() -> VecDeque<Message> {
    let Some(mut queue) = at_once(&QUEUE) else { return VecDeque::new() };
    let mut messages = std::mem::take(&mut *queue);
    HAS_MESSAGES.store(false, Ordering::Relaxed);
    drop(queue);
    messages.retain(|message| message.process == process::id());
    messages
}

/// The lock, but never a wait that can last.
fn at_once<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..TRIES {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

fn in_python(level: &Level) -> u32 {
    match *level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG | Level::TRACE => 10,
    }
}

struct Collector;

impl Subscriber for Collector {
    /// The logger's level can change, so what was once unwanted is not so for ever.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && in_python(metadata.level()) >= LEAST.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let metadata = event.metadata();
        let message = Message {
            process: process::id(),
            level: in_python(metadata.level()),
            target: metadata.target(),
            words: words.message + &words.fields,
        };
        let Some(mut queue) = at_once(&QUEUE) else { return };
        // What fails in the background is tried again, and fails again, some times a second.
        if queue.iter().any(|waiting| waiting.words == message.words) {
            return;
        }
        if queue.len() == KEPT {
            queue.pop_front();
        }
        queue.push_back(message);
        HAS_MESSAGES.store(true, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event in words: its message, then its fields.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name}: {value:?}"),
        };
    }
}
