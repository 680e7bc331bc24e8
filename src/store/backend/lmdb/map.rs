//! A file mapped into memory: the one place where memory that other processes change is touched.
//!
//! What is mapped is never an ordinary `&mut`: words that processes change under each other's eyes are atomics, and bytes
//! are lent as `&[u8]` only where the protocol of the log says that nobody writes to them any more.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::error::{Error, Result};

/// How a file is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Writes are seen by all who map the file.
    Shared,
    /// For looking only.
    ReadOnly,
    /// Writes stay in this process's memory: for files that cannot be written.
    Private,
}

/// A mapping of the first bytes of a file, for as long as it lives. The file itself may be closed or unlinked.
pub(super) struct Map {
    start: NonNull<u8>,
    len: usize,
    mode: Mode,
}

// SAFETY: the mapping belongs to no thread. Words are reached as atomics; bytes are written through `write`, whose caller
// holds the append lock or has the only mapping, and lent only once they do not change any more.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes. The caller has made sure that the file is that long: touching a page behind the end of
    /// a file kills the process.
    pub(super) fn new(file: &File, len: usize, mode: Mode) -> Result<Map> {
        let (protection, flags) = match mode {
            Mode::Shared => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
            Mode::ReadOnly => (libc::PROT_READ, libc::MAP_SHARED),
            Mode::Private => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0) };
        let failed = || Error::io("mapping a file of the store", io::Error::last_os_error());
        if start == libc::MAP_FAILED {
            return Err(failed());
        }
        let start = NonNull::new(start.cast()).ok_or_else(failed)?;
        Ok(Map { start, len, mode })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Has a part of it in this process's memory, ready to be written to. Changes no byte. Where the kernel does not know
    /// how, each page is touched when it is first needed.
    pub(super) fn touch(&self, at: usize, len: usize) {
        #[cfg(not(target_os = "linux"))]
        let _ = (at, len);
        #[cfg(target_os = "linux")]
        {
            const PAGE: usize = 4096;
            let from = (at / PAGE * PAGE).min(self.len);
            let to = at.saturating_add(len).min(self.len);
            // SAFETY: the range is mapped, and what is in it stays as it is.
            unsafe {
                let start = self.start.as_ptr().add(from).cast();
                libc::madvise(start, to.saturating_sub(from), libc::MADV_POPULATE_WRITE);
            }
        }
    }

    /// The word of 64 bits at `at`, a multiple of 8 within the map.
    #[inline]
    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len, "a word outside its map");
        // SAFETY: in bounds and aligned (maps begin at a page), and mapped for as long as `self`. A read-only map is only
        // loaded from.
        unsafe { &*self.start.as_ptr().add(at).cast::<AtomicU64>() }
    }

    /// The word of 32 bits at `at`, a multiple of 4 within the map.
    #[inline]
    pub(super) fn half_word(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.len, "a word outside its map");
        // SAFETY: as in `word`.
        unsafe { &*self.start.as_ptr().add(at).cast::<AtomicU32>() }
    }

    /// Bytes that nobody writes to any more; `None` where they are not all in the map.
    #[inline]
    pub(super) fn bytes(&self, at: usize, len: usize) -> Option<&[u8]> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: in bounds, and mapped for as long as `self`. That the bytes do not change is the log's first rule: what
        // has been appended is never overwritten. (A file that its owner overwrites by other means is not covered.)
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at), len) })
    }

    /// The four bytes at `at` as a number of the machine's byte order, wherever they lie.
    #[inline]
    pub(super) fn number(&self, at: usize) -> Option<u32> {
        self.bytes(at, 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Writes bytes that are lent to nobody: behind the tail, with the append lock held, or before the file is known to
    /// others. Outside the map, or in a read-only one, it panics.
    #[inline]
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len && self.mode != Mode::ReadOnly, "a write outside its map");
        // SAFETY: in bounds of a writable mapping; the caller keeps the promise above, so no reference covers the bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(at), bytes.len()) };
    }

    /// Sets bytes to zero, as [`write`](Self::write) would.
    pub(super) fn clear(&self, at: usize, len: usize) {
        assert!(at + len <= self.len && self.mode != Mode::ReadOnly, "a write outside its map");
        // SAFETY: as in `write`.
        unsafe { std::ptr::write_bytes(self.start.as_ptr().add(at), 0, len) };
    }

    /// Returns when the first `len` bytes are on the disk. Works for a file that is closed or unlinked, too.
    pub(super) fn sync(&self, len: usize) -> io::Result<()> {
        let len = len.min(self.len);
        // SAFETY: the range is mapped.
        match unsafe { libc::msync(self.start.as_ptr().cast(), len, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nothing that was lent outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
