//! Knowing that this process is a forked child.
//!
//! A child inherits copies of everything, but an LMDB environment, its transactions and the locks of threads that no
//! longer run must not be used in it. A counter that an at-fork handler raises makes every inherited
//! [`Live`](super::live::Live) recognisable as foreign, at the price of one load and compare per operation.
//!
//! A child that was forked without the C library's knowledge runs no handlers. It is told from its parent by a page that
//! the kernel empties in every child.
//!
//! The handlers also hold the [`TRANSITIONS`] lock over the fork, so that no store is half open or half closed in the
//! child.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use super::opened::close_inherited;

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between the first process and this one.
pub(crate) fn epoch() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// A number that tells this process from those it was forked from, by whatever means: a load of a page in memory.
pub(crate) fn process() -> u64 {
    static PAGE: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    static PROCESSES: AtomicU64 = AtomicU64::new(1);
    let Some(page) = PAGE.get_or_init(page_of_this_process) else { return std::process::id().into() };
    match page.load(Ordering::Relaxed) {
        0 => {
            let number = PROCESSES.fetch_add(1, Ordering::Relaxed);
            let known = page.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
            known.map_or_else(|other| other, |_| number)
        }
        number => number,
    }
}

/// A word that is 0 in each new child, where the kernel knows how to do that.
#[cfg(target_os = "linux")]
fn page_of_this_process() -> Option<&'static AtomicU64> {
    const LEN: usize = 4096;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), LEN, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the page is ours alone.
    if unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } != 0 {
        return None;
    }
    // SAFETY: mapped and zeroed, aligned as a page, and never unmapped.
    Some(unsafe { &*page.cast::<AtomicU64>() })
}

#[cfg(not(target_os = "linux"))]
fn page_of_this_process() -> Option<&'static AtomicU64> {
    None
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
        // the process. A failure (out of memory) leaves forks unnoticed; `process` still tells before each write.
        let code = unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
        if code != 0 {
            tracing::warn!(code, "cannot watch for forks");
        }
    });
}
