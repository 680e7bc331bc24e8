//! The C library's calls that can fail, as this test binary has them: one of them does, when it is told to.
//!
//! They take the place of the C library's for LMDB, for Rust's standard library and for the crate, which are all linked
//! into this binary (for tests rustix goes by the C library, too). So nothing has to be compiled or installed for it.
#![allow(unsafe_code)]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each hands its own arguments on to the system call of its name"
)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

use libc::{iovec, mode_t, off_t, size_t, ssize_t};

/// Kinds of calls that fail for reasons of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Open,
    MakeDirectory,
    Truncate,
    Allocate,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
    Map,
    Lock,
}

impl Call {
    pub(crate) const ALL: [Call; 11] = [
        Call::Open,
        Call::MakeDirectory,
        Call::Truncate,
        Call::Allocate,
        Call::Read,
        Call::Write,
        Call::Sync,
        Call::Rename,
        Call::Remove,
        Call::Map,
        Call::Lock,
    ];

    /// What it can fail with.
    pub(crate) fn errors(self) -> &'static [c_int] {
        match self {
            Call::Open => &[libc::EMFILE, libc::ENOSPC, libc::EIO, libc::EINTR],
            Call::MakeDirectory => &[libc::ENOSPC, libc::EIO],
            Call::Truncate => &[libc::EIO, libc::ENOSPC, libc::EINTR],
            Call::Allocate => &[libc::ENOSPC, libc::EIO, libc::EINTR, libc::EOPNOTSUPP],
            Call::Read => &[libc::EIO, libc::EINTR],
            Call::Write => &[libc::ENOSPC, libc::EIO, libc::EINTR],
            Call::Sync => &[libc::EIO, libc::ENOSPC, libc::EINTR],
            Call::Rename => &[libc::EIO, libc::ENOSPC],
            Call::Remove => &[libc::EIO, libc::EACCES],
            Call::Map => &[libc::ENOMEM, libc::EMFILE],
            Call::Lock => &[libc::ENOLCK, libc::EINTR],
        }
    }

    pub(crate) fn of(name: &str) -> Call {
        Call::ALL.into_iter().find(|call| format!("{call:?}") == name).expect("it is the name of one")
    }
}

static IS_ARMED: AtomicBool = AtomicBool::new(false);
static SEEN: [AtomicUsize; Call::ALL.len()] = [const { AtomicUsize::new(0) }; Call::ALL.len()];
static KIND: AtomicUsize = AtomicUsize::new(usize::MAX);
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicUsize = AtomicUsize::new(0);
static ERROR: AtomicI32 = AtomicI32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Which calls are to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// Of the calls of its kind the how manieth, counted from 1; 0 for none.
    pub(crate) number: usize,
    pub(crate) error: c_int,
    /// Whether all that come after it fail as well.
    pub(crate) lasts: bool,
}

/// From now on calls are counted, and fail as told.
pub(crate) fn arm(fault: Fault) {
    KIND.store(fault.call as usize, Ordering::SeqCst);
    FIRST.store(fault.number, Ordering::SeqCst);
    LAST.store(if fault.lasts { usize::MAX } else { fault.number }, Ordering::SeqCst);
    ERROR.store(fault.error, Ordering::SeqCst);
    IS_ARMED.store(true, Ordering::SeqCst);
}

/// From now on all goes well; how many calls have failed, and how many of each kind there were.
pub(crate) fn disarm() -> (u32, [usize; Call::ALL.len()]) {
    IS_ARMED.store(false, Ordering::SeqCst);
    (FAILED.load(Ordering::SeqCst), SEEN.each_ref().map(|seen| seen.load(Ordering::SeqCst)))
}

fn fails(call: Call) -> bool {
    if !IS_ARMED.load(Ordering::SeqCst) {
        return false;
    }
    let number = SEEN[call as usize].fetch_add(1, Ordering::SeqCst) + 1;
    let is_told = KIND.load(Ordering::SeqCst) == call as usize
        && FIRST.load(Ordering::SeqCst) != 0
        && (FIRST.load(Ordering::SeqCst)..=LAST.load(Ordering::SeqCst)).contains(&number);
    if is_told {
        FAILED.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the location is this thread's.
        unsafe { *libc::__errno_location() = ERROR.load(Ordering::SeqCst) };
    }
    is_told
}

fn or<T: From<i8>>(call: Call, done: impl FnOnce() -> T) -> T {
    if fails(call) { T::from(-1) } else { done() }
}

/// A write that meets a full disk has written a part before.
fn written(len: size_t, write: impl Fn(size_t) -> ssize_t) -> ssize_t {
    if !fails(Call::Write) {
        return write(len);
    }
    if ERROR.load(Ordering::SeqCst) == libc::ENOSPC && len > 1 {
        return write(len / 2);
    }
    -1
}

macro_rules! calls {
    ($(fn [$($name:ident),+] $arguments:tt -> $result:ty = $call:expr;)*) => {
        $($(calls!(one $name $arguments $result, $call);)+)*
    };
    (one $name:ident ($($argument:ident: $kind:ty),*) $result:ty, $call:expr) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $kind),*) -> $result {
            $call
        }
    };
}

const HERE: c_int = libc::AT_FDCWD;

