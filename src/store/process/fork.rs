//! Knowing that this process is a forked child.
//!
//! A child inherits copies of everything, but an LMDB environment, its transactions and the locks of threads that no
//! longer run must not be used in it. A counter that an at-fork handler raises makes every inherited
//! [`Live`](crate::store::live::Live) recognisable as foreign, at the price of one load and compare per operation.
//!
//! A child that was forked without the C library's knowledge runs no handlers. It is told from its parent by a page that
//! the kernel empties in every child.
//!
//! The handlers also hold the locks [`TRANSITIONS`] and [`LIBRARY`] over the fork, so that no store is half open or half
//! closed in the child.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use super::opened::close_inherited;
use crate::error::Result;
use crate::waiting::Pauses;

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
pub(crate) static TRANSITIONS: ForkLock = ForkLock { holder: AtomicUsize::new(0) };

/// Held while the library under the store opens or closes an environment, which it does with a lock of its own: also where
/// that is no transition of a store, as in a backup. Taken last, and for a moment only.
pub(crate) static LIBRARY: ForkLock = ForkLock { holder: AtomicUsize::new(0) };

/// A lock that can be released in a forked child by whoever forked: one word, and no queue of waiting threads that
/// would be inherited in an unknown state. Waiting sleeps, which suits a lock that is rarely contended.
pub(crate) struct ForkLock {
    /// The thread that has it; 0: nobody.
    holder: AtomicUsize,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// Tells this thread from the others that run, and is not 0.
fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl ForkLock {
    /// Waits for the lock, on behalf of a store. A thread that is about to fork has it already.
    pub(crate) fn lock(&'static self, store: &Path) -> Result<ForkLockGuard> {
        let mut pauses = Pauses::begin();
        while !self.try_lock() {
            if HOLDS_FOR_FORK.get() {
                return Ok(ForkLockGuard { lock: None });
            }
            pauses.pause(store)?;
        }
        Ok(ForkLockGuard { lock: Some(self) })
    }

    /// Waits for a lock that is never held for long.
    pub(crate) fn lock_briefly(&'static self) -> ForkLockGuard {
        self.wait();
        ForkLockGuard { lock: Some(self) }
    }

    /// Takes the lock as soon as nobody has it.
    fn wait(&self) {
        let mut pauses = Pauses::begin();
        while !self.try_lock() {
            pauses.sleep();
        }
    }

    fn try_lock(&self) -> bool {
        self.holder.compare_exchange(0, this_thread(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == this_thread()
    }

    fn release(&self) {
        self.holder.store(0, Ordering::Release);
    }
}

pub(crate) struct ForkLockGuard {
    /// `None`: the lock stays with a thread that is about to fork.
    lock: Option<&'static ForkLock>,
}

impl Drop for ForkLockGuard {
    fn drop(&mut self) {
        if let Some(lock) = self.lock {
            lock.release();
        }
    }
}

thread_local! {
    static HOLDS_FOR_FORK: Cell<bool> = const { Cell::new(false) };
}

/// Waits until no other thread opens, closes or compacts a store, and keeps it so until this thread has forked or calls
/// [`forked`]. A fork waits for that by itself; this is for programs that hold a lock of their own while they fork, as an
/// interpreter does, and can let go of it for the wait.
pub fn about_to_fork() {
    if TRANSITIONS.is_held_here() {
        // Already, or a handler of a signal forks in the middle of an opening.
        return;
    }
    TRANSITIONS.wait();
    HOLDS_FOR_FORK.set(true);
}

/// Ends what [`about_to_fork`] began, if this thread has not forked since.
pub fn forked() {
    if HOLDS_FOR_FORK.replace(false) {
        TRANSITIONS.release();
    }
}

extern "C" fn prepare() {
    about_to_fork();
    LIBRARY.wait();
}

extern "C" fn in_parent() {
    LIBRARY.release();
    forked();
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    close_inherited();
    // The thread that forked is the only one here, and had it.
    HOLDS_FOR_FORK.set(false);
    LIBRARY.release();
    TRANSITIONS.release();
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
