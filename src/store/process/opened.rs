//! Files whose descriptors carry locks.
//!
//! A forked child closes its copies at once: as long as one is open, the locks of a parent that has died would pass for
//! those of somebody alive.
#![allow(unsafe_code)]

use std::fs::File;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use super::fork;
use crate::error::{Error, Result};

/// The descriptors that a forked child closes. -1 where there is none.
static OPENED: [AtomicI32; 2048] = [const { AtomicI32::new(-1) }; 2048];

/// Closes what a forked child has inherited. Touches atomics and closes descriptors, which is all that may be done there.
pub(in crate::store) fn close_inherited() {
    for opened in &OPENED {
        let descriptor = opened.swap(-1, Ordering::Relaxed);
        if descriptor >= 0 {
            // SAFETY: its owner knows that it is of the parent process, and does not close it again.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// An open file of this process. Not to be used in a child that inherited it.
#[derive(Debug)]
pub(crate) struct Opened {
    file: ManuallyDrop<File>,
    forks: u64,
}

impl Opened {
    pub(crate) fn new(file: File) -> Result<Opened> {
        let mine = file.as_raw_fd();
        let is_free = |opened: &&AtomicI32| {
            opened.compare_exchange(-1, mine, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        match OPENED.iter().find(is_free) {
            Some(_) => Ok(Opened { file: ManuallyDrop::new(file), forks: fork::epoch() }),
            None => {
                let reason = "this process has as many stores open as it can; close some";
                Err(Error::invalid("number of open stores", reason))
            }
        }
    }
}

impl Deref for Opened {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.forks != fork::epoch() {
            // Closed already, and its number may be another file's.
            return;
        }
        let mine = self.file.as_raw_fd();
        let is_mine = |opened: &&AtomicI32| {
            opened.compare_exchange(mine, -1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        OPENED.iter().find(is_mine);
        // SAFETY: the last use of the file.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}
