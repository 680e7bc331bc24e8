//! The C library's calls that change what a disk holds, as this test binary has them: the recorder is asked before and after
//! each. What is said to be synced is not brought anywhere: the recorder keeps the disk.
//!
//! A hole that is punched is a write of zeros, which a power loss can undo as any other.
//!
//! They take the place of the C library's for LMDB, for Rust's standard library and for the crate, which are all linked
//! into this binary.
#![allow(unsafe_code)]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each hands its own arguments on to the system call of its name"
)]

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::{iovec, mode_t, off_t, size_t, ssize_t};

use super::wire::{FAIL, Kind, Request, ask};

static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Where files are mapped.
static MAPS: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());

/// From now on this process asks before it touches a file.
pub(crate) fn activate() {
    ACTIVE.store(true, Ordering::SeqCst);
}

/// The thread for which the disk is full when it next asks for room.
static FULL_FOR: AtomicI32 = AtomicI32::new(0);

fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// The next time that this thread asks for room there is none.
pub(crate) fn fill() {
    FULL_FOR.store(this_thread(), Ordering::SeqCst);
}

fn is_full() -> bool {
    let is_full = FULL_FOR.compare_exchange(this_thread(), 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if is_full {
        // SAFETY: the location is this thread's.
        unsafe { *libc::__errno_location() = libc::ENOSPC };
    }
    is_full
}

fn is_active() -> bool {
    ACTIVE.load(Ordering::SeqCst)
}

fn tell(kind: Kind, file: u64, at: u64, len: u64) -> String {
    ask(&Request { kind, file, at, len, text: String::new() })
}

/// Syncs a range of a file, if the recorder lets it succeed.
fn asked_to_sync(kind: Kind, file: u64, len: u64) -> c_int {
    tell(Kind::Before, file, 0, 0);
    if tell(kind, file, 0, len) == FAIL {
        // SAFETY: the location is this thread's.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    tell(Kind::After, file, 0, 0);
    0
}

/// The file's number, and whether it is a directory.
fn file_of(fd: c_int) -> (u64, bool) {
    // SAFETY: the structure is plain numbers.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is ours.
    unsafe { libc::fstat(fd, &raw mut found) };
    (found.st_ino, found.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

fn writing(fd: c_int, at: off_t, write: impl FnOnce() -> ssize_t) -> ssize_t {
    changing(Kind::Wrote, fd, at, write)
}

fn changing(kind: Kind, fd: c_int, at: off_t, write: impl FnOnce() -> ssize_t) -> ssize_t {
    if !is_active() {
        return write();
    }
    let (file, _) = file_of(fd);
    tell(Kind::Before, file, 0, 0);
    let written = write();
    if written > 0 {
        tell(kind, file, at as u64, written as u64);
    }
    written
}

fn syncing(fd: c_int, sync: impl FnOnce() -> c_int) -> c_int {
    if !is_active() {
        return sync();
    }
    let (file, is_directory) = file_of(fd);
    asked_to_sync(if is_directory { Kind::SyncDirectory } else { Kind::Sync }, file, u64::MAX)
}

fn naming(change: impl FnOnce() -> c_int) -> c_int {
    if !is_active() {
        return change();
    }
    tell(Kind::Before, 0, 0, 0);
    let done = change();
    tell(Kind::After, 0, 0, 0);
    done
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, len: size_t, at: off_t) -> ssize_t {
    writing(fd, at, || unsafe { libc::syscall(libc::SYS_pwrite64, fd, from, len, at) as ssize_t })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, from: *const c_void, len: size_t, at: off_t) -> ssize_t {
    writing(fd, at, || unsafe { libc::syscall(libc::SYS_pwrite64, fd, from, len, at) as ssize_t })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(fd: c_int, from: *const iovec, parts: c_int, at: off_t) -> ssize_t {
    writing(fd, at, || unsafe { libc::syscall(libc::SYS_pwritev, fd, from, parts, at, 0usize) as ssize_t })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64(fd: c_int, from: *const iovec, parts: c_int, at: off_t) -> ssize_t {
    writing(fd, at, || unsafe { libc::syscall(libc::SYS_pwritev, fd, from, parts, at, 0usize) as ssize_t })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, from: *const iovec, parts: c_int) -> ssize_t {
    let write = || unsafe { libc::syscall(libc::SYS_writev, fd, from, parts) as ssize_t };
    if fd <= 2 {
        return write();
    }
    let at = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    writing(fd, at, write)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate(fd: c_int, how: c_int, at: off_t, len: off_t) -> c_int {
    let is_hole = how & libc::FALLOC_FL_PUNCH_HOLE != 0;
    if !is_hole && is_full() {
        return -1;
    }
    let done = || unsafe { libc::syscall(libc::SYS_fallocate, fd, how, at, len) as ssize_t };
    if !is_hole {
        return done() as c_int;
    }
    // Its length is what was written if it succeeds.
    match changing(Kind::Punched, fd, at, || if done() == 0 { len as ssize_t } else { -1 }) {
        -1 => -1,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    if is_full() {
        return -1;
    }
    unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate64(fd: c_int, how: c_int, at: off_t, len: off_t) -> c_int {
    unsafe { fallocate(fd, how, at, len) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    syncing(fd, || unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    syncing(fd, || unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn msync(start: *mut c_void, len: size_t, flags: c_int) -> c_int {
    if !is_active() {
        return unsafe { libc::syscall(libc::SYS_msync, start, len, flags) as c_int };
    }
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    let file = maps.iter().rev().find(|(at, _)| *at == start as usize).map(|(_, file)| *file);
    drop(maps);
    asked_to_sync(Kind::Sync, file.expect("only what was mapped is synced"), len as u64)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    near: *mut c_void,
    len: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: off_t,
) -> *mut c_void {
    let start = unsafe { libc::syscall(libc::SYS_mmap, near, len, protection, flags, fd, at) };
    if is_active() && fd >= 0 && start != -1 {
        let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
        maps.retain(|(at, _)| *at != start as usize);
        maps.push((start as usize, file_of(fd).0));
    }
    start as *mut c_void
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    near: *mut c_void,
    len: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: off_t,
) -> *mut c_void {
    unsafe { mmap(near, len, protection, flags, fd, at) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    naming(|| unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    naming(|| unsafe { libc::syscall(libc::SYS_unlinkat, dir, path, flags) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    naming(|| unsafe {
        libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) as c_int
    })
}
