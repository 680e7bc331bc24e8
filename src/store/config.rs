//! What a store is opened with in this process.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::backend::BackendKind;
use super::unlocked::Unlocked;
use crate::clock::ClockSource;
use crate::pipeline::Cipher;
use crate::secret::Secret;

/// When a write is safe from a power loss. A killed process loses nothing either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// At the next checkpoint: one is made an interval (1 s unless set) after something was written, and at close.
    /// A power loss brings the store back exactly as it was at the last checkpoint.
    #[default]
    Checkpoint,
    /// When the write returns. Writers that wait at the same time share one sync of the disk. A write that fails while
    /// syncing is visible but may be lost by a power loss.
    Sync,
}

/// Who does the work that is due from time to time: checkpoints, removing expired entries, writing access times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Maintenance {
    /// A background thread, started with the first write, or at open if anything can expire.
    #[default]
    Background,
    /// Whoever writes, after the write, when it is due. Nothing is done while nobody writes.
    Inline,
    /// Only explicit calls of `sweep`, `checkpoint` and `close`.
    Manual,
}

/// The options that concern a store as a whole. All handles of one store in a process share them.
pub(crate) struct Config {
    pub(crate) backend: BackendKind,
    pub(crate) durability: Durability,
    pub(crate) maintenance: Maintenance,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) map_size: usize,
    pub(crate) clock: ClockSource,
    pub(crate) cipher: Arc<dyn Cipher>,
}

/// What one `open` asks for; `None` is "whatever it has", or the default for a new store.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) path: PathBuf,
    /// In a directory of its own, instead of the path, that goes with the last handle.
    pub(crate) is_temporary: bool,
    pub(crate) backend: Option<BackendKind>,
    pub(crate) secret: Option<Secret>,
    /// What an open handle was let in by: as good as the secret while the store is open with it.
    pub(crate) beside: Option<Weak<Unlocked>>,
    pub(crate) cipher: Option<Arc<dyn Cipher>>,
    pub(crate) durability: Option<Durability>,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) checkpoint_interval: Option<Duration>,
    pub(crate) map_size: Option<usize>,
    /// `Some(None)`: no limit, even if one is recorded.
    pub(crate) max_bytes: Option<Option<u64>>,
    pub(crate) read_only: bool,
    /// To read where this process may not write, though it asked to.
    pub(crate) read_only_if_unwritable: bool,
    pub(crate) clock: Option<ClockSource>,
    pub(crate) allow_unsupported_file_system: bool,
    pub(crate) allow_foreign_owner: bool,
}

impl Request {
    /// Whether it comes from a handle of what is open.
    pub(super) fn is_beside(&self, open: &Arc<Unlocked>) -> bool {
        self.beside.as_ref().is_some_and(|beside| Weak::as_ptr(beside) == Arc::as_ptr(open))
    }

    pub(crate) const MAP_SIZE: usize = if cfg!(target_pointer_width = "64") { 64 << 30 } else { 1 << 30 };
    pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
}
