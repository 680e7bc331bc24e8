//! Options of a load.

use std::path::PathBuf;

use super::format::{Duplicates, OnError};
use crate::error::{Error, Result};

/// The least memory a load can do with.
const LEAST_BUDGET: usize = 4 << 20;

/// Options of a load, with defaults.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(super) memory_budget: usize,
    pub(super) threads: usize,
    pub(super) duplicates: Duplicates,
    pub(super) on_error: OnError,
    pub(super) directory: PathBuf,
}

impl Options {
    pub(super) fn new(directory: PathBuf) -> Options {
        Options {
            memory_budget: 512 << 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            duplicates: Duplicates::default(),
            on_error: OnError::default(),
            directory,
        }
    }

    /// Bytes of memory for records, 4 MiB or more; what does not fit is spilled to the temporary directory. The
    /// process takes less than twice as much, beside what the sink takes. 512 MiB by default. A record may have an
    /// eighth of it.
    pub fn memory_budget(self, memory_budget: usize) -> Options {
        Options { memory_budget, ..self }
    }

    /// Threads that read, sort and write. As many as the machine has cores by default.
    pub fn threads(self, threads: usize) -> Options {
        Options { threads, ..self }
    }

    /// Which of several records of one key is loaded.
    pub fn duplicates(self, duplicates: Duplicates) -> Options {
        Options { duplicates, ..self }
    }

    /// What becomes of the load when a record is bad.
    pub fn on_error(self, on_error: OnError) -> Options {
        Options { on_error, ..self }
    }

    /// Where the temporary directory is made.
    pub fn directory(self, directory: impl Into<PathBuf>) -> Options {
        Options { directory: directory.into(), ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.memory_budget < LEAST_BUDGET {
            return Err(Error::invalid("memory_budget", format!("it must be {LEAST_BUDGET} bytes or more")));
        }
        match self.threads {
            1..=1024 => Ok(()),
            _ => Err(Error::invalid("threads", "it must be from 1 to 1024")),
        }
    }
}
