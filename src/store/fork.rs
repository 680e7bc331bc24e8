//! Knowing that this process is a forked child.
//!
//! A child inherits copies of everything, but an LMDB environment, its transactions and the locks of threads that no
//! longer run must not be used in it. A counter that an at-fork handler raises makes every inherited
//! [`Live`](super::live::Live) recognisable as foreign, at the price of one load and compare per operation.
//!
//! The handlers also hold the [`TRANSITIONS`] lock over the fork, so that no store is half open or half closed in the
//! child.
#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::backend::lmdb::control::close_inherited;

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between the first process and this one.
pub(crate) fn epoch() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Held while a store is opened, closed, compacted or reopened.
pub(crate) static TRANSITIONS: ForkLock = ForkLock { held: AtomicBool::new(false) };

/// A lock that can be released in a forked child by whoever forked: one flag, and no queue of waiting threads that
/// would be inherited in an unknown state. Waiting sleeps, which suits a lock that is rarely contended.
pub(crate) struct ForkLock {
    held: AtomicBool,
}

impl ForkLock {
    pub(crate) fn lock(&'static self) -> ForkLockGuard {
        let mut wait = Duration::from_micros(20);
        while self.held.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_millis(2));
        }
        ForkLockGuard { lock: self }
    }
}

pub(crate) struct ForkLockGuard {
    lock: &'static ForkLock,
}

impl Drop for ForkLockGuard {
    fn drop(&mut self) {
        self.lock.held.store(false, Ordering::Release);
    }
}

extern "C" fn prepare() {
    std::mem::forget(TRANSITIONS.lock());
}

extern "C" fn in_parent() {
    TRANSITIONS.held.store(false, Ordering::Release);
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    close_inherited();
    TRANSITIONS.held.store(false, Ordering::Release);
}

/// Installs the handlers, once per process.
pub(crate) fn watch() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the three handlers only touch atomics, sleep and close files, which is allowed around a fork. They live as long as
        // the process. A failure (out of memory) leaves forks unnoticed, as on systems without the call; the process
        // id check before each write still finds them.
        let code = unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
        if code != 0 {
            tracing::warn!(code, "cannot watch for forks");
        }
    });
}
