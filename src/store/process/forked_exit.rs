//! How a forked child ends whose parent had RocksDB open.
//!
//! RocksDB joins its background threads when the process exits. In a forked child they do not exist, and joining them
//! crashes it, after all its work. So the exit handlers that it inherited are left out there, as `_exit` does and as Python's
//! `multiprocessing` does by itself: those that the child registered have run by then, and output is flushed.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::Once;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// As `atexit`, with the status; see its manual page. Not in the crate `libc`.
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
extern "C" fn leave(status: c_int, _: *mut c_void) {
    // SAFETY: all of the process's own exit handlers have run. Flushing all streams is what `exit` would do next.
    unsafe {
        libc::fflush(std::ptr::null_mut());
        libc::_exit(status);
    }
}

extern "C" fn in_child() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the handler lives as long as the process. Handlers run last in, first out, so it runs before all that were
    // inherited. If there is no memory for it, the child crashes at its end, as it would have without.
    unsafe {
        on_exit(leave, std::ptr::null_mut());
    }
}

/// Sees to it that children of this process end well. To be called before RocksDB is used.
pub(crate) fn prepare() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler registers another one, which allocates at most; the C library keeps its allocator usable in
        // a child.
        let code = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        if code != 0 {
            tracing::warn!(code, "cannot watch for forks");
        }
    });
}
