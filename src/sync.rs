//! Mutexes that go on after a panic: each protected state is changed in one step, so a panic leaves it whole.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::waiting::Pauses;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> MutexGuard<'a, T> {
    condition.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
}

/// A mutex that is held by threads which may wait for other processes. So who waits for it hears of signals.
#[derive(Default)]
pub(crate) struct SlowMutex {
    state: Mutex<Taken>,
    given_back: Condvar,
}

#[derive(Default)]
struct Taken {
    is_taken: bool,
    waiting: u32,
}

#[must_use]
pub(crate) struct SlowGuard<'a>(&'a SlowMutex);

impl SlowMutex {
    /// Waits for it, for as long as the present holder needs: whatever that one waits for has a limit.
    pub(crate) fn take(&self, store: &Path) -> Result<SlowGuard<'_>> {
        const NAP: Duration = Duration::from_millis(20);
        let mut state = lock(&self.state);
        if state.is_taken {
            let pauses = Pauses::begin();
            state.waiting += 1;
            while state.is_taken {
                state = wait_timeout(&self.given_back, state, NAP);
                if state.is_taken {
                    // Not under the mutex: a handler of signals may use the store.
                    drop(state);
                    let asked = pauses.ask(store);
                    state = lock(&self.state);
                    if let Err(error) = asked {
                        state.waiting -= 1;
                        // It may have been woken for nothing.
                        self.given_back.notify_one();
                        return Err(error);
                    }
                }
            }
            state.waiting -= 1;
        }
        state.is_taken = true;
        Ok(SlowGuard(self))
    }

    /// Takes it if nobody has it.
    pub(crate) fn try_take(&self) -> Option<SlowGuard<'_>> {
        let mut state = lock(&self.state);
        (!std::mem::replace(&mut state.is_taken, true)).then(|| SlowGuard(self))
    }
}

impl Drop for SlowGuard<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.is_taken = false;
        if state.waiting > 0 {
            drop(state);
            self.0.given_back.notify_one();
        }
    }
}
