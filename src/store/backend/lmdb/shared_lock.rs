//! A lock among the processes that have a store open, in a word of the control file.
//!
//! It holds the slot of its holder, and whether a slot's process lives is told by a lock of the kernel's on a byte: no
//! process id plays a part, so containers that count their processes for themselves can share a store. Whoever waits
//! looks again every 20 ms, and takes the lock over from a dead holder. So a wake-up that is lost with a killed process
//! costs the others that long, and no more. (A robust mutex of the C library's does not do that: a waiter that is killed
//! just after it was woken leaves the others asleep, and its owners are told apart by ids that repeat in containers.)
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::control::Control;
use crate::error::{Error, Result};
use crate::sync::{SlowGuard, SlowMutex};

/// Somebody may be asleep.
const WAITERS: u32 = 1 << 31;
/// Held by a slot whose process is dead, and which another one has taken since.
const ORPHANED: u32 = WAITERS - 1;
/// What is held with the lock takes some microseconds.
const SPINS: u32 = 200;
const NAP: Duration = Duration::from_millis(20);
/// When the log tells who is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// When a wait is given up: the holder is alive but does not go on, most likely stopped.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    /// Under which records are appended to the log.
    Append,
    /// Under which LMDB is written. Taken before the append lock by whoever takes both.
    Gate,
    /// Of who makes room for a large entry under a limit. Taken before the others.
    Room,
}

/// One of the two locks, as this process knows it: its threads exclude each other by a mutex of their own.
pub(super) struct SharedLock {
    which: Which,
    local: SlowMutex,
}

pub(crate) struct SharedGuard<'a> {
    word: &'a AtomicU32,
    _local: SlowGuard<'a>,
}

impl SharedLock {
    pub(super) fn new(which: Which) -> SharedLock {
        SharedLock { which, local: SlowMutex::default() }
    }

    fn word<'a>(&self, control: &'a Control) -> &'a AtomicU32 {
        match self.which {
            Which::Append => control.append_lock(),
            Which::Gate => control.gate(),
            Which::Room => control.room_lock(),
        }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when its holder lives and does not let go of it for a minute.
    pub(super) fn lock<'a>(&'a self, control: &'a Control) -> Result<SharedGuard<'a>> {
        let local = self.local.take(control.dir())?;
        let word = self.word(control);
        if word.compare_exchange(0, control.slot() as u32 + 1, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            wait(word, control, self.which)?;
        }
        Ok(SharedGuard { word, _local: local })
    }

    /// Takes the lock if nobody alive has it.
    pub(super) fn try_lock<'a>(&'a self, control: &'a Control) -> Result<Option<SharedGuard<'a>>> {
        let Some(local) = self.local.try_take() else { return Ok(None) };
        let word = self.word(control);
        let me = control.slot() as u32 + 1;
        loop {
            let seen = word.load(Ordering::Relaxed);
            let taken = match seen & !WAITERS {
                0 | ORPHANED => {
                    let mine = me | seen & WAITERS;
                    word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
                }
                holder => match take_over(word, control, holder, me)? {
                    true => true,
                    false => return Ok(None),
                },
            };
            if taken {
                return Ok(Some(SharedGuard { word, _local: local }));
            }
        }
    }
}

impl Drop for SharedGuard<'_> {
    fn drop(&mut self) {
        if self.word.swap(0, Ordering::Release) & WAITERS != 0 {
            super::fault::point("a lock is given back and nobody woken");
            wake_one(self.word);
        }
    }
}

