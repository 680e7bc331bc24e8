//! What a handle has for one opened environment: made at first use, and anew when the environment was.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::store::fork_epoch;

pub(crate) struct PerEnvironment<T>(ArcSwapOption<Made<T>>);

/// What was made, with where.
pub(crate) struct Made<T> {
    it: T,
    /// Another environment counts its transactions anew.
    pub(crate) environment: u64,
    forks: u64,
}

/// What was made for the present environment.
pub(crate) struct Present<T>(Guard<Option<Arc<Made<T>>>>);

impl<T> Made<T> {
    pub(crate) fn new(environment: u64, it: T) -> Made<T> {
        Made { it, environment, forks: fork_epoch() }
    }

    /// Whether it was made in this process. That of a parent process must not be touched: threads that do not exist
    /// here can hold its locks for ever.
    pub(crate) fn is_own(&self) -> bool {
        self.forks == fork_epoch()
    }
}

impl<T> PerEnvironment<T> {
    pub(crate) fn empty() -> PerEnvironment<T> {
        PerEnvironment(ArcSwapOption::empty())
    }

    pub(crate) fn get(&self, environment: u64, make: impl FnOnce() -> T) -> Present<T> {
        let present = self.0.load();
        if present.as_ref().is_some_and(|made| made.environment == environment) {
            return Present(present);
        }
        let old = self.0.compare_and_swap(&present, Some(Arc::new(Made::new(environment, make()))));
        if let Some(old) = Guard::into_inner(old).filter(|old| !old.is_own()) {
            std::mem::forget(old);
        }
        Present(self.0.load())
    }

    /// Uses what there is, if it was made in this process.
    pub(crate) fn with_own<R>(&self, use_it: impl FnOnce(&T) -> R) -> Option<R> {
        let present = self.0.load();
        present.as_ref().filter(|made| made.is_own()).map(|made| use_it(made))
    }
}

impl<T> Deref for Made<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.it
    }
}

impl<T> Deref for Present<T> {
    type Target = Arc<Made<T>>;

    fn deref(&self) -> &Arc<Made<T>> {
        match &*self.0 {
            Some(made) => made,
            None => unreachable!("what was made is only ever replaced by another"),
        }
    }
}
