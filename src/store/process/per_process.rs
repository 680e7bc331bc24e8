//! What a process has one of, and a forked child makes anew: it has none of its parent's threads, and the locks that those
//! held stay taken for ever.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::fork;

pub(crate) struct PerProcess<T>(ArcSwapOption<Made<T>>);

struct Made<T> {
    it: Arc<T>,
    forks: u64,
}

impl<T: Default> PerProcess<T> {
    pub(crate) const fn empty() -> PerProcess<T> {
        PerProcess(ArcSwapOption::const_empty())
    }

    /// That of this very process. One that was inherited is left behind, with what its locks may have been in.
    pub(crate) fn get(&self) -> Arc<T> {
        loop {
            let present = self.0.load();
            if let Some(present) = present.as_ref().filter(|present| present.forks == fork::epoch()) {
                return present.it.clone();
            }
            let made = Arc::new(Made { it: Arc::default(), forks: fork::epoch() });
            // Leaked, since what it holds is another process's.
            std::mem::forget((*present).clone());
            self.0.compare_and_swap(&present, Some(made));
        }
    }
}