calls! {
    fn [open, open64](path: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        or(Call::Open, || unsafe { libc::syscall(libc::SYS_openat, HERE, path, flags, mode) as c_int });
    fn [openat, openat64](dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        or(Call::Open, || unsafe { libc::syscall(libc::SYS_openat, dir, path, flags, mode) as c_int });
    fn [mkdir](path: *const c_char, mode: mode_t) -> c_int =
        or(Call::MakeDirectory, || unsafe { libc::syscall(libc::SYS_mkdirat, HERE, path, mode) as c_int });
    fn [ftruncate, ftruncate64](file: c_int, len: off_t) -> c_int =
        or(Call::Truncate, || unsafe { libc::syscall(libc::SYS_ftruncate, file, len) as c_int });
    fn [fallocate, fallocate64](file: c_int, how: c_int, at: off_t, len: off_t) -> c_int =
        or(Call::Allocate, || unsafe { libc::syscall(libc::SYS_fallocate, file, how, at, len) as c_int });
    fn [read](file: c_int, to: *mut c_void, len: size_t) -> ssize_t = match file {
        0..=2 => unsafe { libc::syscall(libc::SYS_read, file, to, len) as ssize_t },
        _ => or(Call::Read, || unsafe { libc::syscall(libc::SYS_read, file, to, len) as ssize_t }),
    };
    fn [pread, pread64](file: c_int, to: *mut c_void, len: size_t, at: off_t) -> ssize_t =
        or(Call::Read, || unsafe { libc::syscall(libc::SYS_pread64, file, to, len, at) as ssize_t });
    fn [pwrite, pwrite64](file: c_int, from: *const c_void, len: size_t, at: off_t) -> ssize_t =
        written(len, |len| unsafe { libc::syscall(libc::SYS_pwrite64, file, from, len, at) as ssize_t });
    fn [pwritev, pwritev64](file: c_int, from: *const iovec, parts: c_int, at: off_t) -> ssize_t =
        written(parts as size_t, |parts| unsafe {
            libc::syscall(libc::SYS_pwritev, file, from, parts, at, 0usize) as ssize_t
        });
    fn [writev](file: c_int, from: *const iovec, parts: c_int) -> ssize_t =
        written(parts as size_t, |parts| unsafe { libc::syscall(libc::SYS_writev, file, from, parts) as ssize_t });
    fn [fdatasync](file: c_int) -> c_int =
        or(Call::Sync, || unsafe { libc::syscall(libc::SYS_fdatasync, file) as c_int });
    fn [fsync](file: c_int) -> c_int =
        or(Call::Sync, || unsafe { libc::syscall(libc::SYS_fsync, file) as c_int });
    fn [msync](start: *mut c_void, len: size_t, how: c_int) -> c_int =
        or(Call::Sync, || unsafe { libc::syscall(libc::SYS_msync, start, len, how) as c_int });
    fn [sync_file_range](file: c_int, at: off_t, len: off_t, how: c_uint) -> c_int =
        or(Call::Sync, || unsafe { libc::syscall(libc::SYS_sync_file_range, file, at, len, how) as c_int });
    fn [rename](from: *const c_char, to: *const c_char) -> c_int = or(Call::Rename, || unsafe {
        libc::syscall(libc::SYS_renameat2, HERE, from, HERE, to, 0) as c_int
    });
    fn [renameat](from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int =
        or(Call::Rename, || unsafe { libc::syscall(libc::SYS_renameat2, from_dir, from, to_dir, to, 0) as c_int });
    fn [linkat](from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, how: c_int) -> c_int =
        or(Call::Rename, || unsafe { libc::syscall(libc::SYS_linkat, from_dir, from, to_dir, to, how) as c_int });
    fn [unlink](path: *const c_char) -> c_int =
        or(Call::Remove, || unsafe { libc::syscall(libc::SYS_unlinkat, HERE, path, 0) as c_int });
    fn [unlinkat](dir: c_int, path: *const c_char, how: c_int) -> c_int =
        or(Call::Remove, || unsafe { libc::syscall(libc::SYS_unlinkat, dir, path, how) as c_int });
    fn [rmdir](path: *const c_char) -> c_int = or(Call::Remove, || unsafe {
        libc::syscall(libc::SYS_unlinkat, HERE, path, libc::AT_REMOVEDIR) as c_int
    });
    fn [flock](file: c_int, how: c_int) -> c_int =
        or(Call::Lock, || unsafe { libc::syscall(libc::SYS_flock, file, how) as c_int });
}

/// That of standard output is left alone: by it a child says what became of it.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, from: *const c_void, len: size_t) -> ssize_t {
    let done = |len: size_t| unsafe { libc::syscall(libc::SYS_write, file, from, len) as ssize_t };
    if file <= 2 { done(len) } else { written(len, done) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(file: c_int, command: c_int, argument: *mut c_void) -> c_int {
    let done = || unsafe { libc::syscall(libc::SYS_fcntl, file, command, argument) as c_int };
    match command {
        libc::F_OFD_SETLK | libc::F_OFD_SETLKW | libc::F_SETLK | libc::F_SETLKW => or(Call::Lock, done),
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => or(Call::Open, done),
        _ => done(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    near: *mut c_void,
    len: size_t,
    protection: c_int,
    how: c_int,
    file: c_int,
    at: off_t,
) -> *mut c_void {
    let done = || unsafe { libc::syscall(libc::SYS_mmap, near, len, protection, how, file, at) as isize };
    // Memory is none of the store's files.
    let start = if file < 0 { done() } else { or(Call::Map, done) };
    start as *mut c_void
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    near: *mut c_void,
    len: size_t,
    protection: c_int,
    how: c_int,
    file: c_int,
    at: off_t,
) -> *mut c_void {
    unsafe { mmap(near, len, protection, how, file, at) }
}
