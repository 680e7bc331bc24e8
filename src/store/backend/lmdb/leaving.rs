//! Keeping environments from being closed under the feet of threads that end.
//!
//! LMDB gives each thread that reads a slot in the lock file, and takes it back by a destructor of thread-specific data
//! (`mdb_env_reader_dest`), which writes to the slot. `mdb_env_close` unmaps the lock file, and nothing in LMDB keeps the
//! two apart. Joining a thread does not help where that does not wait for the destructors: neither Python's `join` nor
//! [`std::thread::scope`] does.
//!
//! So threads that have read are counted while they leave. They are counted from the destructors of Rust's thread locals on,
//! which run before all of thread-specific data, until LMDB's destructor has run; and closing waits until none is.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Threads between their first destructor and LMDB's.
static LEAVING: AtomicUsize = AtomicUsize::new(0);
/// Environments that are being closed.
static CLOSING: AtomicUsize = AtomicUsize::new(0);
/// What counts a thread down. `None` if the system has no more keys.
static COUNT_DOWN: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

/// Leaving takes microseconds. A thread that takes so long waits for something itself, perhaps for whoever is closing.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_micros(20);

thread_local! {
    static WATCHED: Watched = const { Watched };
    static IS_LEAVING: Cell<bool> = const { Cell::new(false) };
}

/// To be called before an environment is opened.
pub(super) fn prepare() {
    COUNT_DOWN.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key is written before the call returns, and the destructor lives as long as the process.
        let code = unsafe { libc::pthread_key_create(&mut key, Some(count_down)) };
        if code != 0 {
            tracing::warn!(code, "cannot watch for threads that end");
        }
        (code == 0).then_some(key)
    });
}

/// To be called by a thread before it takes a slot. Costs about a nanosecond.
#[inline]
pub(super) fn watch_thread() {
    // One that cannot be watched any more is leaving already, and counted.
    let _ = WATCHED.try_with(|_| ());
}

/// In a forked child the threads that were leaving are not there.
pub(in crate::store) fn forget_threads() {
    LEAVING.store(0, SeqCst);
    CLOSING.store(0, SeqCst);
}

struct Watched;

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(key) = COUNT_DOWN.get().copied().flatten() else { return };
        count_up();
        IS_LEAVING.set(true);
        set(key, FIRST_ROUND);
    }
}

fn count_up() {
    loop {
        LEAVING.fetch_add(1, SeqCst);
        if CLOSING.load(SeqCst) == 0 {
            return;
        }
        LEAVING.fetch_sub(1, SeqCst);
        std::thread::sleep(PAUSE);
    }
}

const FIRST_ROUND: usize = 1;
const SECOND_ROUND: usize = 2;

/// Called in the first round of destructors, in which LMDB's are called before or after this, and again in the second.
extern "C" fn count_down(round: *mut c_void) {
    let Some(key) = COUNT_DOWN.get().copied().flatten() else { return };
    if round.addr() == FIRST_ROUND {
        // POSIX calls the destructor again for a value that was set meanwhile, when all others have been called.
        set(key, SECOND_ROUND);
    } else {
        LEAVING.fetch_sub(1, SeqCst);
    }
}

fn set(key: libc::pthread_key_t, round: usize) {
    // SAFETY: the key was made by `prepare` and is never deleted. The value is a number, which nobody dereferences.
    if unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(round)) } != 0 {
        // Out of memory: nobody is to wait for a count that does not come.
        LEAVING.fetch_sub(1, SeqCst);
    }
}

/// While it lives the calling thread does not count as leaving: it is in a destructor of Rust's that waits for something of
/// ours, and not in LMDB's.
pub(in crate::store) struct Aside(());

impl Aside {
    pub(in crate::store) fn step() -> Aside {
        if IS_LEAVING.get() {
            LEAVING.fetch_sub(1, SeqCst);
        }
        Aside(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if IS_LEAVING.get() {
            count_up();
        }
    }
}

/// While it lives no thread that has read begins to leave.
pub(super) struct Closing {
    settled: bool,
    // Counts the thread again when closing is over.
    _aside: Aside,
}

impl Closing {
    /// Waits until no thread is leaving.
    pub(super) fn begin() -> Closing {
        let aside = Aside::step();
        CLOSING.fetch_add(1, SeqCst);
        let begun = Instant::now();
        loop {
            let settled = LEAVING.load(SeqCst) == 0;
            if settled || begun.elapsed() > PATIENCE {
                return Closing { settled, _aside: aside };
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether none is. Else what they may write to must stay mapped.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        CLOSING.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Sender, channel};

    use super::super::env::{EnvSlot, LmdbSync, snapshot};
    use super::*;

    fn opened() -> (tempfile::TempDir, EnvSlot) {
        let dir = tempfile::tempdir().unwrap();
        let (env, _) = EnvSlot::open(dir.path(), 16 << 20, LmdbSync::Never, false).unwrap();
        (dir, env)
    }

    /// Does something when its thread ends.
    struct AtEnd(Option<Box<dyn FnOnce()>>);

    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|act| act());
        }
    }

    thread_local! {
        static AT_END: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) };
    }

    fn at_end(act: impl FnOnce() + 'static) {
        AT_END.with(|it| it.borrow_mut().0 = Some(Box::new(act)));
    }

    static HAS_LEFT: AtomicBool = AtomicBool::new(false);

    extern "C" fn leave_slowly(_: *mut c_void) {
        std::thread::sleep(Duration::from_millis(200));
        HAS_LEFT.store(true, SeqCst);
    }

    #[test]
    fn closing_waits_for_the_destructors_of_a_thread_that_has_read() {
        let (_dir, env) = opened();
        let mut slow = 0;
        // SAFETY: as in `prepare`.
        assert_eq!(unsafe { libc::pthread_key_create(&mut slow, Some(leave_slowly)) }, 0);
        let (leaving, is_leaving): (Sender<()>, _) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Registered before the thread is watched, and so run after that has ended.
                at_end(move || leaving.send(()).unwrap());
                drop(snapshot(&env).unwrap());
                // SAFETY: the key was made above; the value is not dereferenced.
                assert_eq!(unsafe { libc::pthread_setspecific(slow, std::ptr::without_provenance(1)) }, 0);
            });
        });
        is_leaving.recv().unwrap();
        drop(env);
        assert!(HAS_LEFT.load(SeqCst), "the environment was closed under the thread's feet");
    }

    #[test]
    fn threads_can_close_what_they_have_read_when_they_end() {
        let (closed, is_closed) = channel();
        let together = std::sync::Arc::new(std::sync::Barrier::new(2));
        for _ in 0..2 {
            let (opened, closed, together) = (opened(), closed.clone(), together.clone());
            std::thread::spawn(move || {
                // Registered before the thread is watched, and so run after that has ended.
                AT_END.with(|_| ());
                drop(snapshot(&opened.1).unwrap());
                at_end(move || {
                    together.wait();
                    let begun = Instant::now();
                    drop(opened);
                    closed.send(begun.elapsed()).unwrap();
                });
            });
        }
        for _ in 0..2 {
            assert!(is_closed.recv().unwrap() < PATIENCE);
        }
    }

    #[test]
    fn threads_that_end_while_environments_are_closed_do_no_harm() {
        for _ in 0..300 {
            let (_dir, env) = opened();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| drop(snapshot(&env).unwrap()));
                }
            });
            drop(env);
        }
    }
}
