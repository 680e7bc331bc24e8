//! The few threads of a store on which the work of tasks waits for the disk.
//!
//! Of our own, not of a runtime: its threads can all be taken by what waits for this store.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::sync::{lock, wait_timeout};

/// How many threads there are at most: more only wait for each other.
const MOST: usize = 4;
/// How long a thread stays when there is nothing to do.
const LINGER: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct DiskThreads {
    state: Mutex<State>,
    added: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// Whether what nobody waits for any more is done all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abandoned {
    IsDone,
    IsNotBegun,
}

thread_local! {
    static IS_ONE: Cell<bool> = const { Cell::new(false) };
}

impl DiskThreads {
    /// Does `work` on one of the threads, and goes on with what comes of it, also a panic.
    pub(crate) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        abandoned: Abandoned,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if IS_ONE.get() {
            // What runs here waits for a future of ours: all others may do so too.
            return work();
        }
        let (sender, receiver) = oneshot::channel();
        self.add(Box::new(move || {
            if abandoned == Abandoned::IsNotBegun && sender.is_canceled() {
                return;
            }
            // Nobody may listen any more.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        }))?;
        match receiver.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(oneshot::Canceled) => Err(Error::Closed),
        }
    }

    fn add(self: &Arc<Self>, job: Job) -> Result<()> {
        let mut state = lock(&self.state);
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.threads < MOST {
            let threads = self.clone();
            let thread = std::thread::Builder::new().name("cachemere-disk".into());
            match thread.spawn(move || threads.work()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    state.jobs.pop_back();
                    return Err(Error::io("starting a thread", error));
                }
                Err(error) => tracing::warn!(%error, "cannot start another thread"),
            }
        }
        drop(state);
        self.added.notify_one();
        Ok(())
    }

    fn work(&self) {
        IS_ONE.set(true);
        let (mut state, mut worked) = (lock(&self.state), Instant::now());
        while worked.elapsed() < LINGER {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                (state, worked) = (lock(&self.state), Instant::now());
                continue;
            }
            state.idle += 1;
            state = wait_timeout(&self.added, state, LINGER.saturating_sub(worked.elapsed()));
            state.idle -= 1;
        }
        // A job that came at the last moment starts another.
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn thousands_of_jobs_are_done_by_a_few_threads() {
        let threads = Arc::new(DiskThreads::default());
        let done = Arc::new(AtomicUsize::new(0));
        block_on(async {
            let jobs: Vec<_> = (0..5_000)
                .map(|n| {
                    let done = done.clone();
                    let work = move || {
                        done.fetch_add(1, Ordering::Relaxed);
                        Ok(n)
                    };
                    tokio::spawn(threads.clone().run(Abandoned::IsDone, work))
                })
                .collect();
            for (n, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.await.unwrap().unwrap(), n);
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), 5_000);
        assert!(lock(&threads.state).threads <= MOST);
    }

    #[test]
    fn a_panic_goes_to_who_waits_and_the_threads_go_on() {
        let threads = Arc::new(DiskThreads::default());
        let panics = || resume_unwind(Box::new("as a serializer might"));
        for _ in 0..2 * MOST {
            let run =
                std::panic::catch_unwind(|| block_on(threads.clone().run::<()>(Abandoned::IsDone, panics)));
            assert!(run.is_err());
        }
        assert_eq!(block_on(threads.clone().run(Abandoned::IsDone, || Ok(7))).unwrap(), 7);
    }

    #[test]
    fn work_that_waits_for_such_work_does_it_itself() {
        let threads = Arc::new(DiskThreads::default());
        let inner = threads.clone();
        let work = move || {
            let all = (0..2 * MOST).map(|_| block_on(inner.clone().run(Abandoned::IsDone, || Ok(1))));
            all.sum::<Result<usize>>()
        };
        assert_eq!(block_on(threads.run(Abandoned::IsDone, work)).unwrap(), 2 * MOST);
    }
}