/// Marks the lock as left behind if it was held by the former owner of a slot. The caller has just taken the slot.
pub(super) fn orphan(word: &AtomicU32, slot: usize) {
    loop {
        let seen = word.load(Ordering::Relaxed);
        if seen & !WAITERS != slot as u32 + 1 {
            return;
        }
        // Fails when a waiter says meanwhile that it will sleep.
        if word.compare_exchange(seen, ORPHANED | WAITERS, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

#[cold]
fn wait(word: &AtomicU32, control: &Control, which: Which) -> Result<()> {
    let me = control.slot() as u32 + 1;
    let mut spins = 0;
    let mut since: Option<Instant> = None;
    let mut told = false;
    loop {
        let seen = word.load(Ordering::Relaxed);
        let holder = seen & !WAITERS;
        if holder == 0 || holder == ORPHANED {
            // Others may sleep, also those that a dead process was to wake.
            let mine = if since.is_some() { me | WAITERS } else { me | seen & WAITERS };
            if word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
            continue;
        }
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
            continue;
        }
        let begun = *since.get_or_insert_with(Instant::now);
        if seen & WAITERS == 0
            && word.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            continue;
        }
        sleep_while(word, holder | WAITERS, NAP);
        super::fault::point("a lock was waited for");
        crate::waiting::go_on_waiting()?;
        if word.load(Ordering::Relaxed) & !WAITERS != holder {
            continue;
        }
        if take_over(word, control, holder, me)? {
            return Ok(());
        }
        let process = control.process_of(holder as usize - 1);
        let what = match which {
            Which::Append => "the lock for writing",
            Which::Gate => "the lock for moving the log into the data file",
            Which::Room => "the lock for making room for large entries",
        };
        if begun.elapsed() > LIMIT {
            let detail = format!(
                "process {process} has held {what} for a minute and lives; it may be stopped: let it go on, or end it"
            );
            return Err(Error::Busy { path: control.dir().to_owned(), detail: detail.into() });
        }
        if !told && begun.elapsed() > PATIENCE {
            told = true;
            tracing::warn!(process, store = %control.dir().display(), "waiting for a process that holds {what}");
        }
    }
}

/// Takes the lock from a holder that is dead. While its byte is locked nobody else can be the holder under its number.
fn take_over(word: &AtomicU32, control: &Control, holder: u32, me: u32) -> Result<bool> {
    let taken = control.if_dead(holder as usize - 1, || {
        let seen = word.load(Ordering::Relaxed);
        seen & !WAITERS == holder
            && word.compare_exchange(seen, me | WAITERS, Ordering::Acquire, Ordering::Relaxed).is_ok()
    })?;
    Ok(taken.unwrap_or(false))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn sleep_while(word: &AtomicU32, value: u32, most: Duration) {
    let most = libc::timespec { tv_sec: 0, tv_nsec: most.subsec_nanos().into() };
    // SAFETY: the word is mapped and aligned; the kernel only looks at it. Without FUTEX_PRIVATE_FLAG, as the word is
    // shared with other processes. Every outcome (woken, changed, timed out, a signal) means: look again.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const most);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn wake_one(word: &AtomicU32) {
    // SAFETY: as above.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn sleep_while(word: &AtomicU32, value: u32, _most: Duration) {
    if word.load(Ordering::Relaxed) == value {
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn wake_one(_word: &AtomicU32) {}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::store::directory::locks::LockFile;
    use crate::store::directory::store_dir::StoreDir;

    /// Far more than a nap, and far less than the patience of who waits for somebody that lives.
    const AT_ONCE: Duration = Duration::from_secs(1);

    /// A process, as far as the control file can tell.
    struct Process {
        control: Control,
        append: SharedLock,
        gate: SharedLock,
    }

    impl Process {
        fn start(dir: &Path, is_first: bool) -> Process {
            let dir = Arc::new(StoreDir::open(dir).unwrap());
            let control = Control::attach(LockFile::open(&dir, None, true).unwrap(), is_first).unwrap();
            control.set_ready();
            let [append, gate] = [Which::Append, Which::Gate].map(SharedLock::new);
            Process { control, append, gate }
        }

        fn lock(&self) -> SharedGuard<'_> {
            self.append.lock(&self.control).unwrap()
        }

        /// Ends with both locks held, as by a kill.
        fn die_with_locks(self) {
            std::mem::forget(self.append.lock(&self.control).unwrap());
            std::mem::forget(self.gate.lock(&self.control).unwrap());
        }
    }

    #[test]
    fn one_holds_the_lock_and_all_who_wait_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Process::start(dir.path(), true);
        let others: Vec<Process> = (0..3).map(|_| Process::start(dir.path(), false)).collect();
        let (held, count) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for process in [&first].into_iter().chain(&others) {
                // Threads of one process exclude each other, too.
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            let _guard = process.lock();
                            assert!(!held.swap(true, Ordering::SeqCst));
                            count.fetch_add(1, Ordering::SeqCst);
                            held.store(false, Ordering::SeqCst);
                        }
                    });
                }
            }
        });
        assert_eq!(count.into_inner(), 4000);
        assert_eq!(first.control.append_lock().load(Ordering::SeqCst) & !WAITERS, 0);
    }

    #[test]
    fn the_lock_is_taken_over_from_a_dead_holder_while_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        let first = Process::start(dir.path(), true);
        let others: Vec<Process> = (0..3).map(|_| Process::start(dir.path(), false)).collect();
        std::mem::forget(first.lock());
        std::thread::scope(|scope| {
            let waiting: Vec<_> = others
                .iter()
                .map(|process| {
                    scope.spawn(|| {
                        drop(process.lock());
                        Instant::now()
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(60));
            assert!(others.iter().all(|process| process.gate.try_lock(&process.control).unwrap().is_some()));
            assert!(waiting.iter().all(|thread| !thread.is_finished()));
            let died = Instant::now();
            drop(first);
            for thread in waiting {
                assert!(thread.join().unwrap() - died < AT_ONCE);
            }
        });
    }

    #[test]
    fn a_wake_up_that_nobody_got_costs_a_nap() {
        let dir = tempfile::tempdir().unwrap();
        let first = Process::start(dir.path(), true);
        let other = Process::start(dir.path(), false);
        std::mem::forget(first.lock());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                drop(other.lock());
                Instant::now()
            });
            std::thread::sleep(Duration::from_millis(60));
            let released = Instant::now();
            // Whoever was woken was killed then.
            first.control.append_lock().store(0, Ordering::SeqCst);
            assert!(waiting.join().unwrap() - released < AT_ONCE);
        });
    }

    #[test]
    fn nobody_passes_for_the_holder_who_had_its_slot_before() {
        let dir = tempfile::tempdir().unwrap();
        let first = Process::start(dir.path(), true);
        let second = Process::start(dir.path(), false);
        let slot = second.control.slot();
        second.die_with_locks();
        let third = Process::start(dir.path(), false);
        assert_eq!(third.control.slot(), slot);
        for word in [third.control.append_lock(), third.control.gate()] {
            assert_eq!(word.load(Ordering::SeqCst), ORPHANED | WAITERS);
        }
        let guard = third.lock();
        assert!(first.append.try_lock(&first.control).unwrap().is_none());
        assert!(first.gate.try_lock(&first.control).unwrap().is_some());
        drop(guard);
        assert!(first.append.try_lock(&first.control).unwrap().is_some());
    }

    #[test]
    fn a_lock_is_marked_as_left_behind_beside_those_who_go_to_sleep() {
        let (word, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for (seen, said) in [(8, 8 | WAITERS), (8 | WAITERS, 8)] {
                        let _ = word.compare_exchange(seen, said, Ordering::Relaxed, Ordering::Relaxed);
                    }
                }
            });
            let (begun, mut unmarked) = (Instant::now(), 0);
            while begun.elapsed() < Duration::from_millis(200) {
                word.store(8, Ordering::SeqCst);
                orphan(&word, 7);
                unmarked += u32::from(word.load(Ordering::SeqCst) != ORPHANED | WAITERS);
            }
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(unmarked, 0);
        });
        word.store(8, Ordering::SeqCst);
        orphan(&word, 6);
        assert_eq!(word.load(Ordering::SeqCst), 8);
    }
}
