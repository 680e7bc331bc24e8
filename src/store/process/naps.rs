//! Naps for tasks, which must not keep a thread: one thread of the process wakes all of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::fork;
use super::per_process::PerProcess;
use crate::sync::{lock, wait_timeout};

/// How long the thread stays when nobody naps.
const LINGER: Duration = Duration::from_secs(2);

static NAPS: PerProcess<Naps> = PerProcess::empty();

#[derive(Default)]
struct Naps {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Who is to be woken, in the order of time; the second number tells apart those of one moment.
    asleep: BTreeMap<(Instant, u64), Waker>,
    begun: u64,
    /// Whether the thread is there.
    runs: bool,
}

impl Naps {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            let later = state.asleep.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut state.asleep, later);
            if !due.is_empty() {
                // Not under the lock: whoever is woken may nap again at once.
                drop(state);
                due.into_values().for_each(Waker::wake);
                state = lock(&self.state);
                continue;
            }
            let rest = state.asleep.first_key_value().map(|((until, _), _)| *until - now);
            state = wait_timeout(&self.changed, state, rest.unwrap_or(LINGER));
            if rest.is_none() && state.asleep.is_empty() {
                state.runs = false;
                return;
            }
        }
    }
}

/// How many tasks nap in this process.
pub(in crate::store) fn napping() -> usize {
    lock(&NAPS.get().state).asleep.len()
}

/// A future that is ready after a while.
pub(in crate::store) fn nap(time: Duration) -> Nap {
    Nap { naps: NAPS.get(), until: Instant::now() + time, place: None, forks: fork::epoch() }
}

pub(in crate::store) struct Nap {
    naps: Arc<Naps>,
    until: Instant,
    place: Option<(Instant, u64)>,
    forks: u64,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.forks != fork::epoch() || Instant::now() >= self.until {
            return Poll::Ready(());
        }
        let naps = self.naps.clone();
        let mut state = lock(&naps.state);
        let place = match self.place {
            Some(place) => place,
            None => {
                state.begun += 1;
                (self.until, state.begun)
            }
        };
        self.place = Some(place);
        state.asleep.insert(place, context.waker().clone());
        if !state.runs {
            let process = naps.clone();
            let thread = std::thread::Builder::new().name("cachemere-naps".into()).stack_size(256 << 10);
            if let Err(error) = thread.spawn(move || process.run()) {
                // Then it is asked again and again, at the cost of the runtime's time.
                tracing::warn!(%error, "cannot start a thread");
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            state.runs = true;
        }
        if state.asleep.first_key_value().is_some_and(|(first, _)| *first == place) {
            naps.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(place) = self.place.take().filter(|_| self.forks == fork::epoch()) {
            lock(&self.naps.state).asleep.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_nap_on_one_thread_and_who_leaves_is_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (since, before) = (Instant::now(), napping());
            let naps: Vec<_> =
                (0..5_000).map(|n| tokio::spawn(nap(Duration::from_millis(20 + n % 50)))).collect();
            for nap in naps {
                nap.await.unwrap();
            }
            let took = since.elapsed();
            assert!(took >= Duration::from_millis(20) && took < Duration::from_secs(10), "{took:?}");
            let mut dropped = Box::pin(nap(Duration::from_secs(1000)));
            let waker = std::task::Waker::noop();
            assert!(dropped.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            assert!(napping() > before);
            drop(dropped);
            assert_eq!(napping(), before);
        });
    }
}
