//! What belongs to a process: forks, files that do not outlive them, threads.

pub(in crate::store) mod disk_threads;
pub(in crate::store) mod fork;
#[cfg(feature = "rocksdb")]
pub(crate) mod forked_exit;
pub(in crate::store) mod naps;
pub(in crate::store) mod opened;
pub(in crate::store) mod per_process;
